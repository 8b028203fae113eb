"""Forwarded and published UDP ports."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from functools import partial
from ipaddress import ip_address

import pytest
import trio
import trio.testing

from wasi_sockets.network import Deny, Network, Policy, SocketAddress
from wasi_sockets.network.bridges.publish import seen_address


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
async def running() -> AsyncIterator[trio.Nursery]:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            yield nursery
            nursery.cancel_scope.cancel()


def real_socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.setblocking(False)
    return made


async def received(real: socket.socket) -> tuple[bytes, tuple[str, int]]:
    await trio.lowlevel.wait_readable(real)
    return real.recvfrom(65535)


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    with real_socket() as made:
        yield made


async def test_a_forward_gives_each_sender_a_real_socket(
    network: Network, running: trio.Nursery, peer: socket.socket
) -> None:
    address = await running.start(partial(network.forward, 53, peer.getsockname(), protocol="udp"))
    assert str(address) == "127.0.0.1:53"
    async with network.open_udp() as one, network.open_udp() as two:
        sources = set()
        for client, data in ((one, b"one"), (two, b"two"), (one, b"")):
            await client.send(data, ("localhost", 53))
            arrived, source = await received(peer)
            assert arrived == data
            sources.add(source)
            peer.sendto(data + b"!", source)
            answer = await client.receive()
            assert (answer.data, answer.source) == (data + b"!", address)
        assert len(sources) == 2


async def test_a_flow_is_forgotten_when_it_is_not_used(
    network: Network, peer: socket.socket, mock_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery, network.open_udp() as client, network.open_udp(7) as service:
        await nursery.start(partial(network.forward, 53, peer.getsockname(), protocol="udp"))
        real = await nursery.start(partial(network.publish, 7, protocol="udp"))
        sources = []
        for pause in (299, 301, 0):
            await client.send(b"x", ("localhost", 53))
            sources.append((await received(peer))[1])
            peer.sendto(b"y", real.sockaddr())
            await service.receive()
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(pause)
            await trio.testing.wait_all_tasks_blocked()
            flows = [record for record in network.sockets() if record.state == "connected"]
            assert len(flows) == (0 if pause == 301 else 1)
        assert sources[0] == sources[1] != sources[2]
        nursery.cancel_scope.cancel()


async def test_a_service_sees_real_peers_and_answers_them(
    network: Network, running: trio.Nursery, peer: socket.socket
) -> None:
    real = await running.start(partial(network.publish, 7, protocol="udp"))
    peer.sendto(b"nobody there yet", real.sockaddr())
    await trio.testing.wait_all_tasks_blocked(0.001)
    async with network.open_udp(7) as service:
        with real_socket() as other:
            for sender in (peer, other, peer):
                sender.sendto(b"hello", real.sockaddr())
                data, source = await service.receive()
                assert source.sockaddr() == sender.getsockname()
                await service.send(data.upper(), source)
                assert await received(sender) == (b"HELLO", real.sockaddr())
        # Only the service may use a peer's address.
        async with network.open_udp() as stranger:
            await stranger.send(b"hello", peer.getsockname())
            await service.send(b"end", peer.getsockname())
            assert (await received(peer))[0] == b"end"
    # The service started anew.
    async with network.open_udp(7, "0.0.0.0") as service:
        peer.sendto(b"again", real.sockaddr())
        data, source = await service.receive()
        assert data == b"again"
        await service.send(data, source)
        assert (await received(peer))[0] == b"again"


async def test_a_peer_whose_port_is_taken_gets_another(
    network: Network, running: trio.Nursery, peer: socket.socket
) -> None:
    real = await running.start(partial(network.publish, 7, protocol="udp"))
    async with network.open_udp(7) as service, network.open_udp(peer.getsockname()[1]):
        peer.sendto(b"hello", real.sockaddr())
        data, source = await service.receive()
        assert source.port != peer.getsockname()[1]
        await service.send(data, source)
        assert (await received(peer))[0] == b"hello"


async def test_bridges_that_end_leave_nothing(network: Network, peer: socket.socket) -> None:
    with trio.fail_after(30):
        async with network.open_udp(7) as service:
            async with trio.open_nursery() as nursery:
                await nursery.start(partial(network.forward, 53, peer.getsockname(), protocol="udp"))
                real = await nursery.start(partial(network.publish, 7, protocol="udp"))
                peer.sendto(b"hello", real.sockaddr())
                await service.receive()
                await service.send(b"hello", ("localhost", 53))
                await received(peer)
                nursery.cancel_scope.cancel()
            assert [record.local.port for record in network.sockets()] == [7]
            network.open_udp(53).endpoint.close()
            network.open_udp(peer.getsockname()[1]).endpoint.close()


async def test_the_policy_can_turn_peers_away(running: trio.Nursery, peer: socket.socket) -> None:
    network = Network(policy=Policy([Deny.receive("127.0.0.1", ports=7)]))
    real = await running.start(partial(network.publish, 7, protocol="udp"))
    async with network.open_udp(7) as service:
        peer.sendto(b"hello", real.sockaddr())
        while not network.denials():
            await trio.lowlevel.checkpoint()
        assert not service.endpoint.queued


async def test_tls_is_not_for_udp(network: Network) -> None:
    with pytest.raises(ValueError, match="over UDP"):
        await network.forward(53, ("127.0.0.1", 53), protocol="udp", tls=object())  # type: ignore[arg-type]


async def test_an_address_outside_belongs_to_a_flow_and_conflicts_with_nothing(network: Network) -> None:
    ports = network._ports["udp", 4]
    address = SocketAddress(ip_address("192.0.2.1"), 5000)
    flow = ports.reserve_foreign(*address, None)
    with pytest.raises(OSError, match="in use"):
        ports.reserve_foreign(*address, None)
    async with network.open_udp(5000, "0.0.0.0"):
        assert ports.find_foreign(*address) is flow
    flow.free()
    flow.free()
    assert ports.find_foreign(*address) is None


def test_how_peers_are_seen() -> None:
    def seen(ip: str, version: int) -> str:
        return str(seen_address(SocketAddress(ip_address(ip), 1), version).ip)

    assert seen("192.0.2.1", 4) == "192.0.2.1"
    assert seen("::ffff:192.0.2.1", 4) == "192.0.2.1"
    assert seen("192.0.2.1", 6) == str(ip_address("::ffff:192.0.2.1"))
    assert seen("2001:db8::1", 6) == "2001:db8::1"
    assert seen("2001:db8::1", 4) == "127.0.0.1"
