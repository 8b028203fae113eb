"""What a guest is told at its limits, by the names and values of its functions."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from p2_guest import Guest

from wasi_sockets.component.values import Err
from wasi_sockets.network import LEAST_BUFFERED, Lookup, Network
from wasi_sockets.wasi import Host, Limits

ANY = ("ipv4", {"port": 0, "address": (127, 0, 0, 1)})


def limited(network: Network | None = None, **limits: Any) -> Guest:
    return Guest(Host(network or Network(), limits=Limits(**limits)))


def drop(guest: Guest, *resources: Any) -> None:
    for each in resources:
        each.close()


def connected(guest: Guest, remote: object) -> tuple[Any, object]:
    """A socket, and what `finish-connect` or before it `start-connect` gave."""
    socket = guest.socket()
    failed = guest.tcp("start-connect", socket, guest.network, remote)
    return socket, guest.tcp("finish-connect", socket) if failed is None else failed


def test_connections_come_to_an_end_and_dropping_one_makes_room() -> None:
    network = Network()
    service = Guest(Host(network))
    remote = service.tcp("local-address", service.listener(ANY))
    guest = limited(network, connections=2)
    first, streams = connected(guest, remote)
    assert isinstance(streams, tuple)
    connected(guest, remote)
    refused, told = connected(guest, remote)
    assert told == Err("new-socket-limit")
    drop(guest, refused, *streams, first)
    assert isinstance(connected(guest, remote)[1], tuple)


def test_a_guest_that_serves_sees_no_more_clients_than_it_may_have() -> None:
    network = Network()
    guest, client = limited(network, connections=1), Guest(Host(network))
    listener = guest.listener(ANY)
    remote = guest.tcp("local-address", listener)
    assert isinstance(connected(client, remote)[1], tuple)
    waiting, told = connected(client, remote)
    assert told == Err("would-block")
    accepted = guest.tcp("accept", listener)
    assert isinstance(accepted, tuple)
    assert guest.tcp("accept", listener) == Err("would-block")
    socket, *streams = accepted
    drop(guest, *streams, socket)
    assert isinstance(client.tcp("finish-connect", waiting), tuple)
    assert isinstance(guest.tcp("accept", listener), tuple)


def test_without_room_to_buffer_a_connect_is_out_of_memory() -> None:
    network = Network()
    service = Guest(Host(network))
    remote = service.tcp("local-address", service.listener(ANY))
    guest = limited(network, buffered=LEAST_BUFFERED)
    assert isinstance(connected(guest, remote)[1], tuple)
    assert connected(guest, remote)[1] == Err("out-of-memory")


def test_a_full_buffer_permits_nothing_until_it_is_read() -> None:
    """The room that was given is all there is, and it comes back: nobody waits for ever."""
    network = Network()
    service = Guest(Host(network))
    listener = service.listener(ANY)
    guest = limited(network, buffered=LEAST_BUFFERED)
    _, streams = connected(guest, service.tcp("local-address", listener))
    accepted = service.tcp("accept", listener)
    assert isinstance(streams, tuple)
    assert isinstance(accepted, tuple)
    outgoing, incoming = streams[1], accepted[1]
    assert outgoing.permit() == LEAST_BUFFERED // 2
    assert outgoing.send(bytes(outgoing.permit())) == 0
    incoming.receive(incoming.available())
    assert outgoing.permit() == LEAST_BUFFERED // 2


class Resolver:
    """A way out of a network that never answers by itself."""

    def __init__(self) -> None:
        self.lookups: list[Lookup] = []

    def start(self, name: str, *, owner: object) -> Lookup:
        lookup = Lookup()
        if name != "known.internal":
            self.lookups.append(lookup)
        else:
            lookup.addresses = [ip_address("127.0.0.1")]
        return lookup


def test_lookups_at_a_time_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver()
    guest = limited(lookups=2)
    monkeypatch.setattr(
        Network, "start_lookup", lambda _network, name, *, owner: resolver.start(name, owner=owner)
    )

    def look_up(name: str) -> Any:
        return guest.call("wasi:sockets/ip-name-lookup", "resolve-addresses", guest.network, name)

    assert not isinstance(look_up("known.internal"), Err)  # decided at once: none at a time
    first, second = look_up("a.example"), look_up("b.example")
    assert look_up("c.example") == Err("temporary-resolver-failure")
    assert not isinstance(look_up("192.0.2.1"), Err)  # an address needs no lookup
    resolver.lookups[0]._finish([ip_address("192.0.2.1")], None)
    third = look_up("c.example")
    assert look_up("d.example") == Err("temporary-resolver-failure")
    second.close()
    fourth = look_up("d.example")
    for each in (first, second, third, fourth):
        each.close()
    assert guest.host.sockets.lookups == 0


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"connections": -1}, ValueError, "connections must be at least 0, not -1"),
        ({"connections": 1.0}, TypeError, "connections must be an int, not 1.0"),
        ({"datagrams": True}, TypeError, "datagrams must be an int, not True"),
        ({"sockets": None}, TypeError, "sockets must be an int, not None"),
        ({"tcp": 1}, TypeError, "tcp must be True or False, not 1"),
        ({"buffered": 100}, ValueError, "buffered must be at least 8192, not 100"),
        ({"memory": 1}, ValueError, "memory must be at least 65536, not 1"),
        ({"pollables": 15}, ValueError, "pollables must be at least 16, not 15"),
        ({"pollables": 1 << 20}, ValueError, "pollables must be at most 1048575, or None"),
        ({"cpu": 0}, ValueError, "cpu must be above 0 and at most 1"),
        ({"cpu": 50}, ValueError, "cpu must be above 0 and at most 1"),
        ({"cpu": "0.5"}, TypeError, "cpu must be the part of one processor core, such as 0.5, not '0.5'"),
        ({"lifetime": 0}, ValueError, "lifetime must be above 0 seconds, or None"),
        ({"lifetime": float("nan")}, ValueError, "lifetime must be above 0 seconds"),
        ({"lifetime": float("inf")}, ValueError, "or None for no end"),
        ({"lifetime": "5m"}, TypeError, "lifetime must be a number of seconds, not '5m'"),
    ],
)
def test_limits_that_make_no_sense_are_refused(
    given: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Limits(**given)


def test_a_guest_without_limits_leaves_the_network_without_budgets() -> None:
    network = Network()
    limited(network)
    assert not network._registry.budgets
