"""Guests that would wait for hours, on trio's mock clock: no time passes here, and all of it there."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing

import wasi_sockets
from tests.guest_runs import Ended, Inputs, run_embedded, run_interposed

WAYS: dict[str, Callable[..., Awaitable[Ended]]] = {"run": run_interposed, "embedded": run_embedded}
every_way = pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)


@every_way
async def test_an_hour_of_sleep(
    run: Callable[..., Awaitable[Ended]],
    guest_file: Callable[[str], Path],
    network: wasi_sockets.Network,
    autojump_clock: trio.testing.MockClock,
) -> None:
    start = trio.current_time()
    ended = await run(guest_file("python"), Inputs(["long-sleep", "3600"]), network=network)
    assert ended.succeeded().lines == ["slept 3600"]
    assert trio.current_time() - start >= 3600


@every_way
async def test_a_timeout_of_ten_minutes(
    run: Callable[..., Awaitable[Ended]],
    guest_file: Callable[[str], Path],
    network: wasi_sockets.Network,
    autojump_clock: trio.testing.MockClock,
) -> None:
    start = trio.current_time()
    ended = await run(guest_file("python"), Inputs(["long-timeout", "600"]), network=network)
    assert ended.succeeded().lines == ["timeout", "monotonic 600", "loop 600"]
    assert trio.current_time() - start >= 600


async def test_a_timeout_while_a_service_is_slow(
    guest_file: Callable[[str], Path],
    network: wasi_sockets.Network,
    autojump_clock: trio.testing.MockClock,
) -> None:
    # The guest's `http.client` waits 5 seconds at most; the service would take a minute.
    async def slow(stream: wasi_sockets.TcpStream) -> None:
        async with stream:
            await trio.sleep(60)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, slow, [network.listen_tcp(8080)])
        start = trio.current_time()
        ended = await run_embedded(
            guest_file("python"), Inputs(["http", "127.0.0.1", "8080"]), network=network
        )
        assert 5 <= trio.current_time() - start < 60
        nursery.cancel_scope.cancel()
    assert b"TimeoutError" in ended.stderr


async def test_two_guests_and_a_task_see_the_same_time(
    guest_file: Callable[[str], Path],
    network: wasi_sockets.Network,
    autojump_clock: trio.testing.MockClock,
) -> None:
    python = guest_file("python")
    order = []

    async def sleeper(seconds: int) -> None:
        (await run_embedded(python, Inputs(["long-sleep", str(seconds)]), network=network)).succeeded()
        order.append(seconds)

    async def task(seconds: int) -> None:
        await trio.sleep(seconds)
        order.append(seconds)

    real = time.monotonic()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sleeper, 3000)
        nursery.start_soon(sleeper, 1000)
        nursery.start_soon(task, 2000)
    assert order == [1000, 2000, 3000]
    assert time.monotonic() - real < 900
