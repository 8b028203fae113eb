"""Keys that want work: each at most once at a time, in order of arrival, later and later after failures."""

from __future__ import annotations

import asyncio

__all__ = ["WorkQueue"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 30.0


class WorkQueue:
    """As client-go's: a key that is added while it is being worked on comes again afterwards, once."""

    def __init__(self) -> None:
        self._waiting: dict[str, None] = {}
        self._working: set[str] = set()
        self._again: set[str] = set()
        self._failures: dict[str, int] = {}
        self._arrived = asyncio.Event()

    def add(self, key: str) -> None:
        """A key wants work."""
        if key in self._working:
            self._again.add(key)
        else:
            self._waiting[key] = None
            self._arrived.set()

    async def take(self) -> str:
        """The key that waits longest; `done` or `failed` must follow."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        key = next(iter(self._waiting))
        del self._waiting[key]
        self._working.add(key)
        return key

    def done(self, key: str) -> None:
        """Its work is done."""
        self._failures.pop(key, None)
        self._leave(key)

    def failed(self, key: str) -> None:
        """Its work is to be tried again, after a pause that doubles each time."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        self._leave(key)
        pause = min(_FIRST_PAUSE * 2 ** min(count, 20), _LONGEST_PAUSE)
        asyncio.get_running_loop().call_later(pause, self.add, key)

    def _leave(self, key: str) -> None:
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
