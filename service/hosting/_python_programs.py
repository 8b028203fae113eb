"""Python code that services run: a handler of connections, an ASGI application, or a task that lives on."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import trio

from service._imports import ImportFailedError, import_object
from service._python_targets import asgi_problem, handler_problem, task_problem
from service._serving import serve_connection
from service.hosting._programs import CannotStartError, ComponentProgram, Ending, Owner, Place, Program
from service.hosting._speakers import in_the_context_of
from service.hosting._tracebacks import lines_of
from service.spec import AsgiCode, Code, ComponentCode, HandlerCode, TaskCode
from wasi_sockets import Limits, TcpListener, TcpStream

__all__ = ["program_for"]

_LOOPBACK: Final = ("127.0.0.1", "::1")


class _PortTakenError(Exception):
    """The host cannot listen for a service, which has done nothing wrong; another try may find the port free."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"cannot listen: {error.strerror or error}")


class PythonProgram(Program):
    """Python code, imported where it is only named."""

    def __init__(
        self, name: str, target: str | Callable[..., Any], ports: tuple[int, ...], place: Place
    ) -> None:
        super().__init__(name, place)
        self._named: Final = target
        self._ports: Final = ports
        self._served = frozenset(ports)
        self._target: Callable[..., Any] | None = None

    async def prepare(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._target is not None:
            return
        try:
            target = import_object(self._named) if isinstance(self._named, str) else self._named
        except ImportFailedError as error:
            raise CannotStartError(str(error)) from error
        if not callable(target):
            raise CannotStartError(f"{self._named} cannot be called")
        if isinstance(self._named, str):
            module, _, path = self._named.partition(":")
        else:
            module, path = "", getattr(target, "__name__", None) or type(target).__name__
        problem = self._problem(target, module, path)
        if problem:
            raise CannotStartError(problem)
        self._target = target

    @staticmethod
    @abstractmethod
    def _problem(target: Callable[..., Any], module: str, path: str) -> str:
        """Why what was found cannot be this kind of code; "" if it may."""

    def forget(self) -> None:
        """Imported modules stay as they are."""

    async def _code(self) -> Callable[..., Any]:
        await self.prepare()
        if self._target is None:
            raise RuntimeError("prepared without a target")
        return self._target

    async def _ending_of(self, error: BaseException) -> Ending:
        if isinstance(error, CannotStartError):
            return Ending(True, str(error), final=True)
        if isinstance(error, _PortTakenError):
            return Ending(True, str(error))
        return await super()._ending_of(error)

    async def _report(self, error: BaseException) -> None:
        await self.say(*lines_of(error))


class ListeningProgram(PythonProgram):
    """Python code whose ports the host listens at."""

    def __init__(
        self, name: str, target: str | Callable[..., Any], ports: tuple[int, ...], place: Place
    ) -> None:
        super().__init__(name, target, ports, place)
        self._listeners: list[TcpListener] = []

    async def drain(self, *, outgoing: bool = False) -> None:
        for listener in self._listeners:
            await listener.aclose()
        await super().drain(outgoing=outgoing)


class HandlerProgram(ListeningProgram):
    """An async function that is called with each connection."""

    kind = "handler"
    _problem = staticmethod(handler_problem)

    def __init__(self, name: str, code: HandlerCode, ports: tuple[int, ...], place: Place) -> None:
        super().__init__(name, code.target, ports, place)

    async def _run(self, owner: Owner, task_status: trio.TaskStatus[None]) -> Ending:
        handler, of = await self._code(), self._speaker

        async def handle(stream: TcpStream) -> None:
            with in_the_context_of(of):  # it has that of whoever connected
                await serve_connection(handler, self._report, stream)

        serve = partial(self._place.network.serve_tcp, handle, owner=owner)
        self._listeners = []
        async with trio.open_nursery() as nursery:
            for port in self._ports:
                for host in _LOOPBACK:
                    try:
                        self._listeners += await nursery.start(serve, port, host)
                    except OSError as error:
                        raise _PortTakenError(error) from error
            task_status.started()
        return Ending(False, "its listeners were closed")


class AsgiProgram(ListeningProgram):
    """An ASGI application, with its lifespan."""

    kind = "asgi"
    _problem = staticmethod(asgi_problem)

    def __init__(self, name: str, code: AsgiCode, ports: tuple[int, ...], place: Place) -> None:
        super().__init__(name, code.target, ports, place)

    async def prepare(self) -> None:
        try:
            import wasi_sockets.asgi  # noqa: F401
        except ModuleNotFoundError as error:
            raise CannotStartError(str(error)) from error
        await super().prepare()

    async def _run(self, owner: Owner, task_status: trio.TaskStatus[None]) -> Ending:
        app, of = await self._code(), self._speaker

        async def application(*arguments: Any) -> None:
            with in_the_context_of(of):  # it has that of whoever connected
                await app(*arguments)

        from service.hosting._asgi_log import config_that_tells
        from wasi_sockets.asgi import serve_asgi

        listen = self._place.network.listen_tcp
        self._listeners = []
        try:
            try:
                for port in self._ports:
                    self._listeners += [listen(port, host, owner=owner) for host in _LOOPBACK]
            except OSError as error:
                raise _PortTakenError(error) from error
            await serve_asgi(
                application, self._listeners, config=config_that_tells(self.say), task_status=task_status
            )
        finally:
            for listener in self._listeners:
                listener.backlog.close()
        return Ending(False, "its listeners were closed")


class TaskProgram(PythonProgram):
    """An async function that lives as long as the service."""

    kind = "task"

    def __init__(self, name: str, code: TaskCode, ports: tuple[int, ...], place: Place) -> None:
        super().__init__(name, code.target, ports, place)
        self._owner = Owner(self.full_name)

    @staticmethod
    def _problem(target: Callable[..., Any], module: str, path: str) -> str:
        return task_problem(target, path)

    def _release(self, owner: Owner) -> None:
        self._adopt(owner)
        super()._release(owner)

    async def drain(self, *, outgoing: bool = False) -> None:
        self._adopt(self._owner)
        await super().drain(outgoing=outgoing)

    def is_connected(self, *, outgoing: bool = False) -> bool:
        self._adopt(self._owner)
        return super().is_connected(outgoing=outgoing)

    def _adopt(self, owner: Owner) -> None:
        """It makes sockets by itself and may forget them; what is at its ports is its own."""
        for port in self._ports:
            self._place.network.adopt(owner, port)

    async def _run(self, owner: Owner, task_status: trio.TaskStatus[None]) -> Ending:
        self._owner = owner
        target = await self._code()
        takes_status = "task_status" in inspect.signature(target).parameters
        if self._ports or not takes_status:
            task_status.started()  # its ports tell the rest, or nothing does
            task_status = trio.TASK_STATUS_IGNORED
        network = self._place.network
        await (target(network, task_status=task_status) if takes_status else target(network))
        return Ending(False, "")


def program_for(name: str, code: Code, ports: tuple[int, ...], limits: Limits, place: Place) -> Program:
    """The program that runs a service's code."""
    if isinstance(code, ComponentCode):
        return ComponentProgram(name, code, limits, place)
    if isinstance(code, HandlerCode):
        return HandlerProgram(name, code, ports, place)
    if isinstance(code, AsgiCode):
        return AsgiProgram(name, code, ports, place)
    return TaskProgram(name, code, ports, place)
