"""Addresses and lengths that no honest guest would pass, to every function that takes one."""

from __future__ import annotations

import subprocess
import sys

import pytest
import wasmtime

import wasi_sockets
from tests.hostile.attack import ECHO_PORT, connect, handles_at, start
from tests.hostile.calls import ROOT
from tests.hostile.raw_guest import FUNCTIONS, MEMORY_PAGES
from tests.hostile.test_kinds import handle_of
from wasi_sockets.engine import Guest
from wasi_sockets.errors import GuestTrap

RESULT = 2048
END = MEMORY_PAGES << 16
TRANSPORTS = pytest.mark.parametrize("direct_memory", [True, False], ids=["direct", "copy"])
BEYOND = (END, END - 1, END - 4, END + 1, 1 << 31, (1 << 32) - 1, (1 << 32) - 4)
RESULTS = [
    function.name
    for function in FUNCTIONS
    if function.pointer_result
    and function.resource in ("tcp-socket", "udp-socket", "input-stream", "output-stream")
    and not any(part in function.name for part in ("blocking-read", "blocking-skip", "splice"))
]


async def trapped(guest: Guest, name: str, *arguments: int) -> None:
    """The call traps, by a rule of ours or by wasm's own."""
    with pytest.raises((GuestTrap, wasmtime.WasmtimeError)) as caught:
        await guest.call(name, *arguments)
    assert not isinstance(caught.value, wasmtime.ExitTrap)
    assert guest.closed


@TRANSPORTS
@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize("at", [END, END - 1, (1 << 32) - 4])
async def test_results_beyond_the_memory(name: str, at: int, direct_memory: bool) -> None:
    function = next(each for each in FUNCTIONS if each.name == name)
    network = wasi_sockets.Network()
    async with network.listen_tcp(ECHO_PORT), start(network, direct_memory=direct_memory) as guest:
        handle = await handle_of(guest, function.resource)
        rest = [0] * (len(function.parameters) - 2)
        if name.endswith(("start-bind", "start-connect")):
            rest[0] = await guest.call("instance-network")
        await trapped(guest, name, handle, *rest, at)


@TRANSPORTS
@pytest.mark.parametrize(
    "name", ["output-stream-check-write", "tcp-socket-local-address", "tcp-socket-keep-alive-idle-time"]
)
async def test_unaligned_results(name: str, direct_memory: bool) -> None:
    network = wasi_sockets.Network()
    async with network.listen_tcp(ECHO_PORT), start(network, direct_memory=direct_memory) as guest:
        socket, _, outgoing = await connect(guest)
        await trapped(guest, name, outgoing if "stream" in name else socket, RESULT + 1)


@TRANSPORTS
@pytest.mark.parametrize(
    ("at", "size"),
    [
        (END - 3, 4),
        (END, 1),
        ((1 << 32) - 1, 1),
        ((1 << 32) - 1, (1 << 32) - 1),
        (0, END + 1),
        (1 << 31, 1 << 31),
    ],
)
@pytest.mark.parametrize("name", ["write", "blocking-write-and-flush"])
async def test_bytes_beyond_the_memory_are_not_sent(
    name: str, at: int, size: int, direct_memory: bool
) -> None:
    network = wasi_sockets.Network()
    listener = network.listen_tcp(ECHO_PORT)
    async with listener, start(network, direct_memory=direct_memory) as guest:
        *_, outgoing = await connect(guest)
        stream = await listener.accept()
        await trapped(guest, f"output-stream-{name}", outgoing, at, size, RESULT)
        assert not stream.connection.receive_pipe.buffered
        assert not stream.connection.receive_pipe.delivered
        await stream.aclose()


@TRANSPORTS
@pytest.mark.parametrize(
    ("at", "count"),
    [
        (0, 0),
        (1, 1),
        (2, 1),
        (END, 1),
        (END - 4, 2),
        (0, 0xFFFFF),
        (0, 1 << 30),
        (0, (1 << 32) - 1),
        ((1 << 32) - 4, 1),
    ],
)
async def test_lists_of_pollables(at: int, count: int, direct_memory: bool) -> None:
    async with start(wasi_sockets.Network(), direct_memory=direct_memory) as guest:
        await guest.call("store", 0, await guest.call("subscribe-duration", 0))
        await trapped(guest, "poll", at, count, RESULT)


@TRANSPORTS
@pytest.mark.parametrize(
    ("at", "size"),
    [(END, 1), (END - 1, 2), (0, END + 1), (0, 1 << 31), (0, (1 << 32) - 1), ((1 << 32) - 1, 1)],
)
async def test_names_beyond_the_memory(at: int, size: int, direct_memory: bool) -> None:
    async with start(wasi_sockets.Network(), direct_memory=direct_memory) as guest:
        await trapped(guest, "resolve-addresses", await guest.call("instance-network"), at, size, RESULT)


@TRANSPORTS
@pytest.mark.parametrize("size", [254, 255, 4096, 65536])
async def test_a_name_that_is_too_long_is_an_invalid_argument(size: int, direct_memory: bool) -> None:
    async with start(wasi_sockets.Network(), direct_memory=direct_memory) as guest:
        await guest.call("fill", 0, ord("a"), END >> 1)
        await guest.call("resolve-addresses", await guest.call("instance-network"), 0, size, END - 64)
        assert await guest.call("load", END - 64) & 0xFF == 1
        assert await guest.call("load", END - 60) & 0xFF == 3  # invalid-argument


@TRANSPORTS
async def test_what_is_no_name_by_any_measure_traps(direct_memory: bool) -> None:
    async with start(wasi_sockets.Network(), direct_memory=direct_memory) as guest:
        await trapped(guest, "resolve-addresses", await guest.call("instance-network"), 0, 65537, RESULT)


@TRANSPORTS
@pytest.mark.parametrize("count", [17, 3000, 1 << 20, 1 << 28, (1 << 32) - 1])
async def test_more_datagrams_than_permitted(count: int, direct_memory: bool) -> None:
    async with start(wasi_sockets.Network(), direct_memory=direct_memory) as guest:
        network = await guest.call("instance-network")
        await guest.call("create-udp-socket", 0, RESULT)
        (socket,) = await handles_at(guest, 1)
        await guest.call("udp-socket-start-bind", socket, network, 0, 0, 127, 0, 0, 1, *[0] * 6, RESULT)
        await guest.call("udp-socket-finish-bind", socket, RESULT)
        await guest.call("udp-socket-stream", socket, *[0] * 13, RESULT)
        _, outgoing = await handles_at(guest, 2)
        await guest.call("outgoing-datagram-stream-check-send", outgoing, RESULT)
        await guest.call("grow", 30)
        await trapped(guest, "outgoing-datagram-stream-send", outgoing, 0, count, RESULT)


@TRANSPORTS
async def test_a_memory_without_a_page(direct_memory: bool) -> None:
    from tests.hostile.raw_guest import raw_guest

    for name, arguments in (
        ("create-tcp-socket", (0, 0)),
        ("poll", (0, 1, 0)),
        ("resolve-addresses", (0x4000_0000, 0, 0, 0)),
        ("output-stream-check-write", (0x4000_0000, 0)),
    ):
        async with start(wasi_sockets.Network(), raw_guest(0), direct_memory=direct_memory) as guest:
            await guest.call("instance-network")
            await trapped(guest, name, *arguments)


@TRANSPORTS
async def test_a_memory_that_grows_between_calls(direct_memory: bool) -> None:
    network = wasi_sockets.Network()
    listener = network.listen_tcp(ECHO_PORT)
    async with listener, start(network, direct_memory=direct_memory) as guest:
        _, incoming, outgoing = await connect(guest)
        stream = await listener.accept()
        pages = MEMORY_PAGES
        for more in (0, 1, 3, 0, 17, 200):
            assert await guest.call("grow", more) == pages
            pages += more
            last = (pages << 16) - 4
            await guest.call("store", last, 0x64636261)
            await guest.call("output-stream-write", outgoing, last, 4, RESULT)
            assert await stream.receive_some() == b"abcd"
            await stream.send_all(b"efgh")
            await guest.call("choose", last)
            await guest.call("misbehave", 1)
            await guest.call("input-stream-blocking-read", incoming, 4, RESULT)
            assert await handles_at(guest, 2) == [last, 4]
            assert await guest.call("load", last) == 0x68676665
        await stream.aclose()


GREEDY = """
import resource, trio, wasmtime
resource.setrlimit(resource.RLIMIT_DATA, (300 << 20, 300 << 20))
import wasi_sockets
from tests.hostile.attack import start
from wasi_sockets.errors import GuestTrap

async def main(direct_memory):
    for name, arguments in (
        ("resolve-addresses", (0, 60 << 20)),
        ("outgoing-datagram-stream-send", (0, 60 << 20)),
        ("output-stream-write", (0, 60 << 20)),
        ("output-stream-blocking-write-zeroes-and-flush", (1 << 63,)),
        ("poll", (0xFFFFF,)),
    ):
        async with start(wasi_sockets.Network(), direct_memory=direct_memory) as guest:
            await guest.call("grow", 1000)
            handle = await guest.call("instance-network")
            try:
                await guest.call(name, *(handle, *arguments, 2048) if name != "poll" else (0, 0xFFFFF, 2048))
            except (GuestTrap, wasmtime.WasmtimeError) as trap:
                print(name, type(trap))

for direct_memory in (True, False):
    trio.run(main, direct_memory)
"""


def test_no_length_makes_the_host_allocate() -> None:
    done = subprocess.run(
        [sys.executable, "-c", GREEDY], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 10
