"""Serving connections with a task for each, started by the connect itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from wasi_sockets.network._streams import TcpListener, TcpStream

if TYPE_CHECKING:
    from wasi_sockets.network._address import IpAddress
    from wasi_sockets.network._network import Network

__all__ = ["Handler", "serve"]

Handler = Callable[[TcpStream], Awaitable[object]]


async def serve(
    network: Network,
    handler: Handler,
    port: int,
    host: str | IpAddress,
    owner: object,
    handler_nursery: trio.Nursery | None,
    task_status: trio.TaskStatus[list[TcpListener]],
) -> None:
    """See `Network.serve_tcp`."""
    async with network.listen_tcp(port, host, owner=owner) as listener, trio.open_nursery() as nursery:
        backlog = listener.backlog
        handlers = nursery if handler_nursery is None else handler_nursery
        closed = trio.Event()

        def admit() -> None:
            while (connection := backlog.try_accept()) is not None:
                handlers.start_soon(_handle, handler, TcpStream(connection, just_scheduled=True))
            if backlog.closed:
                closed.set()
            else:
                backlog.acceptable.add(admit)

        admit()
        task_status.started([listener])
        try:
            await closed.wait()
        finally:
            backlog.acceptable.discard(admit)


async def _handle(handler: Handler, stream: TcpStream) -> None:
    try:
        await handler(stream)
    finally:
        stream.connection.close()
