"""Published ports: real connections that reach listeners of a network."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import AsyncIterator
from functools import partial

import pytest
import trio
import trio.testing
from real_world import BIG, connected, echo, reset_on_close, settled

from wasi_sockets.network import Deny, Network, Policy


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
async def running() -> AsyncIterator[trio.Nursery]:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            yield nursery
            nursery.cancel_scope.cancel()


async def published(running: trio.Nursery, network: Network, port: int = 80, **options: object) -> int:
    address = await running.start(partial(network.publish, port, **options))
    assert str(address.ip) == "127.0.0.1"
    return address.port


async def test_bytes_and_ends_go_both_ways_and_the_peer_is_seen(
    network: Network, running: trio.Nursery
) -> None:
    listener = network.listen_tcp(80)
    client = await connected(await published(running, network))
    server = await listener.accept()
    assert server.remote_address.sockaddr() == client.socket.getsockname()
    assert str(server.local_address) == "127.0.0.1:80"
    running.start_soon(echo, server)
    await client.send_all(b"hello")
    assert await client.receive_some() == b"hello"
    await client.send_eof()
    assert await client.receive_some() == b""
    await client.aclose()
    await settled(network)


async def test_the_service_may_end_first(network: Network, running: trio.Nursery) -> None:
    listener = network.listen_tcp(80)
    client = await connected(await published(running, network))
    server = await listener.accept()
    await server.send_all(b"bye")
    await server.send_eof()
    assert await client.receive_some() == b"bye"
    assert await client.receive_some() == b""
    await client.send_all(b"still here")
    assert await server.receive_some() == b"still here"
    await server.aclose()
    await client.aclose()
    await settled(network)


async def test_much_goes_through_unchanged_with_back_pressure(
    network: Network, running: trio.Nursery
) -> None:
    listener = network.listen_tcp(80)
    client = await connected(await published(running, network))
    server = await listener.accept()
    data = bytes(range(256)) * (BIG // 256)

    async def send(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(data)
        await stream.send_eof()

    async def receive(stream: trio.abc.ReceiveStream) -> None:
        received = bytearray()
        async for piece in stream:
            received += piece
        assert received == data

    for sender, receiver in ((client, server), (server, client)):
        async with trio.open_nursery() as transfer:
            transfer.start_soon(send, sender)
            # It stalls, with little of it in memory here, until somebody reads.
            buffered = 0
            while network.statistics().buffered_bytes > buffered or not buffered:
                buffered = network.statistics().buffered_bytes
                for _ in range(50):
                    await trio.lowlevel.checkpoint()
            assert buffered <= (256 + 64) * 1024
            transfer.start_soon(receive, receiver)
    await client.aclose()
    await server.aclose()
    await settled(network)


async def test_a_reset_by_the_peer_comes_after_what_it_sent(network: Network, running: trio.Nursery) -> None:
    listener = network.listen_tcp(80)
    client = await connected(await published(running, network))
    server = await listener.accept()
    await client.send_all(b"last words")
    while not server.connection.receive_pipe.buffered:
        await trio.lowlevel.checkpoint()
    reset_on_close(client)
    await client.aclose()
    while not server.connection.receive_pipe.ended:
        await trio.lowlevel.checkpoint()
    assert await server.receive_some() == b"last words"
    with pytest.raises(trio.BrokenResourceError):
        await server.receive_some()
    await server.aclose()


@pytest.mark.parametrize("unread", [b"", b"not read"])
async def test_a_reset_by_the_service_reaches_the_peer(
    network: Network, running: trio.Nursery, unread: bytes
) -> None:
    listener = network.listen_tcp(80)
    client = await connected(await published(running, network))
    server = await listener.accept()
    if unread:
        await client.send_all(unread)
        while not server.connection.receive_pipe.buffered:
            await trio.lowlevel.checkpoint()
        await server.aclose()
    else:
        server.connection.abort()
    with pytest.raises(trio.BrokenResourceError):
        await client.receive_some()
    await client.aclose()
    await settled(network)


async def test_what_a_service_sent_before_it_left_arrives(network: Network, running: trio.Nursery) -> None:
    listener = network.listen_tcp(80)
    client = await connected(await published(running, network))
    server = await listener.accept()
    data = bytes(200_000)
    await server.send_all(data)
    await server.aclose()
    received = bytearray()
    async for piece in client:
        received += piece
    assert received == data
    await client.aclose()
    await settled(network)


async def test_a_connection_waits_for_its_service(network: Network, running: trio.Nursery) -> None:
    port = await published(running, network)
    client = await connected(port)
    await client.send_all(b"anybody?")
    await trio.testing.wait_all_tasks_blocked()
    for _ in range(2):  # the service, and the service started again
        listener = network.listen_tcp(80)
        server = await listener.accept()
        assert await server.receive_some() == b"anybody?"
        await server.aclose()
        await listener.aclose()
        await client.aclose()
        client = await connected(port)
        await client.send_all(b"anybody?")
    await client.aclose()


async def test_and_not_for_ever(
    network: Network, running: trio.Nursery, mock_clock: trio.testing.MockClock
) -> None:
    client = await connected(await published(running, network, ready_within=3.0))
    while not network._registry.listeners_changed:  # held: somebody waits for a listener
        await trio.lowlevel.checkpoint()
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(2.9)
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(0.2)
    with pytest.raises(trio.BrokenResourceError):
        await client.receive_some()
    await client.aclose()


async def test_the_policy_can_turn_peers_away(running: trio.Nursery) -> None:
    network = Network(policy=Policy([Deny.accept("127.0.0.1", ports=80)]))
    listener = network.listen_tcp(80)
    client = await connected(await published(running, network, ready_within=0.0))
    with pytest.raises(trio.BrokenResourceError):
        await client.receive_some()
    await client.aclose()
    assert listener.backlog.queued == 0
    assert network.statistics().denials == {"accept": 1}


async def test_a_bridge_that_ends_takes_its_connections_along(network: Network) -> None:
    listener = network.listen_tcp(80)
    async with trio.open_nursery() as nursery:
        port = await published(nursery, network)
        client = await connected(port)
        server = await listener.accept()
        nursery.cancel_scope.cancel()
    with pytest.raises(trio.BrokenResourceError):
        await client.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await server.receive_some()
    with pytest.raises(OSError, match="all attempts to connect"):
        await connected(port)
    await server.aclose()
    await client.aclose()
    assert [record.state for record in network.sockets()] == ["listening"]


async def test_an_ipv6_service_sees_a_mapped_address(network: Network, running: trio.Nursery) -> None:
    listener = network.listen_tcp(80, "::1")
    client = await connected(await published(running, network))
    server = await listener.accept()
    assert server.remote_address.ip.ipv4_mapped is not None
    assert server.remote_address.port == client.socket.getsockname()[1]
    await server.aclose()
    await client.aclose()


async def test_a_taken_real_port_is_an_error(network: Network, running: trio.Nursery) -> None:
    port = await published(running, network)
    with pytest.raises(OSError) as caught:  # noqa: PT011  # the number is the result
        await network.publish(80, port=port)
    assert caught.value.errno == errno.EADDRINUSE
    assert str(caught.value).endswith(f"Address already in use: 127.0.0.1:{port}")
    with pytest.raises(ValueError, match="not an IP address"):
        await network.publish(80, host="example.com")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_all_listeners_can_have_the_same_real_ports(
    network: Network, running: trio.Nursery, mock_clock: trio.testing.MockClock
) -> None:
    first, second = free_port(), free_port()
    one = network.listen_tcp(first, "127.0.0.2")
    await running.start(partial(network.publish_all, ready_within=1.0))
    two = network.listen_tcp(second)
    await trio.testing.wait_all_tasks_blocked()
    for port, listener in ((first, one), (second, two)):
        client = await connected(port)
        server = await listener.accept()
        await server.aclose()
        await client.aclose()
    await one.aclose()
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(0.5)
    one = network.listen_tcp(first)
    await two.aclose()
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(1.5)
    await trio.testing.wait_all_tasks_blocked()
    client = await connected(first)
    await (await one.accept()).aclose()
    await client.aclose()
    with pytest.raises(OSError, match="all attempts to connect"):
        await connected(second)


@pytest.mark.parametrize("passes", [0, 1])
async def test_who_listens_while_the_real_port_is_given_up_gets_it_again(
    network: Network, running: trio.Nursery, mock_clock: trio.testing.MockClock, passes: int
) -> None:
    port = free_port()
    first = network.listen_tcp(port)
    await running.start(partial(network.publish_all, ready_within=1.0))
    await trio.testing.wait_all_tasks_blocked()
    await first.aclose()
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(1.0)
    for _ in range(passes):
        await trio.lowlevel.checkpoint()
    second = network.listen_tcp(port)
    await trio.testing.wait_all_tasks_blocked()
    client = await connected(port)
    await (await second.accept()).aclose()
    await client.aclose()


async def test_a_port_that_cannot_be_had_is_told_and_the_others_go_on(
    network: Network, running: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        network.listen_tcp(taken.getsockname()[1])
        other = network.listen_tcp(free_port())
        with caplog.at_level(logging.WARNING):
            await running.start(network.publish_all)
            await trio.testing.wait_all_tasks_blocked()
        assert "cannot be published" in caplog.text
        client = await connected(other.local_address.port)
        await (await other.accept()).aclose()
        await client.aclose()
