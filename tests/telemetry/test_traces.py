"""The spans of what happens in networks and guests, and how they nest."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
import wasmtime

import wasi_sockets
from tests.recording import Recording, recording
from wasi_sockets import Deny, Network, Policy, TcpStream, telemetry
from wasi_sockets.network import continue_trace

#: Component -> service -> forward -> a real server; shown in docs/observability.md.
ONE_REQUEST = [
    "guest.call",
    "  socket.connect",
    "    socket.connection",
    "      socket.connect",
    "        socket.bridge",
    "          socket.connect",
    "        socket.connection",
]


async def echo(stream: TcpStream) -> None:
    async for data in stream:
        await stream.send_all(data)


@pytest.mark.parametrize("thread", [False, True])
async def test_one_request_is_one_trace(
    recorded: Recording, wat_guest: Callable[[str], bytes], tmp_path: Path, thread: bool
) -> None:
    """Component -> service -> forward -> a real server."""
    file = tmp_path / "echo.wasm"
    file.write_bytes(wat_guest("echo"))
    engine = wasmtime.Engine(wasi_sockets.config())
    component = wasi_sockets.load(engine, file, cache=False)
    linker = wasmtime.component.Linker(engine)
    linker.add_wasip2()
    wasi_sockets.add_to_linker(linker)
    store = wasmtime.Store(engine)
    store.set_wasi(wasmtime.WasiConfig())

    async def service(stream: TcpStream) -> None:
        async with await network.connect_tcp("127.0.0.1", 9000) as onward:
            await onward.send_all(await stream.receive_some())
            await stream.send_all(await onward.receive_some())

    async with trio.open_nursery() as nursery:
        (real,) = await nursery.start(partial(trio.serve_tcp, echo, 0, host="127.0.0.1"))
        real_port = real.socket.getsockname()[1]
        with telemetry.workload_scope(id="1", name="shop", namespace="prod"):
            network = Network("shop")
            await nursery.start(network.forward, 9000, ("127.0.0.1", real_port))
            await nursery.start(network.serve_tcp, service, 8080)
            async with wasi_sockets.instantiate(
                linker, store, component, network=network, thread=thread
            ) as guest:
                assert await guest.call("round-trip", 8080) == 0
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    assert recorded.tree() == [
        "component.load",
        "  component.rewrite",
        "  component.compile",
        "guest.instantiate",
        *ONE_REQUEST,
    ]
    load, _, _, instantiate, call, connect, connection, onward, bridge, outside, carried = recorded.spans()
    assert len({span.context.trace_id for span in (call, connect, connection, onward, bridge, outside)}) == 1
    workload = {"workload.id": "1", "workload.name": "shop", "workload.namespace": "prod"}
    named = {**workload, "component.name": "echo.wasm"}
    ours = {"network.transport": "tcp", "network.type": "ipv4"}
    assert load.attributes == {
        "component.name": "echo.wasm",
        "wasi_sockets.cache": "off",
        "wasi_sockets.component.size": file.stat().st_size,
    }
    assert instantiate.attributes == named
    assert call.attributes == {**named, "wasi_sockets.function": "round-trip"}
    client = (connect.attributes or {})["network.local.port"]
    assert connect.kind.name == "CLIENT"
    assert connect.attributes == {
        **named,
        **ours,
        "network.peer.address": "127.0.0.1",
        "network.peer.port": 8080,
        "network.local.address": "127.0.0.1",
        "network.local.port": client,
        "server.address": "127.0.0.1",
        "server.port": 8080,
    }
    assert connection.kind.name == "SERVER"
    assert connection.attributes == {
        **workload,
        **ours,
        "network.peer.address": "127.0.0.1",
        "network.peer.port": client,
        "network.local.address": "127.0.0.1",
        "network.local.port": 8080,
        "client.address": "127.0.0.1",
        "client.port": client,
        "wasi_sockets.bytes.sent": 5,
        "wasi_sockets.bytes.received": 5,
    }
    assert [event.name for event in connection.events] == ["wasi_sockets.connection.accepted"]
    assert {**workload, "server.port": 9000}.items() <= (onward.attributes or {}).items()
    assert (bridge.attributes or {})["wasi_sockets.bridge"] == "forward"
    assert outside.attributes == {
        **workload,
        "network.transport": "tcp",
        "server.address": "127.0.0.1",
        "server.port": real_port,
    }
    assert (carried.attributes or {})["wasi_sockets.bytes.sent"] == 5
    assert all(span.status.status_code.name == "UNSET" for span in recorded.spans())


def test_a_load_says_the_component_and_else_the_file(
    recorded: Recording, wat_guest: Callable[[str], bytes], tmp_path: Path
) -> None:
    file = tmp_path / "echo.wasm"
    file.write_bytes(wat_guest("echo"))
    engine = wasmtime.Engine(wasi_sockets.config())
    wasi_sockets.load(engine, file, cache=False)
    with telemetry.workload_scope(component="shop"):
        wasi_sockets.load(engine, file, cache=False)
    named = [(span.attributes or {})["component.name"] for span in recorded.spans("component.load")]
    assert named == ["echo.wasm", "shop"]


async def test_handlers_are_in_the_trace_of_whoever_connected(recorded: Recording) -> None:
    network = Network()

    async def served(stream: TcpStream) -> None:
        with telemetry.span("service.start"):
            await stream.receive_some()

    async def accepted(stream: TcpStream) -> None:
        with continue_trace(stream), telemetry.span("service.stop"):
            await stream.receive_some()

    async with trio.open_nursery() as nursery:
        await nursery.start(network.serve_tcp, served, 80)
        nursery.start_soon(trio.serve_listeners, accepted, [network.listen_tcp(81)])
        for port in (80, 81, 80):  # the third one finds an idle task
            with telemetry.workload_scope(name=f"of {port}"), telemetry.span("guest.call"):
                async with await network.connect_tcp("127.0.0.1", port):
                    pass
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    inner = ["guest.call", "  socket.connect", "    socket.connection"]
    assert recorded.tree() == [
        *(*inner, "      service.start"),
        *(*inner, "      service.stop"),
        *(*inner, "      service.start"),
    ]
    assert (recorded.span("service.stop").attributes or {})["workload.name"] == "of 81"


async def test_a_handler_that_fails_is_an_error_of_its_connection(recorded: Recording) -> None:
    network = Network()

    async def fail(stream: TcpStream) -> None:
        raise LookupError("as asked")

    with suppress(BaseExceptionGroup):
        async with trio.open_nursery() as nursery:
            await nursery.start(network.serve_tcp, fail, 80)
            await network.connect_tcp("127.0.0.1", 80)
            await trio.testing.wait_all_tasks_blocked()
    network.close()
    span = recorded.span("socket.connection")
    assert (span.attributes or {})["error.type"] == "LookupError"
    assert span.status.status_code.name == "ERROR"


@pytest.mark.parametrize(
    ("policy", "address", "told"),
    [
        (None, "127.0.0.1", "connection_refused"),
        (None, "192.0.2.1", "network_unreachable"),
        (Policy([Deny.connect("127.0.0.1")]), "127.0.0.1", "access_denied"),
    ],
)
async def test_a_connect_that_fails_says_why(
    recorded: Recording, policy: Policy | None, address: str, told: str
) -> None:
    network = Network(policy=policy)
    with pytest.raises(OSError):  # noqa: PT011  # which one is what the span says
        await network.connect_tcp(address, 80)
    span = recorded.span("socket.connect")
    assert (span.attributes or {})["error.type"] == told
    assert span.status.status_code.name == "ERROR"


async def test_a_connect_that_waits_ends_when_it_is_decided(recorded: Recording) -> None:
    network = Network()
    backlog = network.listen_tcp(80, backlog=1).backlog
    remote = backlog.address
    network.start_connect(remote)
    waiting = network.start_connect(remote)
    assert len(recorded.spans("socket.connect")) == 1
    assert backlog.try_accept() is not None
    assert len(recorded.spans("socket.connect")) == 2
    refused = network.start_connect(remote)
    backlog.close()
    assert (waiting.state, refused.state) == ("connected", "refused")
    assert [(span.attributes or {}).get("error.type") for span in recorded.spans("socket.connect")] == [
        None,
        None,
        "connection_refused",
    ]
    network.close()


async def test_a_denial_is_an_event_where_it_happened(recorded: Recording) -> None:
    network = Network(policy=Policy([Deny.listen("127.0.0.1")]))
    with telemetry.span("guest.call"), pytest.raises(PermissionError):
        network.listen_tcp(80)
    (event,) = recorded.span("guest.call").events
    assert event.name == "wasi_sockets.policy.denied"
    assert event.attributes == {
        "wasi_sockets.policy.use": "listen",
        "wasi_sockets.policy.reason": "rule",
        "wasi_sockets.policy.enforced": True,
        "network.peer.address": "127.0.0.1",
        "network.peer.port": 80,
    }


def test_what_a_guest_connects_is_linked_to_what_it_handles(recorded: Recording) -> None:
    network, guest = Network(), object()
    backlog = network.listen_tcp(80, owner=guest).backlog
    with telemetry.span("guest.call"):
        network.start_connect(backlog.address)
    with telemetry.workload_scope(component="server.wasm"):
        connection = backlog.try_accept()
        assert connection is not None
        network.start_connect(backlog.address, owner=guest)
    connection.close()
    network.start_connect(backlog.address, owner=guest)
    network.close()
    handled = recorded.spans("socket.connection")[0]
    assert (handled.attributes or {})["component.name"] == "server.wasm"
    _, linked, after = recorded.spans("socket.connect")
    assert handled.context.span_id in [link.context.span_id for link in linked.links]
    assert handled.context.span_id not in [link.context.span_id for link in after.links]
    assert linked.context.trace_id != handled.context.trace_id


def test_a_reset_is_an_error_of_the_connection(recorded: Recording) -> None:
    network = Network()
    backlog = network.listen_tcp(80).backlog
    client = network.start_connect(backlog.address).connection
    server = backlog.try_accept()
    assert client is not None
    assert server is not None
    client.abort()
    server.close()
    span = recorded.span("socket.connection")
    assert (span.attributes or {})["error.type"] == "connection_reset"
    network.close()


async def test_lookups(recorded: Recording) -> None:
    network = Network()
    network.add_name("db", "127.0.0.5")
    assert await network.lookup("db")
    with pytest.raises(OSError, match="nowhere"):
        await network.lookup("nowhere")
    await network.lookup("127.0.0.1")
    found, missed = recorded.spans("dns.lookup")
    assert found.attributes == {"dns.question.name": "db", "dns.answers": ("127.0.0.5",)}
    assert missed.attributes == {"dns.question.name": "nowhere", "error.type": "host_not_found"}


async def test_a_published_port_begins_a_trace(recorded: Recording) -> None:
    network = Network()
    async with trio.open_nursery() as nursery:
        await nursery.start(network.serve_tcp, echo, 80)
        with telemetry.span("service.start"):
            address = await nursery.start(partial(network.publish, 80, port=0))
        async with await trio.open_tcp_stream(str(address.ip), address.port) as stream:
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"
        while not recorded.spans("socket.bridge"):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert recorded.tree() == ["service.start", "socket.bridge", "  socket.connection"]
    bridge = recorded.span("socket.bridge")
    assert (bridge.attributes or {})["wasi_sockets.bridge"] == "publish"
    assert bridge.parent is None


async def test_a_forward_that_fails_says_why(recorded: Recording) -> None:
    network = Network()
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        async with trio.open_nursery() as nursery:
            await nursery.start(network.forward, 80, ("127.0.0.1", port))
            with pytest.raises(ConnectionRefusedError):
                await network.connect_tcp("127.0.0.1", 80)
            nursery.cancel_scope.cancel()
    inside, outside = recorded.spans("socket.connect")
    for span in (inside, outside):
        assert (span.attributes or {})["error.type"] == "connection_refused"
    assert (outside.attributes or {})["server.port"] == port


FUNCTION = """(component
  (import "demo:shop/prices@1.0.0" (instance $prices (export "price-of" (func (param "n" u32) (result u32)))))
  (core func $f (canon lower (func $prices "price-of")))
  (core module $m
    (import "prices" "f" (func $f (param i32) (result i32)))
    (func (export "call") (param i32) (result i32) (call $f (local.get 0))))
  (core instance $i (instantiate $m (with "prices" (instance (export "f" (func $f))))))
  (func (export "ask") (param "n" u32) (result u32) (canon lift (core func $i "call"))))"""


async def ask(price_of: Callable[..., int], *, traced: bool) -> int:
    """Call a guest that calls a function of this program."""
    engine = wasmtime.Engine(wasi_sockets.config())
    component = wasi_sockets.load(engine, FUNCTION.encode(), cache=False)
    linker = wasmtime.component.Linker(engine)
    wasi_sockets.add_to_linker(linker)
    view = wasi_sockets.traced_linker(linker) if traced else linker
    with view.root() as root, root.add_instance("demo:shop/prices@1.0.0") as prices:
        prices.add_func("price-of", price_of)
    store = wasmtime.Store(engine)
    async with wasi_sockets.instantiate(linker, store, component, network=Network(), name="shop") as guest:
        answer: int = await guest.call("ask", 20)
        return answer


async def test_functions_of_the_embedding_program_where_it_asks_for_it(recorded: Recording) -> None:
    assert await ask(lambda store, n: n + 1, traced=True) == 21
    assert recorded.tree()[-2:] == ["guest.call", "  host.call"]
    assert recorded.span("host.call").attributes == {
        "component.name": "shop",
        "wasi_sockets.interface": "demo:shop/prices",
        "wasi_sockets.function": "price-of",
    }
    assert await ask(lambda store, n: n + 2, traced=False) == 22
    assert len(recorded.spans("host.call")) == 1


async def test_functions_of_the_embedding_program_that_fail(recorded: Recording) -> None:
    def fail(store: object, n: int) -> int:
        raise LookupError("no such thing")

    with pytest.raises(LookupError):
        await ask(fail, traced=True)
    for name in ("host.call", "guest.call"):
        assert (recorded.span(name).attributes or {})["error.type"] == "LookupError"


async def test_traced_functions_work_while_nobody_records() -> None:
    assert await ask(lambda store, n: n + 1, traced=True) == 21


async def test_a_guest_made_while_nobody_records_is_a_plain_one(wat_guest: Callable[[str], bytes]) -> None:
    kinds = []
    for record in (False, True):
        engine = wasmtime.Engine(wasi_sockets.config())
        if record:
            with recording():
                kinds.append(await kind_of_guest(engine, wat_guest("no-network")))
        else:
            kinds.append(await kind_of_guest(engine, wat_guest("no-network")))
    assert kinds == ["Guest", "TracedGuest"]


async def kind_of_guest(engine: wasmtime.Engine, wasm: bytes) -> str:
    component = wasi_sockets.load(engine, wasm, cache=False)
    linker = wasmtime.component.Linker(engine)
    linker.add_wasip2()
    wasi_sockets.add_to_linker(linker)
    store = wasmtime.Store(engine)
    store.set_wasi(wasmtime.WasiConfig())
    async with wasi_sockets.instantiate(linker, store, component, network=Network()) as guest:
        return type(guest).__name__


async def test_what_a_guest_exits_with(recorded: Recording, wat_guest: Callable[[str], bytes]) -> None:
    failed = await wasi_sockets.run(wat_guest("exit-with-code"), network=Network(), stdin=None, cache=False)
    span = recorded.span("guest.call")
    assert (span.attributes or {})["process.exit.code"] == failed
    assert (span.attributes or {})["wasi_sockets.interface"] == "wasi:cli/run"
    assert (span.attributes or {})["component.name"] == "guest"
    assert failed != 0
    assert (span.attributes or {})["error.type"] == "ExitTrap"
