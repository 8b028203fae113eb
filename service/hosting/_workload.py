"""A workload that runs: its network, what supervises its services, and its doors to the outside."""

from __future__ import annotations

import math
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Final

import outcome
import trio

from service._serving import until_unconnected
from service.hosting._programs import Place
from service.hosting._python_programs import program_for
from service.hosting._states import ENDED, UP, Event, State, WorkloadStatus
from service.hosting._supervisor import Supervisor
from service.hosting._volumes import Volumes
from service.spec import ComponentSpec, ForwardSpec, PublishSpec, ServiceSpec, WorkloadSpec
from wasi_sockets import Network, WasiSocketsError

__all__ = ["Workload", "WorkloadError"]

_FLUSH_SECONDS: Final = 1.0
"""What services sent last may still go out through bridges for so long after they have ended."""


class WorkloadError(WasiSocketsError):
    """A workload cannot be started, or a service of it cannot be found; the text says what to do."""


class Workload:
    """A workload that a `Host` runs; made by `Host.start`.

    Attributes:
        spec: what it is.
        network: its own.
    """

    def __init__(
        self,
        spec: WorkloadSpec,
        network: Network,
        place: Place,
        volumes: Volumes,
        published: Callable[[Event], object],
        random: Random,
    ) -> None:
        self.spec: Final = spec
        self.network: Final = network
        self._supervisors: Final[dict[str, Supervisor]] = {}
        self._published: Final[dict[str, int]] = {}
        self._began: Final = trio.current_time()
        self._volumes: Final = volumes
        self._doors: Final[list[trio.CancelScope]] = []
        self._over = trio.Event()
        self._stop_by = math.inf
        self._stop_asked = trio.Event()
        for each in _in_order(spec):
            ports = each.ports if isinstance(each, ServiceSpec) else ()
            program = program_for(each.name, each.code, ports, each.limits, place)
            after = [self._supervisors[name] for name in each.after]
            self._supervisors[each.name] = Supervisor(
                each, program, spec.id, network, after, published, random
            )
            if isinstance(each, ServiceSpec):
                network.add_service_name(each.name)

    # ------------------------------------------------------------ seen from outside
    @property
    def id(self) -> str:
        """``namespace/name``."""
        return self.spec.id

    @property
    def over(self) -> bool:
        """Whether it has stopped."""
        return self._over.is_set()

    def status(self) -> WorkloadStatus:
        """Its services, published ports and sockets as they are."""
        spec = self.spec
        names = [*(each.name for each in spec.services), *(each.name for each in spec.components)]
        return WorkloadStatus(
            spec.name,
            spec.namespace,
            trio.current_time() - self._began,
            tuple(self._supervisors[name].status() for name in names),
            dict(self._published),
            tuple(self.network.sockets()),
        )

    async def until_ready(self) -> None:
        """Wait until all services are ready.

        Raises:
            WorkloadError: one of them has ended instead.
        """
        for spec in self.spec.services:
            supervisor = self._supervisors[spec.name]
            if await supervisor.until(*UP, *ENDED) in ENDED:
                status = supervisor.status()
                raise WorkloadError(
                    f"{self.id}: {spec.name} is {status.state}: {status.reason or 'by itself'}"
                )

    async def until(self, service: str, *states: State) -> State:
        """Wait until a service, or a component, is in one of these states. A checkpoint.

        Raises:
            WorkloadError: there is no such service.
        """
        return await self._supervisor(service).until(*states)

    def _supervisor(self, service: str) -> Supervisor:
        supervisor = self._supervisors.get(service)
        if supervisor is None:
            known = ", ".join(self._supervisors)
            raise WorkloadError(f"{self.id} has no service {service!r}; it has {known}")
        return supervisor

    async def wait(self) -> bool:
        """Wait until nothing of it runs any more, nor will by itself.

        Returns:
            Whether nothing has failed.
        """
        for supervisor in self._supervisors.values():
            await supervisor.until(*ENDED)
        return not any(each.state is State.FAILED for each in self._supervisors.values())

    async def until_over(self) -> None:
        """Wait until it has stopped. A checkpoint."""
        await self._over.wait()

    def restart(self, service: str, *, anew: bool = False) -> None:
        """End a service's incarnation, and start the next at once. Its restart policy is not asked.

        Args:
            service: its name, or a component's.
            anew: load its component again, which may have changed.

        Raises:
            WorkloadError: there is no such service, or the workload is told to stop.
        """
        supervisor = self._supervisor(service)
        try:
            supervisor.restart(anew=anew)
        except RuntimeError as error:
            raise WorkloadError(f"{self.id}: {error}") from error

    async def load_anew(self, service: str) -> None:
        """Load a service's component again, which may have changed; what runs goes on until `restart`.

        Raises:
            WorkloadError: there is no such service, or its component cannot be had; the one from before stays.
        """
        supervisor = self._supervisor(service)
        try:
            await supervisor.program.renew()
        except (OSError, WasiSocketsError) as error:
            raise WorkloadError(f"{self.id}: {service}: {error}") from error

    async def stop(self, within: float = 10.0) -> None:
        """Refuse new connections, let those there are finish, then end everything.

        Services stop before those that they come after. Called again, the earlier end counts. Python code that shields
        itself from cancellation is waited for: nothing can end it.

        Args:
            within: seconds for all of it until it is cut off.
        """
        self.tell_to_stop(within)
        await self._over.wait()

    def tell_to_stop(self, within: float = 10.0) -> None:
        """As `stop`, without waiting for the end."""
        self._stop_until(trio.current_time() + within)

    def kill(self) -> None:
        """End everything now: connections are reset."""
        self._stop_until(trio.current_time())
        for supervisor in self._supervisors.values():
            supervisor.kill()

    def _stop_until(self, deadline: float) -> None:
        self._stop_by = min(self._stop_by, deadline)
        for supervisor in self._supervisors.values():
            supervisor.hurry(self._stop_by)
        self._stop_asked.set()

    # ------------------------------------------------------------ its life
    async def live(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run until it is told to stop.

        Raises:
            WorkloadError: before it has started: a port outside cannot be had.
        """
        failure: WorkloadError | None = None
        try:
            async with trio.open_nursery() as bridges:
                doors = await outcome.acapture(self._open_doors, bridges)
                if isinstance(doors, outcome.Error) and isinstance(doors.error, WorkloadError):
                    failure = doors.error
                else:
                    doors.unwrap()
                    task_status.started()
                    await self._run_services()
                    await self._flush()
                bridges.cancel_scope.cancel()
        finally:
            self.network.close()
            try:
                if self._volumes.made:
                    with trio.CancelScope(shield=True):
                        await trio.to_thread.run_sync(self._volumes.remove)
            finally:
                self._over.set()
        if failure is not None:
            raise failure

    async def _run_services(self) -> None:
        async with trio.open_nursery() as nursery:
            for supervisor in self._supervisors.values():
                nursery.start_soon(supervisor.supervise, name=f"{self.id}/{supervisor.name}")
            await self._stop_asked.wait()
            for door in self._doors:
                door.cancel()
            for name, supervisor in self._supervisors.items():
                dependents = [each for each in self._supervisors.values() if name in each.spec.after]
                nursery.start_soon(self._stop_one, supervisor, dependents)

    async def _stop_one(self, supervisor: Supervisor, dependents: list[Supervisor]) -> None:
        for each in dependents:
            await each.until_over()
        await supervisor.stop(self._stop_by)

    async def _flush(self) -> None:
        with trio.move_on_after(_FLUSH_SECONDS):
            await until_unconnected(self.network)

    # ------------------------------------------------------------ its doors
    async def _open_doors(self, bridges: trio.Nursery) -> None:
        spec, network = self.spec, self.network
        if network.policy is not None:
            await bridges.start(network.egress)
        for forward in spec.forward:
            await self._open(bridges, f"forward {forward.port}", _forwarding(network, forward))
        if spec.publish_all:
            await bridges.start(self._publish_all, bridges)
        for door in spec.publish:
            start = partial(self._publish, bridges, door)
            address = await self._open(bridges, f"publish {door.port}", start)
            self._published[str(address)] = door.port

    async def _open(
        self, bridges: trio.Nursery, what: str, start: Callable[..., Awaitable[object]]
    ) -> object:
        try:
            return await bridges.start(start)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise WorkloadError(f"{self.id}: {what}: {reason}") from error

    async def _publish(
        self, bridges: trio.Nursery, door: PublishSpec, *, task_status: trio.TaskStatus[object]
    ) -> None:
        # What has come in outlives the door: it may finish while nothing new comes in.
        with trio.CancelScope() as scope:
            self._doors.append(scope)
            await self.network.publish(
                door.port,
                host=door.host,
                port=door.real_port,
                protocol=door.protocol,
                handler_nursery=bridges,
                task_status=task_status,
            )

    async def _publish_all(self, bridges: trio.Nursery, *, task_status: trio.TaskStatus[None]) -> None:
        with trio.CancelScope() as scope:
            self._doors.append(scope)
            await self.network.publish_all(handler_nursery=bridges, task_status=task_status)


def _in_order(spec: WorkloadSpec) -> list[ServiceSpec | ComponentSpec]:
    """Services and components, each behind those that it comes after."""
    left: dict[str, ServiceSpec | ComponentSpec] = {each.name: each for each in spec.services}
    left.update((each.name, each) for each in spec.components)
    ordered: list[ServiceSpec | ComponentSpec] = []
    while left:
        ready = [name for name, each in left.items() if not left.keys() & set(each.after)]
        ordered.extend(left.pop(name) for name in ready)
    return ordered


def _forwarding(network: Network, forward: ForwardSpec) -> Callable[..., Awaitable[object]]:
    context = ssl.create_default_context() if forward.tls else None
    return partial(
        network.forward, forward.port, forward.to, host=forward.host, protocol=forward.protocol, tls=context
    )
