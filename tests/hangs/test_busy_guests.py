"""Guests that compute or ask without end: all others keep their pace, and a cancellation reaches them at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio

import wasi_sockets
from tests.guest_runs import TRANSPORTS, Inputs, echo, run_embedded, run_interposed
from tests.hangs.beside import Guest, beside

Network = wasi_sockets.Network

BUSY = {
    "an endless loop": ("spin", []),
    "poll with a timeout of zero": ("spin-on-poll", []),
    "a CPython loop": ("python", ["compute"]),
}
every_busy_guest = pytest.mark.parametrize(("name", "arguments"), BUSY.values(), ids=BUSY)
both_ways = pytest.mark.parametrize("thread", [False, True], ids=["on the loop", "in a thread"])


@pytest.fixture
def source(
    guest_file: Callable[[str], Path], wat_guest: Callable[[str], bytes]
) -> Callable[[str], Path | bytes]:
    return lambda name: guest_file(name) if name == "python" else wat_guest(name)


@both_ways
@every_busy_guest
async def test_a_plain_task_keeps_its_pace(
    name: str, arguments: list[str], thread: bool, source: Callable[[str], Path | bytes], network: Network
) -> None:
    guest = source(name)
    async with beside(
        lambda: run_embedded(guest, Inputs(arguments), network=network, thread=thread)
    ) as running:
        await running.pace(300)


@both_ways
@every_busy_guest
async def test_another_guest_keeps_its_pace(
    name: str,
    arguments: list[str],
    thread: bool,
    source: Callable[[str], Path | bytes],
    guest_file: Callable[[str], Path],
    network: Network,
) -> None:
    busy, other = source(name), guest_file("c-echo-0.2.12")
    async with (
        beside(lambda: run_embedded(busy, Inputs(arguments), network=network, thread=thread)) as running,
        trio.open_nursery() as services,
    ):
        before = 0

        async def counted_echo(stream: trio.abc.Stream) -> None:
            nonlocal before
            before = (
                running.turns
            )  # not earlier: how long loading takes depends on what else the machine does
            await echo(stream)

        services.start_soon(trio.serve_listeners, counted_echo, [network.listen_tcp(8080)])
        ended = await run_interposed(other, Inputs(["127.0.0.1", "8080", "100"]), network=network)
        assert ended.succeeded().lines == ["echoed 3200 bytes in 100 round trips"]
        assert not running.ended
        # Each round trip takes a few turns, whether somebody computes or not.
        assert 0 < running.turns - before < 2000
        services.cancel_scope.cancel()


async def test_several_busy_guests(source: Callable[[str], Path | bytes], network: Network) -> None:
    guests: list[Guest] = [
        partial(run_embedded, source(name), Inputs(), network=network)
        for name in ("spin", "spin-on-poll") * 2
    ]
    async with (
        beside(guests[0]),
        beside(guests[1]),
        beside(guests[2]),
        beside(guests[3]) as running,
    ):
        await running.pace(200)


@both_ways
@pytest.mark.parametrize("direct_memory", TRANSPORTS.values(), ids=TRANSPORTS)
@pytest.mark.parametrize("command", ["spin-on-receive", "spin-on-select"])
async def test_a_guest_that_asks_without_waiting_sees_what_comes(
    command: str,
    direct_memory: bool,
    thread: bool,
    guest_file: Callable[[str], Path],
    network: Network,
) -> None:
    python = guest_file("python")
    listener = network.listen_tcp(8080)

    async def guest() -> None:
        inputs = Inputs([command, "127.0.0.1", "8080"])
        ended = await run_interposed(
            python, inputs, network=network, thread=thread, direct_memory=direct_memory
        )
        assert ended.succeeded().lines == ["got something"]

    async with beside(guest) as running:
        stream = await listener.accept()
        assert await stream.receive_some() == b"ready"
        await running.pace(100)
        await stream.send_all(b"something")
        await running.until(lambda: running.ended)
        await stream.aclose()
    await listener.aclose()
    assert network.sockets() == []
