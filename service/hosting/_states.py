"""The states of a service, as a table, and the records that tell of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from wasi_sockets import SocketRecord

__all__ = ["ENDED", "TRANSITIONS", "UP", "Event", "ServiceStatus", "State", "WorkloadStatus"]


class State(StrEnum):
    """What a service, or a component that does its work and ends, is doing."""

    STARTING = "starting"
    """It waits for those it comes after, is loaded, or has not become ready yet."""
    READY = "ready"
    """Its ports listen, or its probe succeeds."""
    RUNNING = "running"
    """It runs, and has nothing by which one could see that it is ready."""
    DEGRADED = "degraded"
    """It was ready and runs, but its ports or its probe say otherwise now."""
    BACKING_OFF = "backing-off"
    """It has ended, and will be started again after a while."""
    COMPLETED = "completed"
    """It has ended in order, and stays so."""
    FAILED = "failed"
    """It has failed, and will not be started again by itself."""
    STOPPING = "stopping"
    """It was told to stop: it refuses new connections, and those it has may finish."""
    STOPPED = "stopped"
    """It was told to stop, and has."""


UP: Final = frozenset({State.READY, State.RUNNING, State.DEGRADED})
"""It runs."""

ENDED: Final = frozenset({State.COMPLETED, State.FAILED, State.STOPPED})
"""It does not run, and does not start by itself."""

# 1. Whatever is not at its end can be told to stop.
# 2. Whatever is not told to stop can be restarted, from every state but stopping.
# 3. Only what is up can become degraded, and only what is degraded ready again.
TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    State.STARTING: frozenset(
        {
            State.STARTING,
            State.READY,
            State.RUNNING,
            State.BACKING_OFF,
            State.COMPLETED,
            State.FAILED,
            State.STOPPING,
        }
    ),
    State.READY: frozenset(
        {
            State.STARTING,
            State.DEGRADED,
            State.BACKING_OFF,
            State.COMPLETED,
            State.FAILED,
            State.STOPPING,
        }
    ),
    State.RUNNING: frozenset(
        {State.STARTING, State.BACKING_OFF, State.COMPLETED, State.FAILED, State.STOPPING}
    ),
    State.DEGRADED: frozenset(
        {
            State.STARTING,
            State.READY,
            State.BACKING_OFF,
            State.COMPLETED,
            State.FAILED,
            State.STOPPING,
        }
    ),
    State.BACKING_OFF: frozenset({State.STARTING, State.STOPPING}),
    State.COMPLETED: frozenset({State.STARTING, State.STOPPED}),
    State.FAILED: frozenset({State.STARTING, State.STOPPED}),
    State.STOPPING: frozenset({State.STOPPING, State.STOPPED}),
    State.STOPPED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Event:
    """Something became of a service.

    Attributes:
        time: seconds since the epoch.
        workload: ``namespace/name``.
        service: its name, or a component's.
        state: what it is in now.
        reason: why, in words; "" where the state says it all.
        incarnation: how often it has been started, this time included.
    """

    time: float
    workload: str
    service: str
    state: State
    reason: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """A service, or a component, as it is.

    Attributes:
        name: its own.
        kind: "component", "handler", "asgi" or "task"; "run" for a component that does its work and ends.
        state: what it does.
        reason: why, in words.
        seconds: in this state.
        restarts: how often it was started again, for whatever reason.
        ports: those it is to listen at.
        exit_code: what its last incarnation that ended exited with, where it did.
    """

    name: str
    kind: str
    state: State
    reason: str
    seconds: float
    restarts: int
    ports: tuple[int, ...]
    exit_code: int | None


@dataclass(frozen=True, slots=True)
class WorkloadStatus:
    """A workload as it is.

    Attributes:
        name: its own.
        namespace: that of its name.
        seconds: since it was started.
        services: services first, then components, as in its spec.
        published: real address -> port of its network.
        sockets: all of its network's.
    """

    name: str
    namespace: str
    seconds: float
    services: tuple[ServiceStatus, ...]
    published: dict[str, int]
    sockets: tuple[SocketRecord, ...]
