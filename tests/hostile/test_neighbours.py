"""Guests beside each other: what one does is nothing to the others."""

from __future__ import annotations

import pytest
import trio
import trio.testing
import wasmtime

import wasi_sockets
from tests.hostile.attack import ECHO_PORT, Disturbance, arena, connect, round_trip, start
from tests.hostile.raw_guest import Lie, raw_guest
from tests.hostile.sequences import Step
from wasi_sockets.errors import GuestTrap

RESULT = 2048

WAYS = {
    "forged handle": [Step("drop-network", (0x4000_4321,))],
    "out of memory": [Step("load", ((1 << 32) - 1,))],
    "bad pointer": [Step("create-tcp-socket", (0, (1 << 32) - 8))],
    "bad discriminant": [Step("create-tcp-socket", (7, RESULT))],
    "trap in realloc": [Step("misbehave", (Lie.TRAPS,)), Step("poll", (1036, 1, RESULT))],
    "waits for ever": [Step("pollable-block", (0x6000_0000,))],
    "too deep": [Step("deep", (1 << 24,))],
    "too much memory": [Step("grow", (65535,)), Step("fill", (0, 1, (1 << 32) - 1))],
    "empty poll": [Step("poll", (0, 0, RESULT))],
    "too much sent": [Step("output-stream-write", (0x4000_0002, 0, 131072, RESULT))] * 3,
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_victim_goes_on_while_an_attacker_ends(
    way: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with arena() as here:
        for direct_memory in (True, False):
            outcome = await here.attack(WAYS[way], direct_memory=direct_memory)
            assert outcome in (("waited",) if way == "waits for ever" else ("trapped", "wasm trap"))
            await here.check()


@pytest.mark.parametrize("way", [way for way in WAYS if way != "waits for ever"])
async def test_a_victim_goes_on_while_an_attacker_in_a_thread_ends(way: str) -> None:
    async with arena() as here:
        assert await here.attack(WAYS[way], thread=True) in ("trapped", "wasm trap")
        await here.check()


async def test_many_guests_in_threads_and_tasks_at_once() -> None:
    network = wasi_sockets.Network()

    async def serve(stream: trio.abc.Stream) -> None:
        async with stream:
            try:
                while data := await stream.receive_some():
                    await stream.send_all(data)
            except trio.BrokenResourceError:
                pass

    async def honest(number: int) -> None:
        async with start(network, thread=number % 2 == 0, direct_memory=number % 3 != 0) as guest:
            _, incoming, outgoing = await connect(guest)
            for trip in range(20):
                await round_trip(guest, incoming, outgoing, number << 16 | trip)

    async def hostile(number: int) -> None:
        for attempt in range(5):
            async with start(network, thread=number % 2 == 0) as guest:
                await connect(guest)
                with pytest.raises((GuestTrap, wasmtime.WasmtimeError)) as caught:
                    await guest.call("drop-network", 0x4000_0000 | number << 8 | attempt << 4 | 15)
                # Its own error, not that of another guest.
                assert f"{0x4000_0000 | number << 8 | attempt << 4 | 15:#x}" in str(caught.value)

    async with trio.open_nursery() as services:
        services.start_soon(trio.serve_listeners, serve, [network.listen_tcp(ECHO_PORT)])
        await trio.lowlevel.checkpoint()
        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(honest, number)
                nursery.start_soon(hostile, number)
        services.cancel_scope.cancel()


async def test_guests_of_two_engines() -> None:
    other = wasmtime.Engine(wasi_sockets.config())
    guest_there = wasi_sockets.load(other, raw_guest(), cache=False)
    linker = wasmtime.component.Linker(other)
    linker.add_wasip2()
    wasi_sockets.add_to_linker(linker)
    store = wasmtime.Store(other)
    store.set_wasi(wasmtime.WasiConfig())
    network = wasi_sockets.Network()
    listener = network.listen_tcp(ECHO_PORT)
    async with (
        listener,
        start(network) as here,
        wasi_sockets.instantiate(linker, store, guest_there, network=network) as there,
    ):
        _, incoming, _ = await connect(here)
        stream = await listener.accept()
        with pytest.raises(GuestTrap):
            await there.call("input-stream-read", incoming, 4, RESULT)
        await stream.send_all(b"abcd")
        await here.call("input-stream-blocking-read", incoming, 4, RESULT)
        assert not here.closed
        assert there.closed
        await stream.aclose()


async def test_a_disturbance_would_be_noticed() -> None:
    """What makes the tests here mean something."""
    async with arena() as here:
        await here.check()
        stray = here.network.listen_tcp(1234)
        with pytest.raises(Disturbance, match="left behind"):
            await here.check()
        await stray.aclose()
        await here.check()
