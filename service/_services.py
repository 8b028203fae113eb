"""The services of one `run`: made from their options, listening before the guest starts, ended after it."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Sequence
from functools import partial
from typing import Any

import trio

from service._exits import FAILED, USAGE, CommandError
from service._imports import ImportFailedError, import_object, in_one_line, with_place
from service._last_resort import SLACK
from service._options import ServiceOption
from service._python_targets import asgi_problem, handler_problem
from service._serving import Handler, accept_until_closed, echo, serve_connection, split_failure
from service._terminal import say_from_task
from wasi_sockets import Network, TcpListener

__all__ = ["GRACE", "Service", "patience", "prepare", "release"]

GRACE = 1.0
"""Seconds that handlers have, after the guest ended, for what it sent last."""
_APPLICATION_SHUTDOWN = 60.0
"""Seconds that Hypercorn waits for an application's answer to the shutdown event, `Config.shutdown_timeout`."""


class Service:
    """One `--service`, its code imported.

    Args:
        option: what was asked for.
        target: the handler, or the ASGI application.

    Attributes:
        serving: whether it has begun and not ended; may be read by any thread.
    """

    def __init__(self, option: ServiceOption, target: Any) -> None:
        self.option = option
        self._target = target
        self.listeners: list[TcpListener] = []
        self.serving = False

    def listen(self, network: Network) -> None:
        """Take the service's port.

        Raises:
            CommandError: the address is not of this network, or the port is taken.
        """
        for host in self.option.hosts:
            try:
                self.listeners.append(network.listen_tcp(self.option.port, host))
            except OSError as error:
                raise CommandError(
                    f"--service {self.option.text}: cannot listen: {error.strerror}", FAILED
                ) from error

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until the listeners are closed and all their connections have ended.

        Raises:
            CommandError: before the service has started: it cannot.
        """
        self.serving = True
        try:
            await self._serve(task_status)
        finally:
            self.serving = False

    async def _serve(self, task_status: trio.TaskStatus[None]) -> None:
        if self.option.kind == "asgi":
            await self._serve_asgi(task_status)
            return
        handler: Handler = self._target
        serve = partial(serve_connection, handler, self._report)
        async with trio.open_nursery() as connections:
            for listener in self.listeners:
                connections.start_soon(accept_until_closed, listener, connections, serve)
            task_status.started()

    async def _serve_asgi(self, task_status: trio.TaskStatus[None]) -> None:
        from wasi_sockets.asgi import serve_asgi

        status = _Started(task_status)
        try:
            await serve_asgi(self._target, self.listeners, task_status=status)
        except BaseException as error:
            ends_all, failure = split_failure(error)
            if failure is not None and not status.done:
                raise CommandError(
                    f"--service {self.option.text}: {in_one_line(failure)}", FAILED
                ) from failure
            if failure is not None:
                await self._report(failure)
            if ends_all is not None:
                raise ends_all from None

    async def _report(self, error: BaseException) -> None:
        trace = "".join(traceback.format_exception(error)).rstrip()
        indented = trace.replace("\n", "\n    ")
        await say_from_task(f"--service {self.option.text} failed: {with_place(error)}\n    {indented}")


class _Started:
    """Passes `started` on, and remembers it."""

    def __init__(self, task_status: trio.TaskStatus[None]) -> None:
        self._task_status = task_status
        self.done = False

    def started(self, value: None = None) -> None:
        self.done = True
        self._task_status.started(value)


def prepare(options: Sequence[ServiceOption]) -> list[Service]:
    """Import what the options name.

    Raises:
        CommandError: it cannot be imported, or is nothing that can serve.
    """
    return [Service(option, _target(option)) for option in options]


def _target(option: ServiceOption) -> Any:
    if option.kind == "echo":
        return echo
    if option.kind == "asgi":
        try:
            importlib.import_module("wasi_sockets.asgi")
        except ModuleNotFoundError as error:
            raise CommandError(f"--service {option.text}: {error}", USAGE) from error
    target = _import(option)
    if not callable(target):
        raise CommandError(f"--service {option.text}: {option.path} cannot be called", USAGE)
    check = handler_problem if option.kind == "handler" else asgi_problem
    problem = check(target, option.module, option.path)
    if problem:
        raise CommandError(f"--service {option.text}: {problem}", USAGE)
    return target


def _import(option: ServiceOption) -> Any:
    try:
        return import_object(f"{option.module}:{option.path}")
    except ImportFailedError as error:
        raise CommandError(f"--service {option.text}: {error}", USAGE) from error


def patience(services: Sequence[Service]) -> float:
    """Seconds after which services that have not ended, once they should, are not waited for."""
    has_applications = any(each.option.kind == "asgi" for each in services)
    return GRACE + SLACK + (_APPLICATION_SHUTDOWN if has_applications else 0.0)


async def release(services: Sequence[Service], serving: trio.Nursery) -> None:
    """The guest has ended: accept what it still connected, listen no more, and let handlers finish for a while."""
    for service in services:
        for listener in service.listeners:
            while listener.backlog.queued:
                await trio.lowlevel.checkpoint()
            await listener.aclose()
    serving.cancel_scope.deadline = trio.current_time() + GRACE
