"""ASGI applications on a virtual network: Hypercorn's protocols on streams that need no socket.

    network = wasi_sockets.Network()
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_asgi, app, [network.listen_tcp(8080)])
        ...  # guests reach it at http://127.0.0.1:8080

Needs the extra `asgi`: `pip install 'wasi-sockets[asgi]'`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import outcome
import trio

from wasi_sockets._asgi_tracing import traced_app
from wasi_sockets.network import TcpStream

try:
    from hypercorn.config import Config
    from hypercorn.trio.lifespan import Lifespan
    from hypercorn.trio.tcp_server import TCPServer
    from hypercorn.trio.worker_context import WorkerContext
    from hypercorn.typing import ASGISendEvent, ConnectionState, LifespanState
    from hypercorn.utils import LifespanFailureError, wrap_app
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"serving ASGI applications needs Hypercorn ({error.name} is missing): pip install 'wasi-sockets[asgi]'",
        name=error.name,
    ) from error

__all__ = ["serve_asgi"]


async def serve_asgi(
    app: Any,
    listeners: Sequence[trio.abc.Listener[Any]],
    *,
    config: Config | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an ASGI application until every listener is closed, or the task is cancelled.

    The application gets its lifespan events: startup before the first connection is accepted, shutdown at the end,
    also when cancelled. When the listeners are closed, requests in progress have `config.graceful_timeout` to end.

    Args:
        app: an ASGI 3 application that works under trio (what uses anyio does).
        listeners: from `Network.listen_tcp`, or a `trio.SSLListener` on such a one with ``https_compatible=True``,
            or whatever else accepts streams with a ``socket`` that knows its addresses. They are closed in the end.
        config: Hypercorn's settings; those about sockets, workers and TLS mean nothing here.
        task_status: for `nursery.start`, which returns when the application has started up.

    Raises:
        hypercorn.utils.LifespanFailureError: the application says that it could not start up or shut down.
        hypercorn.utils.LifespanTimeoutError: it took longer than `config.startup_timeout` or `shutdown_timeout`.
        TypeError: `listeners` is no list, such as a listener by itself.
    """
    if not isinstance(listeners, Sequence):
        raise TypeError(f"listeners must be a list, such as [network.listen_tcp(8080)], not {listeners!r}")
    server = _Server(app, config or Config())
    # What is raised goes to the caller as it is, not in a group.
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.live)
        ended = await outcome.acapture(server.serve, listeners, task_status)
        server.life.cancel()
    ended.unwrap()


class _Lifespan(Lifespan):
    """Hypercorn's, which also remembers what the application said went wrong."""

    failure: LifespanFailureError | None = None

    async def asgi_send(self, message: ASGISendEvent) -> None:
        try:
            await super().asgi_send(message)
        except LifespanFailureError as error:
            self.failure = error
            raise


class _Server:
    def __init__(self, app: Any, config: Config) -> None:
        self.config = config
        self.app = wrap_app(traced_app(app), config.wsgi_max_body_size, "asgi")
        self.state: LifespanState = {}
        self.context = WorkerContext(None)
        self.lifespan = _Lifespan(self.app, config, self.state)
        # A cancelled server must still let the application shut down, so its lifespan ends only by this scope.
        self.life = trio.CancelScope(shield=True)

    async def live(self) -> None:
        """The application's lifespan."""
        with suppress(LifespanFailureError), self.life:
            await self.lifespan.handle_lifespan()

    async def serve(
        self, listeners: Sequence[trio.abc.Listener[Any]], task_status: trio.TaskStatus[None]
    ) -> None:
        try:
            await self.tell(self.lifespan.wait_for_startup)
            try:
                await self.accept(listeners, task_status)
            finally:
                with trio.CancelScope(shield=True):
                    await self.tell(self.lifespan.wait_for_shutdown)
        finally:
            with trio.CancelScope(shield=True):
                for listener in listeners:
                    await listener.aclose()

    async def tell(self, event: Callable[[], Awaitable[None]]) -> None:
        # The channel is closed when an application returned from its lifespan without waiting for events.
        with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            await event()
        if self.lifespan.failure is not None:
            raise self.lifespan.failure

    async def accept(
        self, listeners: Sequence[trio.abc.Listener[Any]], task_status: trio.TaskStatus[None]
    ) -> None:
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as accepting:
                for listener in listeners:
                    accepting.start_soon(self.accept_from, listener, connections)
                task_status.started()
            await self.context.terminated.set()
            connections.cancel_scope.deadline = trio.current_time() + self.config.graceful_timeout

    async def accept_from(self, listener: trio.abc.Listener[Any], connections: trio.Nursery) -> None:
        while True:
            try:
                stream = await listener.accept()
            except trio.ClosedResourceError:
                return
            inner = getattr(stream, "transport_stream", stream)
            if isinstance(inner, TcpStream):
                # Its requests belong to the trace of whoever connected.
                inner.connection.opener_context.run(connections.start_soon, self.connection, stream)
            else:
                connections.start_soon(self.connection, stream)

    async def connection(self, stream: Any) -> None:
        try:
            await TCPServer(self.app, self.config, self.context, ConnectionState(self.state.copy()), stream)
        except Exception:
            # One broken connection must not end the others. Errors of the application never come here.
            inner = getattr(stream, "transport_stream", stream)
            if isinstance(inner, TcpStream):
                inner.connection.abort()
            await self.config.log.exception("Serving a connection failed")
        finally:
            await trio.aclose_forcefully(stream)
