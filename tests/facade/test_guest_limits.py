"""Guests at their limits, seen from inside, while others go on."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
import wasmtime

import wasi_sockets
from tests.hostile.attack import ECHO_PORT, connect, handles_at, round_trip, start
from tests.text_format import binary
from wasi_sockets import Guest, GuestLimitError, Limits, Network

RESULT = 2048
OUT_OF_MEMORY, NEW_SOCKET_LIMIT = 4, 10  # `enum error-code` of wasi:sockets/network
MEBIBYTE = 1 << 20
REFUSED = 0xFFFF_FFFF


async def echo(stream: wasi_sockets.TcpStream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def refused_connect(guest: Guest) -> int:
    """The error code that `start-connect` gives."""
    network = await guest.call("instance-network")
    await guest.call("create-tcp-socket", 0, RESULT)
    (socket,) = await handles_at(guest, 1)
    await guest.call(
        "tcp-socket-start-connect", socket, network, 0, ECHO_PORT, 127, 0, 0, 1, *[0] * 6, RESULT
    )
    told: int = await guest.call("load", RESULT)
    assert told & 0xFF == 1
    return told >> 8 & 0xFF


@pytest.mark.parametrize(
    ("limits", "code"),
    [(Limits(connections=2), NEW_SOCKET_LIMIT), (Limits(buffered=16384), OUT_OF_MEMORY)],
    ids=["connections", "buffered"],
)
async def test_a_guest_is_told_that_it_may_have_no_more_connections(limits: Limits, code: int) -> None:
    network = Network()
    async with trio.open_nursery() as nursery:
        await nursery.start(network.serve_tcp, echo, ECHO_PORT)
        async with start(network, limits=limits) as guest, start(network) as neighbour:
            first, second = await connect(guest), await connect(guest)
            assert await refused_connect(guest) == code
            for number, (_, incoming, outgoing) in enumerate((first, second, await connect(neighbour))):
                host = neighbour if number == 2 else guest
                await round_trip(host, incoming, outgoing, 1000 + number)
            for handle, kind in zip(
                first[::-1], ("output-stream", "input-stream", "tcp-socket"), strict=True
            ):
                await guest.call(f"drop-{kind}", handle)
            await trio.testing.wait_all_tasks_blocked()
            await round_trip(guest, *(await connect(guest))[1:], 7)
        nursery.cancel_scope.cancel()


async def test_more_bytes_than_fit_come_through_all_the_same() -> None:
    """The least room that there can be, both ends limited, and both write before they read."""
    network = Network()
    async with trio.open_nursery() as nursery:
        await nursery.start(network.serve_tcp, echo, ECHO_PORT)
        async with start(network, limits=Limits(buffered=8192)) as guest:
            _, incoming, outgoing = await connect(guest)
            for word in range(3000):
                await round_trip(guest, incoming, outgoing, word)
        nursery.cancel_scope.cancel()


async def test_pollables_come_to_the_limit_that_was_given() -> None:
    network = Network()
    async with start(network, limits=Limits(pollables=100)) as guest, start(network) as neighbour:
        await guest.call("many-timers", 99)
        last = await guest.call("subscribe-duration", 0)
        for _ in range(10):
            await guest.call("drop-pollable", last)
            last = await guest.call("subscribe-duration", 0)
        with pytest.raises(
            GuestLimitError, match=r"has 100 pollables, as many as limits\.pollables"
        ) as ended:
            await guest.call("subscribe-duration", 0)
        assert ended.value.limit == "pollables"
        assert guest.closed
        await neighbour.call("many-timers", 1000)


async def test_memory_is_refused_beyond_its_limit() -> None:
    network = Network()
    async with start(network, limits=Limits(memory=MEBIBYTE)) as guest, start(network) as neighbour:
        assert await guest.call("grow", 14) == 2
        assert await guest.call("grow", 1) == REFUSED
        assert await neighbour.call("grow", 15) == 2


async def test_a_guest_that_lives_too_long_is_cut_off(autojump_clock: trio.testing.MockClock) -> None:
    network = Network()
    async with network.listen_tcp(ECHO_PORT) as listener, start(network, limits=Limits(lifetime=60)) as guest:
        _, incoming, _ = await connect(guest)
        peer = await listener.accept()
        with pytest.raises(GuestLimitError, match="lifetime"):
            await guest.call("input-stream-blocking-read", incoming, 8, RESULT)
        with pytest.raises(trio.BrokenResourceError) as cut_off:
            await peer.receive_some()
        assert isinstance(cut_off.value.__cause__, ConnectionResetError)
        await peer.aclose()
    assert network.sockets() == []


async def test_a_refused_guest_leaves_nothing_in_the_network() -> None:
    network = Network()
    with pytest.raises(GuestLimitError, match=r"limits\.instances=1"):
        async with start(network, limits=Limits(instances=1, connections=5)):
            raise RuntimeError("it was instantiated")
    assert not network._registry.budgets


async def test_a_server_in_c_serves_more_clients_than_it_may_have_at_a_time(
    guest_file: Callable[[str], Path],
) -> None:
    network = Network()
    answers: list[bytes] = []

    async def ask(word: bytes) -> None:
        async with await network.connect_tcp("127.0.0.1", 8080) as stream:
            await stream.send_all(word)
            answers.append(bytes(await stream.receive_some()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            partial(
                wasi_sockets.run,
                guest_file("c-sockets-server"),
                ["8080", "20"],
                network=network,
                stdin=None,
                stdout=None,
                limits=Limits(connections=2, buffered=MEBIBYTE, memories=2, cpu=1, lifetime=600),
            )
        )
        while not any(record.state == "listening" for record in network.sockets()):
            await trio.lowlevel.checkpoint()
        for number in range(20):
            nursery.start_soon(ask, b"word %d" % number)
    assert sorted(answers) == sorted([b"WORD %d" % number for number in range(20)])


async def test_cpython_works_within_limits(guest_file: Callable[[str], Path]) -> None:
    network = Network()
    reading, writing = os.pipe()
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(network.serve_tcp, echo, ECHO_PORT)
            code = await wasi_sockets.run(
                guest_file("python"),
                ["client", "127.0.0.1", str(ECHO_PORT)],
                network=network,
                stdin=None,
                stdout=writing,
                limits=Limits(
                    memory=96 * MEBIBYTE,
                    table_elements=100_000,
                    instances=100,
                    connections=1,
                    buffered=MEBIBYTE,
                    pollables=16,
                    lookups=1,
                    cpu=1,
                    lifetime=600,
                ),
            )
            nursery.cancel_scope.cancel()
    finally:
        os.close(writing)
        told = os.read(reading, 65536).decode()
        os.close(reading)
    assert code == 0
    assert told


async def test_cpython_with_hardly_any_memory_does_not_begin(guest_file: Callable[[str], Path]) -> None:
    with pytest.raises(GuestLimitError, match=r"limits\.memory=1048576") as refused:
        await wasi_sockets.run(
            guest_file("python"), ["env"], network=Network(), stdout=None, limits=Limits(memory=MEBIBYTE)
        )
    assert refused.value.limit == "memory"


HOG = """(component
  (core module $m
    (memory (export "memory") 1)
    (func (export "run") (result i32)
      (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable))
  (core instance $i (instantiate $m))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $exported (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $exported)))"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc/self/maps is Linux'")
async def test_a_memory_hog_ends_with_the_reason() -> None:
    with pytest.raises(GuestLimitError, match=r"bytes of memory in use that limits\.memory allows") as ended:
        await wasi_sockets.run(
            binary(HOG), network=Network(), stdin=None, limits=Limits(memory=32 * MEBIBYTE), cache=False
        )
    assert ended.value.limit == "memory"
    assert isinstance(ended.value.__cause__, wasmtime.WasmtimeError)
