"""Stock `wasi:http` beside virtual sockets: refused by default; when allowed, both work in one poll."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
import wasmtime

import wasi_sockets
from tests.guest_runs import (
    RUN_COMMAND,
    TRANSPORTS,
    Ended,
    Inputs,
    engine,
    interposed_component,
    interposed_linker,
    run_interposed,
)

GUEST = "c-http-0.2.6"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"

Handler = Callable[[trio.SocketStream], Awaitable[None]]


@dataclass
class RealServer:
    """A server on the real 127.0.0.1."""

    port: int
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def real_server(handler: Handler) -> AsyncIterator[RealServer]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server = RealServer(listener.socket.getsockname()[1])

    async def handle(stream: trio.SocketStream) -> None:
        server.connections += 1
        await handler(stream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, handle, [listener])
        yield server
        nursery.cancel_scope.cancel()


async def request_head(stream: trio.SocketStream) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = await stream.receive_some()
        assert piece, data
        data += piece
    return data


class Loop:
    """Counts the turns of the trio loop while it is open."""

    def __init__(self) -> None:
        self.turns = 0

    async def count(self) -> None:
        while True:
            await trio.lowlevel.checkpoint()
            self.turns += 1


@pytest.mark.parametrize("direct_memory", TRANSPORTS.values(), ids=TRANSPORTS)
async def test_requests_are_denied_by_default(
    direct_memory: bool, guest_file: Callable[[str], Path], network: wasi_sockets.Network
) -> None:
    guest = guest_file(GUEST)

    async def nobody(_: trio.SocketStream) -> None:
        raise AssertionError("a request came through")

    async with real_server(nobody) as server:
        listener = network.listen_tcp(8081)
        inputs = Inputs([str(server.port), "8081"])
        ended = await run_interposed(guest, inputs, network=network, direct_memory=direct_memory)
        await trio.testing.wait_all_tasks_blocked()
        assert server.connections == 0
        await listener.aclose()
    assert ended.code == 1
    assert ended.lines == ["connected", "handle failed with code 15"]  # HTTP-request-denied
    assert network.sockets() == []


async def test_a_policy_that_does_not_exist(guest_file: Callable[[str], Path]) -> None:
    with pytest.raises(ValueError, match="'open'"):
        await run_interposed(guest_file(GUEST), Inputs(), http="open")


MODES = {
    "direct": partial(run_interposed, http="stock"),
    "copy": partial(run_interposed, http="stock", direct_memory=False),
    "thread": partial(run_interposed, http="stock", thread=True),
}


@pytest.mark.parametrize("run", MODES.values(), ids=MODES)
@pytest.mark.parametrize("response_first", [True, False])
async def test_a_response_and_a_socket_in_one_poll(
    response_first: bool,
    run: Callable[..., Awaitable[Ended]],
    guest_file: Callable[[str], Path],
    network: wasi_sockets.Network,
) -> None:
    guest = guest_file(GUEST)
    asked, respond, responded = trio.Event(), trio.Event(), trio.Event()
    heads = []

    async def handler(stream: trio.SocketStream) -> None:
        heads.append(await request_head(stream))
        asked.set()
        await respond.wait()
        await stream.send_all(RESPONSE)
        await stream.aclose()
        responded.set()

    async def exchange(stream: wasi_sockets.TcpStream, message: bytes) -> None:
        await stream.send_all(message)
        answer = b""
        while len(answer) < len(message):
            answer += await stream.receive_some()
        assert answer == message

    async def service(stream: wasi_sockets.TcpStream) -> None:
        async with stream:
            await asked.wait()
            if response_first:
                respond.set()
                await responded.wait()
            await exchange(stream, b"one")
            await exchange(stream, b"two")
            respond.set()

    async with real_server(handler) as server, trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, service, [network.listen_tcp(8081)])
        with trio.fail_after(60):
            ended = await run(guest, Inputs([str(server.port), "8081"]), network=network)
        nursery.cancel_scope.cancel()
    lines = ended.succeeded().lines
    assert heads[0].startswith(b"GET / HTTP/1.1\r\n")
    assert lines[:2] == ["connected", "waiting"]
    assert [line for line in lines if line.startswith("socket")] == [
        "socket one",
        "socket two",
        "socket ended",
    ]
    assert lines.count("response 200 hello") == 1
    if not response_first:
        assert lines.index("response 200 hello") > lines.index("socket two")
    assert network.sockets() == []


async def test_an_upload_arrives_whole(
    guest_file: Callable[[str], Path], network: wasi_sockets.Network
) -> None:
    size = 2_000_000 // 4096 * 4096
    received = 0

    async def handler(stream: trio.SocketStream) -> None:
        nonlocal received
        data = await request_head(stream)
        assert b"transfer-encoding: chunked" in data.lower()
        body = data.partition(b"\r\n\r\n")[2]
        while not body.endswith(b"0\r\n\r\n"):
            body += await stream.receive_some()
        while body:
            line, _, body = body.partition(b"\r\n")
            received += int(line, 16)
            body = body[int(line, 16) + 2 :]
        await stream.send_all(RESPONSE)
        await stream.aclose()

    guest = guest_file(GUEST)
    listener = network.listen_tcp(8081)
    async with real_server(handler) as server, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def service() -> None:
            await (await listener.accept()).aclose()

        with trio.fail_after(60):
            inputs = Inputs([str(server.port), "8081", str(size)])
            ended = await run_interposed(guest, inputs, network=network, http="stock")
    await listener.aclose()
    assert "response 200 hello" in ended.succeeded().lines
    assert received == size


@pytest.mark.parametrize("thread", [False, True])
async def test_a_stalled_peer_stops_only_its_guest(
    thread: bool, guest_file: Callable[[str], Path], network: wasi_sockets.Network
) -> None:
    component = interposed_component(guest_file(GUEST))
    connected = trio.Event()

    async def never_reads(stream: trio.SocketStream) -> None:
        connected.set()
        await trio.sleep_forever()

    loop = Loop()
    ended = trio.Event()
    network.listen_tcp(8081)
    output = wasi_sockets.OutputPipe()
    async with real_server(never_reads) as server, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def guest_life() -> None:
            store = wasmtime.Store(engine())
            wasi = wasmtime.WasiConfig()
            wasi.argv = ["guest", str(server.port), "8081", str(8 << 20)]
            store.set_wasi(wasi)
            try:
                async with wasi_sockets.instantiate(
                    interposed_linker(http="stock"),
                    store,
                    component,
                    network=network,
                    stdout=output,
                    thread=thread,
                ) as guest:
                    await guest.call(*RUN_COMMAND)
            finally:
                ended.set()

        with trio.fail_after(60):
            await connected.wait()
        # The kernel's buffers take some of the 8 MB. Only a guest that has filled them is the one we want to see.
        nursery.start_soon(loop.count)
        with trio.fail_after(60):
            while loop.turns < 20_000:
                await trio.lowlevel.checkpoint()
        assert not ended.is_set()
        assert output.pipe.read_some(1000) == b"connected\nsending\n"
        turns = loop.turns
        nursery.cancel_scope.cancel()
    assert ended.is_set()
    assert loop.turns - turns <= 10
    assert [record for record in network.sockets() if record.owner is not None] == []
    network.close()  # the listener, with a connection that nobody accepted
