"""Serving connections: what every kind of service has in common."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection
from typing import Final, TypeAlias

import trio

from wasi_sockets import Network, TcpListener, TcpStream

__all__ = [
    "FailureReport",
    "Handler",
    "accept_until_closed",
    "connected",
    "echo",
    "serve_connection",
    "split_failure",
    "until_unconnected",
]

_DRAIN_STEP: Final = 0.01
"""Seconds between two looks."""

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

    When the handler raises or is cancelled, the peer sees a reset; what it raises is told to `report`, and ends
    nothing else. That a peer went away in the middle is no failure of the handler, and not reported.
    """
    try:
        answer = handler(stream)
        if not inspect.isawaitable(answer):
            raise TypeError(
                f"a handler must be an async function, but {handler!r} returned {answer!r}, which cannot be awaited"
            )
        await answer
    except BaseException as error:
        ends_all, failure = split_failure(error)
        if failure is not None:
            peer_gone = isinstance(failure, trio.BrokenResourceError) and stream.connection.receive_pipe.reset
            stream.connection.abort()
            if not peer_gone:
                await report(failure)
        if ends_all is not None:
            stream.connection.abort()  # half an answer must not look like a whole one
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


async def until_unconnected(
    network: Network, owners: Collection[int] | None = None, ports: Collection[int] | None = None
) -> None:
    """Wait until no TCP connection is left in a network that still can carry anything.

    Args:
        network: whose connections.
        owners: the `id` of each owner that counts; None for all.
        ports: own ports that count; None for all.
    """
    while connected(network, owners, ports):  # noqa: ASYNC110  # nothing tells of the last connection
        await trio.sleep(_DRAIN_STEP)


def connected(
    network: Network, owners: Collection[int] | None = None, ports: Collection[int] | None = None
) -> bool:
    """Whether there is a TCP connection that still can carry anything; arguments as for `until_unconnected`."""
    return any(
        each.protocol == "tcp"
        and each.remote is not None
        and each.state != "reset"
        and (owners is None or id(each.owner) in owners)
        and (ports is None or each.local.port in ports)
        for each in network.sockets()
    )


async def echo(stream: TcpStream) -> None:
    """A service: what comes goes back, until the peer ends."""
    async for data in stream:
        await stream.send_all(data)
