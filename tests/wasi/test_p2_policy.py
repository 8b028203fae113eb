"""The error code that a guest gets for each use that a policy denies."""

from __future__ import annotations

import errno
import socket
from functools import partial
from ipaddress import ip_address
from typing import Any

import pytest
import trio
from p2_guest import Guest

from wasi_sockets.component.values import Err
from wasi_sockets.network import Allow, Deny, Network, Policy
from wasi_sockets.network.bridges import kernel
from wasi_sockets.wasi import Host
from wasi_sockets.wasi.waiting import wait_until_ready

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


NAMES = "wasi:sockets/ip-name-lookup"


def looked_up(guest: Guest, name: str) -> Any:
    stream = guest.call(NAMES, "resolve-addresses", guest.network, name)
    return stream, guest.call(NAMES, "[method]resolve-address-stream.resolve-next-address", stream)


def test_lookup() -> None:
    guest = guest_with(Deny.lookup("secret.svc.internal"), Allow.lookup("*.example.com"))
    guest.host.network.add_service_name("secret")
    guest.host.network.add_service_name("open", "127.0.0.5")
    assert looked_up(guest, "secret.svc.internal")[1] == Err("permanent-resolver-failure")
    assert looked_up(guest, "a.example.org")[1] == Err("permanent-resolver-failure")
    assert looked_up(guest, "unknown.internal")[1] == Err("name-unresolvable")
    assert looked_up(guest, "a.example.com")[1] == Err("temporary-resolver-failure")  # nothing leads out
    assert looked_up(guest, "open.svc.internal")[1] == ("ipv4", (127, 0, 0, 5))


async def test_a_lookup_that_goes_outside_has_to_be_waited_for() -> None:
    guest = guest_with(Allow.lookup("*.example.com"))
    asked = trio.Event()
    answered = trio.Event()

    async def resolve(name: str) -> list[Any]:
        asked.set()
        await answered.wait()
        if name == "b.example.com":
            raise socket.gaierror(socket.EAI_AGAIN, "later")
        return [ip_address("1.1.1.1"), ip_address("10.0.0.1")]

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(guest.host.network.egress, resolver=resolve))
        found, first = looked_up(guest, "a.example.com")
        failed, second = looked_up(guest, "b.example.com")
        dropped, third = looked_up(guest, "c.example.com")
        assert first == second == third == Err("would-block")
        assert not found.ready()
        guest.call(NAMES, "[resource-drop]resolve-address-stream", dropped)
        await asked.wait()
        answered.set()
        await wait_until_ready(found)
        await wait_until_ready(failed)
        next_address = "[method]resolve-address-stream.resolve-next-address"
        assert guest.call(NAMES, next_address, found) == ("ipv4", (1, 1, 1, 1))
        assert guest.call(NAMES, next_address, found) is None
        assert guest.call(NAMES, next_address, failed) == Err("temporary-resolver-failure")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ECONNREFUSED, "connection-refused"),
        (errno.EHOSTUNREACH, "remote-unreachable"),
        (errno.ETIMEDOUT, "timeout"),
        (errno.ECONNRESET, "connection-reset"),
    ],
)
async def test_a_connect_outside_fails_with_the_code_of_the_real_error(
    monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    async def fail(_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise OSError(number, "as told")

    monkeypatch.setattr(kernel, "connect", fail)
    guest = guest_with(Allow.connect("192.0.2.1"))
    async with trio.open_nursery() as nursery:
        await nursery.start(guest.host.network.egress)
        made: Any = guest.socket()
        assert guest.tcp("start-connect", made, guest.network, at(80, 192, 0, 2, 1)) is None
        assert guest.tcp("finish-connect", made) == Err("would-block")
        await wait_until_ready(made)
        assert guest.tcp("finish-connect", made) == Err(code)
        nursery.cancel_scope.cancel()
