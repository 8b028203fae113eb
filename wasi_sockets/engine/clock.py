"""Time as guests see it: exact timers on the real clock, trio's own on a virtual one.

trio rounds every timeout up to a millisecond, since that is epoll's unit. Guests wait shorter (and the backoff
for stock pollables starts at 50 microseconds), so on Linux each trio run has one timerfd for all its guests.
"""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable

import trio

from wasi_sockets.engine import timerfd
from wasi_sockets.engine.protocols import Waitable

__all__ = ["Alarm", "Entry", "GuestClock", "clock_is_virtual", "shared_alarm"]

_EARLY = 400_000
"""Nanoseconds before a deadline that is further away, at which the timer goes off first."""


class Entry:
    """One deadline in an alarm; `wake` is None once it is cancelled or has been called."""

    __slots__ = ("deadline", "wake")

    def __init__(self, deadline: int, wake: Callable[[], None]) -> None:
        self.deadline = deadline
        self.wake: Callable[[], None] | None = wake

    def __lt__(self, other: Entry) -> bool:
        return self.deadline < other.deadline


class Alarm:
    """Deadlines good to some ten microseconds, for all the guests of one trio run.

    Times are those of `time.monotonic_ns()`.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._heap: list[Entry] = []
        self._cancelled = 0
        self._armed = 0  # the deadline the timerfd is set to, 0 for none

    def add(self, deadline: int, wake: Callable[[], None]) -> Entry:
        """Have `wake` called at `deadline`, in nanoseconds, or at once when that has passed."""
        entry = Entry(deadline, wake)
        heapq.heappush(self._heap, entry)
        if not self._armed or deadline < self._armed:
            self._arm(deadline)
        return entry

    def cancel(self, entry: Entry) -> None:
        """Forget a deadline. It may have passed already."""
        if entry.wake is None:
            return
        entry.wake = None
        self._cancelled += 1
        # Most deadlines are timeouts that never come: were they left, a guest that waits ten thousand times a
        # second with a timeout of a minute would fill the heap.
        if self._cancelled > 64 and self._cancelled > len(self._heap) // 2:
            self._heap = [each for each in self._heap if each.wake is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    def fire(self, now: int) -> None:
        """Call whatever is due at `now`, and set the timer for the next deadline."""
        self._armed = 0
        while self._heap and (self._heap[0].wake is None or self._heap[0].deadline <= now):
            entry = heapq.heappop(self._heap)
            if entry.wake is None:
                self._cancelled -= 1
            else:
                wake, entry.wake = entry.wake, None
                wake()
        if self._heap:
            self._arm(self._heap[0].deadline)

    async def run(self) -> None:
        """Serve the deadlines until cancelled. One system task per trio run does this."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._descriptor)
                try:
                    os.read(self._descriptor, 8)
                except BlockingIOError:
                    continue  # set anew between the event and the read
                self.fire(time.monotonic_ns())
        finally:
            os.close(self._descriptor)

    def _arm(self, deadline: int) -> None:
        deadline = max(deadline, 1)  # 0 means that it is not set
        # A processor that has slept long takes a few hundred microseconds to be back. So a long wait is ended a
        # little early, and what is left is a short one.
        if deadline - time.monotonic_ns() > 2 * _EARLY:
            deadline -= _EARLY
        self._armed = deadline
        timerfd.set_timer(self._descriptor, deadline)


_run_alarm: trio.lowlevel.RunVar[Alarm | None] = trio.lowlevel.RunVar("wasi_sockets alarm")


def clock_is_virtual() -> bool:
    """Whether the current trio run was given a clock of its own, such as `trio.testing.MockClock`."""
    kind = type(trio.lowlevel.current_clock())
    return not (kind.__name__ == "SystemClock" and kind.__module__.startswith("trio."))


def shared_alarm() -> Alarm | None:
    """The alarm of the current trio run; None where trio's own timers must do."""
    try:
        return _run_alarm.get()
    except LookupError:
        pass
    alarm = None
    if timerfd.timerfd_create is not None and not clock_is_virtual():
        descriptor = timerfd.timerfd_create(timerfd.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if descriptor >= 0:
            alarm = Alarm(descriptor)
            trio.lowlevel.spawn_system_task(alarm.run, name="wasi_sockets alarm")
    _run_alarm.set(alarm)
    return alarm


class GuestClock:
    """The monotonic clock of one guest, and its way to sleep until woken.

    Attributes:
        virtual: it follows a clock other than the machine's.
        wake: ends the current or else the next `park`. May be called at any time from the trio thread.
        late: what a guest waits for begins some time after it was found not to be there, since the guest was polled in
            another thread, or inside the operation that woke it; so it must be looked for again.
        step: what `wake` does instead, for a guest that is parked elsewhere (`stepping.py`).
    """

    __slots__ = ("_alarm", "_on_abort", "_start", "_task", "_woken", "late", "step", "virtual", "wake")

    def __init__(self) -> None:
        self.virtual = clock_is_virtual()
        self._alarm = shared_alarm()
        self._start = trio.current_time() if self.virtual else 0.0
        self._task: trio.lowlevel.Task | None = None
        self._woken = False
        # One bound method for ever: waiters are sets of callbacks.
        self.wake: Callable[[], None] = self._wake
        self._on_abort = self._abort
        self.step: Callable[[], None] | None = None
        self.late = False

    def now(self) -> int:
        """Nanoseconds on the guest's clock."""
        if self.virtual:
            return round((trio.current_time() - self._start) * 1e9)
        return time.monotonic_ns()

    def _wake(self) -> None:
        step = self.step
        if step is not None:
            step()
            return
        task = self._task
        if task is None:
            self._woken = True
        else:
            self._task = None
            trio.lowlevel.reschedule(task)

    def clear(self) -> None:
        """Forget a wake that came while nobody was parked. To be called before waiters are registered."""
        self._woken = False

    async def park(self, deadline: int | None) -> None:
        """Sleep until `wake()` is called or `now()` reaches `deadline`; None: no deadline."""
        if self._woken:
            self._woken = False
            await trio.lowlevel.checkpoint()
            return
        if deadline is None:
            await self._sleep()
        elif self._alarm is not None:
            entry = self._alarm.add(deadline, self.wake)
            try:
                await self._sleep()
            finally:
                self._alarm.cancel(entry)
        else:
            with trio.move_on_after(max(0, deadline - self.now()) / 1e9):
                await self._sleep()

    async def until(self, target: Waitable, probe: Callable[[], int]) -> int:
        """Sleep until `probe()` is not 0, which `target` tells, and return what it gave.

        Does what `park` does, without its layers: this is half of every round trip of a guest.
        """
        if self.late:
            state = probe()
            if state:
                return state
        wake = self.wake
        try:
            while True:
                self._woken = False
                target.add_waiter(wake)
                if self._woken:
                    await self.park(None)
                else:
                    self._task = trio.lowlevel.current_task()
                    await trio.lowlevel.wait_task_rescheduled(self._on_abort)
                state = probe()
                if state:
                    return state
        finally:
            target.remove_waiter(wake)

    async def _sleep(self) -> None:
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._on_abort)

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED
