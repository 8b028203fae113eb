"""Values that cross between a guest and Python and have no Python type of their own."""

from __future__ import annotations

__all__ = ["Err"]


class Err:
    """The error case of a WIT `result`. The ok case is the plain value, so only this one needs a class.

    Compared by value and treated as immutable: one instance may be answered many times.

    Attributes:
        payload: the error value, as any other value that crosses; `None` for a case without one.
    """

    __slots__ = ("payload",)

    def __init__(self, payload: object = None) -> None:
        self.payload = payload

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Err) and self.payload == other.payload

    def __hash__(self) -> int:
        return hash((Err, self.payload))

    def __repr__(self) -> str:
        return f"Err({self.payload!r})"
