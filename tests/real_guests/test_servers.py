"""Guests that serve, reached from Python and from other guests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import wasmtime

import wasi_sockets
from tests.guest_runs import (
    RUN_COMMAND,
    Ended,
    Inputs,
    engine,
    interposed_component,
    interposed_linker,
    run_embedded,
    run_interposed,
)
from tests.real_guests.listening import ask, listening
from tests.real_guests.test_clients import WAYS, every_way

GuestFile = Callable[[str], Path]
Network = wasi_sockets.Network

SERVERS = {
    "CPython, blocking": ("python", ["server"]),
    "CPython, asyncio": ("python", ["aserver"]),
    "C without libc, 0.2.0": ("c-server-0.2.0", []),
    "C without libc, 0.2.12": ("c-server-0.2.12", []),
    "C with BSD sockets": ("c-sockets-server", []),
    "Rust std::net": ("rust-server", []),
}
every_server = pytest.mark.parametrize(("guest", "command"), SERVERS.values(), ids=SERVERS)


@asynccontextmanager
async def serving_guest(
    network: Network, source: Path, command: list[str], connections: int, **way: bool
) -> AsyncIterator[int]:
    """A guest that serves so many connections at port 8080, and must end by itself after them."""
    ended: list[Ended] = []

    async def life() -> None:
        inputs = Inputs([*command, "8080", str(connections)])
        ended.append(await run_interposed(source, inputs, network=network, **way))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(life)
            await listening(network, 8080)
            yield 8080
    assert ended[0].succeeded().lines == ["listening on 127.0.0.1 8080", f"served {connections}"]


@every_way
@every_server
async def test_reached_from_the_host(
    guest: str, command: list[str], way: dict[str, bool], guest_file: GuestFile, network: Network
) -> None:
    source = guest_file(guest)
    async with serving_guest(network, source, command, 2, **way) as port:
        for text in (b"hello", b"abc" * 50_000):
            assert await ask(await network.connect_tcp("127.0.0.1", port), text) == text.upper()


@pytest.mark.parametrize("guest", ["python", "c-server-0.2.12", "c-sockets-server"])
async def test_many_connections_at_once(guest: str, guest_file: GuestFile, network: Network) -> None:
    source = guest_file(guest)
    command = ["aserver"] if guest == "python" else []
    answers = {}

    async with serving_guest(network, source, command, 30) as port:
        streams = [await network.connect_tcp("127.0.0.1", port) for _ in range(30)]

        async def talk(number: int) -> None:
            answers[number] = await ask(streams[number], b"number %d" % number)

        # The last one first: what waits for the first connection to speak would never answer.
        async with trio.open_nursery() as nursery:
            for number in reversed(range(30)):
                nursery.start_soon(talk, number)
    assert answers == {number: b"NUMBER %d" % number for number in range(30)}


async def test_a_port_that_is_taken(guest_file: GuestFile, network: Network) -> None:
    source = guest_file("python")
    listener = network.listen_tcp(8080)
    ended = await run_interposed(source, Inputs(["server", "8080"]), network=network)
    assert b"EADDRINUSE" in ended.stderr or b"ddress in use" in ended.stderr
    await listener.aclose()


@every_way
@pytest.mark.parametrize("client", ["python", "c-echo-0.2.0", "rust-client"])
@every_server
async def test_guest_to_guest(
    guest: str, command: list[str], client: str, way: dict[str, bool], guest_file: GuestFile, network: Network
) -> None:
    # The servers answer in upper case. The patterns of the C and Rust clients have no lower case letters in their first
    # 90 bytes, so these find what they sent.
    server, source = guest_file(guest), guest_file(client)
    async with serving_guest(network, server, command, 1, **way) as port:
        if client == "python":
            inputs = Inputs(["half-close", "127.0.0.1", str(port), "from guest to guest"])
        else:
            inputs = Inputs(["127.0.0.1", str(port), "5", "90"])
        ended = await run_interposed(source, inputs, network=network, **way)
    if client == "python":
        assert ended.succeeded().lines == ["got FROM GUEST TO GUEST"]
    else:
        assert ended.succeeded().lines == ["echoed 450 bytes in 5 round trips"]


async def test_many_guests_on_one_network(
    guest_file: GuestFile, wat_guest: Callable[[str], bytes], network: Network
) -> None:
    guests: list[tuple[Path | bytes, list[str]]] = [
        (guest_file("python"), ["client", "127.0.0.1", "8080", "10"]),
        (guest_file("c-echo-0.2.12"), ["127.0.0.1", "8080", "10"]),
        (guest_file("js-client"), ["127.0.0.1", "8080", "10"]),
        (wat_guest("echo"), []),
    ] * 8
    ended: list[Ended] = []

    async def one(run: Callable[..., Awaitable[Ended]], source: Path | bytes, arguments: list[str]) -> None:
        ended.append(await run(source, Inputs(arguments), network=network))

    async def echo_all(stream: wasi_sockets.TcpStream) -> None:
        async with stream:
            async for data in stream:
                await stream.send_all(data)

    async with trio.open_nursery() as services:
        services.start_soon(trio.serve_listeners, echo_all, [network.listen_tcp(8080)])
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for number, (source, arguments) in enumerate(guests):
                    nursery.start_soon(one, run_embedded if number % 3 else run_interposed, source, arguments)
        services.cancel_scope.cancel()
    assert [each.code for each in ended] == [0] * len(guests)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_a_composed_guest(
    way: dict[str, bool], wat_guest: Callable[[str], bytes], network: Network
) -> None:
    listener = network.listen_tcp(8080)

    async def service() -> None:
        async with await listener.accept() as stream:
            async for data in stream:
                await stream.send_all(data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(service)
        with trio.fail_after(60):
            ended = await run_interposed(wat_guest("composed"), Inputs(), network=network, **way)
    await listener.aclose()
    assert len(ended.succeeded().lines) == 1


@pytest.mark.parametrize("direct_memory", [True, False])
async def test_guests_with_resources_of_their_own(
    direct_memory: bool, wat_guest: Callable[[str], bytes], network: Network
) -> None:
    source = wat_guest("guest-resources")
    (await run_interposed(source, Inputs(), network=network, direct_memory=direct_memory)).succeeded()


async def test_sockets_without_streams(wat_guest: Callable[[str], bytes], network: Network) -> None:
    store = wasmtime.Store(engine())
    store.set_wasi(wasmtime.WasiConfig())
    component = interposed_component(wat_guest("sockets-without-streams"))
    async with wasi_sockets.instantiate(interposed_linker(), store, component, network=network) as guest:
        assert await guest.call("listen", 8080) == 8080
        async with await network.connect_tcp("127.0.0.1", 8080):
            pass
        await guest.call("close")
        with pytest.raises(ConnectionRefusedError):
            await network.connect_tcp("127.0.0.1", 8080)


async def test_streams_without_sockets(wat_guest: Callable[[str], bytes], network: Network) -> None:
    source = wat_guest("streams-without-sockets")
    for run in (run_interposed, run_embedded):
        data = bytes(range(256)) * 100
        assert (await run(source, Inputs(stdin=data), network=network)).succeeded().stdout == data


async def test_a_guest_without_a_network(wat_guest: Callable[[str], bytes], network: Network) -> None:
    component = interposed_component(wat_guest("no-network"))
    assert component.items == ()
    (await run_interposed(wat_guest("no-network"), Inputs(), network=network)).succeeded()


@every_way
async def test_a_guest_that_dies_leaves_nothing(
    way: dict[str, bool], guest_file: GuestFile, network: Network
) -> None:
    # Cancelled with a listener and a connection in use: the port is free at once and the peer sees a reset.
    source = guest_file("python")
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                lambda: run_interposed(source, Inputs(["aserver", "8080", "9"]), network=network, **way)
            )
            await listening(network, 8080)
            stream = await network.connect_tcp("127.0.0.1", 8080)
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"HELLO"
            nursery.cancel_scope.cancel()
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()
    await stream.aclose()
    await network.listen_tcp(8080).aclose()


async def test_a_second_call_while_one_runs(guest_file: GuestFile, network: Network) -> None:
    store = wasmtime.Store(engine())
    wasi = wasmtime.WasiConfig()
    wasi.argv = ["guest", "8080", "1"]
    store.set_wasi(wasi)
    component = interposed_component(guest_file("c-server-0.2.12"))
    output = wasi_sockets.OutputPipe()
    async with (
        wasi_sockets.instantiate(
            interposed_linker(), store, component, network=network, stdout=output
        ) as guest,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(guest.call, *RUN_COMMAND)
        await listening(network, 8080)
        with pytest.raises(wasi_sockets.GuestBusyError):
            await guest.call(*RUN_COMMAND)
        assert await ask(await network.connect_tcp("127.0.0.1", 8080), b"x") == b"X"
