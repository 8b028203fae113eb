"""The life of one service: started, watched, restarted, drained and stopped.

One task runs `Supervisor.supervise`; the other methods are for other tasks of the same trio loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

import trio

from service.hosting._once import Once
from service.hosting._programs import Ending, Program
from service.hosting._readiness import until_not_ready, until_ready
from service.hosting._restarts import Restarts
from service.hosting._states import ENDED, TRANSITIONS, UP, Event, ServiceStatus, State
from service.hosting._telling import Telling
from service.spec import ComponentSpec, Probe, ServiceSpec
from wasi_sockets import Network

__all__ = ["Supervisor"]

_READY: Final = (State.READY, State.RUNNING)
"""What those that come after a service wait for."""

_ENDS_WITHIN: Final = 5.0
"""Seconds after which it is told of what goes on although it was cancelled."""

_MAX_REASON: Final = 2000
"""Characters: components and registries have a say in reasons, and many are kept."""


class Supervisor:
    """One service, or one component that does its work and ends.

    Args:
        spec: what it is.
        program: what it runs.
        workload: ``namespace/name``, for events.
        network: the workload's.
        after: those that must be up before it starts.
        published: takes its events.
        random: where the jitter of restarts comes from.

    Attributes:
        spec: as given.
        program: as given.
        state: what it does.
    """

    def __init__(
        self,
        spec: ServiceSpec | ComponentSpec,
        program: Program,
        workload: str,
        network: Network,
        after: Sequence[Supervisor],
        published: Callable[[Event], object],
        random: Random,
    ) -> None:
        self.spec: Final = spec
        self.program: Final = program
        self.state = State.STARTING
        self._workload: Final = workload
        self._network: Final = network
        self._after: Final = tuple(after)
        self._published: Final = published
        self._restarts: Final = Restarts(spec.restart, random)
        self._ports: Final = spec.ports if isinstance(spec, ServiceSpec) else ()
        self._hold: Final = spec.hold if isinstance(spec, ServiceSpec) else 0.0
        self._probe: Final = _probe_of(spec)
        self._reason = ""
        self._since = trio.current_time()
        self._up_since: float | None = None
        self._incarnation = 0
        self._exit_code: int | None = None
        self._changed = trio.Event()
        self._ended = trio.Event()
        self._given_up = trio.Event()
        self._life = trio.CancelScope()
        self._draining = trio.CancelScope()
        self._holding = trio.CancelScope()
        self._turn: trio.CancelScope | None = None
        self._verdict: Ending | None = None
        self._restart_wanted = False
        self._stop_wanted = False
        self._telling: Final = Telling(spec.name)

    # ------------------------------------------------------------ seen from outside
    @property
    def name(self) -> str:
        """The service's."""
        return self.spec.name

    def status(self) -> ServiceStatus:
        """What it does, and why."""
        return ServiceStatus(
            self.name,
            "run" if isinstance(self.spec, ComponentSpec) else self.program.kind,
            self.state,
            self._reason or self.program.stage,
            trio.current_time() - self._since,
            max(0, self._incarnation - 1),
            self._ports,
            self._exit_code,
        )

    async def until(self, *states: State) -> State:
        """Wait until it is in one of these states. A checkpoint."""
        await trio.lowlevel.checkpoint()
        while self.state not in states:
            await self._changed.wait()
        return self.state

    async def until_over(self) -> None:
        """Wait until `supervise` has returned, or nothing can make it."""
        await self._given_up.wait()

    def restart(self, reason: str = "as asked", *, anew: bool = False) -> None:
        """End the incarnation that runs, if any, and start the next one at once. Takes nothing from the budget.

        Args:
            reason: why, for the events.
            anew: have the component loaded again.

        Raises:
            RuntimeError: it was told to stop.
        """
        if self._stop_wanted:
            raise RuntimeError(f"{self.name} was told to stop")
        if anew:
            self.program.forget()
        self._restart_wanted = True
        self._move(State.STARTING, f"restarted {reason}")
        if self._turn is not None:
            self._turn.cancel()

    async def stop(self, deadline: float) -> None:
        """Let it finish what it is doing until `deadline`, by trio's clock, then end it.

        Called again, the earlier deadline counts.
        """
        self.hurry(deadline)
        if not self._stop_wanted:
            self._stop_wanted = True
            self._holding.cancel()
            if self.state in UP:
                outgoing = isinstance(self.spec, ComponentSpec)
                waits = self.program.is_connected(outgoing=outgoing)
                self._move(State.STOPPING, "until its connections have ended" if waits else "")
                with self._draining:
                    await self.program.drain(outgoing=outgoing)
            elif self.state not in ENDED:
                self._move(State.STOPPING)
            self._life.cancel()
            with trio.move_on_after(_ENDS_WITHIN):
                await self._ended.wait()
            if self.state is State.STOPPING:  # Python code that shields itself: nothing can end it from here
                self._move(State.STOPPING, "it does not end, though it was cancelled")
                self._given_up.set()
        await self._ended.wait()

    def hurry(self, deadline: float) -> None:
        """When it stops, cut it off at `deadline`, by trio's clock, unless that is to be earlier anyway."""
        self._draining.deadline = min(self._draining.deadline, deadline)

    def kill(self) -> None:
        """End it now."""
        self._stop_wanted = True
        self._life.cancel()

    # ------------------------------------------------------------ its life
    async def supervise(self) -> None:
        """Start it and keep it as its restart policy says, until it is told to stop."""
        try:
            with self._telling.scope():
                await self._keep()
        finally:
            self._stop_wanted = True
            if self.state not in ENDED:
                if self.state is not State.STOPPING:
                    self._move(State.STOPPING)
                self._move(State.STOPPED)
            self._telling.over()
            self._given_up.set()
            self._ended.set()

    async def _keep(self) -> None:
        async with trio.open_nursery() as nursery:
            if self._hold and not self._stop_wanted:
                await nursery.start(self._hold_ports)
            with self._life:
                await self._live_on()
            self._holding.cancel()

    async def _hold_ports(self, task_status: trio.TaskStatus[None]) -> None:
        started = Once(task_status)
        with self._holding:
            async with trio.open_nursery() as nursery:
                for port in self._ports:
                    await nursery.start(self._network.hold, port, self._hold)
                started.started()
        started.started()  # it may have been told to stop before all were held

    async def _live_on(self) -> None:
        while not self._stop_wanted:
            self._restart_wanted = False
            ending = await self._turned(self._incarnate)
            if ending is not None and not self._stop_wanted and not self._restart_wanted:
                await self._turned(self._rest, ending)

    async def _turned(self, step: Callable[..., object], *arguments: object) -> Ending | None:
        """Take one step, which a restart interrupts; None if one did."""
        self._verdict = None
        with trio.CancelScope() as turn:
            self._turn = turn
            if self._restart_wanted:
                turn.cancel()
            try:
                return await step(*arguments)  # type: ignore[misc, no-any-return]
            finally:
                self._turn = None
        return self._verdict

    async def _incarnate(self) -> Ending:
        """One incarnation, from its start to its end."""
        self._up_since = None
        for other in self._after:
            if other.state not in _READY:
                self._move(State.STARTING, f"waits for {other.name}")
            if (state := await other.until(*_READY, *ENDED)) not in _READY:
                return Ending(True, f"{other.name}, which it comes after, is {state}", final=True)
        self._incarnation += 1
        self._move(State.STARTING)
        ending = Ending(True, "it did not run")
        async with trio.open_nursery() as nursery:

            async def run(task_status: trio.TaskStatus[None]) -> None:
                nonlocal ending
                started = Once(task_status)
                ending = await self.program.run(task_status=started)
                started.started()
                nursery.cancel_scope.cancel()

            with self._telling.start_scope():
                await nursery.start(run)
            if not nursery.cancel_scope.cancel_called:
                nursery.start_soon(self._watch)
        if ending.code is not None:
            self._exit_code = ending.code
        return ending

    async def _watch(self) -> None:
        """Tell whether it is ready, and goes on to be."""
        probe = self._probe
        if probe is None:
            self._up(State.RUNNING)
            return
        with trio.move_on_after(probe.within) as limit:
            await until_ready(self._network, probe, self._ports)
        if limit.cancelled_caught:
            self._verdict = Ending(True, f"it was not ready within {probe.within:g} s")
            if self._turn is not None:
                self._turn.cancel()
            return
        self._up(State.READY)
        while True:
            reason = await until_not_ready(self._network, probe, self._ports)
            if self.state is State.READY:
                self._move(State.DEGRADED, reason)
            await until_ready(self._network, probe, self._ports)
            if self.state is State.DEGRADED:
                self._move(State.READY)

    def _up(self, state: State) -> None:
        self._up_since = trio.current_time()
        if self.state is State.STARTING and not self._restart_wanted:
            self._move(state)

    async def _rest(self, ending: Ending) -> None:
        """What comes after an incarnation: a wait before the next one, or none."""
        now = trio.current_time()
        healthy_for = 0.0 if self._up_since is None else now - self._up_since
        if not ending.final:
            decision = self._restarts.decide(failed=ending.failed, healthy_for=healthy_for)
            if decision.delay is not None:
                reason = ending.reason or "it has ended"
                self._move(State.BACKING_OFF, f"{reason}; starts again in {decision.delay:.3g} s")
                await trio.sleep(decision.delay)
                return
            if decision.reason:
                ending = ending._replace(
                    reason=f"{ending.reason or 'it has ended'}; {decision.reason}", failed=True
                )
        self._move(State.FAILED if ending.failed else State.COMPLETED, ending.reason)
        await trio.sleep_forever()

    def _move(self, state: State, reason: str = "") -> None:
        if state not in TRANSITIONS[self.state]:
            raise RuntimeError(f"{self.name}: {self.state} cannot become {state}")
        if len(reason) > _MAX_REASON:
            reason = f"{reason[:_MAX_REASON]}..."
        if state is not self.state:
            self._since = trio.current_time()
        self.state = state
        self._reason = reason
        self._changed.set()
        self._changed = trio.Event()
        self._telling.moved(state, reason)
        self._published(Event(time.time(), self._workload, self.name, state, reason, self._incarnation))


def _probe_of(spec: ServiceSpec | ComponentSpec) -> Probe | None:
    if isinstance(spec, ComponentSpec):
        return None
    if spec.ready is not None:
        return spec.ready
    return Probe("listen") if spec.ports else None
