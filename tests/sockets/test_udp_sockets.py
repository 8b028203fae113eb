"""The UDP socket on a real network, where the tables leave something to say."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

import pytest

from wasi_sockets.errors import GuestTrap
from wasi_sockets.network import Datagram, Network, SocketAddress
from wasi_sockets.sockets import (
    AddressFamily,
    ErrorCode,
    IncomingDatagrams,
    OutgoingDatagrams,
    SocketContext,
    UdpOption,
    UdpSocket,
    create_udp_socket,
)
from wasi_sockets.sockets.datagrams import MAX_DATAGRAMS

LOOPBACK = {AddressFamily.IPV4: "127.0.0.1", AddressFamily.IPV6: "::1"}
WILDCARD = {AddressFamily.IPV4: "0.0.0.0", AddressFamily.IPV6: "::"}


@pytest.fixture
def context() -> SocketContext:
    return SocketContext(Network(), object())


@pytest.fixture(params=list(AddressFamily))
def family(request: pytest.FixtureRequest) -> AddressFamily:
    family: AddressFamily = request.param
    return family


def at(text: str, port: int = 0) -> SocketAddress:
    return SocketAddress(ip_address(text), port)


def bound(context: SocketContext, ip: str = "127.0.0.1", port: int = 0) -> UdpSocket:
    address = at(ip, port)
    socket = UdpSocket(context, AddressFamily.IPV4 if address.ip.version == 4 else AddressFamily.IPV6)
    assert socket.start_bind(address) is None
    assert socket.finish_bind() is None
    return socket


def address_of(socket: UdpSocket) -> SocketAddress:
    address = socket.local_address()
    assert isinstance(address, SocketAddress)
    return address


def streams_of(
    socket: UdpSocket, remote: SocketAddress | None = None
) -> tuple[IncomingDatagrams, OutgoingDatagrams]:
    streams = socket.stream(remote)
    assert isinstance(streams, tuple)
    return streams


def close(streams: tuple[IncomingDatagrams, OutgoingDatagrams]) -> None:
    for stream in streams:
        stream.close()


def send(outgoing: OutgoingDatagrams, *datagrams: tuple[bytes, SocketAddress | None]) -> int | ErrorCode:
    """As a guest must: with a permit."""
    assert outgoing.check_send() >= len(datagrams)
    return outgoing.send(datagrams)


def data_of(received: Sequence[Datagram] | ErrorCode) -> list[bytes]:
    assert not isinstance(received, ErrorCode)
    return [datagram.data for datagram in received]


class TestBind:
    """`p2_udp_bind`"""

    def test_an_ephemeral_port(self, context: SocketContext, family: AddressFamily) -> None:
        for ip in (LOOPBACK[family], WILDCARD[family]):
            local = address_of(bound(context, ip))
            assert str(local.ip) == ip
            assert local.port != 0

    def test_a_specific_port_and_twice(self, context: SocketContext, family: AddressFamily) -> None:
        for port, ip in enumerate((LOOPBACK[family], WILDCARD[family]), start=5000):
            assert address_of(bound(context, ip, port)) == at(ip, port)
            second = UdpSocket(context, family)
            assert second.start_bind(at(ip, port)) is ErrorCode.ADDRESS_IN_USE
            assert second.start_bind(at(ip, port + 100)) is None

    @pytest.mark.parametrize("ip", ["192.0.2.0", "224.0.0.1", "255.255.255.255", "2001:db8::", "ff02::1"])
    def test_addresses_that_the_network_does_not_have(self, context: SocketContext, ip: str) -> None:
        family = AddressFamily.IPV4 if "." in ip else AddressFamily.IPV6
        assert UdpSocket(context, family).start_bind(at(ip)) is ErrorCode.ADDRESS_NOT_BINDABLE

    def test_the_wrong_family(self, context: SocketContext) -> None:
        assert UdpSocket(context, AddressFamily.IPV4).start_bind(at("::1")) is ErrorCode.INVALID_ARGUMENT
        six = UdpSocket(context, AddressFamily.IPV6)
        for ip in ("127.0.0.1", "::ffff:127.0.0.1", "::7f00:1"):
            assert six.start_bind(at(ip)) is ErrorCode.INVALID_ARGUMENT


class TestStream:
    """`p2_udp_connect`"""

    def test_reconnect_cycles(self, context: SocketContext, family: AddressFamily) -> None:
        one, other = at(LOOPBACK[family], 4321), at(LOOPBACK[family], 4320)
        client = bound(context, WILDCARD[family])
        port = address_of(client).port
        for remote in (None, None, one, one, other, None, one):
            close(streams_of(client, remote))
            assert client.remote_address() == (remote or ErrorCode.INVALID_STATE)
            assert address_of(client) == at((LOOPBACK if remote else WILDCARD)[family], port)

    @pytest.mark.parametrize(
        ("own", "remote"),
        [
            ("0.0.0.0", at("0.0.0.0", 47)),
            ("::", at("::", 47)),
            ("0.0.0.0", at("127.0.0.1", 0)),
            ("::", at("::1", 0)),
            ("0.0.0.0", at("::1", 47)),
            ("::", at("127.0.0.1", 47)),
            ("::", at("::ffff:127.0.0.1", 47)),
        ],
    )
    def test_bad_arguments_twice(self, context: SocketContext, own: str, remote: SocketAddress) -> None:
        socket = bound(context, own)
        for _ in range(2):
            assert socket.stream(remote) is ErrorCode.INVALID_ARGUMENT
        outgoing = streams_of(socket)[1]
        assert send(outgoing, (b"x", remote)) is ErrorCode.INVALID_ARGUMENT

    def test_connected_and_ready_to_send_every_time(
        self, context: SocketContext, family: AddressFamily
    ) -> None:
        remote = at(LOOPBACK[family], 4320)
        for _ in range(256):
            client = bound(context, LOOPBACK[family])
            incoming, outgoing = streams_of(client, remote)
            assert client.remote_address() == remote
            assert outgoing.ready()
            assert send(outgoing, (b"hello", None)) == 1
            for each in (incoming, outgoing, client):
                each.close()
        assert context.open_sockets == 0

    def test_a_stream_that_is_still_open_traps(self, context: SocketContext) -> None:
        socket = bound(context)
        incoming, outgoing = streams_of(socket)
        for stream in (incoming, outgoing):
            with pytest.raises(GuestTrap, match="UDP streams not dropped yet"):
                socket.stream(None)
            stream.close()
        streams_of(socket)


class TestDatagrams:
    def test_the_sample_application(self, context: SocketContext, family: AddressFamily) -> None:
        """`p2_udp_sample_application`"""
        server = bound(context, LOOPBACK[family])
        incoming, _ = streams_of(server)
        address = address_of(server)
        client = bound(context, WILDCARD[family])
        assert send(streams_of(client, address)[1], (b"", None), (b"Hello, world!", address)) == 2
        assert incoming.receive(100) == [(b"", address_of(client)), (b"Hello, world!", address_of(client))]
        client.close()
        other = bound(context, WILDCARD[family])
        assert send(streams_of(other)[1], (b"Greetings, planet!", address)) == 1
        assert data_of(incoming.receive(100)) == [b"Greetings, planet!"]

    def test_what_others_sent_before_connecting_is_gone(self, context: SocketContext) -> None:
        """`p2_udp_stream`, `test_udp_receive_after_connect`"""
        target, a, b = bound(context), bound(context), bound(context)
        from_a = streams_of(a, address_of(target))[1]
        from_b = streams_of(b, address_of(target))[1]
        for outgoing, data in ((from_a, b"A"), (from_b, b"B"), (from_a, b"A")):
            assert send(outgoing, (data, None)) == 1
        incoming, _ = streams_of(target, address_of(b))
        assert incoming.receive(100) == [(b"B", address_of(b))]

    def test_a_closed_receiver(self, context: SocketContext, family: AddressFamily) -> None:
        """`p2_udp_send_to_closed_receiver`"""
        sender, receiver = bound(context, LOOPBACK[family]), bound(context, LOOPBACK[family])
        remote = address_of(receiver)
        receiver.close()
        incoming, outgoing = streams_of(sender, remote)
        woken: list[str] = []
        incoming.add_waiter(lambda: woken.append("woken"))
        assert not incoming.ready()
        assert send(outgoing, (b"hello", None)) == 1
        assert woken == ["woken"]
        assert incoming.ready()
        assert incoming.receive(1) is ErrorCode.CONNECTION_REFUSED
        assert incoming.receive(1) == []
        # and by sending, if that comes first
        assert send(outgoing, (b"1", None), (b"2", None)) == 1
        assert send(outgoing, (b"3", None)) is ErrorCode.CONNECTION_REFUSED
        assert not incoming.ready()

    def test_receiving_never_blocks_and_never_gives_more_than_was_asked(self, context: SocketContext) -> None:
        own = bound(context)
        incoming, outgoing = streams_of(own)
        assert incoming.receive(5) == []
        send(outgoing, *[(bytes([number]), address_of(own)) for number in range(5)])
        assert incoming.receive(0) == []
        assert data_of(incoming.receive(2)) == [b"\0", b"\1"]
        assert data_of(incoming.receive(2**64 - 1)) == [b"\2", b"\3", b"\4"]

    def test_one_receive_is_bounded(self, context: SocketContext) -> None:
        own = bound(context)
        own.set_option(UdpOption.RECEIVE_BUFFER_SIZE, 1 << 20)
        incoming, outgoing = streams_of(own)
        for _ in range(2):
            send(outgoing, *[(b"", address_of(own))] * MAX_DATAGRAMS)
        assert len(data_of(incoming.receive(100))) == MAX_DATAGRAMS
        assert len(data_of(incoming.receive(100))) == MAX_DATAGRAMS
        send(outgoing, *[(bytes(40_000), address_of(own))] * 5)
        assert [len(data_of(incoming.receive(100))) for _ in range(4)] == [2, 2, 1, 0]

    def test_sending_needs_a_permit_each_time(self, context: SocketContext) -> None:
        """`p2_udp_send_too_much`"""
        own = bound(context)
        outgoing = streams_of(own, address_of(own))[1]
        assert outgoing.send([]) == 0
        with pytest.raises(GuestTrap, match="unpermitted: argument exceeds permitted size"):
            outgoing.send([(b"x", None)])
        permits = outgoing.check_send()
        with pytest.raises(GuestTrap):
            outgoing.send([(b"x", None)] * (permits + 1))
        assert outgoing.send([]) == 0
        assert outgoing.send([(b"x", None)]) == 1
        with pytest.raises(GuestTrap):
            outgoing.send([(b"x", None)])

    def test_sending_stops_at_the_first_error_and_tells_it_only_when_it_was_the_first(
        self, context: SocketContext
    ) -> None:
        own = bound(context)
        incoming, outgoing = streams_of(own)
        good, bad = (b"good", address_of(own)), (b"bad", None)
        assert send(outgoing, good, bad, good) == 1
        assert send(outgoing, bad, good) is ErrorCode.INVALID_ARGUMENT
        assert data_of(incoming.receive(10)) == [b"good"]

    @pytest.mark.parametrize(
        ("size", "remote", "expected"),
        [
            (65_507, at("127.0.0.1", 9), 1),
            (65_508, at("127.0.0.1", 9), ErrorCode.DATAGRAM_TOO_LARGE),
            (65_535, None, ErrorCode.INVALID_ARGUMENT),
            (65_536, None, ErrorCode.DATAGRAM_TOO_LARGE),
            (1, at("192.0.2.1", 9), ErrorCode.REMOTE_UNREACHABLE),
            (1, at("255.255.255.255", 9), ErrorCode.REMOTE_UNREACHABLE),
        ],
    )
    def test_errors_of_one_datagram(
        self, context: SocketContext, size: int, remote: SocketAddress | None, expected: object
    ) -> None:
        assert send(streams_of(bound(context))[1], (bytes(size), remote)) == expected


class TestOptions:
    """`p2_udp_sockopts`"""

    @pytest.mark.parametrize("option", list(UdpOption))
    def test_ranges_and_reading_back(self, context: SocketContext, option: UdpOption) -> None:
        socket = UdpSocket(context, AddressFamily.IPV4)
        assert socket.get_option(option) > 0
        assert socket.set_option(option, 0) is ErrorCode.INVALID_ARGUMENT
        for value in (1, 42, 0x10000, 2**64 - 1):
            assert socket.set_option(option, value) is None
            if value <= 42 or (value == 0x10000 and option is not UdpOption.UNICAST_HOP_LIMIT):
                assert socket.get_option(option) == value
        assert 255 <= socket.get_option(option) < 2**31

    @pytest.mark.parametrize("when", ["before the bind", "after it"])
    def test_the_receive_buffer_is_a_real_one(self, context: SocketContext, when: str) -> None:
        own = UdpSocket(context, AddressFamily.IPV4)
        if when == "before the bind":
            own.set_option(UdpOption.RECEIVE_BUFFER_SIZE, 1)
        assert own.start_bind(at("127.0.0.1")) is None
        assert own.finish_bind() is None
        own.set_option(UdpOption.RECEIVE_BUFFER_SIZE, 1)
        incoming, outgoing = streams_of(own)
        send(outgoing, *[(b"x", address_of(own))] * 3)
        assert data_of(incoming.receive(9)) == [b"x"]


class TestTheEnd:
    def test_the_limit_counts_tcp_and_udp_together(self) -> None:
        context = SocketContext(Network(), object(), max_sockets=1)
        socket = create_udp_socket(context, AddressFamily.IPV4)
        assert isinstance(socket, UdpSocket)
        assert create_udp_socket(context, AddressFamily.IPV4) is ErrorCode.NEW_SOCKET_LIMIT
        socket.close()
        assert isinstance(create_udp_socket(context, AddressFamily.IPV6), UdpSocket)

    def test_a_network_that_went_down_under_the_socket(self, context: SocketContext) -> None:
        own = bound(context)
        remote = address_of(own)
        incoming, outgoing = streams_of(own)
        woken: list[str] = []
        incoming.add_waiter(lambda: woken.append("no"))
        incoming.remove_waiter(incoming.ready)  # type: ignore[arg-type]  # unknown ones are ignored
        incoming.add_waiter(lambda: woken.append("woken"))
        context.network.close()
        assert woken == ["no", "woken"]
        assert incoming.ready()
        assert incoming.receive(1) is ErrorCode.REMOTE_UNREACHABLE
        assert send(outgoing, (b"x", remote)) is ErrorCode.REMOTE_UNREACHABLE
        close((incoming, outgoing))
        assert own.stream(remote) is ErrorCode.REMOTE_UNREACHABLE
        assert UdpSocket(context, AddressFamily.IPV4).start_bind(at("127.0.0.1")) is (
            ErrorCode.REMOTE_UNREACHABLE
        )

    def test_waiting_for_what_is_always_ready(self, context: SocketContext) -> None:
        own = bound(context)
        outgoing = streams_of(own)[1]
        for waitable in (own, outgoing):
            assert waitable.ready()
            waitable.add_waiter(lambda: None)
            waitable.remove_waiter(lambda: None)

    def test_closing_the_socket_first(self, context: SocketContext) -> None:
        own = bound(context)
        incoming, outgoing = streams_of(own)
        own.close()
        assert incoming.ready()
        close((incoming, outgoing))
        assert context.network.sockets() == []
