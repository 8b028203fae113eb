"""What a service runs, behind one interface; and the first kind of it, a component."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Final, NamedTuple

import trio
import wasmtime

import wasi_sockets
from service._endings import ending as told
from service._exits import CANNOT_RUN
from service._serving import connected, split_failure, until_unconnected
from service.hosting._feeds import MAX_LINE, Lines, OutputStream
from service.hosting._speakers import Speaker, speaking
from service.hosting._tracebacks import lines_of
from service.identity import acting_as
from service.oci import PullError, Secret, pull
from service.spec import ComponentCode, Volume
from wasi_sockets import Limits, Network, TcpListener, WasiSocketsError

__all__ = ["CannotStartError", "ComponentProgram", "Ending", "Owner", "Place", "Program"]

_TRANSIENT: Final = ("unreachable", "bad-answer", "cache")
"""Reasons for which an image cannot be had now, and perhaps later."""

_MAX_REASON: Final = 500

_TELLING_SECONDS: Final = 1.0
"""Where output goes may be stuck; services start again nevertheless."""


class CannotStartError(WasiSocketsError):
    """What a service would run cannot be had, or is nothing that can run; trying again does not help."""


class Ending(NamedTuple):
    """How an incarnation of a service has ended.

    Attributes:
        failed: not in order.
        reason: in words.
        code: what a component exited with.
        final: starting it again cannot help.
    """

    failed: bool
    reason: str
    code: int | None = None
    final: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where programs of a workload run.

    Attributes:
        workload: ``namespace/name``.
        network: the workload's.
        engine: for its components.
        cache: as for `wasi_sockets.load`.
        secrets: credentials for registries, or files that have some, by name.
        directory: gives the directory behind what a component is to be given, which may be a volume.
        say: takes lines of output of a service.
    """

    workload: str
    network: Network
    engine: wasmtime.Engine
    cache: bool | str
    secrets: Mapping[str, Secret]
    directory: Callable[[str | os.PathLike[str] | Volume], str | os.PathLike[str]]
    say: Callable[[str, OutputStream, Sequence[str]], Awaitable[object]]


@dataclass(slots=True)
class Owner:
    """Whom the sockets of one incarnation belong to."""

    name: str
    listeners: list[TcpListener] = field(default_factory=list)

    def __str__(self) -> str:
        return self.name


class Program(ABC):
    """What one service runs, again and again.

    Attributes:
        kind: for listings.
        name: the service's.
        stage: what is being done to have what it needs; "" otherwise.
    """

    kind: ClassVar[str]

    def __init__(self, name: str, place: Place) -> None:
        self.name: Final = name
        self.stage = ""
        self._served: frozenset[int] = frozenset()
        """Ports whose listeners may have been closed already, while what they accepted goes on."""
        self._place: Final = place
        self._last_failure: list[str] = []
        self._speaker = Speaker(partial(place.say, name))

    @property
    def full_name(self) -> str:
        """``namespace/workload/service``, which is unique on a host."""
        return f"{self._place.workload}/{self.name}"

    async def prepare(self) -> None:
        """Have everything that a start needs. Does nothing the second time.

        Raises:
            CannotStartError: it is not to be had.
            OSError: it is not to be had now.
        """
        await trio.lowlevel.checkpoint()

    async def renew(self) -> None:
        """Have anew what the next start needs; what runs goes on with what it has.

        Raises:
            CannotStartError: it is not to be had, and nothing has changed.
            OSError: likewise, for now.
        """
        await trio.lowlevel.checkpoint()

    @abstractmethod
    def forget(self) -> None:
        """What was prepared may have changed: have it anew at the next start, where that is possible."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> Ending:
        """Run once, until it ends or is cancelled. `task_status` is told when it runs.

        Nothing of it is left in the network then. Of what it raises only cancellation and Ctrl-C come out.
        """
        owner = Owner(self.full_name)
        try:
            async with self._speaks():
                with acting_as(self.name):
                    return await self._run(owner, task_status)
        except BaseException as error:
            ends_all, failure = split_failure(error)
            if ends_all is not None:
                raise ends_all from None
            self._release(owner)  # before it is told, which may take a while
            return await self._ending_of(_innermost(failure if failure is not None else error))
        finally:
            self._release(owner)

    @asynccontextmanager
    async def _speaks(self) -> AsyncIterator[None]:
        """What this task and those below it print is output of the service."""
        self._speaker = Speaker(partial(self._place.say, self.name))
        try:
            with speaking(self._speaker):
                yield
        finally:
            if self._speaker.at_end is not None:
                await self._speaker.at_end(self._speaker)

    @abstractmethod
    async def _run(self, owner: Owner, task_status: trio.TaskStatus[None]) -> Ending: ...

    def _release(self, owner: Owner) -> None:
        """End all that the incarnation has in the network."""
        self._place.network.release(owner)

    async def _ending_of(self, error: BaseException) -> Ending:
        lines, words = lines_of(error), _in_words(error)
        # A service that is restarted again and again mostly fails in the same way.
        same, self._last_failure = lines == self._last_failure, lines
        await self.say(*([f"{words} (as the last time, in the same place)"] if same else lines))
        return Ending(True, words)

    async def drain(self, *, outgoing: bool = False) -> None:
        """Refuse new connections, and wait until those that it has accepted have ended.

        Args:
            outgoing: those that it has made too. A service may keep some for their next use, and has no end of them.
        """
        owners, ports = self._own(outgoing)
        for owner in owners.values():
            self._place.network.drain(owner)
        await until_unconnected(self._place.network, owners.keys(), ports)

    def is_connected(self, *, outgoing: bool = False) -> bool:
        """Whether `drain` would wait."""
        owners, ports = self._own(outgoing)
        return connected(self._place.network, owners.keys(), ports)

    def _own(self, outgoing: bool) -> tuple[dict[int, object], frozenset[int] | None]:
        """The owners of its sockets by `id`, and the ports whose connections count; None for all."""
        own = [each for each in self._place.network.sockets() if str(each.owner) == self.full_name]
        owners = {id(each.owner): each.owner for each in own}
        listening = frozenset(each.local.port for each in own if each.state == "listening")
        return owners, None if outgoing else listening | self._served

    async def say(self, *lines: str) -> None:
        """Tell whoever looks after the host; who does not listen is not waited for long."""
        with trio.move_on_after(_TELLING_SECONDS):
            await self._place.say(self.name, "host", [line[:MAX_LINE] for line in lines])


class ComponentProgram(Program):
    """A component: `wasi:cli/run`, or another export."""

    kind = "component"

    def __init__(self, name: str, code: ComponentCode, limits: Limits, place: Place) -> None:
        super().__init__(name, place)
        self._code: Final = code
        self._limits: Final = limits
        self._component: wasi_sockets.GuestComponent | None = None
        self._outdated = False
        self._loading: object = None

    async def prepare(self) -> None:
        await trio.lowlevel.checkpoint()
        try:
            while self._component is None:
                self._outdated = False
                loaded = await self._loaded()
                if not self._outdated:
                    self._component = loaded
        finally:
            self._loading = None
            self.stage = ""

    async def renew(self) -> None:
        try:
            loaded = await self._loaded()
        finally:
            self._loading = None
            self.stage = ""
        self._component = loaded
        self._outdated = True  # what is being loaded for a start that is under way

    async def _loaded(self) -> wasi_sockets.GuestComponent:
        code, place = self._code, self._place
        source = code.source if code.image is None else await self._pulled(code.image)
        current = self._loading = object()

        def begin(stage: str) -> None:
            if self._loading is current:  # a thread that was abandoned goes on
                self.stage = stage

        load = partial(wasi_sockets.load, place.engine, cache=place.cache, progress=begin)
        try:
            return await trio.to_thread.run_sync(load, source, abandon_on_cancel=True)
        except FileNotFoundError as error:
            raise CannotStartError(f"{error.filename}: no such file") from error
        except IsADirectoryError as error:
            raise CannotStartError(f"{error.filename} is a directory, not a component") from error
        except wasi_sockets.ComponentError as error:
            raise CannotStartError(f"{_source_name(code)}: {error}") from error
        except wasmtime.WasmtimeError as error:
            raise CannotStartError(
                f"{_source_name(code)}: wasmtime does not accept the component: {error}"
            ) from error

    async def _pulled(self, image: str) -> bytes:
        code = self._code

        def progress(done: int, total: int) -> None:
            self.stage = f"pulling {image} ({100 * done // max(1, total)} %)"

        self.stage = f"pulling {image}"
        try:
            pulled = await pull(
                image,
                policy=code.pull,
                secret=code.pull_secret,
                secrets=self._place.secrets,
                progress=progress,
            )
        except PullError as error:
            if error.reason in _TRANSIENT:
                raise
            raise CannotStartError(str(error)) from error
        except (ValueError, ModuleNotFoundError) as error:
            raise CannotStartError(str(error)) from error
        return pulled.wasm

    def forget(self) -> None:
        self._component = None
        self._outdated = True

    async def _run(self, owner: Owner, task_status: trio.TaskStatus[None]) -> Ending:
        await self.prepare()
        component = self._component
        if component is None:
            raise RuntimeError("prepared without a component")
        code, place = self._code, self._place
        out, err = _Output(self, "stdout"), _Output(self, "stderr")
        options: Mapping[str, Any] = {
            "network": place.network,
            "environment": code.environment,
            "directories": {path: place.directory(each) for path, each in code.directories.items()},
            "read_only": code.read_only,
            "name": self.full_name,
            "stdin": None,
            "stdout": out.take,
            "stderr": err.take,
            "engine": place.engine,
            "http": code.http,
            "limits": self._limits,
            "thread": code.thread,
        }
        try:
            if code.call is None:
                task_status.started()
                exit_code = await wasi_sockets.run(component, code.arguments, **options)
                failed = exit_code != 0
                return Ending(failed, f"it exited with code {exit_code}" if failed else "", exit_code)
            async with wasi_sockets.open_guest(component, code.arguments, **options) as guest:
                task_status.started()
                path = (
                    (code.call.interface, code.call.function)
                    if code.call.interface
                    else (code.call.function,)
                )
                result = await guest.call(path[0], *path[1:], *code.call.arguments)
            await self.say(f"{code.call.function} returned {result!r}")
            failed = getattr(result, "tag", "ok") == "err"
            return Ending(failed, f"{code.call.function} returned an error" if failed else "")
        except LookupError as error:
            if code.call is None:
                text = f"{_source_name(code)} exports no wasi:cli/run, so it is no command to run"
                return Ending(True, text, final=True)
            return Ending(True, str(error.args[0]), final=True)
        finally:
            with trio.move_on_after(1) as hurry:
                hurry.shield = True
                await out.finish()
                await err.finish()

    async def _ending_of(self, error: BaseException) -> Ending:
        if isinstance(error, CannotStartError):
            return Ending(True, str(error), final=True)
        if isinstance(error, wasmtime.WasmtimeError | wasi_sockets.GuestTrap):
            code, text = told(error, self.name)
            first, *frames = text.splitlines()
            await self.say(first, *frames)
            return Ending(True, first.removeprefix(f"{self.name} "), final=code == CANNOT_RUN)
        if isinstance(error, OSError | WasiSocketsError):
            return Ending(True, str(error))
        return await super()._ending_of(error)


class _Output:
    """What a guest writes to one of its streams, on its way to be said line by line."""

    def __init__(self, program: ComponentProgram, stream: OutputStream) -> None:
        self._program = program
        self._stream = stream
        self._lines = Lines()

    async def take(self, data: bytes) -> None:
        await self._say(self._lines.split(data))

    async def finish(self) -> None:
        await self._say(self._lines.finish())

    async def _say(self, lines: list[str]) -> None:
        if lines:
            program = self._program
            await program._place.say(program.name, self._stream, lines)


def _source_name(code: ComponentCode) -> str:
    return code.image or ("the component" if isinstance(code.source, bytes) else str(code.source))


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _in_words(error: BaseException) -> str:
    try:
        text = str(error).partition("\n")[0][:_MAX_REASON]
    except Exception:  # the service's own code
        text = "its text cannot be had"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
