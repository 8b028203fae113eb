"""The synchronous TCP core: listening, connecting, and the ways a connection ends."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from ipaddress import ip_address

import pytest

from wasi_sockets.network import Network, SocketAddress, TcpBacklog, TcpConnection


def at(ip: str, port: int) -> SocketAddress:
    return SocketAddress(ip_address(ip), port)


def listen(network: Network, ip: str = "127.0.0.1", port: int = 80, backlog: int = 128) -> TcpBacklog:
    return network.start_listen(network.reserve("tcp", at(ip, port)), backlog)


def connect(network: Network, ip: str = "127.0.0.1", port: int = 80) -> TcpConnection:
    attempt = network.start_connect(at(ip, port))
    assert attempt.state == "connected"
    assert attempt.connection is not None
    return attempt.connection


def accept(backlog: TcpBacklog) -> TcpConnection:
    connection = backlog.try_accept()
    assert connection is not None
    return connection


def pair(network: Network | None = None) -> tuple[TcpConnection, TcpConnection]:
    network = network or Network()
    backlog = listen(network)
    client = connect(network)
    server = accept(backlog)
    backlog.close()
    return client, server


# Addresses


def test_each_end_knows_both_addresses() -> None:
    client, server = pair()
    assert client.remote_address == server.local_address == at("127.0.0.1", 80)
    assert client.local_address == server.remote_address
    assert client.local_address.ip == ip_address("127.0.0.1")


def test_two_loopback_addresses_are_two_endpoints() -> None:
    network = Network()
    one, two = listen(network, "127.0.0.1"), listen(network, "127.0.0.2")
    connect(network, "127.0.0.2")
    assert one.try_accept() is None
    assert accept(two).local_address == at("127.0.0.2", 80)
    assert network.start_connect(at("127.0.0.3", 80)).state == "refused"


@pytest.mark.parametrize(
    ("wildcard", "addresses", "others"),
    [("0.0.0.0", ["127.0.0.1", "127.9.9.9"], "::1"), ("::", ["::1"], "127.0.0.1")],
)
def test_a_wildcard_listener_accepts_for_every_address_of_its_version(
    wildcard: str, addresses: list[str], others: str
) -> None:
    network = Network()
    backlog = listen(network, wildcard)
    assert backlog.address == at(wildcard, 80)
    for address in addresses:
        client = connect(network, address)
        server = accept(backlog)
        assert server.local_address == client.remote_address == at(address, 80)
    assert network.start_connect(at(others, 80)).state == "refused"


@pytest.mark.parametrize(("wildcard", "loopback"), [("0.0.0.0", "127.0.0.1"), ("::", "::1")])
def test_connecting_to_or_from_a_wildcard_is_connecting_to_or_from_loopback(
    wildcard: str, loopback: str
) -> None:
    network = Network()
    backlog = listen(network, loopback)
    reservation = network.reserve("tcp", at(wildcard, 0))
    attempt = network.start_connect(at(wildcard, 80), reservation=reservation)
    assert attempt.connection is not None
    assert attempt.connection.local_address == at(loopback, reservation.address.port)
    assert attempt.connection.remote_address == at(loopback, 80)
    assert accept(backlog).remote_address == attempt.connection.local_address


def test_connecting_to_the_wildcard_is_connecting_to_the_sockets_own_address() -> None:
    network = Network()
    listen(network, "127.0.0.2")
    reservation = network.reserve("tcp", at("127.0.0.2", 0))
    attempt = network.start_connect(at("0.0.0.0", 80), reservation=reservation)
    assert attempt.remote_address == at("127.0.0.2", 80)
    assert attempt.state == "connected"
    assert network.start_connect(at("0.0.0.0", 80)).state == "refused"


def test_a_connection_keeps_its_port_until_its_own_end_is_closed() -> None:
    network = Network()
    client, server = pair(network)
    server.close()
    client.receive_pipe.read(1)
    with pytest.raises(OSError, match="in use"):
        network.reserve("tcp", client.local_address)
    client.close()
    network.reserve("tcp", client.local_address)


def test_both_ends_carry_the_context_of_the_opener() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    network = Network()
    backlog = listen(network, backlog=1)
    connect(network)

    def open_another() -> None:
        variable.set("the opener's")
        assert network.start_connect(at("127.0.0.1", 80)).state == "pending"

    contextvars.copy_context().run(open_another)
    assert accept(backlog).opener_context.get(variable) is None
    assert accept(backlog).opener_context[variable] == "the opener's"


# The backlog


def test_connects_beyond_the_backlog_wait_and_are_admitted_in_order() -> None:
    network = Network()
    backlog = listen(network, backlog=2)
    attempts = [network.start_connect(at("127.0.0.1", 80)) for _ in range(5)]
    assert [attempt.state for attempt in attempts] == ["connected"] * 2 + ["pending"] * 3
    woken: list[int] = []
    for number, attempt in enumerate(attempts):
        attempt.done.add(lambda number=number: woken.append(number))  # type: ignore[misc]
    accepted = [accept(backlog)]
    assert woken == [2]
    accepted += [accept(backlog) for _ in range(4)]
    assert woken == [2, 3, 4]
    assert backlog.try_accept() is None
    assert [c.remote_address for c in accepted] == [attempt.local_address for attempt in attempts]


def test_a_cancelled_connect_leaves_the_backlog_and_its_port() -> None:
    network = Network()
    backlog = listen(network, backlog=1)
    first, second, third = (network.start_connect(at("127.0.0.1", 80)) for _ in range(3))
    second.cancel()
    second.cancel()
    assert second.state == "reset"
    network.reserve("tcp", second.local_address).release()
    assert [accept(backlog).remote_address for _ in range(2)] == [first.local_address, third.local_address]
    assert backlog.try_accept() is None


def test_cancelling_a_connect_that_succeeded_closes_its_connection() -> None:
    network = Network()
    backlog = listen(network)
    attempt = network.start_connect(at("127.0.0.1", 80))
    attempt.cancel()
    network.reserve("tcp", attempt.local_address)
    assert accept(backlog).receive_pipe.available() == -1


def test_a_longer_backlog_admits_who_waits() -> None:
    network = Network()
    backlog = listen(network, backlog=0)
    attempts = [network.start_connect(at("127.0.0.1", 80)) for _ in range(4)]
    assert [attempt.state for attempt in attempts] == ["connected"] + ["pending"] * 3
    backlog.set_backlog(3)
    assert [attempt.state for attempt in attempts] == ["connected"] * 3 + ["pending"]
    backlog.set_backlog(-1)
    assert backlog.backlog == 1
    assert backlog.queued == 3


def test_closing_a_listener_resets_what_is_queued_and_refuses_what_waits() -> None:
    network = Network()
    backlog = listen(network, backlog=1)
    queued, pending = (network.start_connect(at("127.0.0.1", 80)) for _ in range(2))
    woken: list[str] = []
    pending.done.add(lambda: woken.append("pending"))
    backlog.acceptable.add(lambda: woken.append("acceptable"))
    backlog.close()
    backlog.close()
    assert queued.connection is not None
    assert queued.connection.receive_pipe.available() == queued.connection.send_pipe.permit() == -2
    assert pending.state == "refused"
    assert woken == ["pending", "acceptable"]
    queued.connection.close()
    assert network.sockets() == []


def test_a_client_may_connect_write_and_close_before_accept() -> None:
    network = Network()
    backlog = listen(network)
    client = connect(network)
    client.send_pipe.write(b"hello")
    client.close()
    server = accept(backlog)
    assert server.receive_pipe.read(100) == b"hello"
    assert server.receive_pipe.available() == -1


# Ends


def test_half_close_works_both_ways() -> None:
    client, server = pair()
    client.send_pipe.write(b"question")
    client.shutdown_send()
    assert server.receive_pipe.read(100) == b"question"
    assert server.receive_pipe.available() == -1
    server.send_pipe.write(b"answer")
    server.shutdown_send()
    assert client.receive_pipe.read(100) == b"answer"
    assert client.receive_pipe.available() == -1
    assert client.send_pipe.permit() == server.send_pipe.permit() == -1


def test_a_peer_that_shut_its_receiving_half_swallows_what_is_sent() -> None:
    client, server = pair()
    client.send_pipe.write(b"lost")
    server.shutdown_receive()
    assert server.receive_pipe.available() == -1
    for _ in range(3):
        assert client.send_pipe.permit() == client.send_pipe.capacity
        client.send_pipe.write(bytes(client.send_pipe.capacity))
    assert server.receive_pipe.available() == -1
    server.close()
    assert client.send_pipe.permit() == client.receive_pipe.available() == -1


def test_close_with_unread_data_resets_the_peer_after_it_read_the_answer() -> None:
    client, server = pair()
    client.send_pipe.write(b"a long request")
    server.receive_pipe.read(1)
    server.send_pipe.write(b"too long")
    server.close()
    assert client.send_pipe.permit() == -2
    assert client.receive_pipe.read(3) == b"too"
    assert client.receive_pipe.available() == 5
    assert client.receive_pipe.read(100) == b" long"
    assert client.receive_pipe.available() == -2


def test_close_with_unread_data_resets_a_peer_that_has_nothing_to_read_at_once() -> None:
    client, server = pair()
    client.send_pipe.write(b"unread")
    server.close()
    assert client.receive_pipe.available() == -2


@pytest.mark.parametrize("end", [TcpConnection.close, TcpConnection.abort])
def test_who_has_seen_the_end_does_not_see_a_later_reset(end: Callable[[TcpConnection], None]) -> None:
    client, server = pair()
    client.send_pipe.write(b"unread")
    server.send_pipe.write(b"bye")
    server.shutdown_send()
    end(server)
    assert client.receive_pipe.read(100) == b"bye"
    assert client.receive_pipe.available() == -1
    assert client.send_pipe.permit() == -1


def test_close_without_unread_data_is_clean() -> None:
    client, server = pair()
    server.send_pipe.write(b"bye")
    server.close()
    server.close()
    assert client.receive_pipe.read(100) == b"bye"
    assert client.receive_pipe.available() == -1
    assert client.send_pipe.permit() == -1
    with pytest.raises(BrokenPipeError):
        client.send_pipe.write(b"anybody?")


@pytest.mark.parametrize("end", ["close", "abort"])
def test_what_an_end_wakes_may_end_it_again(end: str) -> None:
    network = Network()
    client, server = pair(network)
    client.send_pipe.write(b"1234")
    server.receive_pipe.read(4)
    server.receive_pipe.readable.add(server.close)
    server.send_pipe.writable.add(server.abort)
    client.receive_pipe.readable.add(client.close)
    getattr(server, end)()
    assert client.closed
    assert network.sockets() == []
    assert network.statistics().bytes_delivered == 4


def test_abort_resets_both_ends_and_drops_what_was_queued() -> None:
    network = Network()
    client, server = pair(network)
    server.send_pipe.write(b"never read")
    server.abort()
    server.abort()
    for pipe in (client.receive_pipe, client.send_pipe):
        assert pipe.available() == pipe.permit() == -2
        assert pipe.read(100) == b""
    client.abort()
    assert network.statistics().connections_reset == 1
