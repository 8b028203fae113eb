"""The ways to run a guest on the interposed host, each to be compared with the stock one."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from tests.guest_runs import Ended, Inputs, Source, run_embedded, run_interposed, run_stock

__all__ = ["MODES", "Mode", "backtrace", "on_stock"]

Mode = Callable[[Source, Inputs], Awaitable[Ended]]

MODES: dict[str, Mode] = {
    "run": run_interposed,
    "run, bytes as strings": partial(run_interposed, direct_memory=False),
    "run in a thread": partial(run_interposed, thread=True),
    "embedded": run_embedded,
    "embedded in a thread": partial(run_embedded, thread=True),
}


async def on_stock(source: Source, inputs: Inputs) -> Ended:
    """The same on the stock host."""
    return await trio.to_thread.run_sync(run_stock, source, inputs)


def backtrace(ended: Ended) -> str:
    """The text of a trap without the offsets in the file, which the trampolines shift."""
    return re.sub(r"\b0x[0-9a-f]+ - ", "", str(ended.trap))
