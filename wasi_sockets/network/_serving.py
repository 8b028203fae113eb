"""Serving connections with a task for each, set going by the connect itself."""

from __future__ import annotations

import contextvars
import inspect
import types
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from wasi_sockets import telemetry
from wasi_sockets.network._streams import TcpListener, TcpStream
from wasi_sockets.network._tracing import handler_failed

if TYPE_CHECKING:
    from wasi_sockets.network._address import IpAddress
    from wasi_sockets.network._network import Network
    from wasi_sockets.network._tcp import TcpBacklog, TcpConnection

__all__ = ["Handler", "serve"]

Handler = Callable[[TcpStream], Awaitable[object]]

_MAX_IDLE = 16
"""Tasks kept for the next connections: starting and ending one takes as long as all else that serving takes."""

_MAX_IN_A_ROW = 8
"""Connections that a task takes over from others which were woken for them, and so handles without a turn of the
loop: that turn would be a sixth of what connecting, one request and closing take. Few enough that a guest which does
nothing else keeps other tasks waiting for less than a millisecond."""


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
        # Woken, but not run yet: with a connection, and those whose connection was taken over by another.
        self.called: deque[_Worker] = deque()
        self.spare: list[_Worker] = []
        self.stopped = False
        self.workload: Final = telemetry.workload_attributes()

    def admit(self) -> None:
        """What connecting does: each connection gets a task, before the connect returns."""
        accept = self._accept_within_workload if telemetry.tracing else self.backlog.try_accept
        while (connection := accept()) is not None:
            if self.spare:
                worker = self.spare.pop()
                worker.expect(connection)
                self.called.append(worker)
            elif self.idle:
                worker = self.idle.pop()
                worker.expect(connection)
                self.called.append(worker)
                trio.lowlevel.reschedule(worker.task)
            else:
                start = partial(self.nursery.start_soon, _Worker(self, connection).run, name=self.handler)
                # In the context of whoever connected, also when somebody else's doing let the connection in.
                connection.opener_context.run(start)
        if self.backlog.closed:
            self.closed.set()
        else:
            self.backlog.acceptable.add(self.admit)

    def _accept_within_workload(self) -> TcpConnection | None:
        with telemetry.within_workload(self.workload):  # this runs in the context of whoever connects
            return self.backlog.try_accept()

    def take_over(self) -> TcpConnection | None:
        """The connection that has waited longest for its task to run; that task may get another, or none."""
        if not self.called:
            return None
        worker = self.called.popleft()
        connection, worker.connection = worker.connection, None
        self.spare.append(worker)
        return connection

    def runs(self, worker: _Worker) -> None:
        """A task that was woken runs now."""
        (self.spare if worker.connection is None else self.called).remove(worker)

    def stop(self) -> None:
        """No more connections: idle tasks end, the others when their handlers return."""
        self.stopped = True
        self.backlog.acceptable.discard(self.admit)
        self.spare.extend(self.idle)
        for worker in self.idle:
            trio.lowlevel.reschedule(worker.task)
        self.idle.clear()


class _Worker:
    """A task that handles one connection after another, each in the context of whoever opened it."""

    __slots__ = ("connection", "service", "task")

    task: trio.lowlevel.Task

    def __init__(self, service: _Service, connection: TcpConnection) -> None:
        self.service = service
        self.connection: TcpConnection | None = connection

    def expect(self, connection: TcpConnection) -> None:
        """What to handle when the task runs again."""
        self.connection = connection
        # trio runs each step of a task in the context that the task has then.
        self.task.context = connection.opener_context.copy()

    async def run(self) -> None:
        service = self.service
        self.task = trio.lowlevel.current_task()
        own_context: contextvars.Context | None = None
        while True:
            connection, self.connection = self.connection, None
            if connection is not None:
                await self._handle(connection)
                for _ in range(_MAX_IN_A_ROW):
                    connection = service.take_over()
                    if connection is None:
                        break
                    context = self.task.context = connection.opener_context.copy()
                    await _in_context(context, self._handle(connection))
            if service.stopped or len(service.idle) >= _MAX_IDLE:
                return
            if own_context is None:
                own_context = contextvars.Context()
            self.task.context = own_context  # let go of the opener's
            service.idle.append(self)
            await trio.lowlevel.wait_task_rescheduled(self._abort)
            service.runs(self)

    async def _handle(self, connection: TcpConnection) -> None:
        try:
            answer = self.service.handler(TcpStream(connection, just_scheduled=True))
            if answer.__class__ is not types.CoroutineType and not inspect.isawaitable(answer):
                raise TypeError(
                    f"serve_tcp expected an async function, but {self.service.handler!r} returned {answer!r},"
                    " which cannot be awaited"
                )
            await answer
        except BaseException as error:
            handler_failed(connection, error)
            raise
        finally:
            connection.close()

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        if self in self.service.idle:
            self.service.idle.remove(self)
        return trio.lowlevel.Abort.SUCCEEDED


@types.coroutine
def _in_context(
    context: contextvars.Context, coroutine: Coroutine[Any, Any, None]
) -> Generator[Any, Any, None]:
    """Await `coroutine`, its first step in `context`: trio sees to the others, as the task has that context."""
    try:
        message = context.run(coroutine.send, None)
        while True:
            try:
                answer = yield message
            except BaseException as error:
                message = coroutine.throw(error)
            else:
                message = coroutine.send(answer)
    except StopIteration:
        return
    finally:
        coroutine.close()
