"""Whose code it is that writes to this process's standard streams.

In trio's thread the tree of tasks says it: a connection's handler has the context of whoever connected, but its task
belongs to whoever serves. Threads have no task, and are known by their context, which trio copies for them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final
from weakref import WeakKeyDictionary

import trio

from service.hosting._feeds import Lines, OutputStream

__all__ = ["Speaker", "in_the_context_of", "speaker", "speaking"]


class Speaker:
    """One incarnation of a service.

    Args:
        say: takes its lines, as guests' output is taken.

    Attributes:
        at_end: called when the incarnation has ended, by whoever takes what it writes.
    """

    def __init__(self, say: Callable[[OutputStream, Sequence[str]], Awaitable[object]]) -> None:
        self.say: Final = say
        self.at_end: Callable[[Speaker], Awaitable[object]] | None = None
        self._lines: Final[dict[OutputStream, Lines]] = {"stdout": Lines(), "stderr": Lines()}

    def split(self, stream: OutputStream, data: bytes) -> list[str]:
        """The lines that are complete with `data`."""
        return self._lines[stream].split(data)

    def finish(self, stream: OutputStream) -> list[str]:
        """The last line, where it has no end."""
        return self._lines[stream].finish()


_context: Final[ContextVar[Speaker]] = ContextVar("wasi_sockets.speaker")
_tasks: Final[WeakKeyDictionary[trio.lowlevel.Task, Speaker]] = WeakKeyDictionary()


@contextmanager
def speaking(of: Speaker) -> Iterator[None]:
    """What this task writes is of this incarnation; so is what tasks and threads write that are begun within."""
    task = trio.lowlevel.current_task()
    before = _tasks.get(task)
    _tasks[task] = of
    try:
        with in_the_context_of(of):
            yield
    finally:
        if before is None:
            del _tasks[task]
        else:
            _tasks[task] = before


@contextmanager
def in_the_context_of(of: Speaker) -> Iterator[None]:
    """The same for threads alone: for code whose context is somebody else's."""
    token = _context.set(of)
    try:
        yield
    finally:
        _context.reset(token)


def speaker() -> Speaker | None:
    """Who is running; None for the host itself, and for whoever cannot be known. May be called in any thread."""
    try:
        task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
    except RuntimeError:
        task = None
    while task is not None:
        found = _tasks.get(task)
        if found is not None:
            return found
        task = None if task.parent_nursery is None else task.parent_nursery.parent_task
    return _context.get(None)
