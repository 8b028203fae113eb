"""Preemption: a thread that advances an engine's epoch when a guest of it has run for a tick.

To look whether one runs the thread needs the interpreter lock, and while it waits for that, each of the trio thread's
steps in and out of native code costs a system call: with a look at every tick, a twentieth of what guests do. So the
thread sleeps in a timer, which tasks of guests put off whenever the loop has turned. It wakes up when nobody has done
so for a tick: mostly when all guests are parked, and then the timer is not set again before one runs.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Final, Protocol

from wasmtime import Engine

from wasi_sockets.engine import timerfd
from wasi_sockets.engine.bindings_callbacks import CallbackGuest

__all__ = ["SleepingTimer", "Ticker", "TimerFd", "make_timer"]

_LINGER: Final = 1.0
"""Seconds that a ticker without guests waits for the next one before its thread ends."""

_NEVER: Final = 1 << 62
_NANOSECONDS: Final = 1_000_000_000
_LONGEST_TICK: Final = 366 * 86400.0
"""Seconds; more could be too much for what counts nanoseconds."""


class Timer(Protocol):
    """What a thread sleeps in until a deadline that others set. Times are those of `time.monotonic_ns()`."""

    def set(self, deadline: int) -> None:
        """Let the next, or the current, `wait` return at `deadline`, instead of when it was to."""

    def wait(self) -> None:
        """Sleep until the deadline; for as long as there is none."""


class TimerFd:
    """The kernel's: putting it off wakes nobody."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: Final = descriptor
        self._close: Final = os.close  # which the module may have no more when the interpreter ends

    def set(self, deadline: int) -> None:
        timerfd.set_timer(self._descriptor, deadline)

    def wait(self) -> None:
        os.read(self._descriptor, 8)

    def __del__(self) -> None:
        self._close(self._descriptor)


class SleepingTimer:
    """For systems without timerfd: its thread wakes up at each deadline that was put off, and sleeps on."""

    def __init__(self) -> None:
        self._condition: Final = threading.Condition()
        self._deadline = _NEVER
        self._asleep_until = 0

    def set(self, deadline: int) -> None:
        with self._condition:
            self._deadline = deadline
            if deadline < self._asleep_until:
                self._condition.notify()

    def wait(self) -> None:
        with self._condition:
            while (left := self._deadline - time.monotonic_ns()) > 0:
                self._asleep_until = self._deadline
                self._condition.wait(min(left / _NANOSECONDS, threading.TIMEOUT_MAX))
            self._asleep_until = 0
            self._deadline = _NEVER


def make_timer() -> Timer:
    """The best that the system has."""
    if timerfd.timerfd_create is not None:
        descriptor = timerfd.timerfd_create(timerfd.CLOCK_MONOTONIC, os.O_CLOEXEC)
        if descriptor >= 0:
            return TimerFd(descriptor)
    return SleepingTimer()


class Ticker:
    """The ticks of one engine.

    The thread ends some time after the last guest; not at once, because starting a thread costs more than a small
    guest.

    Args:
        seconds: the tick.
        running: the guests that are inside a poll now.
        linger: seconds that the thread waits for another guest.

    Attributes:
        due: when it ticks next, in nanoseconds of `time.monotonic_ns()`; 0 for never, and then whoever runs a guest
            must call `arm()`, after having entered `running`.
    """

    def __init__(self, seconds: float, running: dict[int, CallbackGuest], linger: float = _LINGER) -> None:
        self._tick: Final = round(min(seconds, _LONGEST_TICK) * _NANOSECONDS)
        # Below this it is put off. Not always, since that is a system call; nor late, as a turn of a guest's task may
        # be followed by many steps of the guest (`stepping.py`), which a tick would end.
        self._enough: Final = self._tick * 3 // 4
        self._running: Final = running
        self._linger: Final = round(linger * _NANOSECONDS)
        self._users = 0
        self._over = 0  # when the thread may end, without users
        self._thread: threading.Thread | None = None
        self._timer: Timer | None = None
        self._lock: Final = threading.Lock()  # a guest abandoned in a thread is released there
        self.due = 0

    @property
    def thread(self) -> threading.Thread | None:
        """The thread, while there is one."""
        return self._thread

    def acquire(self, engine: Engine) -> None:
        """One more guest lives. The thread holds the engine, this object must not: it hangs on the engine."""
        with self._lock:
            self._users += 1
            timer = self._timer
            if timer is None:
                # For as long as the engine lives, so that nobody can set one that was closed.
                timer = self._timer = make_timer()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._serve, args=(engine, timer), name="wasi-sockets ticker", daemon=True
                )
                self._thread.start()

    def release(self) -> None:
        """One guest less."""
        with self._lock:
            self._users -= 1
            if not self._users and self._timer is not None:
                self.due = 0  # a guest that comes meanwhile does not wait for this deadline
                self._over = time.monotonic_ns() + self._linger
                self._timer.set(self._over)

    def arm(self) -> None:
        """Tick a tick from now."""
        self._set(time.monotonic_ns() + self._tick)

    def put_off(self) -> None:
        """The loop has turned since a guest ran, so that the next one has a tick for itself.

        Not while one runs, in a thread of its own: others may run as often as they like, it must be preempted.
        """
        now = time.monotonic_ns()
        if self.due - now < self._enough and not self._running:
            self._set(now + self._tick)

    def _set(self, deadline: int) -> None:
        timer = self._timer
        if timer is not None:
            self.due = deadline
            timer.set(deadline)

    def _serve(self, engine: Engine, timer: Timer) -> None:
        while True:
            timer.wait()
            # The order matters: a guest enters `running` first and reads `due` second, this thread sets `due` first
            # and reads `running` second. So one of the two always sees the other.
            self.due = 0
            if self._running:
                engine.increment_epoch()
                self.arm()
                continue
            with self._lock:
                if not self._users:
                    if time.monotonic_ns() >= self._over:
                        self._thread = None
                        return
                    # This was a tick for a guest that is gone, and setting it may have put off the end for good.
                    timer.set(self._over)
