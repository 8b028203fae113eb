"""Serving connections: what every kind of service has in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio

from wasi_sockets import TcpListener, TcpStream

__all__ = ["FailureReport", "Handler", "accept_until_closed", "echo", "serve_connection"]

Handler: TypeAlias = Callable[[TcpStream], Awaitable[object]]
FailureReport: TypeAlias = Callable[[Exception], Awaitable[object]]


async def accept_until_closed(
    listener: TcpListener, nursery: trio.Nursery, serve: Callable[[TcpStream], Awaitable[object]]
) -> None:
    """Start `serve` for each connection, until the listener is closed."""
    while True:
        try:
            stream = await listener.accept()
        except trio.ClosedResourceError:
            return
        nursery.start_soon(serve, stream)


async def serve_connection(handler: Handler, report: FailureReport, stream: TcpStream) -> None:
    """Run a handler on a connection, and close the connection after it.

    When the handler raises, the peer sees a reset and `report` is told; nothing else ends. That a peer went away
    in the middle is no failure of the handler, and not reported.
    """
    try:
        await handler(stream)
    except Exception as error:
        peer_gone = isinstance(error, trio.BrokenResourceError) and stream.connection.receive_pipe.reset
        stream.connection.abort()
        if not peer_gone:
            await report(error)
    finally:
        await trio.aclose_forcefully(stream)


async def echo(stream: TcpStream) -> None:
    """A service: what comes goes back, until the peer ends."""
    async for data in stream:
        await stream.send_all(data)
