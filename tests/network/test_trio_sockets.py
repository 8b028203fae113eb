"""Virtual TCP and UDP sockets behind the interface of `trio.socket`."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import AsyncIterator, Awaitable

import pytest
import trio
from trio.testing import assert_checkpoints, check_half_closeable_stream, wait_all_tasks_blocked

from wasi_sockets.network import Network


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    """Installed for the test."""
    network = Network(buffer_size=1000)
    with network.installed():
        yield network


async def stream_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    client = await trio.open_tcp_stream("127.0.0.1", port)
    server = await listener.accept()
    await listener.aclose()
    return client, server


async def clogged_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    client, server = await stream_pair()
    for stream in (client, server):
        await stream.send_all(bytes(1000))
    return client, server


async def socket_pair() -> tuple[trio.socket.SocketType, trio.socket.SocketType]:
    client, server = await stream_pair()
    return client.socket, server.socket


async def error_of(call: Awaitable[object]) -> int | None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is what is compared
        await call
    return caught.value.errno


async def test_trios_own_streams_work_on_them(network: Network) -> None:
    await check_half_closeable_stream(stream_pair, clogged_pair)


async def test_a_connection_byte_by_byte(network: Network) -> None:
    client, server = await socket_pair()
    with assert_checkpoints():
        assert await client.send(b"hello world") == 11
    assert server.is_readable()
    assert not client.is_readable()
    with assert_checkpoints():
        assert await server.recv(5) == b"hello"
    buffer = bytearray(4)
    assert await server.recv_into(buffer) == 4
    assert buffer == b" wor"
    assert await server.recvfrom(1) == (b"l", None)
    pieces = [bytearray(1), bytearray(1)]
    await client.sendmsg([b"x", b"y"])
    assert (await server.recvmsg_into(pieces))[0] == 2
    assert pieces == [b"d", b"x"]
    assert await server.recvmsg(9) == (b"y", [], 0, None)
    assert await server.recv(0) == b""
    with pytest.raises(ValueError, match="negative"):
        await server.recv(-1)
    assert client.getpeername() == server.getsockname()
    assert client.getsockname() == server.getpeername()
    client.shutdown(socket.SHUT_WR)
    assert client.did_shutdown_SHUT_WR
    assert not server.did_shutdown_SHUT_WR
    assert await server.recv(9) == b""
    assert await error_of(client.send(b"late")) == errno.EPIPE
    client.close()
    server.close()
    client.close()
    assert client.fileno() == -1
    assert network.sockets() == []


async def test_sending_waits_for_room_and_takes_what_fits(network: Network) -> None:
    client, server = await socket_pair()
    assert await client.send(bytes(1500)) == 1000
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.wait_writable)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await client.send(b"x")
        await server.recv(999)
    assert await client.send(b"more") == 4


async def test_closing_wakes_who_waits(network: Network) -> None:
    client, server = await socket_pair()
    [listener] = await trio.open_tcp_listeners(0, host="::1")
    await client.send(bytes(1000))
    ended: list[str] = []

    async def expect_closed(name: str, call: Awaitable[object]) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await call
        ended.append(name)

    datagrams = trio.socket.socket(type=socket.SOCK_DGRAM)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect_closed, "send", client.send(b"x"))
        nursery.start_soon(expect_closed, "recv", client.recv(1))
        nursery.start_soon(expect_closed, "accept", listener.socket.accept())
        nursery.start_soon(expect_closed, "recvfrom", datagrams.recvfrom(1))
        await wait_all_tasks_blocked()
        for each in (client, listener.socket, datagrams):
            each.close()
    assert sorted(ended) == ["accept", "recv", "recvfrom", "send"]
    for call in (client.send(b"x"), client.recv(1), listener.socket.accept(), client.connect(("::1", 1))):
        with pytest.raises((OSError, ValueError)):
            await call
    with pytest.raises(OSError, match="Bad file"):
        client.getsockname()
    server.close()


async def test_resets_and_refusals(network: Network) -> None:
    client, server = await socket_pair()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == struct.pack("ii", 1, 0)
    await client.send(b"lost")
    client.close()
    assert await error_of(server.recv(1)) == errno.ECONNRESET
    assert await error_of(server.send(b"x")) == errno.ECONNRESET
    fresh = trio.socket.socket()
    assert await error_of(fresh.recv(1)) == errno.ENOTCONN
    assert await error_of(fresh.send(b"x")) == errno.EPIPE
    assert await error_of(fresh.accept()) == errno.EINVAL
    assert await error_of(fresh.connect(("127.0.0.1", 9))) == errno.ECONNREFUSED
    assert await error_of(fresh.connect(("192.0.2.1", 9))) == errno.ENETUNREACH
    with pytest.raises(OSError, match="not connected"):
        fresh.getpeername()
    with pytest.raises(OSError, match="not connected"):
        fresh.shutdown(socket.SHUT_WR)
    assert fresh.getsockname() == ("0.0.0.0", 0)
    await fresh.bind(("localhost", 0))
    assert await error_of(fresh.bind(("localhost", 0))) == errno.EINVAL
    other = trio.socket.socket()
    assert await error_of(other.bind(fresh.getsockname())) == errno.EADDRINUSE
    with pytest.raises(OverflowError):
        await other.bind(("127.0.0.1", 65536))
    with pytest.raises(ValueError, match="tuple"):
        await other.bind("127.0.0.1")
    fresh.listen()
    assert await error_of(fresh.connect(("127.0.0.1", 9))) == errno.EISCONN
    fresh.close()
    await other.bind(("127.0.0.1", 0))
    other.close()
    server.close()


async def test_a_connect_that_waits_can_be_cancelled_or_closed(network: Network) -> None:
    listener = network.listen_tcp(80, backlog=1)
    (await network.connect_tcp("127.0.0.1", 80)).connection.abort()
    waiting, closing = trio.socket.socket(), trio.socket.socket()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiting.connect, ("127.0.0.1", 80))
        await wait_all_tasks_blocked()
        assert waiting.getsockname()[1] > 0
        nursery.cancel_scope.cancel()
    assert waiting.fileno() == -1

    async def connect() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await closing.connect(("127.0.0.1", 80))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connect)
        await wait_all_tasks_blocked()
        closing.close()
    await listener.aclose()
    assert network.sockets() == []


async def test_options(network: Network) -> None:
    client, server = await socket_pair()
    for level, option, value in (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.SOL_SOCKET, socket.SO_RCVBUF, 5000),
    ):
        client.setsockopt(level, option, value)
        assert client.getsockopt(level, option) == value
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, struct.pack("i", 0))
    assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 4) == struct.pack("i", 0)
    assert await server.send(bytes(6000)) == 5000
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    for call in (
        lambda: client.setsockopt(socket.SOL_SOCKET, socket.SO_TYPE, 1),
        lambda: client.getsockopt(socket.IPPROTO_TCP, 12345),
        lambda: client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0),
        lambda: client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, b"1"),
        client.dup,
        client.detach,
        lambda: client.set_inheritable(True),
    ):
        with pytest.raises(OSError):  # noqa: PT011 - several numbers
            call()
    assert await error_of(client.recv(1, socket.MSG_PEEK)) == errno.EOPNOTSUPP
    with pytest.raises(OSError, match="Bad file"):
        await trio.lowlevel.wait_readable(client)
    with client, server:
        pass
    assert network.sockets() == []


async def test_datagrams(network: Network) -> None:
    with (
        trio.socket.socket(type=socket.SOCK_DGRAM) as server,
        trio.socket.socket(type=socket.SOCK_DGRAM) as client,
    ):
        await server.bind(("127.0.0.1", 53))
        assert await error_of(client.send(b"whom?")) == errno.EDESTADDRREQ
        with assert_checkpoints():
            assert await client.sendto(b"who?", ("localhost", 53)) == 4
        assert server.is_readable()
        data, address = await server.recvfrom(3)
        assert (data, address) == (b"who", ("127.0.0.1", client.getsockname()[1]))
        await server.sendto(b"you", 0, address)
        buffer = bytearray(9)
        assert await client.recvfrom_into(buffer) == (3, ("127.0.0.1", 53))
        await client.connect(("127.0.0.1", 53))
        assert client.getpeername() == ("127.0.0.1", 53)
        await client.send(b"12345")
        assert await server.recvmsg(2) == (b"12", [], socket.MSG_TRUNC, client.getsockname())
        server.close()
        await client.send(b"nobody")
        assert await error_of(client.recv(1)) == errno.ECONNREFUSED
        assert await error_of(client.sendto(bytes(70_000), ("127.0.0.1", 53))) == errno.EMSGSIZE
        for call in (client.listen, lambda: client.shutdown(socket.SHUT_RDWR)):
            with pytest.raises(OSError, match="not supported"):
                call()
        await client.wait_writable()
    assert network.sockets() == []


async def test_ipv6_addresses(network: Network) -> None:
    with trio.socket.socket(socket.AF_INET6) as listener, trio.socket.socket(socket.AF_INET6) as client:
        assert listener.getsockname() == ("::", 0, 0, 0)
        await listener.bind(("", 0))
        listener.listen()
        await client.connect(("::1", listener.getsockname()[1], 0, 0))
        accepted, address = await listener.accept()
        assert address == client.getsockname()
        assert len(accepted.getpeername()) == 4
        accepted.close()
        assert await error_of(client.connect(("127.0.0.1", 1))) in (errno.EISCONN, socket.EAI_NONAME)
