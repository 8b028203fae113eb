"""What happens on a host, for whoever wants to hear of it: events of services, and lines of output."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeAlias, TypeVar

import trio

__all__ = ["MAX_LINE", "Feed", "Lines", "OutputLine", "OutputStream"]

OutputStream: TypeAlias = Literal["stdout", "stderr", "host"]

_T = TypeVar("_T")

MAX_LINE: Final = 16 * 1024
_MAX_BEHIND: Final = 4096


@dataclass(frozen=True, slots=True)
class OutputLine:
    """A line that a guest wrote, or that the host says of a service.

    Attributes:
        time: seconds since the epoch.
        workload: ``namespace/name``.
        service: its name, or a component's.
        stream: "host" for what the host says.
        text: without the line end; bytes that are no UTF-8 are replaced.
    """

    time: float
    workload: str
    service: str
    stream: OutputStream
    text: str


class Feed(Generic[_T]):
    """The last items, and a way to wait for more. Who is too slow misses the oldest, and never holds others up.

    Args:
        size: items that are kept.
        capacity: what all that are kept may weigh together.
        weight: what one weighs.
    """

    def __init__(
        self, size: int, capacity: float = math.inf, weight: Callable[[_T], float] = lambda _: 0
    ) -> None:
        self._capacity: Final = capacity
        self._weight: Final = weight
        self._last: Final = self._kept(size)
        self._followers: Final[dict[_Follower[_T], None]] = {}
        self._closed = False

    def _kept(self, size: int) -> _Kept[_T]:
        return _Kept(size, self._capacity, self._weight)

    def close(self) -> None:
        """Nothing more comes: who follows gets what it has not seen yet, then the end. Idempotent."""
        self._closed = True
        for follower in self._followers:
            follower.close()

    def publish(self, item: _T) -> None:
        """Add an item. Never waits."""
        self._last.add(item)
        for follower in self._followers:
            follower.put(item)

    def last(self, count: int | None = None) -> list[_T]:
        """The last `count` items, all that are kept by default, oldest first."""
        items = list(self._last.items)
        return items if count is None else items[len(items) - min(count, len(items)) :]

    @contextmanager
    def follow(self) -> Iterator[AsyncIterator[_T]]:
        """Everything published within the block, until the feed is closed: ``async for item in items``."""
        follower = _Follower(self._kept(_MAX_BEHIND))
        if self._closed:
            follower.close()
        self._followers[follower] = None
        try:
            yield follower
        finally:
            del self._followers[follower]


class _Kept(Generic[_T]):
    """The newest items, as many as there may be; the newest one in any case."""

    def __init__(self, size: int, capacity: float, weight: Callable[[_T], float]) -> None:
        self.items: Final[deque[_T]] = deque()
        self._size: Final = size
        self._capacity: Final = capacity
        self._weight: Final = weight
        self._weighs = 0.0

    def add(self, item: _T) -> None:
        self.items.append(item)
        self._weighs += self._weight(item)
        while len(self.items) > self._size or (self._weighs > self._capacity and len(self.items) > 1):
            self.take()

    def take(self) -> _T:
        item = self.items.popleft()
        self._weighs -= self._weight(item)
        return item


class _Follower(AsyncIterator[_T]):
    def __init__(self, missed: _Kept[_T]) -> None:
        self._missed: Final = missed
        self._changed = trio.Event()
        self._closed = False

    def close(self) -> None:
        self._closed = True
        self._changed.set()

    def put(self, item: _T) -> None:
        self._missed.add(item)
        self._changed.set()

    async def __anext__(self) -> _T:
        await trio.lowlevel.checkpoint()
        while not self._missed.items:
            if self._closed:
                raise StopAsyncIteration
            self._changed = trio.Event()
            await self._changed.wait()
        return self._missed.take()


class Lines:
    """Bytes in whatever pieces, as lines."""

    def __init__(self) -> None:
        self._rest = b""

    def split(self, data: bytes) -> list[str]:
        """The lines that `data` completes. One longer than 16 KiB becomes several."""
        *complete, rest = (self._rest + data).split(b"\n")
        lines = [piece for line in complete for piece in _pieces(line)]
        *full, self._rest = _pieces(rest)
        return [_text(line) for line in [*lines, *full]]

    def finish(self) -> list[str]:
        """The last line, where it has no end."""
        rest, self._rest = self._rest, b""
        return [_text(rest)] if rest else []


def _pieces(line: bytes) -> list[bytes]:
    pieces: list[bytes] = []
    start = 0
    while len(line) - start > MAX_LINE:
        end = start + MAX_LINE
        while end > start + MAX_LINE - 4 and line[end] & 0xC0 == 0x80:
            end -= 1  # inside a character of UTF-8, which has four bytes at most
        pieces.append(line[start:end])
        start = end
    return [*pieces, line[start:]]


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "replace")
