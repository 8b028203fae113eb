"""What the sockets of one owner may be and hold together: the rules of `network/_budget.py`."""

from __future__ import annotations

import errno
from contextlib import suppress
from ipaddress import ip_address

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from wasi_sockets.network import (
    DATAGRAM_OVERHEAD,
    DEFAULT_CAPACITY,
    LEAST_BUFFERED,
    Network,
    SocketAddress,
    TcpBacklog,
    TcpConnection,
    UdpEndpoint,
)


class Owner:
    """Whose sockets are bounded."""


def at(port: int) -> SocketAddress:
    return SocketAddress(ip_address("127.0.0.1"), port)


def listen(network: Network, port: int, owner: object = None, backlog: int = 128) -> TcpBacklog:
    return network.start_listen(network.reserve("tcp", at(port), owner=owner), backlog)


def connect(network: Network, port: int, owner: object = None) -> TcpConnection:
    attempt = network.start_connect(at(port), owner=owner)
    assert attempt.connection is not None
    return attempt.connection


def accept(listener: TcpBacklog) -> TcpConnection:
    connection = listener.try_accept()
    assert connection is not None
    return connection


def bind_udp(network: Network, owner: object = None) -> UdpEndpoint:
    return network.start_udp(network.reserve("udp", at(0), owner=owner))


# Connections


def test_who_has_as_many_connections_as_allowed_cannot_connect() -> None:
    network, owner = Network(), Owner()
    network.limit(owner, connections=2)
    listen(network, 80)
    first, _ = connect(network, 80, owner), connect(network, 80, owner)
    with pytest.raises(OSError, match="2 connections are allowed") as refused:
        network.start_connect(at(80), owner=owner)
    assert refused.value.errno == errno.EMFILE
    connect(network, 80)  # nobody else is concerned
    first.close()
    connect(network, 80, owner)


def test_a_refused_connect_leaves_its_port_as_it_was() -> None:
    network, owner = Network(), Owner()
    network.limit(owner, connections=0)
    listen(network, 80)
    reservation = network.reserve("tcp", at(0), owner=owner)
    with pytest.raises(OSError, match="0 connections"):
        network.start_connect(at(80), reservation=reservation)
    assert not reservation.taken
    reservation.release()
    assert len(network.sockets()) == 1


def test_who_connects_to_an_owner_that_may_have_no_more_waits_until_one_ends() -> None:
    network, owner = Network(), Owner()
    network.limit(owner, connections=2)
    listener = listen(network, 80, owner)
    attempts = [network.start_connect(at(80)) for _ in range(4)]
    assert [each.state for each in attempts] == ["connected", "connected", "pending", "pending"]
    first = accept(listener)  # accepting changes nothing: what waits in the queue counts already
    assert attempts[2].state == "pending"
    first.close()
    assert [each.state for each in attempts[2:]] == ["connected", "pending"]
    accept(listener).abort()
    assert attempts[3].state == "connected"


def test_a_listener_that_ends_refuses_those_that_waited_for_room() -> None:
    network, owner = Network(), Owner()
    network.limit(owner, connections=1)
    listener = listen(network, 80, owner)
    network.start_connect(at(80))
    waiting = network.start_connect(at(80))
    kept = accept(listener)
    listener.close()
    assert waiting.state == "refused"
    kept.close()
    assert waiting.state == "refused"


def test_a_connect_to_oneself_takes_two() -> None:
    network, owner = Network(), Owner()
    network.limit(owner, connections=3)
    listen(network, 80, owner)
    assert network.start_connect(at(80), owner=owner).state == "connected"
    waiting = network.start_connect(at(80), owner=owner)
    assert waiting.state == "pending"


def test_attempts_that_waited_fail_when_their_owner_has_come_to_its_limit() -> None:
    network, owner = Network(), Owner()
    network.limit(owner, connections=2)
    listener = listen(network, 80, backlog=1)
    connect(network, 80, owner)
    waiting = [network.start_connect(at(80), owner=owner) for _ in range(2)]
    assert [each.state for each in waiting] == ["pending", "pending"]
    accept(listener)
    accept(listener)
    assert [each.state for each in waiting] == ["connected", "failed"]
    assert waiting[1].error is not None
    assert waiting[1].error.errno == errno.EMFILE


async def test_streams_are_told_as_well() -> None:
    network, owner = Network(), Owner()
    network.limit(owner, connections=1)
    backlog = listen(network, 80, owner)
    async with await network.connect_tcp("127.0.0.1", 80):
        accepted = accept(backlog)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(network.connect_tcp, "127.0.0.1", 80)
            await trio.testing.wait_all_tasks_blocked()
            assert not backlog.queued
            accepted.close()


# Bytes


def test_room_is_shared_out_and_never_exceeded() -> None:
    network, owner = Network(), Owner()
    network.limit(owner, buffered=1 << 20)
    listener = listen(network, 80)
    connections: list[TcpConnection] = []

    def connect_for_ever() -> None:
        while True:
            connections.append(connect(network, 80, owner))
            accept(listener)

    with pytest.raises(OSError, match="1048576 bytes are allowed in buffers") as refused:
        connect_for_ever()
    assert refused.value.errno == errno.ENOBUFS
    capacities = [each.send_pipe.capacity for each in connections]
    assert capacities == sorted(capacities, reverse=True)
    assert capacities[0] == 64 << 10
    assert capacities[-1] == LEAST_BUFFERED // 2
    assert len(connections) > 20
    assert sum(each.send_pipe.capacity + each.receive_pipe.capacity for each in connections) <= 1 << 20


def test_a_large_budget_changes_nothing() -> None:
    network, owner = Network(), Owner()
    network.limit(owner, buffered=1 << 30)
    listen(network, 80)
    assert connect(network, 80, owner).send_pipe.capacity == DEFAULT_CAPACITY


def test_the_poorer_of_two_owners_decides() -> None:
    network, rich, poor = Network(), Owner(), Owner()
    network.limit(rich, buffered=1 << 30)
    network.limit(poor, buffered=1 << 20)
    listen(network, 80, rich)
    assert connect(network, 80, poor).send_pipe.capacity == 64 << 10


def test_what_a_closed_connection_left_behind_counts_until_it_is_read() -> None:
    network, owner = Network(), Owner()
    network.limit(owner, buffered=LEAST_BUFFERED * 2)
    listener = listen(network, 80)
    servers = []
    for _ in range(4):
        connection = connect(network, 80, owner)
        connection.send_pipe.write(bytes(connection.send_pipe.room()))
        connection.close()
        servers.append(accept(listener))
        if sum(each.receive_pipe.buffered for each in servers) > LEAST_BUFFERED:
            break
    with pytest.raises(OSError, match="bytes are allowed"):
        network.start_connect(at(80), owner=owner)
    for server in servers[:2]:
        assert server.receive_pipe.read(1 << 20)
    assert network.start_connect(at(80), owner=owner).state == "connected"
    servers[2].close()  # the reader goes away instead
    network.start_connect(at(80), owner=owner)


@given(
    st.lists(
        st.tuples(st.sampled_from(["connect", "write", "close", "accept", "read", "drop"]), st.integers(0, 9))
    )
)
def test_what_is_reserved_is_what_is_there(steps: list[tuple[str, int]]) -> None:
    network, owner = Network(), Owner()
    limit = 20 * LEAST_BUFFERED
    network.limit(owner, connections=6, buffered=limit)
    listener = listen(network, 80)
    ours: list[TcpConnection] = []
    closed: list[TcpConnection] = []
    theirs: list[TcpConnection] = []
    for what, which in steps:
        if what == "connect":
            with suppress(OSError):
                ours.append(connect(network, 80, owner))
        elif what == "accept" and listener.queued:
            theirs.append(accept(listener))
        elif what == "write" and ours:
            pipe = ours[which % len(ours)].send_pipe
            if pipe.permit() > 0:
                pipe.write(bytes(pipe.room()))
        elif what == "close" and ours:
            closed.append(ours.pop(which % len(ours)))
            closed[-1].close()
        elif what == "read" and theirs:
            theirs[which % len(theirs)].receive_pipe.read(1000 * (which + 1))
        elif what == "drop" and theirs:
            theirs.pop(which % len(theirs)).close()
        held = sum(each.send_pipe.capacity + each.receive_pipe.capacity for each in ours)
        held += sum(each.send_pipe.buffered for each in closed)
        assert held <= limit
        assert len(ours) <= 6
    for each in [*ours, *theirs]:
        each.close()
    while listener.queued:
        accept(listener).close()
    network.start_connect(at(80), owner=owner).cancel()
    # All is free again: the first connection gets as much as the very first got.
    assert connect(network, 80, owner).send_pipe.capacity == limit // 16


# Datagrams


def test_datagrams_beyond_the_limit_are_dropped_whatever_socket_they_are_for() -> None:
    network, owner = Network(), Owner()
    network.limit(owner, datagrams=3)
    first, second, sender = bind_udp(network, owner), bind_udp(network, owner), bind_udp(network)
    for _ in range(2):
        sender.send(b"x", first.bound_address)
        sender.send(b"x", second.bound_address)
    assert (first.queued, second.queued, second.dropped) == (2, 1, 1)
    first.try_receive()
    sender.send(b"x", second.bound_address)
    assert second.queued == 2
    first.close()
    sender.send(b"x", second.bound_address)
    assert second.queued == 3


def test_choosing_a_peer_drops_the_datagrams_of_others_from_the_budget() -> None:
    network, owner = Network(), Owner()
    network.limit(owner, datagrams=1)
    receiver, stranger, peer = bind_udp(network, owner), bind_udp(network), bind_udp(network)
    stranger.send(b"x", receiver.bound_address)
    receiver.connect(peer.bound_address)
    peer.send(b"y", receiver.bound_address)
    assert receiver.queued == 1


def test_datagrams_count_as_buffered_bytes() -> None:
    network, owner = Network(), Owner()
    network.limit(owner, buffered=LEAST_BUFFERED)
    receiver, sender = bind_udp(network, owner), bind_udp(network)
    size = LEAST_BUFFERED // 4 - DATAGRAM_OVERHEAD
    for _ in range(5):
        sender.send(bytes(size), receiver.bound_address)
    assert (receiver.queued, receiver.dropped) == (4, 1)
    listen(network, 80)
    with pytest.raises(OSError, match="bytes are allowed"):
        network.start_connect(at(80), owner=owner)
    while receiver.try_receive():
        pass
    connect(network, 80, owner)


# Setting and lifting


def test_release_lifts_the_limits() -> None:
    network, owner = Network(), Owner()
    network.limit(owner, connections=1)
    listen(network, 80)
    connect(network, 80, owner)
    network.release(owner)
    connect(network, 80, owner)
    connect(network, 80, owner)


@pytest.mark.parametrize("name", ["connections", "buffered", "datagrams"])
def test_a_limit_that_is_none_is_told_at_once(name: str) -> None:
    network = Network()
    owner = object()
    for limit in ("1", 1.5, True):
        with pytest.raises(TypeError, match=f"{name} must be an int"):
            network.limit(owner, **{name: limit})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"{name} must be at least 0, not -1"):
        network.limit(owner, **{name: -1})
    network.limit(owner, **{name: 0})


def test_limits_are_set_once_and_before_anything_else() -> None:
    network, owner, late = Network(), Owner(), Owner()
    network.limit(owner, connections=1)
    with pytest.raises(ValueError, match="another limit"):
        network.limit(owner, connections=2)
    reservation = network.reserve("tcp", at(0), owner=late)
    with pytest.raises(ValueError, match="has sockets already"):
        network.limit(late, connections=2)
    reservation.release()
    with pytest.raises(ValueError, match="None is no owner"):
        network.limit(None, connections=2)
