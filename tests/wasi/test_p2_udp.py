"""`wasi:sockets/udp` through the functions that a guest calls: wasmtime's p2 test programs, and more."""

from __future__ import annotations

from typing import Any

import pytest
from p2_guest import Guest

from wasi_sockets.component.values import Err
from wasi_sockets.errors import GuestTrap
from wasi_sockets.network import Network
from wasi_sockets.sockets import IncomingDatagrams, OutgoingDatagrams, UdpSocket
from wasi_sockets.wasi import Host, Limits

INTERFACE = "wasi:sockets/udp"
LOOPBACK: dict[str, Any] = {
    "ipv4": ("ipv4", {"port": 0, "address": (127, 0, 0, 1)}),
    "ipv6": ("ipv6", {"port": 0, "flow-info": 0, "address": (0, 0, 0, 0, 0, 0, 0, 1), "scope-id": 0}),
}


def with_port(address: Any, port: int) -> Any:
    return address[0], {**address[1], "port": port}


class End:
    """A UDP socket and its streams, as a guest holds them."""

    def __init__(self, guest: Guest, family: str = "ipv4") -> None:
        self._guest = guest
        self.family = family
        created = guest.call("wasi:sockets/udp-create-socket", "create-udp-socket", family)
        assert isinstance(created, UdpSocket)
        self.socket = created
        self.incoming: Any = None
        self.outgoing: Any = None

    def call(self, name: str, *arguments: object) -> Any:
        return self._guest.call(INTERFACE, f"[method]udp-socket.{name}", self.socket, *arguments)

    def bind(self) -> End:
        assert self.call("start-bind", self._guest.network, LOOPBACK[self.family]) is None
        assert self.call("finish-bind") is None
        return self

    def stream(self, remote: object = None) -> End:
        self.incoming, self.outgoing = self.call("stream", remote)
        assert isinstance(self.incoming, IncomingDatagrams)
        assert isinstance(self.outgoing, OutgoingDatagrams)
        return self

    @property
    def address(self) -> Any:
        return self.call("local-address")

    def receive(self, count: int = 100) -> Any:
        return self._guest.call(INTERFACE, "[method]incoming-datagram-stream.receive", self.incoming, count)

    def check_send(self) -> Any:
        return self._guest.call(INTERFACE, "[method]outgoing-datagram-stream.check-send", self.outgoing)

    def send(self, *datagrams: tuple[bytes, object]) -> Any:
        records = [{"data": data, "remote-address": remote} for data, remote in datagrams]
        return self._guest.call(INTERFACE, "[method]outgoing-datagram-stream.send", self.outgoing, records)

    def drop_streams(self) -> None:
        self._guest.call(INTERFACE, "[resource-drop]incoming-datagram-stream", self.incoming)
        self._guest.call(INTERFACE, "[resource-drop]outgoing-datagram-stream", self.outgoing)

    def drop(self) -> None:
        self._guest.call(INTERFACE, "[resource-drop]udp-socket", self.socket)


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_a_question_and_an_answer(guest: Guest, family: str) -> None:
    server = End(guest, family).bind().stream()
    client = End(guest, family).bind().stream(server.address)
    assert client.call("address-family") == family
    assert client.call("remote-address") == server.address
    assert server.call("remote-address") == Err("invalid-state")
    assert client.check_send() == 16
    assert client.send((b"who?", None), (b"", server.address)) == 2
    assert server.incoming.ready()
    assert server.receive() == [
        {"data": b"who?", "remote-address": client.address},
        {"data": b"", "remote-address": client.address},
    ]
    assert server.receive() == []
    assert server.check_send() == 16
    assert server.send((b"me", client.address)) == 1
    assert client.receive(1) == [{"data": b"me", "remote-address": server.address}]


def test_errors_are_the_wit_names(guest: Guest) -> None:
    own = End(guest)
    assert own.call("finish-bind") == Err("not-in-progress")
    assert own.call("stream", None) == Err("invalid-state")
    assert own.call("local-address") == Err("invalid-state")
    assert own.call("start-bind", guest.network, LOOPBACK["ipv6"]) == Err("invalid-argument")
    assert own.call("start-bind", guest.network, LOOPBACK["ipv4"]) is None
    assert own.call("start-bind", guest.network, LOOPBACK["ipv4"]) == Err("concurrency-conflict")
    assert own.call("finish-bind") is None
    assert own.call("stream", LOOPBACK["ipv4"]) == Err("invalid-argument")
    own.stream()
    own.check_send()
    assert own.send((bytes(65_508), own.address)) == Err("datagram-too-large")
    own.check_send()
    assert own.send((b"x", None)) == Err("invalid-argument")
    own.drop_streams()
    own.stream(with_port(LOOPBACK["ipv4"], 9))
    own.check_send()
    assert own.send((b"anybody?", None)) == 1
    assert own.receive() == Err("connection-refused")


@pytest.mark.parametrize("name", ["unicast-hop-limit", "receive-buffer-size", "send-buffer-size"])
def test_options(guest: Guest, name: str) -> None:
    own = End(guest)
    assert own.call(name) > 0
    assert own.call(f"set-{name}", 0) == Err("invalid-argument")
    assert own.call(f"set-{name}", 42) is None
    assert own.call(name) == 42


def test_traps(guest: Guest) -> None:
    own = End(guest).bind().stream()
    with pytest.raises(GuestTrap, match="unpermitted: argument exceeds permitted size"):
        own.send((b"x", own.address))
    with pytest.raises(GuestTrap, match="UDP streams not dropped yet"):
        own.call("stream", None)


def test_dropping(guest: Guest) -> None:
    own = End(guest).bind().stream()
    assert own.incoming.parent is own.outgoing.parent is own.socket  # so "resource has children"
    address = own.address
    own.drop_streams()
    own.stream(address)  # the same port, another association
    assert own.call("remote-address") == address
    own.drop_streams()
    own.drop()
    again = End(guest)
    assert again.call("start-bind", guest.network, address) is None


def test_the_limit_of_a_guest() -> None:
    guest = Guest(Host(Network(), limits=Limits(sockets=1)))
    first = End(guest)
    create = ("wasi:sockets/udp-create-socket", "create-udp-socket", "ipv4")
    assert guest.call(*create) == Err("new-socket-limit")
    first.drop()
    assert isinstance(guest.call(*create), UdpSocket)


def test_a_released_guest_can_still_be_closed_handle_by_handle(guest: Guest) -> None:
    own = End(guest).bind().stream()
    guest.host.release()
    assert guest.host.network.sockets() == []
    assert own.incoming.ready()
    for target in (own.socket, own.outgoing, own.incoming):
        target.close()
    assert guest.host.sockets.open_sockets == 0
