"""Letting a guest go on inside the operation that woke it, without a turn of the trio loop.

A round trip between a guest and a task consists mostly of task switches. A guest that waits for one thing needs
none: whoever makes that ready (a task that writes to a connection, say) polls the guest there and then, until it
waits again. Rules:

1. Only a guest that waits for one thing without a deadline (`Wait`). All else goes through its own task.
2. Never while a guest of the same engine is being polled: guests do not nest. It is then rescheduled.
3. So many steps for each time that its task ran, so that whoever wakes it gets on, and the loop turns.
4. The guest sees the `contextvars` of its own task.
5. Nothing is raised to the waker: what goes wrong is raised in the guest's task.
6. A guest that is woken while it runs need not be told: it looks again before it waits.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import trio

from wasi_sockets.engine.bindings_callbacks import write_result
from wasi_sockets.engine.clock import GuestClock
from wasi_sockets.engine.protocols import Waitable

if TYPE_CHECKING:
    from wasi_sockets.engine.guest import GuestState

__all__ = ["Stepper", "Wait"]

_STEPS = 16
_MASK = 0xFFFF_FFFF
_MAXIMUM = 0x7FFF_FFFF


def _already_runs() -> None:
    """Rule 6."""


class Wait:
    """What a guest waits for. Awaiting it gives what `probe` says when it is no longer 0, as an i32."""

    __slots__ = ("clock", "probe", "target")

    def __init__(self, clock: GuestClock, target: Waitable, probe: Callable[[], int]) -> None:
        self.clock = clock
        self.target = target
        self.probe = probe

    def __await__(self) -> Generator[Any, Any, int]:
        value = yield from self.clock.until(self.target, self.probe).__await__()
        return _level(value)


def _level(value: int) -> int:
    value = int(value)
    return value & _MASK if value < 0 else min(value, _MAXIMUM)


class Stepper:
    """The steps of one call of a guest. Made in the task that drives the call.

    Attributes:
        done: what the last poll said: the call has ended.
    """

    __slots__ = (
        "_budget",
        "_cancelled",
        "_clock",
        "_error",
        "_poll",
        "_running",
        "_state",
        "_task",
        "_wait",
        "done",
    )

    def __init__(self, state: GuestState, running: object, poll: Callable[[], bool]) -> None:
        self.done = False
        self._state = state
        self._clock = state.clock
        self._running = running
        self._poll = poll
        self._task = trio.lowlevel.current_task()
        self._wait: Wait | None = None
        self._budget = 0
        self._cancelled = False
        self._error: BaseException | None = None

    async def park(self, wait: Wait) -> bool:
        """Park the task for as long as the guest waits for one thing, then another, and so on.

        Returns:
            True if the guest must be polled now, its last wait being over; False if it was polled and ended, or
            waits for something of another kind.

        Raises:
            BaseException: whatever looking at the target raised.
        """
        self._wait = wait
        clock = self._clock
        while True:
            if self._ready(wait):
                return True
            self._budget = _STEPS
            clock.step = self._step
            wait.target.add_waiter(clock.wake)
            await trio.lowlevel.wait_task_rescheduled(self._cancel)
            if self._error is not None:
                raise self._error
            if self._wait is None:
                return False
            wait = self._wait

    def _ready(self, wait: Wait) -> bool:
        value = wait.probe()
        if not value:
            return False
        state = self._state
        write_result(state.result_slot, _level(value))
        state.flag.set()
        self._wait = None
        wait.target.remove_waiter(self._clock.wake)
        return True

    @trio.lowlevel.enable_ki_protection
    def _step(self) -> None:
        """What waking the guest does while its task is parked here."""
        clock = self._clock
        clock.step = _already_runs
        try:
            if self._running or not self._budget:
                parked = False
            else:
                self._budget -= 1
                parked = self._advance()
        except BaseException as error:
            self._error = error
            parked = False
        if self._cancelled:
            return
        if parked:
            clock.step = self._step
        else:
            clock.step = None
            trio.lowlevel.reschedule(self._task)

    def _advance(self) -> bool:
        """Poll the guest if its wait is over. Returns whether it waits, for one thing as before."""
        wait = self._wait
        if wait is None:
            return False
        if self._ready(wait):
            self.done = self._task.context.run(self._poll)
            if self.done or self._cancelled:
                return False
            state = self._state
            pending = state.pending
            if pending.__class__ is not Wait:
                return False
            state.pending = None
            self._wait = wait = pending
            if wait.probe():
                return False
        wait.target.add_waiter(self._clock.wake)
        return True

    def _cancel(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._cancelled = True
        self._clock.step = None
        if self._wait is not None:
            self._wait.target.remove_waiter(self._clock.wake)
        return trio.lowlevel.Abort.SUCCEEDED
