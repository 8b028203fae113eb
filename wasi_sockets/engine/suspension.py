"""What a guest waits for when an item answers later."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any

__all__ = ["Suspended", "discard"]


class Suspended:
    """An awaitable of an item's answer: await something, then make the answer of its result.

    A class and not a coroutine, because it may be discarded before it has begun, and then what it was to await
    must be discarded with it.
    """

    __slots__ = ("_awaitable", "_then")

    def __init__(self, awaitable: Awaitable[Any], then: Callable[[Any], Any]) -> None:
        self._awaitable = awaitable
        self._then = then

    def __await__(self) -> Generator[Any, Any, int]:
        value = yield from self._awaitable.__await__()
        answer = self._then(value)
        while answer.__class__ is not int:
            answer = yield from answer.__await__()
        final: int = answer
        return final

    def close(self) -> None:
        """Discard it. Only for one that nobody has awaited."""
        discard(self._awaitable)


def discard(awaitable: object) -> None:
    """Let go of something that nobody will await, as coroutines want it to be said."""
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()
