"""Serving connections with a task for each, set going by the connect itself."""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from wasi_sockets.network._streams import TcpListener, TcpStream

if TYPE_CHECKING:
    from wasi_sockets.network._address import IpAddress
    from wasi_sockets.network._network import Network
    from wasi_sockets.network._tcp import TcpBacklog, TcpConnection

__all__ = ["Handler", "serve"]

Handler = Callable[[TcpStream], Awaitable[object]]

_MAX_IDLE = 16
"""Tasks kept for the next connections: starting and ending one takes as long as all else that serving takes."""


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
    listener = network.listen_tcp(port, host, owner=owner)
    # The listener within the nursery: who comes while the handlers still end is not left to a backlog that nobody
    # accepts from, but refused, or held by `publish` for whoever listens next.
    async with trio.open_nursery() as nursery, listener:
        service = _Service(handler, listener.backlog, nursery if handler_nursery is None else handler_nursery)
        service.admit()
        task_status.started([listener])
        try:
            await service.closed.wait()
        finally:
            service.stop()


class _Service:
    """One listener's connections and the tasks that handle them."""

    def __init__(self, handler: Handler, backlog: TcpBacklog, nursery: trio.Nursery) -> None:
        self.handler = handler
        self.backlog = backlog
        self.nursery = nursery
        self.closed = trio.Event()
        self.idle: list[_Worker] = []
        self.stopped = False

    def admit(self) -> None:
        """What connecting does: each connection gets a task, before the connect returns."""
        while (connection := self.backlog.try_accept()) is not None:
            if self.idle:
                self.idle.pop().give(connection)
            else:
                self.nursery.start_soon(_Worker(self, connection).run, name=self.handler)
        if self.backlog.closed:
            self.closed.set()
        else:
            self.backlog.acceptable.add(self.admit)

    def stop(self) -> None:
        """No more connections: idle tasks end, the others when their handlers return."""
        self.stopped = True
        self.backlog.acceptable.discard(self.admit)
        idle, self.idle = self.idle, []
        for worker in idle:
            worker.give(None)


class _Worker:
    """A task that handles one connection after another, each in the context of whoever opened it."""

    __slots__ = ("connection", "service", "task")

    def __init__(self, service: _Service, connection: TcpConnection) -> None:
        self.service = service
        self.connection: TcpConnection | None = connection
        self.task: trio.lowlevel.Task | None = None

    def give(self, connection: TcpConnection | None) -> None:
        """End the idling, with a connection or for good."""
        self.connection = connection
        if self.task is not None:
            if connection is not None:
                # trio runs each step of a task in the context that the task has then.
                self.task.context = contextvars.copy_context()
            trio.lowlevel.reschedule(self.task)

    async def run(self) -> None:
        service, handler = self.service, self.service.handler
        own_context: contextvars.Context | None = None
        while (connection := self.connection) is not None:
            self.connection = None
            try:
                await handler(TcpStream(connection, just_scheduled=True))
            finally:
                connection.close()
            if service.stopped or len(service.idle) >= _MAX_IDLE:
                return
            if own_context is None:
                self.task = trio.lowlevel.current_task()
                own_context = contextvars.Context()
            self.task.context = own_context  # type: ignore[union-attr]  # let go of the opener's
            service.idle.append(self)
            await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        if self in self.service.idle:
            self.service.idle.remove(self)
        return trio.lowlevel.Abort.SUCCEEDED
