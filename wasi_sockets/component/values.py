"""Values that cross between a guest and Python and have no Python type of their own."""

from __future__ import annotations

__all__ = ["Err", "Ok", "Some"]


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


class _Wrapper:
    __slots__ = ("value",)

    def __init__(self, value: object = None) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.value == other.value

    def __hash__(self) -> int:
        return hash((type(self), self.value))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value!r})"


class Ok(_Wrapper):
    """The ok case of a `result` whose ok value may itself be an `Err`, as in `result<result<T, E>, F>`.

    Everywhere else the ok case is the plain value.
    """

    __slots__ = ()


class Some(_Wrapper):
    """A present `option` whose value may itself be `None`, as in `option<option<T>>` or `option<result<_,
    E>>`.

    Everywhere else a present option is the plain value.
    """

    __slots__ = ()
