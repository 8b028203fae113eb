"""Serving connections: what every kind of service has in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio

from wasi_sockets import TcpListener, TcpStream

__all__ = ["FailureReport", "Handler", "accept_until_closed", "echo", "serve_connection", "split_failure"]

Handler: TypeAlias = Callable[[TcpStream], Awaitable[object]]
FailureReport: TypeAlias = Callable[[BaseException], Awaitable[object]]


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
    except BaseException as error:
        ends_all, failure = split_failure(error)
        if failure is not None:
            peer_gone = isinstance(failure, trio.BrokenResourceError) and stream.connection.receive_pipe.reset
            stream.connection.abort()
            if not peer_gone:
                await report(failure)
        if ends_all is not None:
            raise ends_all from None
    finally:
        await trio.aclose_forcefully(stream)


def split_failure(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """What of an exception must go on up (cancellation and Ctrl-C), and what is a failure of a service's own code.

    SystemExit is the latter: a service is a guest in this process, and not the one to end it.
    """
    if isinstance(error, BaseExceptionGroup):
        return error.split((trio.Cancelled, KeyboardInterrupt))
    if isinstance(error, trio.Cancelled | KeyboardInterrupt):
        return error, None
    return None, error


async def echo(stream: TcpStream) -> None:
    """A service: what comes goes back, until the peer ends."""
    async for data in stream:
        await stream.send_all(data)
