"""The error code that a guest gets for each use that a policy denies."""

from __future__ import annotations

from typing import Any

from p2_guest import Guest

from wasi_sockets.component.values import Err
from wasi_sockets.network import Allow, Deny, Network, Policy
from wasi_sockets.wasi import Host

DENIED = Err("access-denied")


def guest_with(*rules: Any) -> Guest:
    return Guest(Host(Network(policy=Policy(rules))))


def at(port: int, *octets: int) -> Any:
    return ("ipv4", {"port": port, "address": octets or (127, 0, 0, 1)})


def udp(guest: Guest, name: str, socket: object, *arguments: object) -> Any:
    return guest.call("wasi:sockets/udp", f"[method]udp-socket.{name}", socket, *arguments)


def udp_socket(guest: Guest) -> object:
    return guest.call("wasi:sockets/udp-create-socket", "create-udp-socket", "ipv4")


def test_bind() -> None:
    guest = guest_with(Deny.bind(ports=80))
    socket = guest.socket()
    assert guest.tcp("start-bind", socket, guest.network, at(80)) == DENIED
    assert guest.tcp("start-bind", socket, guest.network, at(81)) is None
    assert udp(guest, "start-bind", udp_socket(guest), guest.network, at(80)) == DENIED


def test_listen() -> None:
    guest = guest_with(Deny.listen())
    socket = guest.socket()
    assert guest.tcp("start-bind", socket, guest.network, at(80)) is None
    assert guest.tcp("finish-bind", socket) is None
    assert guest.tcp("start-listen", socket) == DENIED


def test_connect_inside_and_outside() -> None:
    guest = guest_with(Deny.connect(ports=80), Allow.connect("203.0.113.0/24"))
    for address in (
        at(80),
        at(443, 192, 0, 2, 1),
        at(443, 224 - 1, 255, 255, 255),
        at(443, 169, 254, 169, 254),
    ):
        assert guest.tcp("start-connect", guest.socket(), guest.network, address) == DENIED
    refused = guest.socket()
    assert guest.tcp("start-connect", refused, guest.network, at(81)) is None
    assert guest.tcp("finish-connect", refused) == Err("connection-refused")


def test_accept() -> None:
    guest = guest_with(Deny.accept(ports=80))
    guest.listener(at(80))
    socket = guest.socket()
    assert guest.tcp("start-connect", socket, guest.network, at(80)) is None
    assert guest.tcp("finish-connect", socket) == Err("connection-refused")


def test_send_inside_and_outside() -> None:
    guest = guest_with(Deny.send(ports=53))
    socket = udp_socket(guest)
    udp(guest, "start-bind", socket, guest.network, at(0))
    udp(guest, "finish-bind", socket)
    for address in (at(53), at(53, 192, 0, 2, 1), at(123, 192, 0, 2, 1)):
        assert udp(guest, "stream", socket, address) == DENIED
    _, outgoing = udp(guest, "stream", socket, None)
    stream = "wasi:sockets/udp"
    for address in (at(53), at(53, 192, 0, 2, 1), at(123, 192, 0, 2, 1)):
        guest.call(stream, "[method]outgoing-datagram-stream.check-send", outgoing)
        sent = guest.call(
            stream,
            "[method]outgoing-datagram-stream.send",
            outgoing,
            [{"data": b"", "remote-address": address}],
        )
        assert sent == DENIED


def test_without_a_policy_nothing_is_outside() -> None:
    guest = Guest(Host(Network()))
    unreachable = Err("remote-unreachable")
    assert guest.tcp("start-connect", guest.socket(), guest.network, at(443, 192, 0, 2, 1)) == unreachable
