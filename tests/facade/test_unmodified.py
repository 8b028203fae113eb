"""Well-known libraries on an installed network, as they are, without one kernel socket for IP."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import httpx
import pytest
import trio
import trio_websocket
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app

from tests.facade.certificates import contexts
from tests.facade.test_httpx_transport import app
from wasi_sockets import Network

INTERNET = {socket.AF_INET, socket.AF_INET6}


@pytest.fixture(autouse=True)
def _no_kernel_sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails a test that makes an IP socket, wherever."""
    made: list[int] = []
    original: Callable[..., None] = socket.socket.__init__

    def counted(self: socket.socket, family: int = -1, *arguments: Any, **keywords: Any) -> None:
        made.append(socket.AF_INET if family == -1 else family)
        original(self, family, *arguments, **keywords)

    monkeypatch.setattr(socket.socket, "__init__", counted)
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    yield
    assert not INTERNET.intersection(made)


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    """Installed for the test."""
    network = Network()
    network.add_name("shop.internal", "127.0.0.1")
    with network.installed():
        yield network
    network.close()


async def serve_hypercorn(stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
    config = Config()
    await TCPServer(
        wrap_app(app, config.wsgi_max_body_size, "asgi"),
        config,
        WorkerContext(None),
        ConnectionState({}),
        stream,  # type: ignore[arg-type]
    )


async def test_httpx_and_hypercorn(network: Network, nursery: trio.Nursery) -> None:
    await nursery.start(partial(trio.serve_tcp, serve_hypercorn, 8080, host="127.0.0.1"))
    async with httpx.AsyncClient() as client:
        for path in ("/one", "/two"):
            answer = await client.post(f"http://shop.internal:8080{path}", content=b"hello" * 100_000)
            assert answer.text == f"1.1 http POST {path} " + "HELLO" * 100_000
        with pytest.raises(httpx.ConnectError):
            await client.get("http://example.com/")
        with pytest.raises(httpx.ConnectError):
            await client.get("http://shop.internal:9/")
    assert network.statistics().connections_opened == 1


async def test_httpx_and_hypercorn_over_tls_with_http2(network: Network, nursery: trio.Nursery) -> None:
    server, trusting = contexts("shop.internal", protocols=("h2", "http/1.1"))
    await nursery.start(
        partial(
            trio.serve_ssl_over_tcp,
            serve_hypercorn,
            443,
            server,
            host="127.0.0.1",
            https_compatible=True,
        )
    )
    async with httpx.AsyncClient(verify=trusting, http2=True) as client:
        answer = await client.post("https://shop.internal/", content=b"hello")
        assert answer.text == "2 https POST / HELLO"


@pytest.mark.parametrize("secure", [False, True])
async def test_trio_websocket(network: Network, nursery: trio.Nursery, secure: bool) -> None:
    server, trusting = contexts("shop.internal")

    async def echo(request: trio_websocket.WebSocketRequest) -> None:
        connection = await request.accept()
        with suppress(trio_websocket.ConnectionClosed):
            while True:
                await connection.send_message(await connection.get_message())

    await nursery.start(
        partial(trio_websocket.serve_websocket, echo, "127.0.0.1", 8080, server if secure else None)
    )
    url = f"{'wss' if secure else 'ws'}://shop.internal:8080/chat"
    async with trio_websocket.open_websocket_url(url, trusting if secure else None) as connection:
        for message in ("hello", b"\x00" * 100_000):
            await connection.send_message(message)
            assert await connection.get_message() == message


async def test_anyio(network: Network, nursery: trio.Nursery) -> None:
    nursery.start_soon(trio.serve_listeners, echo_back, [network.listen_tcp(7)])
    async with await anyio.connect_tcp("127.0.0.1", 7) as stream:
        await stream.send(b"hello")
        assert await stream.receive() == b"hello"
        assert stream.extra(anyio.abc.SocketAttribute.remote_address) == ("127.0.0.1", 7)


async def echo_back(stream: trio.abc.Stream) -> None:
    async for data in stream:
        await stream.send_all(data)
