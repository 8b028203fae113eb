"""Guests that take all they can get, and as often as they can."""

from __future__ import annotations

import pytest
import trio
import trio.testing
import wasmtime

import wasi_sockets
from tests.hostile.attack import ECHO_PORT, connect, handles_at, start
from tests.hostile.raw_guest import MEMORY_PAGES
from wasi_sockets.engine.handles import DEFAULT_LIMIT
from wasi_sockets.errors import GuestTrap
from wasi_sockets.wasi import Limits

RESULT = 2048
NEW_SOCKET_LIMIT = 10
TRANSPORTS = pytest.mark.parametrize("direct_memory", [True, False], ids=["direct", "copy"])


async def test_handles_come_to_an_end() -> None:
    async with start(wasi_sockets.Network()) as guest:
        await guest.call("many-networks", DEFAULT_LIMIT)
        with pytest.raises(GuestTrap, match="no free keys"):
            await guest.call("instance-network")


async def test_pollables_come_to_an_end() -> None:
    async with start(wasi_sockets.Network(), memory=1 << 30) as guest:
        with pytest.raises(GuestTrap, match="too many pollables"):
            await guest.call("many-timers", 1 << 21)


async def test_pollables_count_against_the_memory_of_the_guest() -> None:
    async with start(wasi_sockets.Network(), memory=16 << 20) as guest:
        with pytest.raises(wasmtime.WasmtimeError, match="unreachable"):
            await guest.call("many-timers", 1 << 20)


async def test_sockets_come_to_an_end_and_dropping_one_makes_room() -> None:
    async with start(wasi_sockets.Network(), limits=Limits(sockets=3)) as guest:
        sockets = []
        for _ in range(3):
            await guest.call("create-tcp-socket", 0, RESULT)
            sockets += await handles_at(guest, 1)
        for name in ("create-tcp-socket", "create-udp-socket"):
            await guest.call(name, 0, RESULT)
            assert await guest.call("load", RESULT) & 0xFF == 1
            assert await guest.call("load", RESULT + 4) & 0xFF == NEW_SOCKET_LIMIT
        await guest.call("drop-tcp-socket", sockets[1])
        await guest.call("create-tcp-socket", 0, RESULT)
        assert await handles_at(guest, 1) != [sockets[1]]  # not the same handle again


async def test_a_handle_comes_back_only_after_many_others() -> None:
    """An index that is used again has another generation, and rests as long as it can."""
    async with start(wasi_sockets.Network()) as guest:
        seen = set()
        for _ in range(600):
            handle = await guest.call("instance-network")
            seen.add(handle)
            await guest.call("drop-network", handle)
        assert len(seen) == 512
        with pytest.raises(GuestTrap, match="unknown handle"):
            await guest.call("drop-network", handle)


async def test_a_pollable_comes_back_only_after_many_others() -> None:
    async with start(wasi_sockets.Network()) as guest:
        seen = set()
        for _ in range(600):
            handle = await guest.call("subscribe-duration", 0)
            seen.add(handle)
            await guest.call("drop-pollable", handle)
        assert len(seen) == 512
        with pytest.raises(GuestTrap, match="unknown handle"):
            await guest.call("pollable-ready", handle)


@TRANSPORTS
async def test_dropping_twice_and_using_after_dropping(direct_memory: bool) -> None:
    for name, arguments in (
        ("drop-input-stream", ()),
        ("input-stream-read", (8, RESULT)),
        ("input-stream-subscribe", ()),
    ):
        network = wasi_sockets.Network()
        async with network.listen_tcp(ECHO_PORT), start(network, direct_memory=direct_memory) as guest:
            _, incoming, _ = await connect(guest)
            await guest.call("drop-input-stream", incoming)
            with pytest.raises(GuestTrap, match="unknown handle"):
                await guest.call(name, incoming, *arguments)


@pytest.mark.parametrize(
    ("parent", "child"),
    [
        ("tcp-socket", "streams"),
        ("tcp-socket", "pollable"),
        ("input-stream", "pollable"),
        ("output-stream", "pollable"),
        ("udp-socket", "pollable"),
    ],
)
async def test_a_parent_with_children_cannot_be_dropped(parent: str, child: str) -> None:
    """As in stock: `ResourceTable::delete` fails with `HasChildren`."""
    network = wasi_sockets.Network()
    async with network.listen_tcp(ECHO_PORT), start(network) as guest:
        if child == "streams":
            handle, *_ = await connect(guest)
        elif "stream" in parent:
            handle = (await connect(guest))[1 if parent == "input-stream" else 2]
        else:
            await guest.call(f"create-{parent}", 0, RESULT)
            (handle,) = await handles_at(guest, 1)
        if child == "pollable":
            pollables = [await guest.call(f"{parent}-subscribe", handle) for _ in range(2)]
            await guest.call("drop-pollable", pollables[0])
        with pytest.raises(GuestTrap, match="resource has children"):
            await guest.call(f"drop-{parent}", handle)


class Pace:
    """Counts the turns that the loop gives to others."""

    def __init__(self) -> None:
        self.turns = 0

    async def run(self) -> None:
        while True:
            self.turns += 1
            await trio.lowlevel.checkpoint()


async def test_a_poll_of_a_hundred_thousand_lets_others_run() -> None:
    network = wasi_sockets.Network()
    async with network.listen_tcp(ECHO_PORT), start(network) as guest, trio.open_nursery() as nursery:
        _, incoming, _ = await connect(guest)
        pollable = await guest.call("input-stream-subscribe", incoming)
        await guest.call("grow", 16)
        await guest.call("repeat", MEMORY_PAGES << 16, pollable, 100_000)
        timer = await guest.call("subscribe-duration", 0)
        await guest.call("store", (MEMORY_PAGES << 16) + 400, timer)
        pace = Pace()
        nursery.start_soon(pace.run)
        await trio.lowlevel.checkpoint()
        before = pace.turns
        await guest.call("choose", 0)
        await guest.call("misbehave", 1)
        await guest.call("poll", MEMORY_PAGES << 16, 100_000, RESULT)
        assert await guest.call("load", RESULT + 4) == 1
        assert await guest.call("load", 0) == 100
        assert pace.turns - before > 20
        nursery.cancel_scope.cancel()


async def test_a_poll_of_a_million_traps() -> None:
    network = wasi_sockets.Network()
    async with network.listen_tcp(ECHO_PORT), start(network) as guest:
        _, incoming, _ = await connect(guest)
        pollable = await guest.call("input-stream-subscribe", incoming)
        await guest.call("grow", 64)
        await guest.call("repeat", MEMORY_PAGES << 16, pollable, 1_000_000)
        with pytest.raises(GuestTrap, match="too many pollables"):
            await guest.call("poll", MEMORY_PAGES << 16, 1_000_000, RESULT)
