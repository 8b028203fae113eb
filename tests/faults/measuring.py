"""What the process holds before and after faults, and whether others were served meanwhile."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import Final

import trio
from trio.testing import wait_all_tasks_blocked

from service.hosting import Host, Workload
from tools.resident_memory import resident_bytes

__all__ = ["Heartbeat", "Held", "allowed_growth", "answer", "heartbeat", "held_now"]

_FREED_LATE: Final = {"descriptors": 1}
"""A component has a descriptor, and one may be freed late: the idle thread that has loaded it may still refer to it."""

_PERIOD: Final = 0.01


@dataclass(frozen=True)
class Held:
    """What the process holds at one moment.

    Attributes:
        tasks: of trio, all there are.
        threads: of Python, but those that wait for trio to give them something.
        descriptors: open files.
        workloads: on the host.
        resident: bytes of memory.
    """

    tasks: int
    threads: int
    descriptors: int
    workloads: int
    resident: int

    def left_since(self, before: Held, growth: int) -> list[str]:
        """What is more than before, in words; empty when all came back.

        Args:
            before: what was held then.
            growth: bytes that memory may be more.
        """
        found = [
            f"{more} {each.name}"
            for each in fields(self)
            if each.name != "resident"
            and (more := getattr(self, each.name) - getattr(before, each.name))
            > _FREED_LATE.get(each.name, 0)
        ]
        if self.resident - before.resident > growth:
            found.append(f"{(self.resident - before.resident) / 1048576:.2f} MiB of resident memory")
        return found


def allowed_growth(rounds: int) -> int:
    """Bytes of resident memory that rounds may leave.

    One guest's memory may be freed late, and the allocator's pages come and go by a few MiB; so few rounds tell nothing
    small.
    """
    return 8 << 20 if rounds >= 10 else 64 << 20


async def held_now(host: Host) -> Held:
    """What is held once all has come to rest, without what only awaits collection."""
    await wait_all_tasks_blocked()
    on_linux = sys.platform.startswith("linux")
    gc.collect()
    return Held(
        tasks=trio.lowlevel.current_statistics().tasks_living,
        threads=sum(not each.name.startswith("Trio thread") for each in threading.enumerate()),
        descriptors=len(os.listdir("/proc/self/fd")) if on_linux else 0,
        workloads=len(host.workloads),
        resident=resident_bytes() if on_linux else 0,
    )


async def answer(workload: Workload, port: int, text: bytes = b"hello") -> bytes:
    """What a service says to one request."""
    async with await workload.network.connect_tcp("127.0.0.1", port) as stream:
        await stream.send_all(text)
        return bytes(await stream.receive_some())


class Heartbeat:
    """A client that goes on asking a service which has nothing to do with the faults.

    Attributes:
        answers: how many it got.
        slowest: seconds that one took at most.
    """

    def __init__(self, workload: Workload, port: int) -> None:
        self.answers = 0
        self.slowest = 0.0
        self._workload: Final = workload
        self._port: Final = port
        self._answered = trio.Event()

    async def beat(self) -> None:
        """Ask, for ever. What is no answer ends it, and the test."""
        while True:
            asked = time.perf_counter()
            assert await answer(self._workload, self._port) == b"HELLO"
            self.slowest = max(self.slowest, time.perf_counter() - asked)
            self.answers += 1
            self._answered.set()
            self._answered = trio.Event()
            await trio.sleep(_PERIOD)

    async def more(self, count: int) -> None:
        """Wait for so many further answers."""
        wanted = self.answers + count
        while self.answers < wanted:
            await self._answered.wait()


@asynccontextmanager
async def heartbeat(workload: Workload, port: int) -> AsyncIterator[Heartbeat]:
    """Asks while the block runs."""
    async with trio.open_nursery() as nursery:
        beating = Heartbeat(workload, port)
        nursery.start_soon(beating.beat)
        yield beating
        nursery.cancel_scope.cancel()
