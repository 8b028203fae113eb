"""What Python services print, as output of theirs: lines for the host instead of text between its own.

Whoever writes never waits: a task takes the lines to where they go. While that is stuck, lines are kept up to a limit,
and only the number of further ones.
"""

from __future__ import annotations

import io
import sys
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import Any, Final, TextIO, cast

import trio

from service._terminal import beneath
from service.hosting import Lines, OutputStream, Speaker, speaker

__all__ = ["MOST_KEPT", "ServiceOutput"]

MOST_KEPT: Final = 64_000_000
"""Characters that are kept while nobody takes them: a service may print much before it lets the loop go on."""

_LINE_COSTS: Final = 100
_MOST_AT_ONCE: Final = 1000
_ENDS_WITHIN: Final = 1.0
"""Seconds that the end of an incarnation waits for what it wrote, as a component's does."""

_Stray = Callable[[Sequence[str]], Awaitable[object]]


class ServiceOutput(AbstractContextManager["ServiceOutput"]):
    """Takes the place of `sys.stdout` and `sys.stderr` within its block."""

    def __init__(self) -> None:
        # Signal handlers and destructors write too, in whatever thread and in the middle of another's writing.
        self._lock: Final = threading.RLock()
        self._queue: Final[deque[tuple[Speaker | None, OutputStream, str] | trio.Event]] = deque()
        self._kept = 0
        self._lost = 0
        self._on_their_way = 0
        self._strays: Final = Lines()
        self._open: Final[dict[Speaker, None]] = {}
        self._token: trio.lowlevel.TrioToken | None = None
        self._changed: trio.Event | None = None
        self._closed = False
        self._before: tuple[Any, Any] = (None, None)
        self._replaced: tuple[Any, Any] = (None, None)

    def __enter__(self) -> ServiceOutput:
        self._before = sys.stdout, sys.stderr
        self._replaced = _Stream(self, "stdout", sys.stdout), _Stream(self, "stderr", sys.stderr)
        sys.stdout, sys.stderr = self._replaced
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        for name, ours, before in zip(("stdout", "stderr"), self._replaced, self._before, strict=True):
            if getattr(sys, name) is ours:  # else somebody has put another there, and has to put it back
                setattr(sys, name, before)

    # ------------------------------------------------------------ whoever writes
    def take(self, stream: OutputStream, data: bytes) -> None:
        """What somebody has written. Never waits."""
        if not self._taken(stream, data):
            # Without the lock: perhaps nobody reads what is written to there.
            self._pass_on(data)

    def _taken(self, stream: OutputStream, data: bytes) -> bool:
        with self._lock:
            if self._closed:
                return False
            who = speaker()
            if who is None:
                lines = self._strays.split(data)
            else:
                if who not in self._open:
                    self._open[who] = None
                    who.at_end = self._end
                lines = who.split(stream, data)
            self._put(who, stream, lines)
            return True

    def _put(self, who: Speaker | None, stream: OutputStream, lines: Sequence[str]) -> None:
        for line in lines:
            # Once some are lost, what follows is lost with them until that is said, so that it is said in its place.
            if self._lost or self._kept >= MOST_KEPT:
                self._lost += 1
            else:
                self._kept += len(line) + _LINE_COSTS
                self._queue.append((who, stream, line))
        if lines:
            self._wake()

    def _wake(self) -> None:
        if self._token is not None:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._set, idempotent=True)

    def _set(self) -> None:
        if self._changed is not None:
            self._changed.set()

    def _pass_on(self, data: bytes) -> None:
        """Late text, of threads that outlive the services: not to standard output, where JSON may be."""
        error = self._before[1]
        if error is not None:
            with suppress(OSError, ValueError):
                error.write(data.decode("utf-8", "replace"))
                error.flush()

    # ------------------------------------------------------------ whoever takes it away
    async def tell(self, stray: _Stray) -> None:
        """Take lines to where they go, until closed and all of them are there.

        Args:
            stray: takes lines of which nobody knows whose they are.
        """
        self._token = trio.lowlevel.current_trio_token()
        while True:
            self._changed = trio.Event()
            taken = self._next()
            if taken is None:
                if self._closed:
                    return
                await self._changed.wait()
            elif isinstance(taken, trio.Event):
                taken.set()
            else:
                who, stream, lines = taken
                self._on_their_way = len(lines)
                await (stray(lines) if who is None else who.say(stream, lines))
                self._on_their_way = 0

    def _next(self) -> tuple[Speaker | None, OutputStream, list[str]] | trio.Event | None:
        with self._lock:
            if not self._queue:
                if not self._lost:
                    return None
                lost, self._lost = self._lost, 0
                return (
                    None,
                    "stderr",
                    [f"{lost} lines of services are lost: what they write was not read in time"],
                )
            first = self._queue.popleft()
            if isinstance(first, trio.Event):
                return first
            who, stream, line = first
            lines = [line]
            while self._queue and len(lines) < _MOST_AT_ONCE:
                following = self._queue[0]
                if isinstance(following, trio.Event) or following[:2] != (who, stream):
                    break
                lines.append(following[2])
                self._queue.popleft()
            self._kept -= sum(len(each) + _LINE_COSTS for each in lines)
            return who, stream, lines

    def close(self) -> None:
        """No more is taken; what is there is still told. Idempotent."""
        with self._lock:
            for who in list(self._open):
                self._finish(who)
            self._put(None, "stderr", self._strays.finish())
            self._closed = True
            self._wake()

    @property
    def untold(self) -> int:
        """Lines that were not told, or perhaps not, when `tell` was cancelled."""
        with self._lock:
            return (
                self._lost
                + self._on_their_way
                + sum(not isinstance(each, trio.Event) for each in self._queue)
            )

    def _finish(self, who: Speaker) -> None:
        self._open.pop(who, None)
        self._put(who, "stdout", who.finish("stdout"))
        self._put(who, "stderr", who.finish("stderr"))

    async def _end(self, who: Speaker) -> None:
        """An incarnation has ended: what it wrote is told before that is."""
        told = trio.Event()
        with self._lock:
            self._finish(who)
            self._queue.append(told)
            self._wake()
        with trio.move_on_after(_ENDS_WITHIN) as hurry:
            hurry.shield = True
            await told.wait()


class _Stream(io.TextIOWrapper):
    """Text that is written here goes to a `ServiceOutput` at once, whoever has kept it.

    Attributes:
        beneath: what it stands for, for this program's own messages.
    """

    def __init__(self, output: ServiceOutput, stream: OutputStream, file: TextIO | None) -> None:
        self.beneath: Final = beneath(file)
        super().__init__(
            cast(Any, _Bytes(output, stream, self.beneath)),
            encoding="utf-8",
            errors="backslashreplace",
            newline="\n",
            write_through=True,
        )

    def close(self) -> None:
        """One service does not close it for the others."""


class _Bytes(io.RawIOBase):
    def __init__(self, output: ServiceOutput, stream: OutputStream, file: TextIO | None) -> None:
        self._output: Final = output
        self._stream: Final[OutputStream] = stream
        self._file: Final = file

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        if self._file is None:
            raise io.UnsupportedOperation("fileno")
        return self._file.fileno()

    def write(self, data: Any) -> int:
        written = bytes(data)
        self._output.take(self._stream, written)
        return len(written)

    def close(self) -> None:
        """As for the text."""
