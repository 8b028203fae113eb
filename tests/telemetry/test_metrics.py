"""What is collected of networks and guests."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from functools import partial

import pytest
import trio
import trio.testing
import wasmtime
from opentelemetry.sdk.metrics.export import HistogramDataPoint

import wasi_sockets
from tests.recording import Recording
from wasi_sockets import Deny, Network, Policy, SocketAddress, TcpStream, telemetry
from wasi_sockets.network._address import LOOPBACK
from wasi_sockets.network._core import NetworkCore


@pytest.fixture
def network() -> Network:
    """One of a workload that no other test has."""
    with telemetry.workload_scope(id="no dimension", name="metered", namespace="tests"):
        return Network()


OURS = (("workload.name", "metered"), ("workload.namespace", "tests"))


def value(recorded: Recording, name: str, **more: str) -> float:
    """The value of the test's own network."""
    values = recorded.values(f"wasi_sockets.{name}")
    extra = tuple((key.replace("__", "."), each) for key, each in more.items())
    return values[tuple(sorted(OURS + extra))]


async def test_connections_and_bytes(recorded: Recording, network: Network) -> None:
    before = value(recorded, "connection.opened")
    async with network.listen_tcp(80) as listener, await network.connect_tcp("127.0.0.1", 80) as client:
        assert value(recorded, "listener.queue") == 1
        server = await listener.accept()
        await client.send_all(b"12345")
        await server.send_all(b"123")
        assert value(recorded, "network.buffered") == 8
        assert await server.receive_some() == b"12345"
        assert await client.receive_some() == b"123"
        assert (value(recorded, "connection.active"), value(recorded, "listener.queue")) == (1, 0)
        assert value(recorded, "connection.opened") == before + 1
        await server.aclose()
    with pytest.raises(ConnectionRefusedError):
        await network.connect_tcp("127.0.0.1", 80)
    assert value(recorded, "connection.active") == 0
    assert value(recorded, "connection.refused") == 1
    assert value(recorded, "network.io", network__io__direction="transmit") == 5
    assert value(recorded, "network.io", network__io__direction="receive") == 3
    (duration,) = (
        point
        for attributes, point in recorded.points("wasi_sockets.connection.duration").items()
        if isinstance(point, HistogramDataPoint)
    )
    assert duration.count == 1


async def test_the_workload_is_on_durations_too(recorded: Recording) -> None:
    with telemetry.workload_scope(name="opener"):
        network = Network()
        backlog = network.listen_tcp(80).backlog
        client = network.start_connect(backlog.address)
    server = backlog.try_accept()
    assert client.connection is not None
    assert server is not None
    client.connection.abort()
    server.close()
    backlog.close()
    key = (("error.type", "connection_reset"), ("workload.name", "opener"))
    assert list(recorded.points("wasi_sockets.connection.duration")) == [key]
    assert recorded.values("wasi_sockets.connection.reset")[(("workload.name", "opener"),)] == 1


async def test_datagrams_that_got_lost(recorded: Recording, network: Network) -> None:
    async with (
        network.open_udp(53, receive_buffer=1) as server,
        network.open_udp() as client,
    ):
        for _ in range(3):
            await client.send(b"12345", ("127.0.0.1", 53))
        await client.send(b"12345", ("127.0.0.1", 54))
        assert server.local_address.port == 53
        assert value(recorded, "datagram.dropped", wasi_sockets__datagram__loss="full") == 2
        assert value(recorded, "datagram.dropped", wasi_sockets__datagram__loss="unmatched") == 1


async def test_denials_and_lookups(recorded: Recording) -> None:
    with telemetry.workload_scope(name="denied"):
        network = Network(policy=Policy([Deny.connect("127.0.0.1")]))
    network.add_name("db", "127.0.0.1")
    for host in ("db", "db", "127.0.0.1"):
        with pytest.raises(PermissionError):
            await network.connect_tcp(host, 80)
    ours = ("workload.name", "denied")
    denials = recorded.values("wasi_sockets.policy.denials")
    key = (("wasi_sockets.policy.reason", "rule"), ("wasi_sockets.policy.use", "connect"), ours)
    assert denials[key] == 3
    assert recorded.values("wasi_sockets.dns.lookups")[(ours,)] == 2


async def echo(stream: TcpStream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def run_guest(wasm: bytes, function: str, *arguments: object, network: Network) -> None:
    engine = wasmtime.Engine(wasi_sockets.config())
    component = wasi_sockets.load(engine, wasm, cache=False)
    linker = wasmtime.component.Linker(engine)
    linker.add_wasip2()
    wasi_sockets.add_to_linker(linker)
    store = wasmtime.Store(engine)
    store.set_wasi(wasmtime.WasiConfig())
    async with wasi_sockets.instantiate(linker, store, component, network=network) as guest:
        await guest.call(function, *arguments)


async def test_guests(recorded: Recording, wat_guest: Callable[[str], bytes], network: Network) -> None:
    async def service(stream: TcpStream) -> None:
        assert recorded.values("wasi_sockets.guest.active")[()] == 1
        await echo(stream)

    key = (
        ("wasi_sockets.function", "[method]tcp-socket.start-connect"),
        ("wasi_sockets.interface", "wasi:sockets/tcp"),
    )
    before = recorded.values("wasi_sockets.host.calls").get(key, 0)
    polls = recorded.values("wasi_sockets.guest.polls")[()]
    async with trio.open_nursery() as nursery:
        await nursery.start(network.serve_tcp, service, 8080)
        with telemetry.workload_scope(name="metered", namespace="tests"):
            await run_guest(wat_guest("echo"), "round-trip", 8080, network=network)
        nursery.cancel_scope.cancel()
    calls = recorded.values("wasi_sockets.host.calls")
    assert calls[key] == before + 1
    assert recorded.values("wasi_sockets.guest.active")[()] == 0
    assert recorded.values("wasi_sockets.guest.polls")[()] > polls
    assert recorded.values("wasi_sockets.guest.poll.time")[()] > 0
    point = recorded.points("wasi_sockets.guest.call.duration")[OURS]
    assert isinstance(point, HistogramDataPoint)
    assert point.count == 1


TRAPS = """(component
  (core module $m (func (export "f") unreachable))
  (core instance $i (instantiate $m))
  (func (export "f") (canon lift (core func $i "f"))))"""


async def test_traps(recorded: Recording, network: Network) -> None:
    with telemetry.workload_scope(name="metered", namespace="tests"), pytest.raises(wasmtime.WasmtimeError):
        await run_guest(TRAPS.encode(), "f", network=network)
    assert value(recorded, "guest.traps") == 1
    call = recorded.points("wasi_sockets.guest.call.duration")
    assert [dict(key)["error.type"] for key in call] == [
        recorded.span("guest.call").attributes["error.type"]  # type: ignore[index]
    ]


async def test_a_guest_that_only_computes_is_seen_to_yield(
    recorded: Recording, wat_guest: Callable[[str], bytes], network: Network
) -> None:
    async with trio.open_nursery() as nursery:
        with telemetry.workload_scope(name="metered", namespace="tests"):
            nursery.start_soon(
                partial(run_guest, wat_guest("spin"), "wasi:cli/run@0.2", "run", network=network)
            )
        # Its first turn may be short, as the ticks do not wait for it.
        while not recorded.points("wasi_sockets.guest.poll.duration"):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert value(recorded, "guest.yields") >= 1
    slow = recorded.points("wasi_sockets.guest.poll.duration")[OURS]
    assert isinstance(slow, HistogramDataPoint)
    assert slow.sum >= 0.001 * slow.count


def test_a_network_that_is_refused_counts_nothing(
    recorded: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    ignored: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    with pytest.raises(ValueError, match="buffer_size"):
        NetworkCore(buffer_size=0)
    gc.collect()
    assert ignored == []
    assert recorded.spans() == []


def test_what_a_network_counted_outlives_it(recorded: Recording) -> None:
    with telemetry.workload_scope(name="gone"):
        network = NetworkCore()
    key = (("workload.name", "gone"),)
    backlog = network.start_listen(network.reserve("tcp", SocketAddress(LOOPBACK[4], 80)))
    network.start_connect(backlog.address)
    network.close()
    del backlog
    before = recorded.values("wasi_sockets.connection.opened")[key]
    del network
    assert recorded.values("wasi_sockets.connection.opened")[key] == before
    assert key not in recorded.values("wasi_sockets.connection.active")
