"""An API server that says what a test wants, on a real port of 127.0.0.1, with TLS."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import h11
import trio
import trustme

from service.kubernetes import ApiServer
from service.kubernetes.credentials import NoToken, TokenSource

__all__ = ["Answering", "FakeApiServer", "Received", "json_answer"]


@dataclass
class Received:
    """A request as it arrived."""

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""

    def header(self, name: str) -> str | None:
        for key, value in self.headers:
            if key == name.lower().encode():
                return value.decode()
        return None


class Answering:
    """One connection, while its request is answered."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream], http: h11.Connection) -> None:
        self.stream = stream
        self.http = http

    async def send(self, event: Any) -> None:
        data = self.http.send(event)
        if data:
            await self.stream.send_all(data)

    async def head(self, status: int = 200, *headers: tuple[str, str]) -> None:
        await self.send(h11.Response(status_code=status, headers=list(headers)))

    async def piece(self, data: bytes) -> None:
        await self.send(h11.Data(data=data))

    async def end(self) -> None:
        await self.send(h11.EndOfMessage())

    async def wait_until_gone(self) -> None:
        """Until the other side closes its connection."""
        try:
            await self.stream.receive_some()
        except trio.BrokenResourceError:
            pass


Handler = Callable[[Received, Answering], Awaitable[None]]


async def json_answer(answering: Answering, body: bytes = b"{}", status: int = 200) -> None:
    await answering.head(status, ("content-type", "application/json"), ("content-length", str(len(body))))
    await answering.piece(body)
    await answering.end()


async def _empty(received: Received, answering: Answering) -> None:
    await json_answer(answering, b"" if received.method == "HEAD" else b"{}")


@dataclass
class FakeApiServer:
    """Answers each request by `handler`; remembers them in `received`.

    Attributes:
        ended: a connection has ended.
    """

    handler: Handler = _empty
    received: list[Received] = field(default_factory=list)
    authority: trustme.CA = field(default_factory=lambda: trustme.CA(key_type=trustme.KeyType.ECDSA))
    port: int = 0
    connections: int = 0
    ended: trio.Event = field(default_factory=trio.Event)

    def address(self, tokens: TokenSource | None = None) -> ApiServer:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return ApiServer(f"https://127.0.0.1:{self.port}", context, tokens or NoToken())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve at `port`, a free one the first time."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("127.0.0.1", key_type=trustme.KeyType.ECDSA).configure_cert(context)
        serve = partial(
            trio.serve_ssl_over_tcp, self._serve, self.port, context, host="127.0.0.1", https_compatible=True
        )
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(serve)
            self.port = listener.transport_listener.socket.getsockname()[1]
            yield
            nursery.cancel_scope.cancel()

    async def _serve(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self.connections += 1
        http = h11.Connection(h11.SERVER)
        try:
            while (received := await self._receive(stream, http)) is not None:
                self.received.append(received)
                await self.handler(received, Answering(stream, http))
                if http.our_state is not h11.DONE:
                    return
                http.start_next_cycle()
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            pass
        finally:
            self.ended.set()
            await trio.aclose_forcefully(stream)

    async def _receive(
        self, stream: trio.SSLStream[trio.SocketStream], http: h11.Connection
    ) -> Received | None:
        received: Received | None = None
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Request):
                method, target = event.method.decode(), event.target.decode("latin-1")
                received = Received(method, target, list(event.headers))
            elif isinstance(event, h11.Data) and received is not None:
                received.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return received
            else:
                return None
