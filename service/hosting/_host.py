"""What runs workloads in this process."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from random import Random
from types import TracebackType
from typing import Final

import trio
import wasmtime

import wasi_sockets
from service.hosting._feeds import Feed, OutputLine, OutputStream
from service.hosting._once import Once
from service.hosting._programs import Place
from service.hosting._states import Event
from service.hosting._volumes import Volumes
from service.hosting._workload import Workload, WorkloadError
from service.oci import Secret
from service.spec import WorkloadSpec
from wasi_sockets import Network, Policy, telemetry

__all__ = ["Host"]

_logger: Final = logging.getLogger("wasi_sockets.service")

_KEPT_LINES: Final = 10_000
_KEPT_CHARACTERS: Final = 8_000_000
_KEPT_EVENTS: Final = 1_000


class Host(AbstractAsyncContextManager["Host"]):
    """Runs workloads within an ``async with`` block, at whose end they are stopped.

        async with Host() as host:
            workload = await host.start(spec)
            await workload.until_ready()
            ...

    Args:
        engine: from ``wasmtime.Engine(wasi_sockets.config())``; one of its own by default.
        cache: as for `wasi_sockets.load`.
        output: takes what guests write and what the host says, some lines at a time; guests wait for it.
        secrets: credentials for registries, or files like Docker's config.json that have some, by the names that
            workloads call them.
        stop_within: seconds that workloads have, at the end of the block, to finish what they do.
        random: where the jitter of restarts comes from.

    Attributes:
        events: what became of services.
        lines: what guests wrote and what the host said.
    """

    def __init__(
        self,
        *,
        engine: wasmtime.Engine | None = None,
        cache: bool | str = True,
        output: Callable[[Sequence[OutputLine]], Awaitable[object]] | None = None,
        secrets: Mapping[str, Secret] | None = None,
        stop_within: float = 10.0,
        random: Random | None = None,
    ) -> None:
        self.events: Final[Feed[Event]] = Feed(_KEPT_EVENTS)
        self.lines: Final[Feed[OutputLine]] = Feed(_KEPT_LINES, _KEPT_CHARACTERS, lambda line: len(line.text))
        self._engine = engine
        self._cache: Final = cache
        self._output: Final = output
        self._secrets: Final = dict(secrets or {})
        self._stop_within: Final = stop_within
        self._random: Final = random or Random()
        self._workloads: Final[dict[str, Workload]] = {}
        self._nursery_manager: AbstractAsyncContextManager[trio.Nursery] | None = None
        self._nursery: trio.Nursery | None = None

    async def __aenter__(self) -> Host:
        if self._nursery_manager is not None:
            raise RuntimeError("a Host is for one `async with`; make another")
        self._nursery_manager = trio.open_nursery()
        self._nursery = await self._nursery_manager.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        nursery, self._nursery = self._nursery, None
        manager = self._nursery_manager
        if nursery is None or manager is None:
            raise RuntimeError("the Host was not entered")
        if error is None:
            try:
                await self.stop()
            except BaseException:
                self._kill(nursery)
                await self._end(manager)
                raise
        else:
            self._kill(nursery)
        await self._end(manager)

    async def _end(self, manager: AbstractAsyncContextManager[trio.Nursery]) -> None:
        try:
            # Without the block's own error, which so goes on as it is and in no group.
            await manager.__aexit__(None, None, None)
        finally:
            self.events.close()
            self.lines.close()

    def _kill(self, nursery: trio.Nursery) -> None:
        for workload in self._workloads.values():
            workload.kill()
        nursery.cancel_scope.cancel()

    @property
    def workloads(self) -> Mapping[str, Workload]:
        """Those that run, by ``namespace/name``."""
        return {name: each for name, each in self._workloads.items() if not each.over}

    async def start(self, spec: WorkloadSpec) -> Workload:
        """Start a workload on a network of its own. Its services go on starting; see `Workload.until_ready`.

        Raises:
            WorkloadError: one of that name runs already, or a port outside cannot be had. Nothing of it is left.
            RuntimeError: outside of the host's block.
        """
        if self._nursery is None:
            raise RuntimeError("a Host runs workloads only within its `async with` block")
        if spec.id in self.workloads:
            raise WorkloadError(f"{spec.id} runs already; stop it first, or give this one another name")
        _check_probes(spec)
        run_id = f"{spec.id}/{uuid.uuid4()}"
        with telemetry.workload_scope(id=run_id, name=spec.name, namespace=spec.namespace):
            return await self._start(self._nursery, spec)

    async def _start(self, nursery: trio.Nursery, spec: WorkloadSpec) -> Workload:
        policy = Policy(spec.allow) if spec.allow else None
        network = Network(spec.id, policy=policy, zone_aliases=spec.zone_aliases, clock=trio.current_time)
        if self._engine is None:
            self._engine = wasmtime.Engine(wasi_sockets.config())

        async def say(service: str, stream: OutputStream, texts: Sequence[str]) -> None:
            now = time.time()
            lines = [OutputLine(now, spec.id, service, stream, text) for text in texts]
            for line in lines:
                self.lines.publish(line)
            if self._output is None:
                await trio.lowlevel.checkpoint()
                return
            try:
                await self._output(lines)
            except Exception:  # the embedder's, and no reason to end services
                _logger.exception("%s: output of %s is lost", spec.id, service)

        volumes = Volumes()
        place = Place(spec.id, network, self._engine, self._cache, self._secrets, volumes.directory, say)
        workload = Workload(spec, network, place, volumes, self.events.publish, self._random)
        self._workloads[spec.id] = workload
        failure: WorkloadError | None = None

        async def live(task_status: trio.TaskStatus[None]) -> None:
            nonlocal failure
            started = Once(task_status)
            try:
                await workload.live(task_status=started)
            except WorkloadError as error:  # before it had started; not for the nursery, which holds others
                failure = error
            except Exception as error:  # none is known; the other workloads are to go on all the same
                _logger.exception("%s has ended", spec.id)
                failure = WorkloadError(f"{spec.id}: {error!r}")
            finally:
                started.started()
                if self._workloads.get(spec.id) is workload:
                    del self._workloads[spec.id]

        await nursery.start(live, name=spec.id)
        if failure is not None:
            raise failure
        return workload

    async def stop(self, within: float | None = None) -> None:
        """Stop all workloads, at the same time.

        Args:
            within: seconds that they have to finish what they do; the host's by default.
        """
        seconds = self._stop_within if within is None else within
        async with trio.open_nursery() as nursery:
            for workload in self._workloads.values():
                nursery.start_soon(workload.stop, seconds)


def _check_probes(spec: WorkloadSpec) -> None:
    for each in spec.services:
        if each.ready is not None and each.ready.kind == "http":
            try:
                import h11  # noqa: F401
            except ModuleNotFoundError as error:
                raise WorkloadError(
                    f"{spec.id}: {each.name}: an HTTP probe needs h11 ({error.name} is missing):"
                    " pip install 'wasi-sockets[workloads]'"
                ) from error
