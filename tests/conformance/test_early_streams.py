"""Guests that do something between start-connect and finish-connect do not notice that the streams were there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from wasi_sockets.conformance import Result, run_virtual
from wasi_sockets.conformance.check import Check
from wasi_sockets.conformance.program import IPV4, LOOPBACK, Address, Program
from wasi_sockets.conformance.tcp import Tcp, listening
from wasi_sockets.sockets import TcpSocket
from wasi_sockets.wasi.p2 import tcp

Step = Callable[[Program, Tcp, Address], object]

STEPS: dict[str, Step] = {
    "start-bind": lambda p, socket, _: socket.start_bind(p.address(LOOPBACK[IPV4]), "concurrency-conflict"),
    "finish-bind": lambda p, socket, _: socket.finish_bind("not-in-progress"),
    "start-connect": lambda p, socket, where: socket.start_connect(where, "concurrency-conflict"),
    "start-listen": lambda p, socket, _: socket.start_listen("concurrency-conflict"),
    "finish-listen": lambda p, socket, _: socket.finish_listen("not-in-progress"),
    "accept": lambda p, socket, _: socket.no_accept("invalid-state"),
    "local-address": lambda p, socket, _: socket.no_local_address("invalid-state"),
    "remote-address": lambda p, socket, _: socket.no_remote_address("invalid-state"),
    "is-listening": lambda p, socket, _: socket.is_listening(False),
    "address-family": lambda p, socket, _: socket.has_family(),
    "shutdown": lambda p, socket, _: socket.shutdown("send", "invalid-state"),
    "hop-limit": lambda p, socket, _: socket.get("hop-limit"),
    "set-hop-limit": lambda p, socket, _: socket.set("hop-limit", 9),
}


class Counted:
    """How often the engine looked ahead, and undid it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.early = 0
        self.undone = 0
        finish, undo = TcpSocket.finish_connect_early, TcpSocket.unfinish_connect

        def counted_finish(socket: TcpSocket) -> object:
            connection = finish(socket)
            self.early += connection is not None
            return connection

        def counted_undo(socket: TcpSocket) -> None:
            self.undone += 1
            undo(socket)

        monkeypatch.setattr(TcpSocket, "finish_connect_early", counted_finish)
        key = ("wasi:sockets/tcp", "[take-back]tcp-socket.start-connect")
        monkeypatch.setitem(tcp.FUNCTIONS, key, counted_undo)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


async def judged(build: Callable[[Program], None]) -> Result:
    [result] = [each async for each in run_virtual([Check("early/check/ipv4", "", "", build)])]
    return result


async def passes(build: Callable[[Program], None]) -> None:
    result = await judged(build)
    assert result.status == "pass", result


def connect_with(step: Step | None) -> Callable[[Program], None]:
    def build(p: Program) -> None:
        listener, where = listening(p, IPV4)
        socket = Tcp(p, IPV4)
        socket.start_connect(where)
        if step is not None:
            step(p, socket, where)
        _, output = socket.wait_connect()
        socket.finish_connect("not-in-progress")
        socket.remote_address()
        _, incoming, _ = listener.accept()
        output.write_all(b"connected")
        incoming.blocking_read(9)
        incoming.got(b"connected")

    return build


async def test_a_guest_that_finishes_at_once_never_asks(counted: Counted) -> None:
    await passes(connect_with(None))
    assert (counted.early, counted.undone) == (1, 0)


@pytest.mark.parametrize("name", STEPS)
async def test_anything_else_before_finds_a_connect_in_progress(name: str, counted: Counted) -> None:
    await passes(connect_with(STEPS[name]))
    assert (counted.early, counted.undone) == (1, 1)


async def test_a_pollable_in_between_is_ready(counted: Counted) -> None:
    def build(p: Program) -> None:
        _, where = listening(p, IPV4)
        socket = Tcp(p, IPV4)
        socket.start_connect(where)
        socket.subscribe().ready(True)
        socket.wait_connect()

    await passes(build)
    assert (counted.early, counted.undone) == (1, 0)


async def test_a_socket_dropped_before_it_was_finished_ends_its_connection(counted: Counted) -> None:
    def build(p: Program) -> None:
        listener, where = listening(p, IPV4)
        socket = Tcp(p, IPV4)
        socket.start_connect(where)
        socket.drop()
        _, incoming, _ = listener.accept()
        incoming.subscribe().wait()
        incoming.read(10, "closed")
        again = Tcp(p, IPV4)  # the handles that nobody got are free for others
        _, output = again.connect(where)
        _, second, _ = listener.accept()
        output.write_all(b"again")
        second.blocking_read(5)
        second.got(b"again")

    await passes(build)
    assert (counted.early, counted.undone) == (2, 1)


async def test_a_guest_that_ends_in_between_leaves_nothing(counted: Counted) -> None:
    def build(p: Program) -> None:
        _, where = listening(p, IPV4)
        Tcp(p, IPV4).start_connect(where)

    await passes(build)
    assert (counted.early, counted.undone) == (1, 0)


async def test_a_stream_is_no_socket_to_finish() -> None:
    def build(p: Program) -> None:
        _, where = listening(p, IPV4)
        incoming, _ = Tcp(p, IPV4).connect(where)
        Tcp(p, IPV4, incoming.code).finish_connect()

    result = await judged(build)
    assert result.status == "fail"
    assert "unknown handle index" in result.detail
    assert "for tcp-socket" in result.detail
