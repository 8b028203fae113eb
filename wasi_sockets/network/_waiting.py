"""Parking a trio task until the synchronous core calls back."""

from __future__ import annotations

from functools import partial

from trio.lowlevel import Abort, current_task, reschedule, wait_task_rescheduled

from wasi_sockets.network._waiters import Waiters

__all__ = ["wait_for"]


async def wait_for(waiters: Waiters) -> None:
    """Park the calling task until `waiters` are woken. A checkpoint."""
    wake = partial(reschedule, current_task())
    waiters.add(wake)

    def abort(_: object) -> Abort:
        waiters.discard(wake)
        return Abort.SUCCEEDED

    await wait_task_rescheduled(abort)
