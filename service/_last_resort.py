"""How a process that runs other people's Python code ends, though that may refuse cancellation or hold the loop.

A thread counts, since trio may be stuck; and signals are heard in Python's own handlers, which run in the main thread
whoever has it, rather than by a task, which would wait for its turn.
"""

from __future__ import annotations

import math
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Final

import trio

from service._exits import SIGNALLED
from service._terminal import say

__all__ = ["SLACK", "TOLD_WITHIN", "LastResort"]

TOLD_WITHIN: Final = 2.0
"""Seconds that nothing waits longer for whoever reads the console, once it is to end."""
SLACK = 10.0
"""Seconds for what ends in order, on top of those that it was given."""
_KILLED_WITHIN: Final = 3.0
_PATIENT_FOR: Final = 3.0
"""Seconds of waiting without a word."""
_LONGEST_WAIT: Final = 86400.0
"""Seconds; beyond some centuries a wait is an error, and people may be that patient."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class LastResort:
    """Ends the process when it has not ended by itself in time. To be entered while anything runs.

    Args:
        running: names what has not ended yet; called from another thread.
        says_what_it_waits_for: on standard error, after some seconds.

    Attributes:
        signal: the first that was heard; 0 while there was none.
    """

    def __init__(self, running: Callable[[], Sequence[str]], *, says_what_it_waits_for: bool = False) -> None:
        self.signal = 0
        self._silent = not says_what_it_waits_for
        self._running: Final = running
        self._limited = False
        # Its `put` may interrupt itself, as a signal handler does; no lock of `threading` may be taken in one.
        self._orders: Final[queue.SimpleQueue[tuple[float, int] | None]] = queue.SimpleQueue()
        self._thread: Final = threading.Thread(target=self._count, daemon=True)

    def __enter__(self) -> LastResort:
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._orders.put(None)
        self._thread.join()

    def leave_within(self, seconds: float, code: int) -> None:
        """End the process with this exit code unless it has ended by then; of several times the earliest counts."""
        self._limited = True
        self._orders.put((time.monotonic() + seconds, code))

    @contextmanager
    def signals(self, patience: float) -> Iterator[trio.MemoryReceiveChannel[int]]:
        """SIGINT and SIGTERM, as they come; in a thread that can have none, none do.

        Args:
            patience: seconds that the first one leaves for ending in order. Another one leaves hardly any, as does the
                first when the process is to end anyway.
        """
        sending, receiving = trio.open_memory_channel[int](math.inf)
        loop = trio.lowlevel.current_trio_token()

        def deliver(number: int) -> None:
            # Deliveries may be under way when the block ends, and what they raised would end the loop.
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                sending.send_nowait(number)

        def heard(number: int, _frame: FrameType | None) -> None:
            seconds = _KILLED_WITHIN if self._limited else patience
            self.signal = self.signal or number
            self.leave_within(seconds, SIGNALLED + self.signal)
            with suppress(trio.RunFinishedError):
                loop.run_sync_soon(deliver, number)

        with receiving, sending:
            if threading.current_thread() is not threading.main_thread():
                yield receiving
                return
            before = {number: signal.signal(number, heard) for number in _SIGNALS}
            try:
                yield receiving
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    def _count(self) -> None:
        until, code, silent_until = math.inf, 0, math.inf
        while True:
            wakes = min(until, silent_until)
            try:
                # Rounded up: the clocks of the two need not agree to the last bit.
                order = self._orders.get(timeout=min(max(0.001, wakes - time.monotonic()), _LONGEST_WAIT))
            except queue.Empty:
                now = time.monotonic()
                if now >= until:
                    self._leave(code)
                if now >= silent_until:
                    silent_until = math.inf
                    if until - now > _KILLED_WITHIN:  # else what comes next is said soon enough
                        self._say_what_it_waits_for(until - now)
                continue
            if order is None:
                return
            if not self._silent:
                self._silent, silent_until = True, time.monotonic() + _PATIENT_FOR
            until, code = min((until, code), order)

    def _say_what_it_waits_for(self, seconds: float) -> None:
        names = ", ".join(self._running()) or "something"
        _told(f"{names} has not ended yet; {seconds:.0f} s are left for that, and few after Ctrl-C")

    def _leave(self, code: int) -> None:
        names = ", ".join(self._running()) or "something"
        _told(f"{names} does not end; this process ends without it").join(TOLD_WITHIN)
        os._exit(code)


def _told(message: str) -> threading.Thread:
    """Says it in a thread: perhaps nobody reads standard error, and that is what does not end."""
    telling = threading.Thread(target=_tell, args=[message], daemon=True)
    telling.start()
    return telling


def _tell(message: str) -> None:
    say(message)
    with suppress(OSError, ValueError, AttributeError):  # what was printed, which `os._exit` would forget
        sys.stdout.flush()
