"""Guests with their languages' own UDP sockets, against a Python echo service and against each other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.guest_runs import TRANSPORTS, Ended, Inputs, run_interposed
from wasi_sockets import Network

GuestFile = Callable[[str], Path]
HOSTS = ["127.0.0.1", "::1"]


@asynccontextmanager
async def echo_service(host: str) -> AsyncIterator[Network]:
    """A network in which port 7 of `host` sends every datagram back; empty again at the end."""
    network = Network()
    async with network.open_udp(7, host) as service:

        async def echo() -> None:
            while True:
                data, source = await service.receive()
                await service.send(data, source)

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(echo)
                yield network
                nursery.cancel_scope.cancel()
    assert network.sockets() == []


async def run_with_echo(source: Path, host: str, arguments: list[str], transport: str = "direct") -> Ended:
    async with echo_service(host) as network:
        return await run_interposed(
            source, Inputs(arguments), network=network, direct_memory=TRANSPORTS[transport]
        )


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("host", HOSTS)
async def test_cpython_unconnected(guest_file: GuestFile, host: str, transport: str) -> None:
    ended = await run_with_echo(guest_file("python"), host, ["udp", host, "7"], transport)
    assert ended.succeeded().lines == [
        "echoed 0 bytes",
        "echoed 5 bytes",
        "echoed 1400 bytes",
        "echoed 40000 bytes",
        "too large: EMSGSIZE",
        "bound to the wildcard: True True",
    ]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("host", HOSTS)
async def test_cpython_connected(guest_file: GuestFile, host: str, transport: str) -> None:
    ended = await run_with_echo(guest_file("python"), host, ["udp-connected", host, "7"], transport)
    assert ended.succeeded().lines == ["once from True", "twice from True", "timed out", "refused"]


@pytest.mark.parametrize("host", HOSTS)
async def test_cpython_asyncio(guest_file: GuestFile, host: str) -> None:
    ended = await run_with_echo(guest_file("python"), host, ["udp-asyncio", host, "7", "50"])
    assert ended.succeeded().lines == ["connected: 50 in order", "unconnected: inside outside"]


@pytest.mark.parametrize("host", [*HOSTS, "localhost"])
async def test_c(guest_file: GuestFile, host: str) -> None:
    service = "127.0.0.1" if host == "localhost" else host
    ended = await run_with_echo(guest_file("c-sockets-udp"), service, [host, "7", "10"])
    assert ended.succeeded().lines == ["10 of 10 datagrams came back", "refused"]


async def test_guest_to_guest(guest_file: GuestFile) -> None:
    network = Network()
    source = guest_file("python")
    served: list[Ended] = []

    async def serve() -> None:
        # 20 from the client's connected endpoint, one from its other.
        served.append(
            await run_interposed(source, Inputs(["udp-server", "0.0.0.0", "53", "21"]), network=network)
        )

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            while not network.sockets():
                await trio.lowlevel.checkpoint()
            client = await run_interposed(source, Inputs(["udp-asyncio", "127.0.0.1", "53"]), network=network)
    assert client.succeeded().lines == ["connected: 20 in order", "unconnected: inside OUTSIDE"]
    assert served[0].succeeded().lines == ["listening on 0.0.0.0 53", "answered 21"]
    assert network.sockets() == []


@pytest.mark.parametrize("server", ["udp-server", "udp-socketserver"])
async def test_python_to_guest(guest_file: GuestFile, server: str) -> None:
    network = Network()
    served: list[Ended] = []

    async def serve() -> None:
        arguments = [server, "127.0.0.1", "53", "2"]
        served.append(await run_interposed(guest_file("python"), Inputs(arguments), network=network))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery, network.open_udp() as client:
            nursery.start_soon(serve)
            while len(network.sockets()) < 2:
                await trio.lowlevel.checkpoint()
            client.connect(("localhost", 53))
            for text in (b"first", b"second"):
                await client.send(text)
                assert (await client.receive()).data == text.upper()
    assert served[0].succeeded().lines[-1] == "answered 2"
