"""`Network.installed`: what trio makes and looks up while it lasts, and that it leaves nothing behind."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio

from wasi_sockets.network import Network
from wasi_sockets.network.trio_sockets import StreamSocket


@pytest.fixture
def kernel_families(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The families of all sockets that the standard library makes from here on."""
    families: list[int] = []
    original: Callable[..., None] = socket.socket.__init__

    def counted(self: socket.socket, family: int = -1, *arguments: Any, **keywords: Any) -> None:
        families.append(socket.AF_INET if family == -1 else family)
        original(self, family, *arguments, **keywords)

    monkeypatch.setattr(socket.socket, "__init__", counted)
    return families


async def echo(stream: trio.abc.Stream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def test_serve_tcp_and_open_tcp_stream_need_no_kernel(kernel_families: list[int]) -> None:
    network = Network()
    network.add_name("echo.internal", "::1", "127.0.0.1")
    with network.installed(owner="me"):
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(trio.serve_tcp, echo, 7, host="127.0.0.1"))
            for host in ("127.0.0.1", "localhost", "echo.internal", b"echo.internal"):
                async with await trio.open_tcp_stream(host, 7) as stream:
                    await stream.send_all(b"hello")
                    assert await stream.receive_some() == b"hello"
            assert {record.owner for record in network.sockets()} == {"me"}
            nursery.cancel_scope.cancel()
    assert network.sockets() == []
    assert not {socket.AF_INET, socket.AF_INET6}.intersection(kernel_families)


async def test_trio_and_the_network_reach_each_other() -> None:
    network = Network()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, echo, [network.listen_tcp(7, "::")])
        with network.installed():
            stream = await trio.open_tcp_stream("::1", 7)
        # What was made within keeps working.
        async with stream:
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"
        nursery.cancel_scope.cancel()


async def test_it_ends_with_its_context() -> None:
    outer, inner = Network("outer"), Network("inner")

    async def is_of(network: Network | None) -> bool:
        with trio.socket.socket() as made:
            await made.bind(("127.0.0.1", 0))
            if network is None:
                return not isinstance(made, StreamSocket)
            return len(network.sockets()) == 1

    with outer.installed():
        with inner.installed():
            assert await is_of(inner)
        assert await is_of(outer)
        with pytest.raises(ZeroDivisionError), inner.installed():
            raise ZeroDivisionError
        assert await is_of(outer)
    assert await is_of(None)
    one, other = outer.installed(), inner.installed()
    with one:
        other.__enter__()
    # Left in the wrong order: the inner one counts until it is left too.
    assert await is_of(inner)
    other.__exit__(None, None, None)
    assert await is_of(None)
    assert (await trio.socket.getaddrinfo("localhost", 1))[0][4][1] == 1


def test_it_is_of_one_run() -> None:
    network = Network()

    async def leave_it() -> None:
        network.installed().__enter__()

    async def look() -> bool:
        with trio.socket.socket() as made:
            return isinstance(made, StreamSocket)

    trio.run(leave_it)
    assert not trio.run(look)
    with pytest.raises(RuntimeError), network.installed():
        pass


async def test_what_is_not_ip_stays_the_kernels() -> None:
    with Network().installed():
        with trio.socket.socket(socket.AF_UNIX) as unix:
            assert unix.family == socket.AF_UNIX
        for kind, protocol in ((socket.SOCK_RAW, 0), (socket.SOCK_STREAM, socket.IPPROTO_UDP)):
            with pytest.raises(OSError, match="Protocol not supported"):
                trio.socket.socket(socket.AF_INET, kind, protocol)


async def test_names() -> None:
    network = Network()
    network.add_name("db.internal", "127.0.0.5", "::1")
    with network.installed():
        found = await trio.socket.getaddrinfo("db.internal", "http", type=socket.SOCK_STREAM)
        assert found == [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.5", 80)),
            (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("::1", 80, 0, 0)),
        ]
        both = await trio.socket.getaddrinfo("db.internal", 1, socket.AF_INET6, flags=socket.AI_CANONNAME)
        assert [(entry[1], entry[3]) for entry in both] == [
            (socket.SOCK_STREAM, "db.internal"),
            (socket.SOCK_DGRAM, ""),
        ]
        assert await trio.socket.getnameinfo(("127.0.0.5", 80), 0) == ("db.internal", "http")
        numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
        assert await trio.socket.getnameinfo(("127.0.0.5", 80), numeric) == ("127.0.0.5", "80")
        assert await trio.socket.getnameinfo(("127.0.0.6", 80), socket.NI_NUMERICSERV) == ("127.0.0.6", "80")
        with pytest.raises(socket.gaierror):
            await trio.socket.getnameinfo(("127.0.0.6", 80), socket.NI_NAMEREQD)
        for name, port, family in (
            ("example.com", 80, 0),
            ("db.internal", "no-such-service", 0),
            ("xn--unknown", 80, socket.AF_INET),
        ):
            with pytest.raises(socket.gaierror):
                await trio.socket.getaddrinfo(name, port, family)
