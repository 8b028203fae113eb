"""`wasi:sockets/tcp` through the functions that a guest calls: wasmtime's p2 test programs, and more."""

from __future__ import annotations

from typing import Any

import pytest
from p2_guest import Guest

from wasi_sockets.component.values import Err
from wasi_sockets.network import Network
from wasi_sockets.sockets import TcpSocket
from wasi_sockets.wasi import Host, Limits
from wasi_sockets.wasi.p2.byte_streams import PipeInputStream, PipeOutputStream

LOOPBACK = {
    "ipv4": ("ipv4", {"port": 0, "address": (127, 0, 0, 1)}),
    "ipv6": ("ipv6", {"port": 0, "flow-info": 0, "address": (0, 0, 0, 0, 0, 0, 0, 1), "scope-id": 0}),
}


class End:
    """One end of a connection, as a guest holds it."""

    def __init__(self, parts: Any) -> None:
        self.socket, self.input, self.output = parts
        assert isinstance(self.socket, TcpSocket)
        assert isinstance(self.input, PipeInputStream)
        assert isinstance(self.output, PipeOutputStream)


def connect(guest: Guest, family: str = "ipv4") -> tuple[End, End]:
    """A client and the accepted server end."""
    listener = guest.listener(LOOPBACK[family])
    client = guest.socket(family)
    remote = guest.tcp("local-address", listener)
    assert guest.tcp("start-connect", client, guest.network, remote) is None
    streams: Any = guest.tcp("finish-connect", client)
    return End((client, *streams)), End(guest.tcp("accept", listener))


@pytest.fixture(params=["ipv4", "ipv6"])
def ends(guest: Guest, request: pytest.FixtureRequest) -> tuple[End, End]:
    return connect(guest, request.param)


class TestFunctions:
    def test_addresses_and_family(self, guest: Guest, ends: tuple[End, End]) -> None:
        client, server = ends
        assert guest.tcp("local-address", client.socket) == guest.tcp("remote-address", server.socket)
        assert guest.tcp("remote-address", client.socket) == guest.tcp("local-address", server.socket)
        family = guest.tcp("address-family", client.socket)
        assert family == guest.tcp("address-family", server.socket)
        local: Any = guest.tcp("local-address", client.socket)
        assert local[0] == family
        assert local[1]["port"] > 0

    def test_errors_are_the_wit_names(self, guest: Guest) -> None:
        socket = guest.socket()
        assert guest.tcp("finish-bind", socket) == Err("not-in-progress")
        assert guest.tcp("finish-connect", socket) == Err("not-in-progress")
        assert guest.tcp("finish-listen", socket) == Err("not-in-progress")
        assert guest.tcp("start-listen", socket) == Err("invalid-state")
        assert guest.tcp("accept", socket) == Err("invalid-state")
        assert guest.tcp("shutdown", socket, "both") == Err("invalid-state")
        assert guest.tcp("local-address", socket) == Err("invalid-state")
        assert guest.tcp("remote-address", socket) == Err("invalid-state")
        assert guest.tcp("set-listen-backlog-size", socket, 0) == Err("invalid-argument")
        assert guest.tcp("start-bind", socket, guest.network, LOOPBACK["ipv6"]) == Err("invalid-argument")
        assert guest.tcp("start-bind", socket, guest.network, LOOPBACK["ipv4"]) is None
        assert guest.tcp("start-bind", socket, guest.network, LOOPBACK["ipv4"]) == Err("concurrency-conflict")

    def test_a_listener_says_so_and_would_block(self, guest: Guest) -> None:
        listener = guest.listener(LOOPBACK["ipv4"])
        assert guest.tcp("is-listening", listener) is True
        assert guest.tcp("is-listening", guest.socket()) is False
        assert guest.tcp("accept", listener) == Err("would-block")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("keep-alive-enabled", True),
            ("keep-alive-idle-time", 42_000_000_000),
            ("keep-alive-interval", 42_000_000_000),
            ("keep-alive-count", 42),
            ("hop-limit", 42),
            ("receive-buffer-size", 0x10000),
            ("send-buffer-size", 0x10000),
        ],
    )
    def test_options_read_back_and_end_with_the_socket(self, guest: Guest, name: str, value: int) -> None:
        socket = guest.socket()
        assert guest.tcp(f"set-{name}", socket, value) is None
        read = guest.tcp(name, socket)
        assert read == value
        assert type(read) is type(value)  # a `bool` is lowered as one
        if name != "keep-alive-enabled":
            assert guest.tcp(f"set-{name}", socket, 0) == Err("invalid-argument")
        nobody = ("ipv4", {"port": 9, "address": (127, 0, 0, 1)})
        assert guest.tcp("start-connect", socket, guest.network, nobody) is None
        assert guest.tcp("finish-connect", socket) == Err("connection-refused")
        assert guest.tcp(name, socket) == Err("connection-refused")
        assert guest.tcp(f"set-{name}", socket, value) == Err("connection-refused")

    def test_the_limit_of_a_guest(self) -> None:
        guest = Guest(Host(Network(), limits=Limits(sockets=1)))
        socket = guest.socket()
        assert guest.socket() == Err("new-socket-limit")
        guest.call("wasi:sockets/tcp", "[resource-drop]tcp-socket", socket)
        assert isinstance(guest.socket(), TcpSocket)

    def test_releasing_a_host_ends_what_its_guest_left(self, guest: Guest) -> None:
        connect(guest)
        other = Guest(Host(guest.host.network))
        kept = other.listener(LOOPBACK["ipv4"])
        guest.host.release()
        assert [record.owner for record in guest.host.network.sockets()] == [other.host]
        assert other.tcp("accept", kept) == Err("would-block")

    def test_a_released_guest_can_still_be_closed_handle_by_handle(self, guest: Guest) -> None:
        """A guest that trapped: first its peers see a reset, then its handle table is emptied."""
        service = Guest(Host(guest.host.network))
        remote = service.tcp("local-address", listener := service.listener(LOOPBACK["ipv4"]))
        client, bound, waiting = guest.socket(), guest.listener(LOOPBACK["ipv6"]), guest.socket()
        guest.tcp("start-connect", client, guest.network, remote)
        streams: Any = guest.tcp("finish-connect", client)
        guest.tcp("start-connect", waiting, guest.network, remote)
        server = End(service.tcp("accept", listener))
        guest.host.release()
        assert server.input.available() == -2
        for target in (*streams, client, bound, waiting):
            target.close()
        assert guest.host.sockets.open_sockets == 0


class TestStreams:
    def test_bytes_both_ways(self, ends: tuple[End, End]) -> None:
        client, server = ends
        assert server.input.available() == 0
        assert not server.input.ready()
        permit = client.output.permit()
        assert client.output.send(b"Hello") == permit - 5
        assert server.input.ready()
        assert server.input.available() == 5
        assert server.input.receive(2) == b"He"
        assert server.input.receive(3) == b"llo"
        assert server.input.available() == 0
        server.output.send(b"there")
        assert client.input.receive(5) == b"there"
        assert client.output.permit() == permit
        assert client.output.flush() == 0

    def test_a_full_pipe_gives_no_permit_until_it_is_read(self, ends: tuple[End, End]) -> None:
        client, server = ends
        permit = client.output.permit()
        assert client.output.send(bytes(permit)) == 0
        assert not client.output.ready()
        assert client.output.flush() == 0
        woken: list[str] = []
        client.output.add_waiter(lambda: woken.append("writable"))
        server.input.receive(permit)
        assert woken == ["writable"]
        assert client.output.ready()
        assert client.output.permit() == permit

    def test_waiting_readers_wake_and_removed_ones_do_not(self, ends: tuple[End, End]) -> None:
        client, server = ends
        woken: list[str] = []

        def first() -> None:
            woken.append("first")

        server.input.add_waiter(first)
        server.input.add_waiter(lambda: woken.append("second"))
        server.input.remove_waiter(first)
        server.input.remove_waiter(first)
        client.output.send(b"x")
        assert woken == ["second"]

    def test_the_permit_exceeds_a_minimized_send_buffer(self, guest: Guest, ends: tuple[End, End]) -> None:
        """`p2_tcp_streams`: shutting down after a big write loses nothing of it."""
        client, server = ends
        assert guest.tcp("set-send-buffer-size", client.socket, 1024) is None
        small = guest.tcp("send-buffer-size", client.socket)
        size = min(client.output.permit(), 102_400)
        assert isinstance(small, int)
        assert size > small
        client.output.send(bytes(size))
        assert guest.tcp("shutdown", client.socket, "send") is None
        assert server.input.available() == size
        server.input.receive(size)
        assert server.input.available() == -1

    def test_a_remote_shutdown_closes_the_input(self, guest: Guest, ends: tuple[End, End]) -> None:
        client, server = ends
        assert guest.tcp("shutdown", server.socket, "both") is None
        server.socket.close()
        assert client.input.ready()
        assert client.input.available() == -1

    def test_a_local_receive_shutdown_closes_the_input_and_drops_what_is_queued(
        self, guest: Guest, ends: tuple[End, End]
    ) -> None:
        client, server = ends
        server.output.send(b"Lorem ipsum")
        assert guest.tcp("shutdown", client.socket, "receive") is None
        assert client.input.available() == -1
        assert client.input.ready()
        # Nor does anything of it come back, and the peer does not notice (SHUT_RD on Linux).
        assert server.output.send(b"dolor") > 0
        assert client.input.available() == -1
        # The other direction lives.
        client.output.send(b"still here")
        assert server.input.available() == 10

    def test_a_local_send_shutdown_closes_the_output(self, guest: Guest, ends: tuple[End, End]) -> None:
        client, server = ends
        assert client.output.permit() > 3
        assert guest.tcp("shutdown", client.socket, "send") is None
        assert client.output.send(b"Hi!") == -1
        assert client.output.permit() == -1
        assert client.output.flush() == -1
        assert client.output.ready()
        assert server.input.available() == -1
        server.output.send(b"half-open")
        assert client.input.available() == 9

    def test_shutdown_is_idempotent(self, guest: Guest, ends: tuple[End, End]) -> None:
        for kind in ("receive", "receive", "send", "send", "both"):
            assert guest.tcp("shutdown", ends[0].socket, kind) is None

    def test_writing_to_a_closed_peer_is_closed_and_no_failure(self, ends: tuple[End, End]) -> None:
        client, server = ends
        server.socket.close()
        assert client.output.permit() == -1
        assert client.output.send(b"x") == -1
        assert client.output.flush() == -1

    def test_a_peer_that_leaves_after_a_write_is_for_the_next_write_to_say(
        self, ends: tuple[End, End]
    ) -> None:
        # wasi-libc flushes after each write and fails when that does, although the bytes have arrived.
        client, server = ends
        assert client.output.send(b"last") > 0
        assert server.input.receive(4) == b"last"
        server.socket.close()
        assert client.output.flush() == 0
        assert client.output.permit() == -1
        assert client.output.flush() == -1

    def test_a_peer_that_leaves_because_of_a_write_has_got_it(self, ends: tuple[End, End]) -> None:
        client, server = ends
        received = []

        def take_and_leave() -> None:
            received.append(server.input.receive(4))
            server.socket.close()

        server.input.add_waiter(take_and_leave)
        assert client.output.send(b"last") == 0
        assert received == [b"last"]
        assert client.output.flush() == 0
        assert client.output.permit() == -1

    def test_a_reset_fails_once_in_each_direction_and_is_closed_after(self, ends: tuple[End, End]) -> None:
        client, server = ends
        client.output.send(b"unread")
        server.socket.close()
        for state in (client.input.available, client.output.permit, client.output.flush):
            assert state() == -2
        assert client.input.ready()
        assert client.output.ready()
        assert str(client.input.error()) == "connection-reset"
        assert client.input.available() == -1
        assert client.output.send(b"x") == -2
        assert str(client.output.error()) == "connection-reset"
        assert client.output.permit() == -1
        assert client.output.send(b"x") == -1
        assert client.output.flush() == -1

    def test_what_was_shut_down_before_a_reset_stays_closed(
        self, guest: Guest, ends: tuple[End, End]
    ) -> None:
        client, server = ends
        client.output.send(b"unread")
        assert guest.tcp("shutdown", client.socket, "both") is None
        server.socket.close()
        assert client.input.available() == -1
        assert client.output.permit() == -1


class TestDropping:
    def test_streams_are_children_of_their_socket_and_know_each_other(self, ends: tuple[End, End]) -> None:
        for end in ends:
            assert end.input.parent is end.output.parent is end.socket
            assert end.input.peer is end.output
            assert end.output.peer is end.input

    def test_dropping_streams_leaves_the_connection_to_the_socket(
        self, guest: Guest, ends: tuple[End, End]
    ) -> None:
        client, server = ends
        client.output.send(b"last words")
        guest.call("wasi:io/streams", "[resource-drop]output-stream", client.output)
        guest.call("wasi:io/streams", "[resource-drop]input-stream", client.input)
        assert server.input.available() == 10
        assert server.output.permit() > 0
        server.input.receive(10)
        assert server.input.available() == 0
        guest.call("wasi:sockets/tcp", "[resource-drop]tcp-socket", client.socket)
        assert server.input.available() == -1
        assert server.output.permit() == -1

    def test_a_dropped_half_is_no_longer_the_others_peer(self, ends: tuple[End, End]) -> None:
        client, _ = ends
        client.input.close()
        assert client.input.peer is None
        client.output.close()
        assert client.output.peer is None

    def test_a_guest_that_ends_closes_in_any_order(self, guest: Guest, ends: tuple[End, End]) -> None:
        client, server = ends
        client.socket.close()
        client.input.close()
        client.output.close()
        client.socket.close()
        assert server.input.available() == -1
        open_sockets = guest.host.sockets.open_sockets
        assert open_sockets == 2  # the listener and the server's end


def test_lookups_through_the_functions(guest: Guest) -> None:
    interface = "wasi:sockets/ip-name-lookup"

    def next_address(stream: object) -> object:
        return guest.call(interface, "[method]resolve-address-stream.resolve-next-address", stream)

    stream = guest.call(interface, "resolve-addresses", guest.network, "localhost")
    assert next_address(stream) == ("ipv4", (127, 0, 0, 1))
    assert next_address(stream) == ("ipv6", (0, 0, 0, 0, 0, 0, 0, 1))
    assert next_address(stream) is None
    assert next_address(stream) is None
    guest.call(interface, "[resource-drop]resolve-address-stream", stream)
    guest.call("wasi:sockets/network", "[resource-drop]network", guest.network)
    assert guest.call(interface, "resolve-addresses", guest.network, "a b") == Err("invalid-argument")
    unknown = guest.call(interface, "resolve-addresses", guest.network, "example.com")
    assert next_address(unknown) == next_address(unknown) == Err("name-unresolvable")
