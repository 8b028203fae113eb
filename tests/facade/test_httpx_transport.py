"""The httpx transport: requests to services of a network, over TLS too, and its errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
import trio

from tests.facade.certificates import contexts
from wasi_sockets import Network, TcpStream
from wasi_sockets.asgi import serve_asgi
from wasi_sockets.httpx_transport import NetworkTransport


async def app(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """Answers with the method, the path, and the body in capitals."""
    if scope["type"] == "lifespan":
        while (event := await receive())["type"] != "lifespan.shutdown":
            await send({"type": event["type"] + ".complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    said = f"{scope['http_version']} {scope['scheme']} {scope['method']} {scope['path']} ".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": said, "more_body": True})
    more = True
    while more:
        event = await receive()
        more = event.get("more_body", False)
        await send({"type": "http.response.body", "body": event["body"].upper(), "more_body": more})


@pytest.fixture
def network() -> Iterator[Network]:
    network = Network()
    network.add_name("shop.internal", "127.0.0.2")
    yield network
    network.close()


async def test_requests_share_a_connection(network: Network, nursery: trio.Nursery) -> None:
    await nursery.start(serve_asgi, app, [network.listen_tcp(80, "127.0.0.2")])
    async with httpx.AsyncClient(transport=NetworkTransport(network, owner="me")) as client:
        answer = await client.get("http://shop.internal/a?b")
        assert (answer.status_code, answer.text) == (200, "1.1 http GET /a ")
        answer = await client.post("http://shop.internal/b", content=b"x" * 300_000)
        assert answer.text == "1.1 http POST /b " + "X" * 300_000
        async with client.stream("POST", "http://shop.internal/c", content=slowly()) as streamed:
            assert [line async for line in streamed.aiter_lines()] == ["1.1 http POST /c ONE", "TWO"]
        assert network.statistics().connections_opened == 1
        owners = {record.owner for record in network.sockets() if record.state == "established"}
        assert owners == {"me", None}
    assert "me" not in {record.owner for record in network.sockets()}


async def slowly() -> AsyncIterator[bytes]:
    for piece in (b"one\n", b"two"):
        await trio.lowlevel.checkpoint()
        yield piece


@pytest.mark.parametrize("http2", [False, True])
async def test_tls(network: Network, nursery: trio.Nursery, http2: bool) -> None:
    server, trusting = contexts("shop.internal", protocols=("h2", "http/1.1") if http2 else ())
    listener = trio.SSLListener(network.listen_tcp(443, "127.0.0.2"), server, https_compatible=True)
    await nursery.start(serve_asgi, app, [listener])
    async with httpx.AsyncClient(transport=NetworkTransport(network, verify=trusting, http2=http2)) as client:
        answer = await client.post("https://shop.internal/a", content=b"hello")
        assert answer.text == f"{2 if http2 else 1.1} https POST /a HELLO"
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get("https://127.0.0.2/")
    async with httpx.AsyncClient(transport=NetworkTransport(network)) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("https://shop.internal/")


async def test_errors(network: Network, nursery: trio.Nursery) -> None:
    async def rude(stream: TcpStream) -> None:
        await stream.receive_some()
        stream.connection.abort()

    async def nonsense(stream: TcpStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"\x00\x00\r\n\r\n")
        await stream.aclose()

    nursery.start_soon(trio.serve_listeners, rude, [network.listen_tcp(81)])
    nursery.start_soon(trio.serve_listeners, nonsense, [network.listen_tcp(82)])
    network.listen_tcp(83)
    async with httpx.AsyncClient(transport=NetworkTransport(network)) as client:
        for url, expected in (
            ("http://127.0.0.1:9/", httpx.ConnectError),
            ("http://example.com/", httpx.ConnectError),
            ("http://192.0.2.1/", httpx.ConnectError),
            ("http://127.0.0.1:81/", httpx.ReadError),
            ("http://127.0.0.1:82/", httpx.RemoteProtocolError),
            ("ftp://127.0.0.1/", httpx.UnsupportedProtocol),
        ):
            with pytest.raises(expected) as caught:
                await client.get(url)
            assert caught.value.request.url == url


async def test_timeouts_are_those_of_the_client(network: Network, autojump_clock: object) -> None:
    network.listen_tcp(80)
    async with httpx.AsyncClient(transport=NetworkTransport(network), timeout=3.0) as client:
        started = trio.current_time()
        with pytest.raises(httpx.ReadTimeout):
            await client.get("http://127.0.0.1/")
        assert trio.current_time() - started == pytest.approx(3.0)
