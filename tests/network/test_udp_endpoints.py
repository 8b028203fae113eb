"""UDP endpoints: each test says what Linux does over loopback, unless it names one of the stated exceptions."""

from __future__ import annotations

import errno
from collections.abc import Callable
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasi_sockets.network import DATAGRAM_OVERHEAD, MAX_DATAGRAM, Network, SocketAddress, UdpEndpoint


def at(ip: str, port: int = 0) -> SocketAddress:
    return SocketAddress(ip_address(ip), port)


@pytest.fixture
def network() -> Network:
    return Network()


def bound(network: Network, ip: str = "127.0.0.1", port: int = 0, **options: int) -> UdpEndpoint:
    return network.start_udp(network.reserve("udp", at(ip, port)), **options)


def error_of(operation: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(OSError) as caught:  # noqa: PT011  # the number is the result
        operation(*arguments)
    return errno.errorcode[caught.value.errno or 0]


def received(endpoint: UdpEndpoint) -> list[bytes]:
    found = []
    while (datagram := endpoint.try_receive()) is not None:
        found.append(datagram.data)
    return found


@pytest.mark.parametrize("ip", ["127.0.0.1", "127.3.2.1", "::1"])
def test_datagrams_arrive_in_order_and_say_where_they_came_from(network: Network, ip: str) -> None:
    one, other = bound(network, ip), bound(network, ip)
    for data in (b"", b"second", b"third"):
        one.send(data, other.local_address)
    assert other.queued == 3
    assert other.buffered == 11
    for data in (b"", b"second", b"third"):
        assert other.try_receive() == (data, one.local_address)
    assert other.try_receive() is None
    assert (other.queued, other.buffered) == (0, 0)


def test_an_endpoint_may_send_to_itself(network: Network) -> None:
    own = bound(network)
    own.send(b"note", own.local_address)
    assert received(own) == [b"note"]


def test_tcp_and_udp_ports_are_apart(network: Network) -> None:
    listener = network.start_listen(network.reserve("tcp", at("127.0.0.1", 53)))
    endpoint = bound(network, port=53)
    endpoint.send(b"x", listener.address)
    assert received(endpoint) == [b"x"]
    with pytest.raises(ValueError, match="not a UDP port"):
        network.start_udp(network.reserve("tcp", at("127.0.0.1", 54)))
    with pytest.raises(ValueError, match="not a TCP port"):
        network.start_listen(network.reserve("udp", at("127.0.0.1", 54)))
    with pytest.raises(ValueError, match="not a TCP port"):
        network.start_connect(listener.address, reservation=network.reserve("udp", at("127.0.0.1", 55)))
    assert error_of(network.reserve, "udp", at("0.0.0.0", 53)) == "EADDRINUSE"
    assert error_of(network.start_udp, endpoint._reservation) == "EINVAL"


def test_a_wildcard_endpoint_receives_for_every_address_of_its_version(network: Network) -> None:
    server, client = bound(network, "0.0.0.0", 53), bound(network)
    six = bound(network, "::", 53)
    client.send(b"1", at("127.0.0.1", 53))
    client.send(b"2", at("127.9.9.9", 53))
    client.send(b"3", at("0.0.0.0", 53))
    assert received(server) == [b"1", b"2", b"3"]
    assert received(six) == []


def test_a_wildcard_endpoint_sends_from_the_loopback_address(network: Network) -> None:
    server, client = bound(network, "0.0.0.0"), bound(network, "127.0.0.7")
    client.send(b"?", at("127.0.0.5", server.local_address.port))
    question = server.try_receive()
    assert question is not None
    server.send(b"!", question.source)
    assert client.try_receive() == (b"!", at("127.0.0.1", server.local_address.port))


def test_the_wildcard_as_a_destination_is_this_host(network: Network) -> None:
    sender, target = bound(network, "127.0.0.5"), bound(network, "127.0.0.5", 99)
    bystander = bound(network, "127.0.0.1", 99)
    sender.send(b"own address", at("0.0.0.0", 99))
    assert received(target) == [b"own address"]
    bound(network, "0.0.0.0").send(b"loopback", at("0.0.0.0", 99))
    assert received(bystander) == [b"loopback"]


@pytest.mark.parametrize(("ip", "limit"), [("127.0.0.1", 65_507), ("::1", 65_527)])
def test_the_size_of_a_datagram(network: Network, ip: str, limit: int) -> None:
    one, other = bound(network, ip), bound(network, ip)
    assert MAX_DATAGRAM[other.local_address.ip.version] == limit
    one.send(bytes(limit), other.local_address)
    assert error_of(one.send, bytes(limit + 1), other.local_address) == "EMSGSIZE"
    assert [len(data) for data in received(other)] == [limit]


def test_where_nothing_can_be_sent(network: Network) -> None:
    endpoint = bound(network)
    assert error_of(endpoint.send, b"x") == "EDESTADDRREQ"
    for operation in (lambda remote: endpoint.send(b"x", remote), endpoint.connect):
        assert error_of(operation, at("192.0.2.1", 9)) == "ENETUNREACH"
        assert error_of(operation, at("224.0.0.1", 9)) == "ENETUNREACH"
        assert error_of(operation, at("127.0.0.1", 0)) == "EINVAL"
        assert error_of(operation, at("::1", 9)) == "EAFNOSUPPORT"
        with pytest.raises(ValueError, match="port must be"):
            operation(at("127.0.0.1", 65536))
    assert endpoint.remote_address is None


class TestNobodyThere:
    def test_an_unconnected_sender_never_knows(self, network: Network) -> None:
        sender = bound(network)
        sender.send(b"x", at("127.0.0.1", 9))
        network.reserve("udp", at("127.0.0.1", 10))  # a port alone receives nothing
        sender.send(b"x", at("127.0.0.1", 10))
        assert not sender.ready()
        assert sender.try_receive() is None
        assert network.statistics().datagrams_unmatched == 2

    @pytest.mark.parametrize("how", ["send", "receive"])
    def test_a_connected_sender_is_told_once_by_what_it_does_next(self, network: Network, how: str) -> None:
        sender = bound(network)
        sender.connect(at("127.0.0.1", 9))
        woken: list[str] = []
        sender.receivable.add(lambda: woken.append("woken"))
        sender.send(b"x")
        assert woken == ["woken"]
        assert sender.ready()
        operation = sender.try_receive if how == "receive" else lambda: sender.send(b"not sent")
        assert error_of(operation) == "ECONNREFUSED"
        assert not sender.ready()
        assert sender.try_receive() is None
        assert network.statistics().datagrams_unmatched == 1

    def test_the_error_comes_before_what_is_queued_and_outlives_a_new_association(
        self, network: Network
    ) -> None:
        sender, peer = bound(network), bound(network)
        sender.connect(at("127.0.0.1", 9))
        sender.send(b"x")
        sender.connect(peer.local_address)
        peer.send(b"queued", sender.local_address)
        assert error_of(sender.try_receive) == "ECONNREFUSED"
        assert received(sender) == [b"queued"]

    def test_only_the_peer_counts(self, network: Network) -> None:
        sender, peer = bound(network), bound(network)
        sender.connect(peer.local_address)
        sender.send(b"x", at("127.0.0.1", 9))
        assert not sender.ready()
        sender.send(b"y", peer.local_address)
        assert received(peer) == [b"y"]

    def test_a_closed_peer(self, network: Network) -> None:
        sender, peer = bound(network), bound(network)
        sender.connect(peer.local_address)
        sender.send(b"1")
        peer.close()
        sender.send(b"2")
        assert error_of(sender.send, b"3") == "ECONNREFUSED"

    def test_a_peer_connected_to_somebody_else_is_nobody(self, network: Network) -> None:
        one, other, third = bound(network), bound(network), bound(network)
        other.connect(third.local_address)
        one.connect(other.local_address)
        one.send(b"x")
        assert error_of(one.try_receive) == "ECONNREFUSED"


class TestConnected:
    def test_only_the_peer_is_heard(self, network: Network) -> None:
        own, peer, stranger = bound(network), bound(network), bound(network)
        own.connect(peer.local_address)
        stranger.send(b"no", own.local_address)
        peer.send(b"yes", own.local_address)
        assert received(own) == [b"yes"]
        own.send(b"to the peer")
        own.send(b"to another", stranger.local_address)
        assert received(peer) == [b"to the peer"]
        assert received(stranger) == [b"to another"]

    def test_connecting_drops_what_others_sent_before(self, network: Network) -> None:
        """Rule 4: Linux would deliver it."""
        own, a, b = bound(network), bound(network), bound(network)
        for sender, data in ((a, b"A1"), (b, b"B1"), (a, b"A2"), (b, b"B2")):
            sender.send(data, own.local_address)
        own.connect(b.local_address)
        assert own.buffered == 4
        assert received(own) == [b"B1", b"B2"]
        assert network.statistics().datagrams_dropped == 2

    def test_reconnecting_and_disconnecting(self, network: Network) -> None:
        own, a, b = bound(network), bound(network), bound(network)
        for peer in (a, a, b):
            own.connect(peer.local_address)
            assert own.remote_address == peer.local_address
            own.send(b"hello")
            assert received(peer) == [b"hello"]
        own.disconnect()
        own.disconnect()
        assert own.remote_address is None
        a.send(b"from a", own.local_address)
        b.send(b"from b", own.local_address)
        assert received(own) == [b"from a", b"from b"]
        assert error_of(own.send, b"x") == "EDESTADDRREQ"

    def test_a_failed_connect_leaves_the_old_association(self, network: Network) -> None:
        own, peer = bound(network), bound(network)
        own.connect(peer.local_address)
        assert error_of(own.connect, at("192.0.2.1", 9)) == "ENETUNREACH"
        assert own.remote_address == peer.local_address

    @pytest.mark.parametrize(("wildcard", "loopback"), [("0.0.0.0", "127.0.0.1"), ("::", "::1")])
    def test_a_wildcard_becomes_concrete_and_comes_back(
        self, network: Network, wildcard: str, loopback: str
    ) -> None:
        own, peer = bound(network, wildcard), bound(network, loopback)
        port = own.local_address.port
        own.connect(peer.local_address)
        assert own.local_address == at(loopback, port)
        own.disconnect()
        assert own.local_address == at(wildcard, port)  # rule 6: Linux would have given the port back

    def test_a_concrete_address_is_needed_to_reach_a_connected_wildcard(self, network: Network) -> None:
        own, peer = bound(network, "0.0.0.0"), bound(network)
        own.connect(peer.local_address)
        peer.send(b"elsewhere", at("127.0.0.2", own.local_address.port))
        peer.send(b"here", own.local_address)
        assert received(own) == [b"here"]

    def test_a_connected_wildcard_keeps_every_address(self, network: Network) -> None:
        """Rule 7: Linux would let 127.0.0.2 go."""
        own, peer = bound(network, "0.0.0.0", 53), bound(network)
        own.connect(peer.local_address)
        assert error_of(network.reserve, "udp", at("127.0.0.2", 53)) == "EADDRINUSE"

    def test_the_wildcard_as_a_peer_is_this_host(self, network: Network) -> None:
        own, peer = bound(network), bound(network, port=99)
        own.connect(at("0.0.0.0", 99))
        assert own.remote_address == peer.local_address
        own.send(b"x")
        assert received(peer) == [b"x"]


class TestReceiveBuffer:
    def test_what_finds_it_full_is_dropped_and_counted(self, network: Network) -> None:
        sender, small = bound(network), bound(network, receive_buffer=2 * (100 + DATAGRAM_OVERHEAD))
        for number in range(5):
            sender.send(bytes([number]) * 100, small.local_address)
        assert small.dropped == network.statistics().datagrams_dropped == 3
        assert [data[0] for data in received(small)] == [0, 1]
        sender.send(b"room again", small.local_address)
        assert received(small) == [b"room again"]
        assert network.statistics().datagrams_delivered == 3

    def test_empty_datagrams_take_room_too(self, network: Network) -> None:
        sender, small = bound(network), bound(network, receive_buffer=3 * DATAGRAM_OVERHEAD)
        for _ in range(10):
            sender.send(b"", small.local_address)
        assert small.queued == 3
        assert small.buffered == 0

    def test_one_datagram_always_fits(self, network: Network) -> None:
        sender, tiny = bound(network), bound(network, receive_buffer=1)
        sender.send(bytes(9000), tiny.local_address)
        sender.send(b"x", tiny.local_address)
        assert [len(data) for data in received(tiny)] == [9000]

    def test_a_full_buffer_is_no_refusal(self, network: Network) -> None:
        sender, tiny = bound(network), bound(network, receive_buffer=1)
        sender.connect(tiny.local_address)
        sender.send(b"1")
        sender.send(b"2")
        assert not sender.ready()


@given(st.lists(st.one_of(st.none(), st.binary(max_size=600)), max_size=60), st.integers(1, 4000))
def test_the_queue_is_bounded_and_loses_only_what_it_drops(steps: list[bytes | None], room: int) -> None:
    """Against a list; None receives."""
    network = Network()
    sender, own = bound(network), bound(network, receive_buffer=room)
    model: list[bytes] = []
    dropped = 0
    for step in steps:
        charge = sum(len(data) + DATAGRAM_OVERHEAD for data in model)
        if step is None:
            datagram = own.try_receive()
            assert (datagram and datagram.data) == (model.pop(0) if model else None)
        else:
            sender.send(step, own.local_address)
            if charge < room:
                model.append(step)
            else:
                dropped += 1
        assert own.dropped == dropped
        assert own.buffered == sum(map(len, model))
    assert received(own) == model


class TestTheEnd:
    def test_closing_frees_the_port_wakes_and_is_final(self, network: Network) -> None:
        own, peer = bound(network, port=53), bound(network)
        peer.send(b"lost", own.local_address)
        woken: list[str] = []
        own.receivable.add(lambda: woken.append("woken"))
        own.close()
        own.close()
        assert woken == ["woken"]
        assert own.ready()
        assert own.queued == own.buffered == 0
        for operation in (own.try_receive, lambda: own.send(b"x", peer.local_address)):
            assert error_of(operation) == "EBADF"
        assert error_of(own.connect, peer.local_address) == "EBADF"
        again = bound(network, port=53)
        peer.send(b"new", at("127.0.0.1", 53))
        assert received(again) == [b"new"]

    def test_what_wakes_at_the_close_may_bind_again(self, network: Network) -> None:
        own = bound(network, port=53)
        made: list[UdpEndpoint] = []
        own.receivable.add(lambda: made.append(bound(network, port=53)))
        own.close()
        assert made[0].local_address == at("127.0.0.1", 53)

    def test_release_and_close_of_the_network(self, network: Network) -> None:
        owner = object()
        mine = network.start_udp(network.reserve("udp", at("127.0.0.1", 1), owner=owner))
        other = bound(network)
        network.release(owner)
        assert (mine.closed, other.closed) == (True, False)
        network.close()
        assert other.closed
        assert network.sockets() == []

    def test_listing(self) -> None:
        now = 5.0
        network = Network(clock=lambda: now)
        reserved = network.reserve("udp", at("127.0.0.1", 1))
        own, peer = bound(network, "0.0.0.0", 2), bound(network, port=3)
        own.connect(peer.local_address)
        own.send(b"1234567")
        now = 6.5
        lines = [(r.protocol, str(r.local), r.state, r.receive_queue, r.age) for r in network.sockets()]
        assert lines == [
            ("udp", "127.0.0.1:1", "bound", 0, 1.5),
            ("udp", "127.0.0.1:2", "connected", 0, 1.5),
            ("udp", "127.0.0.1:3", "unconnected", 7, 1.5),
        ]
        assert network.sockets()[1].remote == peer.local_address
        statistics = network.statistics()
        assert statistics.sockets == {"bound": 1, "connected": 1, "unconnected": 1}
        assert statistics.buffered_bytes == 7
        assert repr(own) == "<UdpEndpoint 127.0.0.1:2 -> 127.0.0.1:3>"
        own.close()
        own.disconnect()
        assert repr(own) == "<UdpEndpoint 0.0.0.0:2, closed>"
        reserved.release()
