"""What the others see when a guest ends: a reset for one that was cut off, an orderly end otherwise."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
import wasmtime

import wasi_sockets
import wasi_sockets._guest
from tests.engine.conftest import run_on
from tests.hostile.attack import connect, engine, handles_at, start
from wasi_sockets.engine import Guest
from wasi_sockets.errors import GuestClosedError, GuestTrap
from wasi_sockets.network import TcpListener, TcpStream

PORT = 80
TRANSPORTS = pytest.mark.parametrize("direct_memory", [True, False], ids=["direct", "copy"])
RESULT = 2048


@asynccontextmanager
async def connected(
    network: wasi_sockets.Network, **options: Any
) -> AsyncIterator[tuple[Guest, int, TcpStream]]:
    """A guest, the input stream of its connection to us, and our end of it."""
    listener: TcpListener = network.listen_tcp(8080)
    async with listener, start(network, **options) as guest:
        _, incoming, _ = await connect(guest, 8080)
        stream = await listener.accept()
        yield guest, incoming, stream


async def assert_reset(stream: TcpStream) -> None:
    with pytest.raises(trio.BrokenResourceError) as caught:
        await stream.receive_some()
    assert isinstance(caught.value.__cause__, ConnectionResetError)
    await stream.aclose()


async def listen(guest: Guest) -> int:
    """Let the guest listen at PORT."""
    network = await guest.call("instance-network")
    await guest.call("create-tcp-socket", 0, RESULT)
    (socket,) = await handles_at(guest, 1)
    await guest.call("tcp-socket-start-bind", socket, network, 0, PORT, 127, 0, 0, 1, *[0] * 6, RESULT)
    for name in ("finish-bind", "start-listen", "finish-listen"):
        await guest.call(f"tcp-socket-{name}", socket, RESULT)
        await handles_at(guest, 0)
    return socket


@TRANSPORTS
async def test_peers_of_a_guest_that_trapped_see_a_reset_at_once(direct_memory: bool) -> None:
    network = wasi_sockets.Network()
    async with connected(network, direct_memory=direct_memory) as (guest, _, stream):
        await listen(guest)
        with pytest.raises(GuestTrap):
            await guest.call("drop-network", 0x4000_0000 | 12345)
        await assert_reset(stream)  # while the block still runs
        await network.listen_tcp(PORT).aclose()
        assert [record.state for record in network.sockets()] == ["listening"]


async def test_a_connect_to_a_guest_that_trapped_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    network = wasi_sockets.Network()
    async with start(network) as guest:
        await listen(guest)
        waiting = await network.connect_tcp("127.0.0.1", PORT)  # in its backlog
        with pytest.raises(wasmtime.WasmtimeError):
            await guest.call("load", 0xFFFF_FFFF)
        await assert_reset(waiting)
        with pytest.raises(ConnectionRefusedError):
            await network.connect_tcp("127.0.0.1", PORT)


async def test_peers_of_a_cancelled_guest_see_a_reset(autojump_clock: trio.testing.MockClock) -> None:
    network = wasi_sockets.Network()
    async with connected(network) as (guest, incoming, stream):
        with trio.move_on_after(1) as scope:
            await guest.call("input-stream-blocking-read", incoming, 4, RESULT)
        assert scope.cancelled_caught
        await assert_reset(stream)


async def test_peers_of_a_guest_that_is_closed_while_it_runs_see_a_reset(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = wasi_sockets.Network()
    async with trio.open_nursery() as nursery, connected(network) as (guest, incoming, stream):

        async def read() -> None:
            with pytest.raises(GuestClosedError):
                await guest.call("input-stream-blocking-read", incoming, 4, RESULT)

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        await guest.aclose()
        await assert_reset(stream)


async def test_peers_of_a_guest_whose_host_function_raised_see_a_reset(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raised = RuntimeError("of the host")

    def fail(_network: object, _name: str) -> object:
        raise raised

    functions = wasi_sockets._guest.functions
    resolve = ("wasi:sockets/ip-name-lookup", "resolve-addresses")
    monkeypatch.setattr(wasi_sockets._guest, "functions", lambda host: {**functions(host), resolve: fail})
    network = wasi_sockets.Network()
    async with connected(network) as (guest, _, stream):
        with pytest.raises(RuntimeError) as caught:
            await guest.call("resolve-addresses", await guest.call("instance-network"), 0, 0, RESULT)
        assert caught.value is raised
        await assert_reset(stream)


async def test_peers_of_a_guest_that_returned_see_the_end() -> None:
    network = wasi_sockets.Network()
    listener = network.listen_tcp(8080)
    async with start(network) as guest:
        await connect(guest, 8080)
    stream = await listener.accept()
    assert await stream.receive_some() == b""
    await stream.aclose()
    await listener.aclose()
    assert not network.sockets()


EXITS = """(component
  (import "wasi:cli/exit@0.2.0" (instance $exit (export "exit" (func (param "status" (result))))))
  (core func $exit (canon lower (func $exit "exit")))
  (core module $m (import "h" "exit" (func $exit (param i32)))
    (func (export "exit") (call $exit (i32.const 1))) (func (export "return")) (func (export "trap") unreachable))
  (core instance $i (instantiate $m (with "h" (instance (export "exit" (func $exit))))))
  (func (export "exit") (canon lift (core func $i "exit")))
  (func (export "return") (canon lift (core func $i "return")))
  (func (export "trap") (canon lift (core func $i "trap"))))"""


class Held:
    """An object in a guest's table."""

    def __init__(self, close: Callable[[], object]) -> None:
        self.close = close


@pytest.mark.parametrize(
    ("name", "error", "expected"),
    [
        ("return", None, ["close"]),
        ("exit", wasmtime.ExitTrap, ["close"]),
        ("trap", wasmtime.WasmtimeError, ["abort", "close"]),
    ],
)
async def test_only_a_guest_that_was_cut_off_is_aborted(
    name: str, error: type[Exception] | None, expected: list[str]
) -> None:
    log: list[str] = []
    async with run_on(engine())(EXITS, on_abort=lambda: log.append("abort")) as guest:
        guest._state.table(0).add("t:t/t.thing", Held(lambda: log.append("close")))
        if error is None:
            await guest.call(name)
        else:
            with pytest.raises(error):
                await guest.call(name)
    assert log == expected


async def test_an_abort_that_fails_does_not_keep_handles_open() -> None:
    log: list[str] = []

    def fail() -> None:
        raise ValueError("abort")

    async with run_on(engine())(EXITS, on_abort=fail) as guest:
        guest._state.table(0).add("t:t/t.thing", Held(lambda: log.append("close")))
        with pytest.raises(BaseExceptionGroup) as caught:
            await guest.call("trap")
        assert caught.group_contains(ValueError, match="abort")
    assert log == ["close"]
