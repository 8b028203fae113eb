"""Real guests and the world outside: egress, names, forwards and published ports, through the whole stack."""

from __future__ import annotations

import gc
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import pytest
import trio

import wasi_sockets
from wasi_sockets import Allow, Network, Policy, SocketAddress
from wasi_sockets.network import IpAddress
from wasi_sockets.network.bridges import kernel

Files = Callable[[str], Path]


async def echo(stream: trio.abc.HalfCloseableStream) -> None:
    with suppress(trio.BrokenResourceError):
        async for data in stream:
            await stream.send_all(data)


async def run(guest: Path, *arguments: object, network: Network, stdout: int | None = None) -> int:
    return await wasi_sockets.run(
        guest, list(map(str, arguments)), network=network, stdin=None, stdout=stdout, stderr=stdout
    )


async def output_of(guest: Path, *arguments: object, network: Network) -> tuple[int, str]:
    reading, writing = os.pipe()
    try:
        code = await run(guest, *arguments, network=network, stdout=writing)
    finally:
        os.close(writing)
        text = os.read(reading, 65536).decode()
        os.close(reading)
    return code, text


@pytest.fixture
async def real_port() -> AsyncIterator[int]:
    """A real echo server."""
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, echo, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def test_a_guest_reaches_what_the_policy_allows(
    guest_file: Files, real_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = kernel.connect

    async def elsewhere(address: SocketAddress) -> kernel.KernelStream:
        assert str(address.ip) == "192.0.2.1"
        return await connect(SocketAddress(ip_address("127.0.0.1"), address.port))

    monkeypatch.setattr(kernel, "connect", elsewhere)
    network = Network(policy=Policy([Allow.connect("192.0.2.1")]))
    async with trio.open_nursery() as nursery:
        await nursery.start(network.egress)
        guest = guest_file("c-echo-0.2.12")
        assert await output_of(guest, "192.0.2.1", real_port, 5, network=network) == (
            0,
            "echoed 160 bytes in 5 round trips\n",
        )
        code, _ = await output_of(guest, "192.0.2.2", real_port, network=network)
        assert code != 0
        assert network.denials()[-1].address == SocketAddress(ip_address("192.0.2.2"), real_port)
        nursery.cancel_scope.cancel()
    assert network.sockets() == []


async def test_a_guest_waits_for_the_real_resolver(guest_file: Files) -> None:
    async def resolve(name: str) -> list[IpAddress]:
        # The guest has to poll: the answer comes from a thread, as that of the system's resolver does.
        await trio.to_thread.run_sync(lambda: None)
        return [ip_address("1.1.1.1"), ip_address("2606:4700::1111"), ip_address("127.0.0.1")]

    network = Network(policy=Policy([Allow.connect("*.example.com")]))
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(network.egress, resolver=resolve))
        guest = guest_file("python")
        code, text = await output_of(guest, "lookup", "api.example.com", network=network)
        assert code == 0
        assert sorted(text.splitlines()) == ["ipv4 1.1.1.1 80", "ipv6 2606:4700::1111 80"]
        code, text = await output_of(guest, "lookup", "api.example.org", network=network)
        assert (code, text.split()[0]) == (0, "gaierror")
        nursery.cancel_scope.cancel()
    assert [denial.name for denial in network.denials()] == ["api.example.com", "api.example.org"]


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
async def test_bridges_leave_no_descriptors(real_port: int) -> None:
    network = Network()

    def descriptors() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    async def once(number: int, address: SocketAddress) -> None:
        if number % 2:
            stream = await network.connect_tcp("127.0.0.1", 7)
            await stream.send_all(b"x")
            if number % 3:
                await stream.receive_some()
            await stream.aclose()
            return
        client = socket.create_connection(address.sockaddr())
        client.sendall(b"x")
        if number % 3:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.close()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(network.forward, 7, ("127.0.0.1", real_port))
            nursery.start_soon(network.serve_tcp, echo, 8080)
            address = await nursery.start(network.publish, 8080)
            for number in range(4):
                await once(number, address)
            await _settled(network)
            before = descriptors()
            for number in range(300):
                await once(number, address)
            await _settled(network)
            # The real server's own ends may take a moment more.
            while descriptors() > before:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert network.sockets() == []


async def _settled(network: Network) -> None:
    while any(record.remote is not None for record in network.sockets()):
        await trio.lowlevel.checkpoint()
