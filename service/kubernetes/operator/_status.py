"""The status of a `Workload` resource: conditions for people and `kubectl wait`, and each service's state."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from service.hosting import ENDED, State, Workload

__all__ = ["status_of"]

_WELL: Final = (State.READY, State.RUNNING, State.COMPLETED)


def status_of(
    resource: Mapping[str, Any],
    workload: Workload | None,
    problem: str,
    identity: str,
    before: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What to say of a resource.

    Args:
        resource: it.
        workload: what runs for it, if anything.
        problem: why it does not run as it says; "" when it does.
        identity: the host's.
        before: its status until now, whose times stay where nothing has changed.
    """
    services = [] if workload is None else workload.status().services
    failed = [each for each in services if each.state is State.FAILED]
    waiting = [each for each in services if each.state not in _WELL]
    ready = bool(services) and not waiting and not problem
    if problem:
        reason, message = "NotAdmitted", problem
    elif failed:
        reason, message = "ServiceFailed", f"{failed[0].name}: {failed[0].reason}"
    elif waiting:
        reason, message = "ServiceNotReady", f"{waiting[0].name} is {waiting[0].state}"
    else:
        reason, message = "AllReady", ""
    completed = bool(services) and all(each.state in ENDED for each in services)
    generation = resource["metadata"].get("generation", 0)
    previous = {each.get("type"): each for each in (before or {}).get("conditions", ())}
    conditions = [
        _condition(
            previous, "Accepted", not problem, "NotAdmitted" if problem else "Admitted", problem, generation
        ),
        _condition(previous, "Ready", ready, reason, message, generation),
        _condition(
            previous,
            "Completed",
            completed and not failed,
            "AllEnded" if completed else "Runs",
            "",
            generation,
        ),
    ]
    return {
        "observedGeneration": generation,
        "hostId": identity,
        "conditions": conditions,
        "services": [
            {
                "name": each.name,
                "state": str(each.state),
                "reason": each.reason,
                "restarts": each.restarts,
            }
            for each in services
        ],
    }


def _condition(
    previous: Mapping[str, Mapping[str, Any]],
    kind: str,
    holds: bool,
    reason: str,
    message: str,
    generation: int,
) -> dict[str, Any]:
    status = "True" if holds else "False"
    before = previous.get(kind, {})
    since = before.get("lastTransitionTime") if before.get("status") == status else None
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": since or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
