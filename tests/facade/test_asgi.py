"""`serve_asgi`: an application's life, and how serving ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from wasi_sockets import Network, TcpStream

hypercorn_config = pytest.importorskip("hypercorn.config", reason="the extra asgi is not installed")
from hypercorn.utils import LifespanFailureError  # noqa: E402

from wasi_sockets.asgi import serve_asgi  # noqa: E402

Message = dict[str, Any]


class Application:
    """Answers with the path, and notes its life."""

    def __init__(self) -> None:
        self.life: list[str] = []
        self.hold: trio.Event | None = None
        self.holding = trio.Event()

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            while True:
                event = await receive()
                self.life.append(event["type"])
                await send({"type": event["type"] + ".complete"})
                if event["type"] == "lifespan.shutdown":
                    return
        if scope["path"] == "/raise":
            raise ValueError("as asked")
        if self.hold is not None:
            self.holding.set()
            await self.hold.wait()
        body = f"{scope['path']} {scope['client']} {scope['server']}".encode()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def get(stream: TcpStream, path: str, *, close: bool = True) -> bytes:
    """Ask for a page and read until the server closes."""
    ending = b"Connection: close\r\n" if close else b""
    await stream.send_all(b"GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n" % (path.encode(), ending))
    return b"".join([piece async for piece in stream])


async def test_requests_are_answered_with_the_addresses_of_the_network() -> None:
    network, app = Network(), Application()
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_asgi, app, [network.listen_tcp(80), network.listen_tcp(80, "::1")])
        assert app.life == ["lifespan.startup"]
        for host in ("127.0.0.1", "::1"):
            async with await network.connect_tcp(host, 80) as stream:
                port = stream.local_address.port
                answer = await get(stream, "/hello")
            assert answer.startswith(b"HTTP/1.1 200")
            assert answer.endswith(f"/hello ('{host}', {port}) ('{host}', 80)".encode())
        nursery.cancel_scope.cancel()
    assert app.life == ["lifespan.startup", "lifespan.shutdown"]
    assert network.sockets() == []


async def test_it_returns_when_its_listeners_are_closed() -> None:
    network, app = Network(), Application()
    listener = network.listen_tcp(80)
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_asgi, app, [listener])
        await listener.aclose()
    assert app.life == ["lifespan.startup", "lifespan.shutdown"]


async def test_a_request_in_progress_may_end_and_an_idle_connection_is_closed() -> None:
    network, app = Network(), Application()
    app.hold = trio.Event()
    listener = network.listen_tcp(80)
    answers: list[bytes] = []

    async def ask() -> None:
        async with await network.connect_tcp("127.0.0.1", 80) as stream:
            answers.append(await get(stream, "/late", close=False))

    async with trio.open_nursery() as nursery:
        await nursery.start(serve_asgi, app, [listener])
        nursery.start_soon(ask)
        await app.holding.wait()
        await listener.aclose()
        await trio.testing.wait_all_tasks_blocked()
        app.hold.set()
    assert b"/late" in answers[0]


async def test_a_request_that_does_not_end_is_cut_off(autojump_clock: trio.testing.MockClock) -> None:
    network, app = Network(), Application()
    app.hold = trio.Event()
    listener = network.listen_tcp(80)
    config = hypercorn_config.Config()
    config.graceful_timeout = 7.0
    async with await network.connect_tcp("127.0.0.1", 80) as stream, trio.open_nursery() as nursery:
        started = trio.current_time()
        await nursery.start(partial(serve_asgi, app, [listener], config=config))
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await app.holding.wait()
        await listener.aclose()
    assert trio.current_time() - started == pytest.approx(7.0)
    assert app.life[-1] == "lifespan.shutdown"


async def test_an_application_that_raises_gives_500_and_nothing_ends(
    capfd: pytest.CaptureFixture[str],
) -> None:
    network, app = Network(), Application()
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_asgi, app, [network.listen_tcp(80)])
        for path, status in (("/raise", b"500"), ("/fine", b"200")):
            async with await network.connect_tcp("127.0.0.1", 80) as stream:
                assert (await get(stream, path)).split()[1] == status
        nursery.cancel_scope.cancel()
    assert "as asked" in capfd.readouterr().err


async def test_a_client_that_goes_away_disturbs_nobody() -> None:
    network, app = Network(), Application()
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_asgi, app, [network.listen_tcp(80)])
        for rude in (b"", b"GET / HT", b"\x00\xff\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
            stream = await network.connect_tcp("127.0.0.1", 80)
            if rude:
                await stream.send_all(rude)
            stream.connection.abort()
            await stream.aclose()
        async with await network.connect_tcp("127.0.0.1", 80) as stream:
            assert b"/still" in await get(stream, "/still")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("stage", ["startup", "shutdown"])
async def test_an_application_that_says_it_failed(stage: str) -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        while (event := await receive())["type"] != f"lifespan.{stage}":
            await send({"type": event["type"] + ".complete"})
        await send({"type": f"lifespan.{stage}.failed", "message": "no disk"})

    network = Network()
    listener = network.listen_tcp(80)
    if stage == "shutdown":
        await listener.aclose()
    with pytest.raises(LifespanFailureError, match="no disk"):
        await serve_asgi(app, [listener])
    assert network.sockets() == []


async def test_an_application_that_does_not_wait_for_its_lifespan() -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    network = Network()
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_asgi, app, [network.listen_tcp(80)])
        async with await network.connect_tcp("127.0.0.1", 80) as stream:
            assert (await get(stream, "/")).startswith(b"HTTP/1.1 204")
        nursery.cancel_scope.cancel()
