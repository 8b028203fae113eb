"""Carrying out attacks: one guest for each, beside a victim whose traffic must not be disturbed."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import trio
import trio.testing
import wasmtime
import wasmtime.component

import wasi_sockets
from tests.hostile.raw_guest import Lie, raw_guest
from tests.hostile.sequences import Known, Step
from wasi_sockets.engine import Guest
from wasi_sockets.errors import GuestTrap

__all__ = [
    "ECHO_PORT",
    "Arena",
    "Disturbance",
    "Outcome",
    "arena",
    "connect",
    "engine",
    "handles_at",
    "round_trip",
    "start",
]

ECHO_PORT = 7
_RESULT = 2048
_BLOCKED = 1000.0
"""Seconds of a mock clock after which a guest counts as waiting for ever."""

Outcome = str


class Disturbance(Exception):
    """An attack did more than end its own guest."""


@cache
def engine() -> wasmtime.Engine:
    """One engine: compiling is what costs."""
    return wasmtime.Engine(wasi_sockets.config())


@cache
def _linker() -> wasmtime.component.Linker:
    linker = wasmtime.component.Linker(engine())
    linker.add_wasip2()
    wasi_sockets.add_to_linker(linker)
    return linker


@cache
def component(wasm: bytes) -> wasi_sockets.GuestComponent:
    """A guest, compiled once."""
    return wasi_sockets.load(engine(), wasm)


@asynccontextmanager
async def start(
    network: wasi_sockets.Network, wasm: bytes | None = None, *, memory: int = 64 << 20, **options: Any
) -> AsyncIterator[Guest]:
    """A raw guest, or another, with at most so many bytes for each of its memories."""
    store = wasmtime.Store(engine())
    store.set_limits(memory_size=memory)
    store.set_wasi(wasmtime.WasiConfig())
    guest = component(raw_guest() if wasm is None else wasm)
    async with wasi_sockets.instantiate(_linker(), store, guest, network=network, **options) as running:
        yield running


async def handles_at(guest: Guest, count: int, at: int = _RESULT) -> list[int]:
    """The handles of a `result` whose ok value is a handle or a tuple of them.

    Raises:
        Disturbance: it is an error.
    """
    if await guest.call("load", at) & 0xFF:
        raise Disturbance(f"error code {await guest.call('load', at + 4)}")
    return [await guest.call("load", at + 4 + 4 * number) for number in range(count)]


async def connect(guest: Guest, port: int = ECHO_PORT) -> tuple[int, int, int]:
    """Connect in good order: the socket and its streams."""
    network = await guest.call("instance-network")
    await guest.call("create-tcp-socket", 0, _RESULT)
    (socket,) = await handles_at(guest, 1)
    await guest.call("tcp-socket-start-connect", socket, network, 0, port, 127, 0, 0, 1, *[0] * 6, _RESULT)
    await handles_at(guest, 0)
    await guest.call("tcp-socket-finish-connect", socket, _RESULT)
    incoming, outgoing = await handles_at(guest, 2)
    return socket, incoming, outgoing


async def round_trip(guest: Guest, incoming: int, outgoing: int, word: int) -> None:
    """Send four bytes to the echo service and wait for them.

    Raises:
        Disturbance: something else came back.
    """
    await guest.call("store", 512, word)
    await guest.call("output-stream-blocking-write-and-flush", outgoing, 512, 4, _RESULT)
    await handles_at(guest, 0)
    await guest.call("input-stream-blocking-read", incoming, 4, _RESULT)
    at, size = await handles_at(guest, 2)
    if size != 4 or await guest.call("load", at) != word:
        raise Disturbance(f"{size} bytes came back: {await guest.call('load', at):#x} for {word:#x}")


class _Handles:
    """What the attacker has been given, by resource."""

    def __init__(self) -> None:
        self._known: dict[str, list[int]] = {}

    def add(self, resource: str, handle: int) -> None:
        self._known.setdefault(resource, []).append(handle)

    def resolve(self, known: Known) -> int:
        found = self._known.get(known.resource)
        return (found[known.index % len(found)] if found else 0) ^ known.flipped


async def _prepare(guest: Guest) -> _Handles:
    """One object of each kind, and some in a state that is worth attacking."""
    known = _Handles()
    network = await guest.call("instance-network")
    known.add("network", network)
    socket, incoming, outgoing = await connect(guest)
    known.add("tcp-socket", socket)
    known.add("input-stream", incoming)
    known.add("output-stream", outgoing)
    for name, handle in (
        ("input-stream-subscribe", incoming),
        ("output-stream-subscribe", outgoing),
        ("tcp-socket-subscribe", socket),
        ("subscribe-duration", 1000),
    ):
        known.add("pollable", await guest.call(name, handle))
    await guest.call("create-tcp-socket", 0, _RESULT)
    (listener,) = await handles_at(guest, 1)
    known.add("tcp-socket", listener)
    await guest.call("tcp-socket-start-bind", listener, network, 0, 0, 127, 0, 0, 1, *[0] * 6, _RESULT)
    for name in ("finish-bind", "start-listen", "finish-listen"):
        await guest.call(f"tcp-socket-{name}", listener, _RESULT)
        await handles_at(guest, 0)
    await guest.call("create-tcp-socket", 1, _RESULT)
    known.add("tcp-socket", (await handles_at(guest, 1))[0])
    await guest.call("create-udp-socket", 0, _RESULT)
    (datagrams,) = await handles_at(guest, 1)
    known.add("udp-socket", datagrams)
    await guest.call("udp-socket-start-bind", datagrams, network, 0, 0, 127, 0, 0, 1, *[0] * 6, _RESULT)
    await guest.call("udp-socket-finish-bind", datagrams, _RESULT)
    await guest.call("udp-socket-stream", datagrams, 0, *[0] * 12, _RESULT)
    received, sent = await handles_at(guest, 2)
    known.add("incoming-datagram-stream", received)
    known.add("outgoing-datagram-stream", sent)
    await guest.call("fill", 1024, ord("a"), 4)
    await guest.call("resolve-addresses", network, 1024, 0, _RESULT)
    known.add("input-stream", await guest.call("get-stdin"))
    known.add("output-stream", await guest.call("get-stdout"))
    known.add("pollable", await guest.call("input-stream-subscribe", known.resolve(Known("input-stream", 1))))
    # A list for poll at 1024, a string or list for others at 0.
    for number in range(4):
        await guest.call("store", 1024 + 4 * number, known.resolve(Known("pollable", number)))
    return known


async def _echo(stream: trio.abc.HalfCloseableStream) -> None:
    async with stream:
        try:
            async for data in stream:
                await stream.send_all(data)
        except trio.BrokenResourceError:
            pass  # the guest at the other end was cut off


class Arena:
    """A network with an echo service, a victim connected to it, and room for attackers.

    Attributes:
        network: the one they all share.
        outcomes: how the attacks ended.
    """

    def __init__(self, network: wasi_sockets.Network, victim: Guest, streams: tuple[int, int]) -> None:
        self.network = network
        self.outcomes: Counter[Outcome] = Counter()
        self._victim = victim
        self._streams = streams
        self._trips = 0
        self._undisturbed = len(network.sockets())

    async def check(self) -> None:
        """Nothing is left of the attackers, and the victim's connection is as it was.

        Raises:
            Disturbance: otherwise.
        """
        await trio.testing.wait_all_tasks_blocked()
        sockets = self.network.sockets()
        if len(sockets) != self._undisturbed:
            raise Disturbance(f"sockets were left behind: {sockets}")
        self._trips += 1
        await round_trip(self._victim, *self._streams, 0x1234_0000 + (self._trips & 0xFFFF))

    async def attack(self, steps: Iterable[Step], **options: Any) -> Outcome:
        """Carry out one attack in a new guest.

        Args:
            steps: the calls.
            options: for `wasi_sockets.instantiate`.

        Returns:
            How it ended: "survived", "trapped", "wasm trap" or "waited".

        Raises:
            Disturbance: in any other way.
        """
        outcome, failure = "survived", None
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(_BLOCKED) as scope:
                try:
                    async with start(self.network, **options) as guest:
                        await _carry_out(guest, steps, lambda: nursery.start_soon(_stop_spinning, scope))
                except GuestTrap:
                    outcome = "trapped"
                except wasmtime.WasmtimeError:
                    outcome = "wasm trap"
                except Exception as error:
                    failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise Disturbance(f"the attacker was told {type(failure).__name__}: {failure}") from failure
        if scope.cancelled_caught:
            outcome = "waited"
        self.outcomes[outcome] += 1
        return outcome


async def _carry_out(guest: Guest, steps: Iterable[Step], spins: Callable[[], None]) -> None:
    try:
        known = await _prepare(guest)
    except Exception as error:
        raise Disturbance("an honest beginning failed") from error
    for step in steps:
        arguments = [each if isinstance(each, int) else known.resolve(each) for each in step.arguments]
        if step.function == "misbehave" and arguments == [Lie.SPINS]:
            spins()
        result = await guest.call(step.function, *arguments)
        if "subscribe" in step.function:
            known.add("pollable", result)


async def _stop_spinning(scope: trio.CancelScope) -> None:
    """No mock clock runs on while a guest computes: cancel it after so many of its ticks."""
    for _ in range(20):
        await trio.lowlevel.checkpoint()
    scope.cancel()


@asynccontextmanager
async def arena() -> AsyncIterator[Arena]:
    """An arena, for the length of a block."""
    network = wasi_sockets.Network(clock=trio.current_time)
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, _echo, [network.listen_tcp(ECHO_PORT)])
        async with start(network) as victim:
            _, incoming, outgoing = await connect(victim)
            await trio.testing.wait_all_tasks_blocked()
            yield Arena(network, victim, (incoming, outgoing))
        nursery.cancel_scope.cancel()
