"""Whether memory comes back: much traffic, many connections and many guests, and what the process holds after each.

    python -m tools.leaks

Every load runs a tenth of its length first, so that what is made once (caches, pools, arenas of the allocator) is
there when the measuring begins. Ends with 1 when a load leaves more than 2 MiB of resident memory, or anything
that can be counted: sockets, file descriptors, threads, memory mappings.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import trio
import trio.testing
import wasmtime
import wasmtime.component

import wasi_sockets
from benchmarks.services import serve
from tools.resident_memory import resident_bytes
from wasi_sockets.engine import Guest
from wasi_sockets.errors import GuestTrap

ROOT = Path(__file__).resolve().parents[1]
ALLOWED_GROWTH: Final = 2 << 20
"""Bytes of resident memory that a load may leave."""

ALLOWED_MAPPINGS: Final = 16
"""Mappings that may be more: the allocator and trio's threads come and go by a few, a guest would leave six."""

PORT: Final = 8080
_ABSENT_PORT: Final = 9
_SIZE: Final = 64
_STEP: Final = 10
"""Guests, hundreds of connections or thousands of round trips between two signs of life."""

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Held:
    """What the process holds at one moment.

    Attributes:
        resident: bytes of memory.
        mappings: lines of /proc/self/maps.
        descriptors: open files.
        threads: of Python.
        sockets: in the virtual network.
        objects: that the garbage collector knows.
    """

    resident: int
    mappings: int
    descriptors: int
    threads: int
    sockets: int
    objects: int


@dataclass(frozen=True)
class Outcome:
    """One load, and what the process held before and after it."""

    load: str
    count: int
    seconds: float
    before: Held
    after: Held

    @property
    def growth(self) -> int:
        """Bytes of resident memory that are there now and were not before."""
        return self.after.resident - self.before.resident

    @property
    def leaks(self) -> list[str]:
        """What it left, in words; empty when all came back."""
        before, after = self.before, self.after
        found = []
        if self.growth > ALLOWED_GROWTH:
            found.append(f"{self.growth / 1048576:.2f} MiB of resident memory")
        if after.mappings - before.mappings > ALLOWED_MAPPINGS:
            found.append(f"{after.mappings - before.mappings} memory mappings")
        for name in ("descriptors", "threads", "sockets"):
            more = getattr(after, name) - getattr(before, name)
            if more > 0:
                found.append(f"{more} {name}")
        return found


class Workshop:
    """One engine, one network and one service for all loads."""

    def __init__(self, network: wasi_sockets.Network) -> None:
        self.network = network
        self._engine = wasmtime.Engine(wasi_sockets.config())
        text = (ROOT / "benchmarks" / "guest.wat").read_text()
        self._component = wasi_sockets.load(self._engine, bytes(wasmtime.wat2wasm(text)), cache=False)
        self._linker = wasmtime.component.Linker(self._engine)
        self._linker.add_wasip2()
        wasi_sockets.add_to_linker(self._linker)

    @asynccontextmanager
    async def guest(self, *, direct_memory: bool = True, thread: bool = False) -> AsyncIterator[Guest]:
        """A new guest in a new store."""
        store = wasmtime.Store(self._engine)
        store.set_wasi(wasmtime.WasiConfig())
        async with wasi_sockets.instantiate(
            self._linker,
            store,
            self._component,
            network=self.network,
            direct_memory=direct_memory,
            thread=thread,
        ) as guest:
            yield guest

    async def round_trips(self, count: int, progress: Progress) -> None:
        """64 bytes there and back, half of them by each transport, in two guests that stay."""
        async with self.guest() as direct, self.guest(direct_memory=False) as copying:
            for done in range(0, count, 2000):
                for guest in (direct, copying):
                    await guest.call("round-trips", PORT, min(1000, max(1, (count - done) // 2)), _SIZE)
                progress(done)

    async def connections(self, count: int, progress: Progress) -> None:
        """Connect, a request and its answer, close; in one guest that stays."""
        async with self.guest() as guest:
            for done in range(0, count, 500):
                await guest.call("connections", PORT, min(500, count - done))
                progress(done)

    async def instances(self, count: int, progress: Progress) -> None:
        """Guests that return, trap with an open connection, are cancelled in the middle, or run in a thread."""
        for number in range(count):
            kind = number % 8
            async with self.guest(direct_memory=kind != 1, thread=kind == 2) as guest:
                if kind == 3:
                    with suppress(wasmtime.WasmtimeError, GuestTrap):
                        await guest.call(
                            "connections", _ABSENT_PORT, 1
                        )  # a refused connect traps in this guest
                elif kind == 4:
                    await self._cut_off(guest)
                else:
                    await guest.call("connections", PORT, 1)
            if number % _STEP == 0:
                progress(number)

    async def _cut_off(self, guest: Guest) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(guest.call, "round-trips", PORT, 1_000_000, _SIZE)
            for _ in range(5):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()


Load = Callable[[Workshop, int, Progress], Awaitable[None]]
LOADS: Final[dict[str, tuple[Load, int]]] = {
    "round trips": (Workshop.round_trips, 200_000),
    "connections": (Workshop.connections, 30_000),
    "instances": (Workshop.instances, 2_000),
}
"""By name, with the length that is asked of each."""


async def _serve(stream: trio.abc.Stream) -> None:
    with suppress(trio.BrokenResourceError):
        await serve(stream)


@asynccontextmanager
async def workshop() -> AsyncIterator[Workshop]:
    """A workshop whose service runs."""
    network = wasi_sockets.Network()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, _serve, [network.listen_tcp(PORT)])
        await trio.lowlevel.checkpoint()
        yield Workshop(network)
        nursery.cancel_scope.cancel()


def held(here: Workshop) -> Held:
    """What the process holds now, without what only awaits collection."""
    return Held(
        resident=resident_bytes(),
        mappings=Path("/proc/self/maps").read_text().count("\n"),
        descriptors=len(os.listdir("/proc/self/fd")),
        threads=threading.active_count(),
        sockets=len(here.network.sockets()),
        objects=len(gc.get_objects()),
    )


async def measure(
    here: Workshop, load: str, count: int, progress: Callable[[str, int, int], None]
) -> Outcome:
    """Run one load, its warm-up first."""
    run, _ = LOADS[load]
    await run(here, max(1, count // 10), lambda done: progress(f"{load}, warming up", done, count // 10))
    await trio.testing.wait_all_tasks_blocked()  # the service has yet to close its ends of connections
    before = held(here)
    start = time.monotonic()
    await run(here, count, lambda done: progress(load, done, count))
    seconds = time.monotonic() - start
    await trio.testing.wait_all_tasks_blocked()
    return Outcome(load, count, seconds, before, held(here))


def _show_progress(load: str, done: int, count: int) -> None:
    print(f"\r\x1b[K{load}: {done} of {count}", end="", file=sys.stderr, flush=True)


def _no_progress(_load: str, _done: int, _count: int) -> None:
    """Nobody watches."""


def _table(outcomes: list[Outcome]) -> str:
    rows = [("load", "count", "seconds", "MiB before", "MiB after", "growth", "mappings", "objects", "")]
    for each in outcomes:
        before, after = each.before, each.after
        rows.append(
            (
                each.load,
                f"{each.count}",
                f"{each.seconds:.1f}",
                f"{before.resident / 1048576:.2f}",
                f"{after.resident / 1048576:.2f}",
                f"{each.growth / 1048576:+.2f}",
                f"{after.mappings - before.mappings:+d}",
                f"{after.objects - before.objects:+d}",
                "LEAKS " + ", ".join(each.leaks) if each.leaks else "ok",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in (0, 8) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


async def _measure_all(scale: float) -> list[Outcome]:
    progress = _show_progress if sys.stderr.isatty() else _no_progress
    async with workshop() as here:
        # All of them once: what one load makes for good must not count against the next.
        for load, (run, count) in LOADS.items():
            await run(here, max(1, int(count * scale) // 20), lambda _done: None)
            progress(f"{load}, first run", 0, 0)
        outcomes = [
            await measure(here, load, max(1, int(count * scale)), progress)
            for load, (_, count) in LOADS.items()
        ]
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    return outcomes


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=float, default=1.0, help="how long, 1 being 200,000 round trips")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    options = parser.parse_args(arguments)
    if not sys.platform.startswith("linux"):
        print("only Linux tells what a process holds", file=sys.stderr)
        return 2
    outcomes = trio.run(_measure_all, options.scale)
    if options.json:
        print(
            json.dumps(
                [{**asdict(each), "growth": each.growth, "leaks": each.leaks} for each in outcomes], indent=2
            )
        )
    else:
        print(_table(outcomes))
    return int(any(each.leaks for each in outcomes))


if __name__ == "__main__":
    sys.exit(main())
