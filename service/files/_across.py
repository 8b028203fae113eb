"""What goes over several entries of a workload: found here with its line, and by `WorkloadSpec` without."""

from __future__ import annotations

from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

from service._doors import Conflict, conflicting_forwards, conflicting_publishes
from service.files._shapes import INVALID, Reading, Shape
from service.files._yaml import Item

__all__ = ["check_across"]

_NOTHING: Final = Item(0, "mapping")


def check_across(item: Item, reading: Reading, publish: Shape, forward: Shape) -> bool:
    """Check a workload, which need not be right otherwise: all that is wrong is told at once.

    Args:
        item: the workload.
        reading: takes the problems.
        publish: reads an entry of the list of that name.
        forward: likewise.

    Returns:
        Whether nothing was found.
    """
    before = len(reading.findings.problems)
    services = _entry(item, "services")
    _check_names(services, _entry(item, "components"), reading)
    ports = _check_ports(services, reading)
    _check_order({"services": services, "components": _entry(item, "components")}, reading)
    forwards = _read(item, "forward", forward, reading)
    _tell(conflicting_forwards(forwards, ports), item, "forward", reading)
    doors = _read(item, "publish", publish, reading)
    doors = {index: each for index, each in doors.items() if each.port is not None}
    _tell(conflicting_publishes(doors), item, "publish", reading)
    return len(reading.findings.problems) == before


def _entry(item: Item, key: str) -> Item:
    return item.entries[key][1] if key in item.entries else _NOTHING


def _check_names(services: Item, components: Item, reading: Reading) -> None:
    for key, (line, _) in components.entries.items():
        if key in services.entries:
            reading.findings.problem(line, f"components.{key}", "a service has that name already")


def _check_ports(services: Item, reading: Reading) -> dict[int, str]:
    """The ports that services declare, with the first that does."""
    owners: dict[int, str] = {}
    for key, (_, service) in services.entries.items():
        for port in _entry(service, "ports").items:
            if isinstance(port.value, int) and owners.setdefault(port.value, key) != key:
                text = f"{port.value} is a port of {owners[port.value]!r} already"
                reading.problem(port, f"services.{key}.ports", text)
    return owners


def _check_order(sections: dict[str, Item], reading: Reading) -> None:
    services = sections["services"]
    waits_for: dict[str, list[str]] = {}
    for section, holder in sections.items():
        for key, (_, entry) in holder.entries.items():
            others = [other for other in _entry(entry, "after").items if other.kind == "text"]
            for other in others:
                if other.text not in services.entries:
                    known = ", ".join(services.entries) or "none"
                    text = f"{other.text!r} is no service of the workload (there: {known})"
                    reading.problem(other, f"{section}.{key}.after", text)
            if section == "services":
                waits_for[key] = [other.text for other in others if other.text in services.entries]
    try:
        TopologicalSorter(waits_for).prepare()
    except CycleError as error:
        ring = list(reversed(error.args[1]))
        line = services.entries[ring[0]][1].entries["after"][0]
        text = "services wait for each other: " + " after ".join(ring)
        reading.findings.problem(line, f"services.{ring[0]}.after", text)


def _read(item: Item, key: str, shape: Shape, reading: Reading) -> dict[int, Any]:
    """What of a list can be read, by index. What is wrong with the rest has been told, and is not told twice."""
    read = {
        index: shape.read(each, f"{key}[{index}]", reading)
        for index, each in enumerate(_entry(item, key).items)
    }
    return {index: each for index, each in read.items() if each is not INVALID}


def _tell(conflicts: Iterable[Conflict], item: Item, key: str, reading: Reading) -> None:
    for conflict in conflicts:
        reading.problem(_entry(item, key).items[conflict.place], f"{key}[{conflict.place}]", conflict.text)
