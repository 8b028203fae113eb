"""The TCP socket on a real network, where the tables leave something to say."""

from __future__ import annotations

import errno
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wasi_sockets.network import EPHEMERAL_PORTS, Network, SocketAddress, TcpConnection
from wasi_sockets.sockets import (
    AddressFamily,
    ErrorCode,
    SocketContext,
    TcpOption,
    TcpSocket,
    create_tcp_socket,
)
from wasi_sockets.sockets.tcp_states import State

LOOPBACK = {AddressFamily.IPV4: ip_address("127.0.0.1"), AddressFamily.IPV6: ip_address("::1")}
SECOND = 1_000_000_000
OPTION_VALUES = {
    TcpOption.KEEP_ALIVE_ENABLED: 1,
    TcpOption.KEEP_ALIVE_IDLE_TIME: 42 * SECOND,
    TcpOption.KEEP_ALIVE_INTERVAL: 42 * SECOND,
    TcpOption.KEEP_ALIVE_COUNT: 42,
    TcpOption.HOP_LIMIT: 42,
    TcpOption.RECEIVE_BUFFER_SIZE: 0x10000,
    TcpOption.SEND_BUFFER_SIZE: 0x10000,
}


@pytest.fixture
def context() -> SocketContext:
    return SocketContext(Network(), object())


@pytest.fixture(params=list(AddressFamily))
def family(request: pytest.FixtureRequest) -> AddressFamily:
    family: AddressFamily = request.param
    return family


def at(text: str, port: int = 0) -> SocketAddress:
    return SocketAddress(ip_address(text), port)


def bound(context: SocketContext, address: SocketAddress) -> TcpSocket:
    family = AddressFamily.IPV4 if address.ip.version == 4 else AddressFamily.IPV6
    socket = TcpSocket(context, family)
    assert socket.start_bind(address) is None
    assert socket.finish_bind() is None
    return socket


def listening(context: SocketContext, address: SocketAddress) -> TcpSocket:
    socket = bound(context, address)
    assert socket.start_listen() is None
    assert socket.finish_listen() is None
    return socket


def address_of(socket: TcpSocket) -> SocketAddress:
    address = socket.local_address()
    assert isinstance(address, SocketAddress)
    return address


def connected(context: SocketContext, remote: SocketAddress) -> tuple[TcpSocket, TcpConnection]:
    family = AddressFamily.IPV4 if remote.ip.version == 4 else AddressFamily.IPV6
    socket = TcpSocket(context, family)
    assert socket.start_connect(remote) is None
    connection = socket.finish_connect()
    assert isinstance(connection, TcpConnection)
    return socket, connection


class TestBind:
    @pytest.mark.parametrize("ip", ["127.0.0.1", "0.0.0.0", "::1", "::"])
    def test_port_0_becomes_a_port_and_the_address_is_kept(self, context: SocketContext, ip: str) -> None:
        address = address_of(bound(context, at(ip)))
        assert address.ip == ip_address(ip)
        assert address.port in EPHEMERAL_PORTS

    def test_an_explicit_port_is_kept(self, context: SocketContext) -> None:
        assert address_of(bound(context, at("127.0.0.1", 8080))) == at("127.0.0.1", 8080)

    @pytest.mark.parametrize("ip", ["192.0.2.0", "2001:db8::"])
    def test_foreign_addresses_are_not_bindable_and_bind_can_be_repeated(
        self, context: SocketContext, ip: str
    ) -> None:
        address = at(ip)
        socket = TcpSocket(context, AddressFamily(f"ipv{address.ip.version}"))
        assert socket.start_bind(address) is ErrorCode.ADDRESS_NOT_BINDABLE
        assert socket.start_bind(SocketAddress(LOOPBACK[socket.family], 0)) is None

    def test_a_taken_port_is_in_use_until_its_socket_closes(
        self, context: SocketContext, family: AddressFamily
    ) -> None:
        first = listening(context, SocketAddress(LOOPBACK[family], 0))
        second = TcpSocket(context, family)
        address = address_of(first)
        assert second.start_bind(address) is ErrorCode.ADDRESS_IN_USE
        first.close()
        assert second.start_bind(address) is None

    @pytest.mark.parametrize(
        ("family", "ip"),
        [
            (AddressFamily.IPV4, "::1"),
            (AddressFamily.IPV4, "255.255.255.255"),
            (AddressFamily.IPV4, "224.254.0.0"),
            (AddressFamily.IPV6, "127.0.0.1"),
            (AddressFamily.IPV6, "::ffff:127.0.0.1"),
            (AddressFamily.IPV6, "ff00::"),
        ],
    )
    def test_refused_arguments_change_nothing(
        self, context: SocketContext, family: AddressFamily, ip: str
    ) -> None:
        socket = TcpSocket(context, family)
        assert socket.start_bind(at(ip)) is ErrorCode.INVALID_ARGUMENT
        assert socket.state is State.UNBOUND


class TestConnect:
    def test_two_refused_arguments_do_not_close_the_socket(self, context: SocketContext) -> None:
        """`p2_tcp_connect`, the dual-stack case: one socket, two attempts."""
        listener = listening(context, at("127.0.0.1"))
        port = address_of(listener).port
        client = TcpSocket(context, AddressFamily.IPV6)
        assert client.start_connect(at("127.0.0.1", port)) is ErrorCode.INVALID_ARGUMENT
        assert client.start_connect(at("::ffff:127.0.0.1", port)) is ErrorCode.INVALID_ARGUMENT
        assert client.state is State.UNBOUND

    @pytest.mark.parametrize("remote", [at("0.0.0.0", 47), at("127.0.0.1", 0), at("255.255.255.255", 47)])
    def test_unusable_remotes_are_refused(self, context: SocketContext, remote: SocketAddress) -> None:
        assert TcpSocket(context, AddressFamily.IPV4).start_connect(remote) is ErrorCode.INVALID_ARGUMENT

    def test_nobody_there_is_told_by_finish_and_closes_the_socket(self, context: SocketContext) -> None:
        socket = TcpSocket(context, AddressFamily.IPV4)
        assert socket.start_connect(at("127.0.0.1", 9)) is None
        assert socket.ready()
        assert socket.finish_connect() is ErrorCode.CONNECTION_REFUSED
        assert socket.state is State.CLOSED
        assert socket.finish_connect() is ErrorCode.NOT_IN_PROGRESS
        assert socket.local_address() is ErrorCode.CONNECTION_REFUSED
        assert context.network.sockets() == []

    def test_an_address_outside_the_network_is_unreachable_and_frees_the_bound_port(
        self, context: SocketContext
    ) -> None:
        socket = bound(context, at("127.0.0.1", 4000))
        assert socket.start_connect(at("192.0.2.1", 80)) is ErrorCode.REMOTE_UNREACHABLE
        assert socket.state is State.CLOSED
        assert context.network.sockets() == []

    def test_a_refused_connect_does_not_leak_its_port(self, context: SocketContext) -> None:
        for _ in range(len(EPHEMERAL_PORTS) + 1):
            socket = TcpSocket(context, AddressFamily.IPV4)
            assert socket.start_connect(at("127.0.0.1", 9)) is None
            assert socket.finish_connect() is ErrorCode.CONNECTION_REFUSED
            socket.close()

    def test_no_free_port_is_address_in_use_as_the_spec_words_it(
        self, context: SocketContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_port(*_: object, **__: object) -> None:
            raise OSError(errno.EADDRNOTAVAIL, "no ephemeral port is free")

        monkeypatch.setattr(Network, "start_connect", no_port)
        socket = TcpSocket(context, AddressFamily.IPV4)
        assert socket.start_connect(at("127.0.0.1", 9)) is ErrorCode.ADDRESS_IN_USE

    def test_an_explicit_bind_is_the_clients_address(
        self, context: SocketContext, family: AddressFamily
    ) -> None:
        listener = listening(context, SocketAddress(LOOPBACK[family], 0))
        client = bound(context, SocketAddress(LOOPBACK[family], 5000))
        assert client.start_connect(address_of(listener)) is None
        assert address_of(client).port == 5000
        assert isinstance(client.finish_connect(), TcpConnection)
        accepted = listener.accept()
        assert isinstance(accepted, tuple)
        assert accepted[0].remote_address() == client.local_address()
        assert client.remote_address() == listener.local_address() == accepted[0].local_address()

    def test_unbound_the_local_address_is_unknown_while_connecting(self, context: SocketContext) -> None:
        listener = listening(context, at("127.0.0.1"))
        client = TcpSocket(context, AddressFamily.IPV4)
        assert client.start_connect(address_of(listener)) is None
        assert client.local_address() is ErrorCode.INVALID_STATE
        client.finish_connect()
        assert address_of(client).ip == ip_address("127.0.0.1")

    def test_looking_ahead_finishes_a_connect_that_was_decided_at_once(self, context: SocketContext) -> None:
        listener = listening(context, at("127.0.0.1"))
        client = TcpSocket(context, AddressFamily.IPV4)
        assert client.finish_connect_early() is None
        assert client.start_connect(address_of(listener)) is None
        assert isinstance(client.finish_connect_early(), TcpConnection)
        assert client.state is State.CONNECTED
        assert client.finish_connect_early() is None
        assert client.finish_connect() is ErrorCode.NOT_IN_PROGRESS
        assert client.remote_address() == listener.local_address()

    def test_looking_ahead_can_be_undone(self, context: SocketContext) -> None:
        listener = listening(context, at("127.0.0.1"))
        client = TcpSocket(context, AddressFamily.IPV4)
        assert client.start_connect(address_of(listener)) is None
        early = client.finish_connect_early()
        client.unfinish_connect()
        assert client.state is State.CONNECT_IN_PROGRESS
        assert client.ready()
        assert client.local_address() is ErrorCode.INVALID_STATE
        assert client.remote_address() is ErrorCode.INVALID_STATE
        assert client.start_connect(address_of(listener)) is ErrorCode.CONCURRENCY_CONFLICT
        assert client.shutdown(receive=True, send=True) is ErrorCode.INVALID_STATE
        assert client.finish_connect_early() is None
        assert client.finish_connect() is early
        assert client.state is State.CONNECTED
        assert client.finish_connect() is ErrorCode.NOT_IN_PROGRESS

    @pytest.mark.parametrize("undone", [False, True])
    def test_closing_after_looking_ahead_leaves_nothing(self, context: SocketContext, undone: bool) -> None:
        listener = listening(context, at("127.0.0.1"))
        client = TcpSocket(context, AddressFamily.IPV4)
        assert client.start_connect(address_of(listener)) is None
        client.finish_connect_early()
        if undone:
            client.unfinish_connect()
        client.close()
        listener.close()
        assert context.network.sockets() == []
        assert context.open_sockets == 0

    def test_nobody_looks_ahead_where_the_guest_must_ask(self, context: SocketContext) -> None:
        refused = TcpSocket(context, AddressFamily.IPV4)
        assert refused.start_connect(at("127.0.0.1", 9)) is None
        assert refused.finish_connect_early() is None
        assert refused.finish_connect() is ErrorCode.CONNECTION_REFUSED
        listener = listening(context, at("127.0.0.1"))
        client = bound(context, at("127.0.0.1"))  # whose own address is told while it connects
        assert client.start_connect(address_of(listener)) is None
        assert client.finish_connect_early() is None
        assert address_of(client).port
        assert isinstance(client.finish_connect(), TcpConnection)

    def test_a_full_backlog_makes_connect_wait(self, context: SocketContext) -> None:
        listener = bound(context, at("127.0.0.1"))
        assert listener.set_backlog_size(1) is None
        assert listener.start_listen() is None
        assert listener.finish_listen() is None
        remote = address_of(listener)
        connected(context, remote)
        late = TcpSocket(context, AddressFamily.IPV4)
        assert late.start_connect(remote) is None
        assert late.finish_connect() is ErrorCode.WOULD_BLOCK
        assert late.state is State.CONNECT_IN_PROGRESS
        assert not late.ready()
        woken: list[str] = []
        late.add_waiter(lambda: woken.append("late"))
        listener.accept()
        assert woken == ["late"]
        assert late.ready()
        assert isinstance(late.finish_connect(), TcpConnection)

    def test_a_waiting_connect_is_refused_when_the_listener_closes(self, context: SocketContext) -> None:
        listener = bound(context, at("127.0.0.1"))
        listener.set_backlog_size(1)
        listener.start_listen()
        listener.finish_listen()
        remote = address_of(listener)
        connected(context, remote)
        late = TcpSocket(context, AddressFamily.IPV4)
        late.start_connect(remote)
        listener.close()
        assert late.ready()
        assert late.finish_connect() is ErrorCode.CONNECTION_REFUSED

    def test_a_connect_cut_off_by_the_network_is_reset(self, context: SocketContext) -> None:
        listener = bound(context, at("127.0.0.1"))
        listener.set_backlog_size(1)
        listener.start_listen()
        remote = address_of(listener)
        client = SocketContext(context.network, "another guest")
        connected(client, remote)
        late = TcpSocket(client, AddressFamily.IPV4)
        late.start_connect(remote)
        context.network.release(client.owner)
        assert late.finish_connect() is ErrorCode.CONNECTION_RESET

    def test_dropping_a_socket_before_finish_connect_ends_the_connection(
        self, context: SocketContext
    ) -> None:
        listener = listening(context, at("127.0.0.1"))
        client = TcpSocket(context, AddressFamily.IPV4)
        client.start_connect(address_of(listener))
        client.close()
        accepted = listener.accept()
        assert isinstance(accepted, tuple)
        assert accepted[1].receive_pipe.available() < 0

    def test_a_removed_waiter_is_not_woken_and_one_of_an_idle_socket_by_its_end(
        self, context: SocketContext
    ) -> None:
        listener = listening(context, at("127.0.0.1"))
        listener.set_backlog_size(1)
        connected(context, address_of(listener))
        late, idle = TcpSocket(context, AddressFamily.IPV4), TcpSocket(context, AddressFamily.IPV4)
        late.start_connect(address_of(listener))
        woken: list[str] = []

        def wake() -> None:
            woken.append("woken")

        for socket in (late, idle):
            socket.add_waiter(wake)
            socket.remove_waiter(wake)
        assert idle.ready()
        listener.accept()
        assert woken == []
        idle.add_waiter(lambda: woken.append("idle"))
        idle.close()
        assert woken == ["idle"]
        assert repr(idle) == "<TcpSocket ipv4 closed>"


class TestListenAndAccept:
    def test_accept_waits_for_a_client(self, context: SocketContext) -> None:
        listener = listening(context, at("127.0.0.1"))
        assert listener.accept() is ErrorCode.WOULD_BLOCK
        assert not listener.ready()
        woken: list[str] = []
        listener.add_waiter(lambda: woken.append("listener"))
        connected(context, address_of(listener))
        assert woken == ["listener"]
        assert listener.ready()
        assert isinstance(listener.accept(), tuple)
        assert not listener.ready()

    def test_a_removed_waiter_is_not_woken(self, context: SocketContext) -> None:
        listener = listening(context, at("127.0.0.1"))
        woken: list[str] = []

        def wake() -> None:
            woken.append("listener")

        listener.add_waiter(wake)
        listener.remove_waiter(wake)
        listener.remove_waiter(wake)
        connected(context, address_of(listener))
        assert woken == []

    def test_the_listeners_wildcard_address_stays_and_the_clients_is_concrete(
        self, context: SocketContext
    ) -> None:
        listener = listening(context, at("0.0.0.0", 7000))
        assert address_of(listener) == at("0.0.0.0", 7000)
        connected(context, at("127.0.0.1", 7000))
        accepted = listener.accept()
        assert isinstance(accepted, tuple)
        assert accepted[0].local_address() == at("127.0.0.1", 7000)

    def test_a_client_may_write_and_drop_before_accept(self, context: SocketContext) -> None:
        """`p2_tcp_sample_application`."""
        listener = listening(context, at("127.0.0.1"))
        client, connection = connected(context, address_of(listener))
        connection.send_pipe.write(b"Hello")
        client.close()
        accepted = listener.accept()
        assert isinstance(accepted, tuple)
        pipe = accepted[1].receive_pipe
        assert pipe.read(10) == b"Hello"
        assert pipe.available() == -1

    def test_the_backlog_can_grow_while_listening(self, context: SocketContext) -> None:
        listener = bound(context, at("127.0.0.1"))
        listener.set_backlog_size(1)
        listener.start_listen()
        listener.finish_listen()
        remote = address_of(listener)
        connected(context, remote)
        late = TcpSocket(context, AddressFamily.IPV4)
        late.start_connect(remote)
        assert not late.ready()
        assert listener.set_backlog_size(2) is None
        assert late.ready()

    def test_backlog_0_is_refused_in_any_state(self, context: SocketContext) -> None:
        for socket in (TcpSocket(context, AddressFamily.IPV4), listening(context, at("127.0.0.1"))):
            assert socket.set_backlog_size(0) is ErrorCode.INVALID_ARGUMENT

    def test_a_listener_whose_network_went_down_says_so(self, context: SocketContext) -> None:
        listener = listening(context, at("127.0.0.1"))
        context.network.close()
        assert listener.ready()
        assert listener.accept() is ErrorCode.REMOTE_UNREACHABLE

    def test_listening_on_a_closed_network_closes_the_socket(self, context: SocketContext) -> None:
        socket = bound(context, at("127.0.0.1"))
        context.network.close()
        assert isinstance(socket.start_listen(), ErrorCode)
        assert socket.state is State.CLOSED


class TestOptions:
    @pytest.mark.parametrize("after_listen", [False, True])
    def test_accepted_sockets_inherit_and_are_independent(
        self, context: SocketContext, after_listen: bool
    ) -> None:
        listener = bound(context, at("127.0.0.1"))
        if after_listen:
            listener.start_listen()
            listener.finish_listen()
        for option, value in OPTION_VALUES.items():
            assert listener.set_option(option, value) is None
        if not after_listen:
            listener.start_listen()
            listener.finish_listen()
        connected(context, address_of(listener))
        connected(context, address_of(listener))
        accepted = listener.accept()
        assert isinstance(accepted, tuple)
        for option in OPTION_VALUES:
            listener.set_option(option, 1)
        assert {option: accepted[0].get_option(option) for option in OPTION_VALUES} == OPTION_VALUES
        accepted[0].set_option(TcpOption.HOP_LIMIT, 7)
        later = listener.accept()
        assert isinstance(later, tuple)
        assert later[0].get_option(TcpOption.HOP_LIMIT) == 1

    def test_new_sockets_share_nothing_that_one_of_them_sets(self, context: SocketContext) -> None:
        one, other = TcpSocket(context, AddressFamily.IPV4), TcpSocket(context, AddressFamily.IPV4)
        before = other.get_option(TcpOption.HOP_LIMIT)
        one.set_option(TcpOption.HOP_LIMIT, 3)
        assert other.get_option(TcpOption.HOP_LIMIT) == before


class TestLimit:
    def test_creating_and_accepting_stop_at_the_limit_and_go_on_below(self) -> None:
        network = Network()
        context = SocketContext(network, object(), 2)
        listener = listening(context, at("127.0.0.1"))
        spare = create_tcp_socket(context, AddressFamily.IPV4)
        assert isinstance(spare, TcpSocket)
        assert create_tcp_socket(context, AddressFamily.IPV6) is ErrorCode.NEW_SOCKET_LIMIT
        connected(SocketContext(network, "a client"), address_of(listener))
        assert listener.accept() is ErrorCode.NEW_SOCKET_LIMIT
        assert listener.ready()  # the client still waits
        spare.close()
        spare.close()
        assert isinstance(listener.accept(), tuple)
        assert context.open_sockets == 2

    def test_with_no_client_accept_at_the_limit_would_block(self) -> None:
        listener = listening(SocketContext(Network(), object(), 1), at("127.0.0.1"))
        assert listener.accept() is ErrorCode.WOULD_BLOCK

    def test_a_negative_limit_is_an_error_of_the_host(self) -> None:
        with pytest.raises(ValueError, match="max_sockets"):
            SocketContext(Network(), object(), -1)


def test_close_with_unread_data_resets_the_peer(context: SocketContext) -> None:
    listener = listening(context, at("127.0.0.1"))
    client, _ = connected(context, address_of(listener))
    accepted = listener.accept()
    assert isinstance(accepted, tuple)
    accepted[1].send_pipe.write(b"unread")
    client.close()
    assert accepted[1].receive_pipe.available() == -2


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 11)), max_size=60))
@settings(max_examples=150, deadline=None)
def test_whatever_is_done_closing_leaves_nothing_behind(steps: list[tuple[int, int]]) -> None:
    network = Network()
    context = SocketContext(network, "guest")
    sockets = [TcpSocket(context, AddressFamily.IPV4) for _ in range(3)]
    accepted: list[TcpSocket] = []
    for which, what in steps:
        socket = sockets[which]
        if what == 0:
            socket.start_bind(at("127.0.0.1", 7000))
        elif what == 1:
            socket.start_bind(at("0.0.0.0"))
        elif what == 2:
            socket.finish_bind()
        elif what == 3:
            socket.start_connect(at("127.0.0.1", 7000))
        elif what == 4:
            socket.finish_connect()
        elif what == 5:
            socket.start_listen()
        elif what == 6:
            socket.finish_listen()
        elif what == 7:
            result = socket.accept()
            if isinstance(result, tuple):
                accepted.append(result[0])
        elif what == 8:
            socket.shutdown(receive=True, send=False)
        elif what == 9:
            socket.shutdown(receive=False, send=True)
        elif what == 10:
            socket.set_backlog_size(1)
        else:
            socket.close()
            sockets[which] = TcpSocket(context, AddressFamily.IPV4)
    assert context.open_sockets == len(sockets) + len(accepted)
    for socket in sockets + accepted:
        socket.close()
    assert context.open_sockets == 0
    assert network.sockets() == []
    network.reserve("tcp", at("127.0.0.1", 7000))
