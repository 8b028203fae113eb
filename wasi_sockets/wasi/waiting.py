"""Waiting, as a trio task, for what wakes through callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import trio

__all__ = ["wait_until_ready"]


class _Waitable(Protocol):
    def ready(self) -> bool: ...
    def add_waiter(self, wake: Callable[[], None], /) -> None: ...
    def remove_waiter(self, wake: Callable[[], None], /) -> None: ...


async def wait_until_ready(waitable: _Waitable) -> None:
    """Wait until `waitable.ready()`. No checkpoint when it already is."""
    while not waitable.ready():
        changed = trio.Event()
        waitable.add_waiter(changed.set)
        try:
            await changed.wait()
        finally:
            waitable.remove_waiter(changed.set)
