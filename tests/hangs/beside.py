"""Measuring, in turns of the trio loop and not in seconds, that a guest does not get in the way of others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

__all__ = ["Beside", "Guest", "beside"]

Guest = Callable[[], Awaitable[object]]

_TURNS_TO_END = 40
"""A cancelled guest must be gone after so many turns of the loop: some for its own end, and some for its tasks."""


class Beside:
    """A guest that runs, and a plain task beside it.

    Attributes:
        turns: how often the loop came round to the plain task.
        ended: the guest has returned or raised.
    """

    def __init__(self) -> None:
        self.turns = 0
        self.ended = False

    async def pace(self, turns: int) -> None:
        """Wait until the plain task has had so many more turns, the guest still being there."""
        wanted = self.turns + turns
        while self.turns < wanted:
            await trio.lowlevel.checkpoint()
        assert not self.ended

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that the guest does."""
        while not condition():
            await trio.lowlevel.checkpoint()


@asynccontextmanager
async def beside(guest: Guest) -> AsyncIterator[Beside]:
    """Runs a guest in a task for the time of the block, then cancels it, which may take only few turns."""
    state = Beside()

    async def life() -> None:
        try:
            await guest()
        finally:
            state.ended = True

    async def count() -> None:
        while True:
            await trio.lowlevel.checkpoint()
            state.turns += 1

    with trio.fail_after(60):
        async with trio.open_nursery() as counting:
            counting.start_soon(count)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(life)
                yield state
                cancelled = state.turns
                nursery.cancel_scope.cancel()
            assert state.ended
            assert state.turns - cancelled <= _TURNS_TO_END
            counting.cancel_scope.cancel()
