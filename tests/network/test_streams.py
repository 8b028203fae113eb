"""The trio layer: streams and listeners as trio programs expect them."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import (
    assert_checkpoints,
    check_half_closeable_stream,
    check_two_way_stream,
    wait_all_tasks_blocked,
)

from wasi_sockets.network import Network, TcpStream


async def pair(buffer_size: int = 256 * 1024) -> tuple[TcpStream, TcpStream]:
    network = Network(buffer_size=buffer_size)
    listener = network.listen_tcp()
    client = await network.connect_tcp("127.0.0.1", listener.local_address.port)
    server = await listener.accept()
    await listener.aclose()
    return client, server


async def clogged_pair() -> tuple[TcpStream, TcpStream]:
    client, server = await pair(buffer_size=100)
    for stream in (client, server):
        await stream.send_all(bytes(100))
    return client, server


StreamMaker = Callable[[], Awaitable[tuple[TcpStream, TcpStream]]]


@pytest.mark.parametrize("maker", [pair, clogged_pair])
async def test_trio_accepts_it_as_a_half_closeable_stream(maker: StreamMaker) -> None:
    await check_half_closeable_stream(pair, clogged_pair if maker is clogged_pair else None)


async def test_trio_accepts_it_as_a_two_way_stream() -> None:
    await check_two_way_stream(pair, clogged_pair)


async def test_a_large_send_waits_for_the_reader_and_arrives_whole() -> None:
    client, server = await pair(buffer_size=1000)
    data = bytes(i % 251 for i in range(50_000))
    received = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, data)
        await wait_all_tasks_blocked()
        assert server.connection.receive_pipe.buffered == 1000
        while len(received) < len(data):
            received += await server.receive_some(333)
            assert server.connection.receive_pipe.buffered <= 1000
    assert received == data


async def test_wide_memoryviews_are_sent_as_bytes() -> None:
    client, server = await pair(buffer_size=5)
    wide = memoryview(b"0123456789abcdef").cast("I")
    received = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, wide)
        while len(received) < 16:
            received += await server.receive_some()
    assert received == b"0123456789abcdef"


async def test_a_cancelled_receive_loses_nothing() -> None:
    client, server = await pair()
    received = b""

    async def receive_with(scope: trio.CancelScope) -> None:
        nonlocal received
        with scope:
            received += await server.receive_some(3)

    for round_number in range(20):
        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive_with, scope)
            if round_number % 2:
                await wait_all_tasks_blocked()
            # Woken and cancelled in the same turn, in both orders.
            if round_number % 4 < 2:
                client.connection.send_pipe.write(b"%02d" % round_number)
                scope.cancel()
            else:
                scope.cancel()
                client.connection.send_pipe.write(b"%02d" % round_number)
    await client.send_eof()
    while data := await server.receive_some():
        received += data
    assert received == b"".join(b"%02d" % number for number in range(20))


async def test_a_cancelled_send_that_fits_sends_nothing() -> None:
    client, server = await pair()
    with trio.CancelScope() as scope:
        scope.cancel()
        await client.send_all(b"not this")
    await client.send_all(b"but this")
    assert await server.receive_some() == b"but this"


async def test_a_cancelled_send_that_had_to_wait_has_sent_a_beginning() -> None:
    client, server = await pair(buffer_size=10)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, b"0123456789abc")
            await wait_all_tasks_blocked()
            scope.cancel()
    assert await server.receive_some() == b"0123456789"
    await client.send_all(b"again")
    assert await server.receive_some() == b"again"


async def test_a_reset_breaks_the_stream_and_says_so() -> None:
    client, server = await pair()
    await server.send_all(b"unread")
    client.connection.abort()
    for operation in (server.receive_some(), server.send_all(b"x")):
        with pytest.raises(trio.BrokenResourceError) as caught:
            await operation
        assert isinstance(caught.value.__cause__, ConnectionResetError)


async def test_a_reset_wakes_who_waits() -> None:
    client, server = await clogged_pair()
    await server.receive_some()

    async def expect_broken(operation: Awaitable[object]) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await operation

    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect_broken, server.receive_some())
        nursery.start_soon(expect_broken, server.send_all(bytes(1000)))
        await wait_all_tasks_blocked()
        client.connection.abort()


async def test_sending_to_a_peer_that_closed_is_a_broken_pipe() -> None:
    client, server = await pair()
    await server.aclose()
    with pytest.raises(trio.BrokenResourceError) as caught:
        await client.send_all(b"x")
    assert isinstance(caught.value.__cause__, BrokenPipeError)
    assert await client.receive_some() == b""


async def test_sending_after_send_eof_is_refused_and_receiving_goes_on() -> None:
    client, server = await pair()
    await client.send_eof()
    with pytest.raises(trio.ClosedResourceError):
        await client.send_all(b"x")
    assert await server.receive_some() == b""
    await server.send_all(b"answer")
    assert await client.receive_some() == b"answer"


async def test_streams_tell_their_addresses_in_both_ways() -> None:
    network = Network()
    for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
        listener = network.listen_tcp(8080, host)
        client = await network.connect_tcp(host, 8080)
        server = await listener.accept()
        assert client.remote_address == server.local_address == listener.local_address
        view = server.socket
        assert view.family is family
        assert (view.type, view.proto) == (socket.SOCK_STREAM, socket.IPPROTO_TCP)
        assert view.getsockname() == client.socket.getpeername() == listener.socket.getsockname()
        assert view.getsockname()[:2] == (host, 8080)
        assert len(view.getsockname()) == (2 if family is socket.AF_INET else 4)
        with pytest.raises(OSError, match="not connected"):
            listener.socket.getpeername()


# Connecting and listening


async def test_serve_listeners_serves() -> None:
    network = Network()

    async def shout(stream: TcpStream) -> None:
        async for data in stream:
            await stream.send_all(data.upper())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, shout, [network.listen_tcp(8080), network.listen_tcp(8081)])
        for port in (8080, 8081):
            async with await network.connect_tcp("localhost", port) as stream:
                await stream.send_all(b"hello")
                assert await stream.receive_some() == b"HELLO"
        nursery.cancel_scope.cancel()
    assert network.sockets() == []


async def test_connecting_to_nobody_is_refused() -> None:
    network = Network()
    with assert_checkpoints(), pytest.raises(ConnectionRefusedError, match=r"127\.0\.0\.1:81"):
        await network.connect_tcp("127.0.0.1", 81)
    with pytest.raises(socket.gaierror):
        await network.connect_tcp("nowhere", 81)
    assert network.sockets() == []


async def test_every_address_of_a_name_is_tried() -> None:
    network = Network()
    network.add_name("db", "192.0.2.1", "127.0.0.9", "::1")
    network.listen_tcp(5432, "::1")
    stream = await network.connect_tcp("db", 5432)
    assert str(stream.remote_address) == "[::1]:5432"


async def test_a_connect_that_its_owner_loses_does_not_go_on_to_the_next_address() -> None:
    network = Network()
    network.add_name("db", "127.0.0.1", "::1")
    network.listen_tcp(5432, backlog=1)
    network.listen_tcp(5432, "::1")
    await network.connect_tcp("127.0.0.1", 5432)

    async def expect_reset() -> None:
        with pytest.raises(ConnectionResetError, match="5432"):
            await network.connect_tcp("db", 5432, owner="guest")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect_reset)
        await wait_all_tasks_blocked()
        network.release("guest")


async def test_a_connect_waits_while_the_backlog_is_full() -> None:
    network = Network()
    listener = network.listen_tcp(80, backlog=1)
    await network.connect_tcp("127.0.0.1", 80)
    connected: list[TcpStream] = []

    async def connect() -> None:
        connected.append(await network.connect_tcp("127.0.0.1", 80))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connect)
        await wait_all_tasks_blocked()
        assert not connected
        await listener.accept()
    server = await listener.accept()
    assert server.remote_address == connected[0].local_address


async def test_a_cancelled_connect_frees_its_port_and_place() -> None:
    network = Network()
    listener = network.listen_tcp(80, backlog=1)
    first = await network.connect_tcp("127.0.0.1", 80)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(network.connect_tcp, "127.0.0.1", 80)
        await wait_all_tasks_blocked()
        assert [record.state for record in network.sockets()].count("connecting") == 1
        nursery.cancel_scope.cancel()
    assert [record.state for record in network.sockets()].count("connecting") == 0
    assert (await listener.accept()).remote_address == first.local_address
    assert listener.backlog.queued == 0


@pytest.mark.parametrize("cancelled_first", [False, True])
async def test_a_connect_cancelled_in_the_turn_of_its_success_leaves_nothing_open(
    cancelled_first: bool,
) -> None:
    network = Network()
    listener = network.listen_tcp(80, backlog=1)
    first = await network.connect_tcp("127.0.0.1", 80)
    streams: list[TcpStream] = []

    async def connect() -> None:
        streams.append(await network.connect_tcp("127.0.0.1", 80))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connect)
        await wait_all_tasks_blocked()
        if cancelled_first:
            nursery.cancel_scope.cancel()
            listener.backlog.try_accept()
        else:
            listener.backlog.try_accept()
            nursery.cancel_scope.cancel()
    assert len(streams) == (0 if cancelled_first else 1)
    for stream in [first, *streams]:
        await stream.aclose()
    await listener.aclose()
    # The server's end of the first connection was accepted and dropped here; nothing else is left.
    assert [record.remote for record in network.sockets()] == [first.local_address]


async def test_a_connect_that_waits_is_refused_when_the_listener_closes() -> None:
    network = Network()
    listener = network.listen_tcp(80, backlog=1)
    queued = await network.connect_tcp("127.0.0.1", 80)

    async def expect_refused() -> None:
        with pytest.raises(ConnectionRefusedError):
            await network.connect_tcp("127.0.0.1", 80)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect_refused)
        await wait_all_tasks_blocked()
        await listener.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await queued.receive_some()


async def test_closing_a_listener_wakes_every_acceptor() -> None:
    listener = Network().listen_tcp()

    async def expect_closed() -> None:
        with assert_checkpoints(), pytest.raises(trio.ClosedResourceError):
            await listener.accept()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect_closed)
        nursery.start_soon(expect_closed)
        await wait_all_tasks_blocked()
        await listener.aclose()
    await expect_closed()
    await listener.aclose()


async def test_a_cancelled_accept_loses_no_connection() -> None:
    network = Network()
    listener = network.listen_tcp(80)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.accept)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    with trio.CancelScope() as scope:
        client = await network.connect_tcp("127.0.0.1", 80)
        scope.cancel()
        await listener.accept()
    assert (await listener.accept()).remote_address == client.local_address


async def test_several_tasks_may_accept() -> None:
    network = Network()
    listener = network.listen_tcp(80)
    accepted: list[TcpStream] = []

    async def accept() -> None:
        accepted.append(await listener.accept())

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(accept)
        await wait_all_tasks_blocked()
        clients = [await network.connect_tcp("127.0.0.1", 80) for _ in range(3)]
    assert {s.remote_address for s in accepted} == {c.local_address for c in clients}
