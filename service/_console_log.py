"""What the library logs, said on standard error without anybody waiting for whoever reads that."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from service._telemetry import feed
from service._terminal import escaped, say

__all__ = ["MOST_UNSAID", "warnings_told"]

MOST_UNSAID: Final = 1000
"""Messages that are kept while nobody reads standard error; of more only their number is said."""

_SAID_WITHIN: Final = 1.0
"""Seconds that what is left may take in the end."""

#: The loggers of what is on the console in another way: what guests write, and what becomes of services.
_SAID_ALREADY: Final = frozenset({"wasi_sockets.guest", "wasi_sockets.service"})


class _SayingHandler(logging.Handler):
    """Says records from a thread: a standard error that nobody reads must not stop the loop."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._changed: Final = threading.Condition()
        self._unsaid: Final[deque[str]] = deque()
        self._lost = 0
        self._closed = False
        self._thread: Final = threading.Thread(target=self._say_all, daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        if record.name in _SAID_ALREADY:
            return
        message = record.getMessage()
        with self._changed:
            # Once some are lost, what follows is lost with them until that is said, so that it is said in its place.
            if self._lost or len(self._unsaid) >= MOST_UNSAID:
                self._lost += 1
            else:
                self._unsaid.append(message)
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(_SAID_WITHIN)
        super().close()

    def _say_all(self) -> None:
        while (message := self._next()) is not None:
            say(escaped(message))

    def _next(self) -> str | None:
        """Wait for what is to be said next; None at the end."""
        with self._changed:
            while not (self._unsaid or self._lost or self._closed):
                self._changed.wait()
            if self._unsaid:
                return self._unsaid.popleft()
            if self._lost:
                lost, self._lost = self._lost, 0
                return f"{lost} further messages are lost: standard error was not read in time"
            return None


@contextmanager
def warnings_told(level: int = logging.WARNING) -> Iterator[None]:
    """Say on standard error what the library logs: denials of the policy, connections outside that failed...

    Args:
        level: as in `logging`, warnings and worse by default.
    """
    handler = _SayingHandler(level)
    try:
        with feed(handler):
            yield
    finally:
        handler.close()
