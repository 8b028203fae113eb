"""A share of the processor: a guest that has used more is not polled again before it has earned that.

The guest is preempted at every tick of its engine, so that it can owe no more than about a tick. What it used is the
processor time of the thread that polls it, host functions that it calls included.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import trio

from wasi_sockets.engine.bindings_callbacks import write_result

if TYPE_CHECKING:
    from wasi_sockets.engine.guest import GuestState

__all__ = ["CpuShare", "drive_within"]

_WINDOW: Final = 0.1
"""Seconds whose share a guest may save up, and then use at once."""


class CpuShare:
    """The account of one guest.

    Args:
        share: the part of one core, above 0.
        used: gives nanoseconds of processor time of the calling thread.
    """

    __slots__ = ("_at", "_saved", "_share", "_used")

    def __init__(self, share: float, used: Callable[[], int] = time.thread_time_ns) -> None:
        self._share = share
        self._used = used
        self._saved = share * _WINDOW
        self._at = trio.current_time()

    @property
    def overdrawn(self) -> bool:
        """Whether `settle` will wait."""
        return self._saved < 0

    def poll(self, poll: Callable[[], bool]) -> bool:
        """Poll the guest at its expense. In whatever thread."""
        start = self._used()
        try:
            return poll()
        finally:
            self._saved -= (self._used() - start) / 1e9

    async def settle(self) -> None:
        """Wait until the guest may run again. No checkpoint when it may."""
        now = trio.current_time()
        self._saved = min(self._share * _WINDOW, self._saved + (now - self._at) * self._share)
        self._at = now
        if self._saved < 0:
            await trio.sleep(-self._saved / self._share)


async def drive_within(share: CpuShare, state: GuestState, poll: Callable[[], bool]) -> None:
    """Poll a guest's future to its end, no more often than its share allows.

    Nobody steps such a guest (`stepping.py`): it is always polled here, where it can be made to wait.
    """
    await share.settle()
    while not share.poll(poll):
        pending = state.pending
        if pending is None:
            await trio.lowlevel.checkpoint()  # the end of its tick
        else:
            state.pending = None
            value = await pending
            write_result(state.result_slot, value)
            state.flag.set()
        await share.settle()
    await trio.lowlevel.cancel_shielded_checkpoint()
