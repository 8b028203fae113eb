"""The other side of bridges: real sockets on 127.0.0.1, and what tests say about them."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import trio

from wasi_sockets.network import Network

__all__ = [
    "BIG",
    "CERTIFICATES",
    "Handler",
    "connected",
    "echo",
    "real_server",
    "reset_on_close",
    "settled",
    "tls_server_context",
]

CERTIFICATES = Path(__file__).parent / "certificates"

#: More than all buffers on the way hold together.
BIG = 16 * 1024 * 1024

Handler = Callable[[trio.SocketStream], Awaitable[None]]


async def echo(stream: trio.abc.HalfCloseableStream) -> None:
    """Sends back what comes, and ends when the peer has, or with the connection."""
    async with stream:
        with suppress(trio.BrokenResourceError):
            await _echo(stream)


async def _echo(stream: trio.abc.HalfCloseableStream) -> None:
    async for data in stream:
        await stream.send_all(data)
    await stream.send_eof()


@asynccontextmanager
async def real_server(handler: Handler) -> AsyncIterator[int]:
    """A real server on 127.0.0.1; gives its port."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def connected(port: int) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", port)


async def settled(network: Network) -> None:
    """Wait until no connection is left in the network."""
    while any(record.remote is not None for record in network.sockets()):
        await trio.lowlevel.checkpoint()


def tls_server_context(*, client_certificate: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "server.pem")
    if client_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(CERTIFICATES / "ca.pem")
    return context


def reset_on_close(stream: trio.SocketStream) -> None:
    """Let closing it send a reset."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
