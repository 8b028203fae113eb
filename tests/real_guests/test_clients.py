"""Clients in several languages against services in Python."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

import wasi_sockets
from tests.guest_runs import TRANSPORTS, Inputs, run_interposed
from tests.real_guests.conftest import Serving

WAYS: dict[str, dict[str, bool]] = {
    "direct": {},
    "copy": {"direct_memory": False},
    "thread": {"thread": True},
}
CLIENTS = ("c-echo-0.2.0", "c-echo-0.2.12", "js-client", "c-sockets-client", "rust-client")

GuestFile = Callable[[str], Path]
Network = wasi_sockets.Network

every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
both_transports = pytest.mark.parametrize("direct_memory", TRANSPORTS.values(), ids=TRANSPORTS)


@every_way
@pytest.mark.parametrize("guest", CLIENTS)
async def test_echo(
    guest: str, way: dict[str, bool], guest_file: GuestFile, network: Network, serving: Serving
) -> None:
    source = guest_file(guest)
    async with serving() as port:
        inputs = Inputs(["127.0.0.1", str(port), "3"])
        ended = await run_interposed(source, inputs, network=network, **way)
    (line,) = ended.succeeded().lines
    assert line.startswith("echoed ")
    assert line.endswith(" bytes in 3 round trips")


@both_transports
@pytest.mark.parametrize("guest", [name for name in CLIENTS if name != "js-client"])
async def test_echo_of_more_than_fits(
    guest: str, direct_memory: bool, guest_file: GuestFile, network: Network, serving: Serving
) -> None:
    source = guest_file(guest)
    async with serving() as port:
        inputs = Inputs(["127.0.0.1", str(port), "20", "65536"])
        ended = await run_interposed(source, inputs, network=network, direct_memory=direct_memory)
    assert ended.succeeded().lines == ["echoed 1310720 bytes in 20 round trips"]


@every_way
async def test_a_client_in_text(
    way: dict[str, bool], wat_guest: Callable[[str], bytes], network: Network
) -> None:
    listener = network.listen_tcp(8080)
    messages = []

    async def service() -> None:
        async with await listener.accept() as stream:
            async for data in stream:
                messages.append(data)
                await stream.send_all(data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(service)
        with trio.fail_after(60):
            (await run_interposed(wat_guest("echo"), Inputs(), network=network, **way)).succeeded()
    await listener.aclose()
    assert messages == [b"hello"]


@every_way
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_python_with_blocking_sockets(
    host: str, way: dict[str, bool], guest_file: GuestFile, network: Network, serving: Serving
) -> None:
    source = guest_file("python")
    async with serving(host=host) as port:
        inputs = Inputs(["client", host, str(port), "3", "100000"])
        ended = await run_interposed(source, inputs, network=network, **way)
    assert ended.succeeded().lines[-1] == "echoed 300000 bytes in 3 round trips"


@every_way
async def test_python_with_asyncio(
    way: dict[str, bool], guest_file: GuestFile, network: Network, serving: Serving
) -> None:
    source = guest_file("python")
    async with serving() as port:
        inputs = Inputs(["asyncio", "127.0.0.1", str(port), "20"])
        ended = await run_interposed(source, inputs, network=network, **way)
    assert ended.succeeded().lines == ["20 of 20 connections echoed", "timeout fired", "timer fired"]


@every_way
async def test_half_close(
    way: dict[str, bool], guest_file: GuestFile, network: Network, serving: Serving
) -> None:
    async def answer_at_the_end(stream: wasi_sockets.TcpStream) -> None:
        async with stream:
            heard = b"".join([data async for data in stream])
            await stream.send_all(heard.upper())

    source = guest_file("python")
    async with serving(answer_at_the_end) as port:
        inputs = Inputs(["half-close", "127.0.0.1", str(port), "until the end"])
        ended = await run_interposed(source, inputs, network=network, **way)
    assert ended.succeeded().lines == ["got UNTIL THE END"]


@pytest.mark.parametrize(
    ("host", "outcome"),
    [
        ("127.0.0.1", "ConnectionRefusedError ECONNREFUSED"),
        ("::1", "ConnectionRefusedError ECONNREFUSED"),
        ("10.1.2.3", "OSError EHOSTUNREACH"),
        ("nobody.example", "gaierror EAI_NONAME"),
    ],
)
async def test_connects_that_fail(host: str, outcome: str, guest_file: GuestFile, network: Network) -> None:
    source = guest_file("python")
    ended = await run_interposed(source, Inputs(["connect-error", host, "81"]), network=network)
    kind = outcome.partition(" ")[0]
    (line,) = ended.succeeded().lines
    assert line.startswith(kind)
    if kind != "gaierror":
        assert line == outcome


async def test_name_lookup(guest_file: GuestFile, network: Network, serving: Serving) -> None:
    source = guest_file("python")
    network.add_name("db.example", "127.0.0.2", "::1")
    ended = await run_interposed(source, Inputs(["lookup", "db.example", "5432"]), network=network)
    assert sorted(ended.succeeded().lines) == ["ipv4 127.0.0.2 5432", "ipv6 ::1 5432"]
    ended = await run_interposed(source, Inputs(["lookup", "other.example"]), network=network)
    (line,) = ended.succeeded().lines
    assert line.startswith("gaierror")
    async with serving(host="127.0.0.2") as port:
        inputs = Inputs(["client", "db.example", str(port), "1"])
        (await run_interposed(source, inputs, network=network)).succeeded()


@every_way
@pytest.mark.parametrize("size", [0, 1, 5_000_000])
async def test_random_bytes_both_ways(
    size: int, way: dict[str, bool], guest_file: GuestFile, network: Network, serving: Serving
) -> None:
    data = random.Random(size).randbytes(size)
    received = hashlib.sha256()
    total = 0
    all_received = trio.Event()

    async def service(stream: wasi_sockets.TcpStream) -> None:
        nonlocal total

        async def send() -> None:
            await stream.send_all(data)
            await stream.send_eof()

        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(send)
            async for piece in stream:
                received.update(piece)
                total += len(piece)
        all_received.set()

    source = guest_file("python")
    async with serving(service) as port:
        inputs = Inputs(["exchange", "127.0.0.1", str(port), str(size)])
        ended = await run_interposed(source, inputs, network=network, **way)
        await all_received.wait()
    lines = ended.succeeded().lines
    assert total == size
    assert lines == [
        f"sent {size} {received.hexdigest()}",
        f"received {size} {hashlib.sha256(data).hexdigest()}",
    ]


@every_way
async def test_bulk_through_asyncio(
    way: dict[str, bool], guest_file: GuestFile, network: Network, serving: Serving
) -> None:
    source = guest_file("python")
    async with serving() as port:
        inputs = Inputs(["bulk", "127.0.0.1", str(port), "3000000"])
        ended = await run_interposed(source, inputs, network=network, **way)
    assert ended.succeeded().lines == ["echoed 3000000 bytes, same"]


async def http_service(stream: wasi_sockets.TcpStream) -> None:
    """Answers requests on one connection after the other with their method and path."""
    async with stream:
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                piece = await stream.receive_some()
                if not piece:
                    return
                data += piece
            head, _, data = data.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            method, path, _ = lines[0].split()
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
            length = int(headers.get("content-length", 0))
            while len(data) < length:
                data += await stream.receive_some()
            body, data = data[:length], data[length:]
            status = "404 Not Found" if path == "/missing" else "200 OK"
            answer = f"{method} {path} {body.decode()}".encode()
            await stream.send_all(
                f"HTTP/1.1 {status}\r\nContent-Length: {len(answer)}\r\n\r\n".encode() + answer
            )


@every_way
async def test_http_of_the_standard_library(
    way: dict[str, bool], guest_file: GuestFile, network: Network, serving: Serving
) -> None:
    source = guest_file("python")
    async with serving(http_service) as port:
        ended = await run_interposed(source, Inputs(["http", "127.0.0.1", str(port)]), network=network, **way)
    assert ended.succeeded().lines == [
        "http.client GET /a 200 GET /a ",
        "http.client GET /b?x=1 200 GET /b?x=1 ",
        "http.client POST /c 200 POST /c some data",
        "connections used: 1",
        "urllib GET /urllib 200 GET /urllib ",
        "urllib GET /missing 404",
    ]


async def test_a_peer_that_resets(guest_file: GuestFile, network: Network, serving: Serving) -> None:
    async def reset(stream: wasi_sockets.TcpStream) -> None:
        await stream.receive_some(1)
        stream.connection.abort()
        await stream.aclose()

    source = guest_file("python")
    async with serving(reset) as port:
        inputs = Inputs(["half-close", "127.0.0.1", str(port), "x" * 100])
        ended = await run_interposed(source, inputs, network=network)
    # wasi-libc makes EIO of every stream that failed, on any host.
    assert b"OSError: [Errno 29] I/O error" in ended.stderr
    assert ended.trap is not None
