"""Workloads, services, events and lines of output as JSON: numbers in bytes and seconds."""

from __future__ import annotations

from typing import Any

from service._netstat import sockets_as_json
from service.hosting import Event, OutputLine, WorkloadStatus

__all__ = ["event_as_json", "line_as_json", "workload_as_json"]


def workload_as_json(status: WorkloadStatus, *, sockets: bool = False) -> dict[str, Any]:
    """One workload with its services, and its sockets where they are asked for."""
    told: dict[str, Any] = {
        "name": status.name,
        "namespace": status.namespace,
        "seconds": status.seconds,
        "published": status.published,
        "services": [
            {
                "name": each.name,
                "kind": each.kind,
                "state": str(each.state),
                "reason": each.reason,
                "seconds": each.seconds,
                "restarts": each.restarts,
                "ports": list(each.ports),
                "exit_code": each.exit_code,
            }
            for each in status.services
        ],
    }
    if sockets:
        told["sockets"] = sockets_as_json(status.sockets)
    return told


def event_as_json(event: Event) -> dict[str, Any]:
    """What became of a service."""
    return {
        "time": event.time,
        "workload": event.workload,
        "service": event.service,
        "state": str(event.state),
        "reason": event.reason,
        "incarnation": event.incarnation,
    }


def line_as_json(line: OutputLine) -> dict[str, Any]:
    """A line of output."""
    return {
        "time": line.time,
        "workload": line.workload,
        "service": line.service,
        "stream": line.stream,
        "text": line.text,
    }
