"""A network as a whole: what exists in it, whose it is, and how it ends."""

from __future__ import annotations

import errno
import socket
from ipaddress import ip_address

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from wasi_sockets.network import Network, SocketAddress


def at(ip: str, port: int) -> SocketAddress:
    return SocketAddress(ip_address(ip), port)


class Unhashable:
    """An owner that is equal to every other and cannot be hashed."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True


def test_networks_are_apart() -> None:
    one, two = Network("one"), Network("two")
    one.listen_tcp(80)
    assert two.start_connect(at("127.0.0.1", 80)).state == "refused"
    two.listen_tcp(80)
    one.add_name("db", "127.0.0.1")
    with pytest.raises(socket.gaierror):
        two.resolve("db")


async def test_sockets_lists_what_exists() -> None:
    now = 100.0
    network = Network(clock=lambda: now)
    network.reserve("tcp", at("0.0.0.0", 1), owner="holder")
    listener = network.listen_tcp(80, backlog=1, owner="server")
    now = 101.0
    client = await network.connect_tcp("127.0.0.1", 80, owner="client")
    pending = network.start_connect(at("127.0.0.1", 80), owner="client")
    now = 103.5
    seen = {(str(r.local), r.state, r.owner, r.age, r.receive_queue, r.send_queue) for r in network.sockets()}
    assert seen == {
        ("0.0.0.0:1", "bound", "holder", 3.5, 0, 0),
        ("127.0.0.1:80", "listening", "server", 3.5, 1, 1),
        (str(client.local_address), "established", "client", 2.5, 0, 0),
        ("127.0.0.1:80", "established", "server", 2.5, 0, 0),
        (str(pending.local_address), "connecting", "client", 2.5, 0, 0),
    }
    assert {r.protocol for r in network.sockets()} == {"tcp"}
    pending.cancel()
    server = await listener.accept()

    def states() -> tuple[str, str]:
        by_owner = {r.owner: r for r in network.sockets() if r.remote is not None}
        return by_owner["client"].state, by_owner["server"].state

    await client.send_all(b"123")
    await client.send_eof()
    assert states() == ("fin-wait", "close-wait")
    assert [(r.receive_queue, r.send_queue) for r in network.sockets() if r.owner == "client"] == [(0, 3)]
    await server.send_eof()
    assert states() == ("closing", "closing")
    server.connection.abort()
    assert [r.state for r in network.sockets() if r.owner == "client"] == ["closing"]
    await client.aclose()
    client = await network.connect_tcp("127.0.0.1", 80, owner="client")
    (await listener.accept()).connection.abort()
    assert [r.state for r in network.sockets() if r.owner == "client"] == ["reset"]


async def test_statistics_count_what_happened() -> None:
    network = Network()
    listener = network.listen_tcp(80)
    network.start_connect(at("127.0.0.1", 81))
    client = await network.connect_tcp("127.0.0.1", 80)
    server = await listener.accept()
    await client.send_all(b"12345")
    assert await server.receive_some(2) == b"12"
    statistics = network.statistics()
    assert statistics.sockets == {"listening": 1, "established": 2}
    assert (statistics.buffered_bytes, statistics.bytes_delivered) == (3, 2)
    assert (statistics.connections_opened, statistics.connections_refused) == (1, 1)
    assert statistics.connections_reset == 0
    await server.aclose()
    await client.aclose()
    await listener.aclose()
    statistics = network.statistics()
    assert statistics.sockets == {}
    assert (statistics.buffered_bytes, statistics.bytes_delivered) == (0, 2)
    assert statistics.connections_reset == 1


async def test_releasing_an_owner_ends_all_that_it_has_and_nothing_else() -> None:
    network = Network()
    guest, other = Unhashable(), Unhashable()
    network.reserve("tcp", at("127.0.0.1", 1), owner=guest)
    guests = network.listen_tcp(80, backlog=1, owner=guest)
    others = network.listen_tcp(81, owner=other)
    to_guest = await network.connect_tcp("127.0.0.1", 80, owner=other)
    waiting = network.start_connect(at("127.0.0.1", 80), owner=other)
    from_guest = await network.connect_tcp("127.0.0.1", 81, owner=guest)
    at_other = await others.accept()

    async def expect_broken() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await at_other.receive_some()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect_broken)
        await wait_all_tasks_blocked()
        network.release(guest)
    network.release(guest)
    assert all(record.owner is other for record in network.sockets())
    with pytest.raises(trio.BrokenResourceError):
        await to_guest.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await from_guest.receive_some()
    with pytest.raises(trio.ClosedResourceError):
        await guests.accept()
    assert waiting.state == "reset"
    for port in (1, 80, from_guest.local_address.port):
        network.reserve("tcp", at("127.0.0.1", port))
    assert (await network.connect_tcp("127.0.0.1", 81)).remote_address.port == 81


def test_a_port_reserved_by_an_owner_keeps_that_owner_when_it_listens_or_connects() -> None:
    network = Network()
    owner = object()
    network.start_listen(network.reserve("tcp", at("127.0.0.1", 80), owner=owner))
    network.start_connect(
        at("127.0.0.1", 80), reservation=network.reserve("tcp", at("127.0.0.1", 0), owner=owner)
    )
    assert [record.owner for record in network.sockets()] == [owner] * 3
    network.release(owner)
    assert network.sockets() == []


def test_nobody_is_no_owner() -> None:
    with pytest.raises(ValueError, match="owner"):
        Network().release(None)


async def test_closing_a_network_ends_everything() -> None:
    network = Network("closing")
    listener = network.listen_tcp(80, backlog=1)
    stream = await network.connect_tcp("127.0.0.1", 80)
    pending = network.start_connect(at("127.0.0.1", 80))
    reservation = network.reserve("tcp", at("127.0.0.1", 0))
    network.close()
    network.close()
    assert network.sockets() == []
    assert network.closed
    assert pending.state == "reset"
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(b"x")
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()
    for attempt in (lambda: network.listen_tcp(), lambda: network.start_connect(at("127.0.0.1", 80))):
        with pytest.raises(OSError, match="closing") as caught:
            attempt()
        assert caught.value.errno == errno.ENETDOWN
    with pytest.raises(OSError, match="Invalid"):
        network.start_listen(reservation)


def test_a_network_needs_a_buffer() -> None:
    with pytest.raises(ValueError, match="buffer_size"):
        Network(buffer_size=0)


# Names


def test_localhost_and_literals_are_always_known() -> None:
    network = Network()
    assert [str(ip) for ip in network.resolve("localhost")] == ["127.0.0.1", "::1"]
    assert network.resolve("LocalHost.") == network.resolve("localhost")
    assert network.resolve("192.0.2.7") == [ip_address("192.0.2.7")]
    assert network.resolve("2001:DB8::1") == [ip_address("2001:db8::1")]


def test_names_can_be_added_changed_and_removed() -> None:
    network = Network()
    network.add_name("Db.Internal", "127.0.0.5", ip_address("::1"))
    assert [str(ip) for ip in network.resolve("db.internal.")] == ["127.0.0.5", "::1"]
    network.add_name("db.internal", "127.0.0.6")
    assert network.names["db.internal"] == (ip_address("127.0.0.6"),)
    network.remove_name("DB.internal")
    with pytest.raises(socket.gaierror):
        network.resolve("db.internal")
    with pytest.raises(KeyError):
        network.remove_name("db.internal")


def test_international_names_are_one_with_their_ascii_form() -> None:
    network = Network()
    network.add_name("bücher.example", "127.0.0.1")
    assert network.resolve("xn--bcher-kva.example") == network.resolve("BÜCHER.example")


@pytest.mark.parametrize(
    "name",
    ["", " ", ".", "a..b", "a.b<&>", "127.0.0.1:80", "http://a", "a" * 64, "a." * 127 + "a", "a\n", "é" * 99],
)
def test_what_is_no_name_is_not_known_and_cannot_be_added(name: str) -> None:
    network = Network()
    with pytest.raises(socket.gaierror) as caught:
        network.resolve(name)
    assert caught.value.errno == socket.EAI_NONAME
    with pytest.raises(ValueError, match=r"name|label|empty"):
        network.add_name(name, "127.0.0.1")


@pytest.mark.parametrize(
    ("name", "addresses"), [("127.0.0.1", ["127.0.0.1"]), ("db", []), ("db", ["localhost"])]
)
def test_a_name_needs_addresses_and_is_none(name: str, addresses: list[str]) -> None:
    with pytest.raises(ValueError, match="address"):
        Network().add_name(name, *addresses)
