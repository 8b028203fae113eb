"""Names of workloads and services as people see and write them: ``[NAMESPACE/]WORKLOAD[/SERVICE]``.

A service may also stand behind a colon, which is needed where a name has two readings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

__all__ = ["Named", "readings", "service_name", "workload_name"]

_DEFAULT: Final = "default/"


class Named(NamedTuple):
    """A workload, or a service of it.

    Attributes:
        workload: ``namespace/name``.
        service: its name, or a component's; "" for the workload.
    """

    workload: str
    service: str

    def unmistakable(self) -> str:
        """How it can be written so that it has one reading."""
        return f"{self.workload}:{self.service}"


def workload_name(workload: str) -> str:
    """What people are shown for ``namespace/name``."""
    return workload.removeprefix(_DEFAULT)


def service_name(workload: str, service: str) -> str:
    """What people are shown for a service."""
    return f"{workload_name(workload)}/{service}"


def readings(name: str, workloads: Iterable[Mapping[str, Any]]) -> list[Named]:
    """What a name can mean among workloads as hosts tell of them.

    A service behind a colon is taken as it is: whether there is such a one, its host says better.
    """
    found: dict[Named, None] = {}
    before, colon, service = name.partition(":")
    for told in workloads:
        full = f"{told['namespace']}/{told['name']}"
        called = (told["name"], full)
        if before in called:
            found[Named(full, service)] = None
        if not colon:
            for each in told["services"]:
                if name in [f"{one}/{each['name']}" for one in called]:
                    found[Named(full, each["name"])] = None
    return list(found)
