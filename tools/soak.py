"""A long mixed load: publish, forward, guests that come and go, and services that restart; and what it leaves behind.

    python -m tools.soak [SECONDS] [--json]

At once, until the time is over: real clients at a published port whose service restarts now and then; clients in the
network at a forwarded port; a guest that serves a published port, ended and started anew; guests that are clients.
Every answer is checked. Ends with 1 when a connection failed that no restart explains, when anything is left that can
be counted, or, in a run of a minute or more, when resident memory has grown by more than 4 MiB after the first quarter.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio
import trio.testing
import wasmtime

import wasi_sockets
from tools.resident_memory import resident_bytes

ROOT: Final = Path(__file__).resolve().parents[1]
GUESTS: Final = ROOT / "build" / "guests"
ALLOWED_GROWTH: Final = 4 << 20
"""Bytes of resident memory that it may grow by after the first quarter."""
SETTLED: Final = 60.0
"""Seconds from which a run tells of memory: in a shorter one it still fills what it goes on to use."""

_SERVICE, _FORWARDED, _GUEST_SERVICE = 8080, 8081, 8082
_SIZES: Final = (1, 100, 10_000, 300_000)


@dataclass(frozen=True)
class Held:
    """What the process holds at one moment.

    Attributes:
        resident: bytes of memory.
        descriptors: open files and real sockets.
        threads: of Python.
        tasks: of trio.
        sockets: in the network.
    """

    resident: int
    descriptors: int
    threads: int
    tasks: int
    sockets: int


@dataclass(frozen=True)
class Outcome:
    """What a soak found.

    Attributes:
        seconds: how long it went on.
        done: how often each kind of work was done.
        excused: connections cut by a restart.
        failures: what went wrong otherwise, at most ten of them.
        warm: what was held after the first quarter, all work still going on.
        before: what was held after a short first run.
        end: what was held at the end of the time, all work still going on.
        after: what was held when all had ended.
    """

    seconds: float
    done: dict[str, int]
    excused: int
    failures: list[str]
    before: Held
    warm: Held
    end: Held
    after: Held

    @property
    def growth(self) -> int:
        """Bytes of resident memory from the first quarter to the end, under the same load."""
        return self.end.resident - self.warm.resident

    @property
    def leaks(self) -> list[str]:
        """What was left behind, in words."""
        left = [
            f"{after - before} {name}"
            for name in ("descriptors", "tasks", "sockets")
            if (after := getattr(self.after, name)) > (before := getattr(self.before, name))
        ]
        if self.seconds >= SETTLED and self.growth > ALLOWED_GROWTH:
            left.append(f"{self.growth / 1048576:.1f} MiB")
        return left


class Soak:
    """The network, and all that goes on in it."""

    def __init__(self) -> None:
        self.network = wasi_sockets.Network()
        self.engine = wasmtime.Engine(wasi_sockets.config())
        self.client = wasi_sockets.load(self.engine, GUESTS / "c-echo-0.2.12.wasm")
        self.server = wasi_sockets.load(self.engine, GUESTS / "c-server-0.2.12.wasm")
        self.done: Counter[str] = Counter()
        self.excused = 0
        self.failures: list[str] = []
        self.restarts = 0
        self._random = random.Random(4)

    def held(self) -> Held:
        """What the process holds now, without what only awaits collection or is only kept for the next allocation."""
        return Held(
            resident=resident_bytes(),
            descriptors=len(os.listdir("/proc/self/fd")),
            threads=threading.active_count(),
            tasks=trio.lowlevel.current_statistics().tasks_living,
            sockets=len(self.network.sockets()),
        )

    async def work(self, seconds: float) -> tuple[Held, Held]:
        """All of it for so long; gives what was held after the first quarter, and at the end."""
        network = self.network
        async with trio.open_nursery() as nursery:
            [listener] = await nursery.start(partial(trio.serve_tcp, _echo, 0, host="127.0.0.1"))
            real_port = listener.socket.getsockname()[1]
            await nursery.start(partial(network.forward, _FORWARDED, ("127.0.0.1", real_port)))
            published = await nursery.start(network.publish, _SERVICE)
            guest_published = await nursery.start(network.publish, _GUEST_SERVICE)
            nursery.start_soon(self._restarting, self._service)
            nursery.start_soon(self._restarting, self._guest_service)
            for _ in range(3):
                nursery.start_soon(self._ask, "published service", partial(_real, published.port), bytes)
                nursery.start_soon(
                    self._ask, "forward", partial(network.connect_tcp, "127.0.0.1", _FORWARDED), bytes
                )
                nursery.start_soon(
                    self._ask, "guest service", partial(_real, guest_published.port), bytes.upper
                )
            nursery.start_soon(self._guest_clients)
            await trio.sleep(seconds / 4)
            warm = self.held()
            await trio.sleep(seconds * 3 / 4)
            end = self.held()
            nursery.cancel_scope.cancel()
        return warm, end

    async def _restarting(self, run: Callable[[], Awaitable[object]]) -> None:
        while True:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run)
                await trio.sleep(self._random.uniform(0.5, 2))
                self.restarts += 1  # before anybody can notice
                nursery.cancel_scope.cancel()

    async def _service(self) -> None:
        await self.network.serve_tcp(_echo, _SERVICE)

    async def _guest_service(self) -> None:
        self.done["guest servers"] += 1
        words = [str(_GUEST_SERVICE), "1000000000", "127.0.0.1"]
        await wasi_sockets.run(
            self.server, words, engine=self.engine, network=self.network, stdin=None, stdout=None
        )

    async def _guest_clients(self) -> None:
        words = ["127.0.0.1", str(_FORWARDED), "20", "64"]
        while True:
            code = await wasi_sockets.run(
                self.client, words, engine=self.engine, network=self.network, stdin=None, stdout=None
            )
            self._note("guest clients", None if code == 0 else f"exit code {code}")

    async def _ask(
        self, kind: str, connect: Callable[[], Awaitable[Any]], answer_to: Callable[[bytes], bytes]
    ) -> None:
        """Connect, send, half-close, and compare what comes back; again and again."""
        while True:
            restarts = self.restarts
            size = self._random.choice(_SIZES)
            text = self._random.randbytes(16) * (size // 16 + 1)
            try:
                answer = await _exchange(await connect(), text)
            except (OSError, trio.BrokenResourceError) as error:
                problem = f"{type(error).__name__}: {error}"
            except ExceptionGroup as group:
                if group.split((OSError, trio.BrokenResourceError))[1] is not None:
                    raise
                problem = f"{group.exceptions[0]}"
            else:
                problem = None if answer == answer_to(text) else f"{len(answer)} bytes back for {len(text)}"
            if problem is not None and kind != "forward" and restarts != self.restarts:
                self.excused += 1
            else:
                self._note(kind, problem)

    def _note(self, kind: str, problem: str | None) -> None:
        if problem is None:
            self.done[kind] += 1
        elif len(self.failures) < 10:
            self.failures.append(f"{kind}: {problem}")


async def _exchange(stream: Any, text: bytes) -> bytes:
    async with stream, trio.open_nursery() as nursery:

        async def send() -> None:
            await stream.send_all(text)
            await stream.send_eof()

        nursery.start_soon(send)
        received = bytearray()
        async for data in stream:
            received += data
        return bytes(received)


async def _real(port: int) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", port)


async def _echo(stream: Any) -> None:
    try:
        async for data in stream:
            await stream.send_all(data)
        await stream.send_eof()
    except trio.BrokenResourceError:
        pass  # a client that was cut off


async def soak(seconds: float) -> Outcome:
    """Soak for so long."""
    here = Soak()
    # What is made once, such as an engine's ticker, is there from now on.
    await here.work(min(2.0, seconds / 4))
    await trio.testing.wait_all_tasks_blocked()
    here.done.clear()
    before = here.held()
    start = time.monotonic()
    warm, end = await here.work(seconds)
    await trio.testing.wait_all_tasks_blocked()
    return Outcome(
        seconds=time.monotonic() - start,
        done=dict(here.done),
        excused=here.excused,
        failures=here.failures,
        before=before,
        warm=warm,
        end=end,
        after=here.held(),
    )


def _report(outcome: Outcome) -> str:
    lines = [f"{outcome.seconds:.0f} seconds, {outcome.excused} connections cut by restarts"]
    lines += [f"  {kind:18} {count:8,}" for kind, count in sorted(outcome.done.items())]
    lines.append(f"{'':20} {'before':>9} {'warm':>9} {'end':>9} {'after':>9}")
    for name in ("descriptors", "threads", "tasks", "sockets"):
        values = (getattr(each, name) for each in (outcome.before, outcome.warm, outcome.end, outcome.after))
        lines.append(f"  {name:18} " + " ".join(f"{value:9}" for value in values))
    resident = (
        each.resident / 1048576 for each in (outcome.before, outcome.warm, outcome.end, outcome.after)
    )
    lines.append(f"  {'resident MiB':18} " + " ".join(f"{value:9.1f}" for value in resident))
    lines += [f"FAILED {failure}" for failure in outcome.failures]
    if outcome.seconds < SETTLED:
        lines.append(f"memory: {SETTLED:.0f} seconds or more would tell")
    lines.append(f"LEFT BEHIND {', '.join(outcome.leaks)}" if outcome.leaks else "nothing left behind")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("seconds", nargs="?", type=float, default=600.0, help="how long (600)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args(arguments)
    if not sys.platform.startswith("linux"):
        print("only Linux tells what a process holds", file=sys.stderr)
        return 2
    outcome = trio.run(soak, options.seconds)
    if options.json:
        print(json.dumps({**asdict(outcome), "growth": outcome.growth, "leaks": outcome.leaks}, indent=2))
    else:
        print(_report(outcome))
    return int(bool(outcome.leaks or outcome.failures))


if __name__ == "__main__":
    sys.exit(main())
