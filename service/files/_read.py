"""Reading workload files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from service._doors import same_real_port
from service.files import _yaml
from service.files._findings import Finding, Findings, WorkloadFileError
from service.files._native import WORKLOAD
from service.files._shapes import Reading
from service.files._wasmcloud import Manifests
from service.files._yaml import Item
from service.spec import PublishSpec, WorkloadSpec

__all__ = ["Loaded", "read_workloads"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a file holds.

    Attributes:
        workloads: in the file's order.
        notes: what of the file is ignored, by line.
    """

    workloads: tuple[WorkloadSpec, ...]
    notes: tuple[Finding, ...] = ()


def read_workloads(
    path: str | os.PathLike[str],
    *,
    text: str | bytes | None = None,
    environment: Mapping[str, str] | None = None,
    unset_is_problem: bool = True,
    look: bool = True,
) -> Loaded:
    """Reads a workload file: one or more documents, in the project's format or wasmCloud's.

    Nothing is imported, pulled or started.

    Args:
        path: the file. What it names is relative to its directory.
        text: what stands in it, instead of reading it; `path` is then only its name and place.
        environment: variables that it may name; this process's by default.
        unset_is_problem: False makes a note of a variable that is not set, and leaves it out.
        look: whether components and directories must be there.

    Raises:
        WorkloadFileError: it says something that cannot be meant; all problems are told at once.
        OSError: it cannot be read.
        ModuleNotFoundError: PyYAML is not installed; the message says how to get it.
    """
    name = os.fspath(path)
    if text is None:
        with Path(path).open("rb") as file:
            content = file.read(_yaml.MAX_BYTES + 1)
    else:
        content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    findings = Findings(name)
    reading = Reading(
        findings,
        os.path.dirname(os.path.abspath(name)),
        os.environ if environment is None else environment,
        unset_is_problem,
        look,
    )
    found: list[tuple[int, WorkloadSpec]] = []
    documents = _yaml.documents(content, findings)
    manifests = Manifests([each for each in documents if _is_manifest(each)], reading)
    for document in documents:
        spec = manifests.read(document) if _is_manifest(document) else _native(document, reading)
        if spec is not None:
            found.append((document.line, spec))
    _check_ids(found, findings)
    _check_real_ports(found, findings)
    if not found and not findings.problems and not findings.notes:
        findings.problem(0, "", "no workload in it")
    if findings.problems:
        raise WorkloadFileError(findings.problems)
    notes = sorted(findings.notes, key=lambda each: each.line)
    return Loaded(tuple(spec for _, spec in found), tuple(notes))


def _is_manifest(document: Item) -> bool:
    return "apiVersion" in document.entries or "kind" in document.entries


def _native(document: Item, reading: Reading) -> WorkloadSpec | None:
    spec = WORKLOAD.read(document, "", reading)
    return spec if isinstance(spec, WorkloadSpec) else None


def _check_ids(found: list[tuple[int, WorkloadSpec]], findings: Findings) -> None:
    first: dict[str, int] = {}
    for line, spec in found:
        if first.setdefault(spec.id, line) != line:
            findings.problem(line, "name", f"the file has {spec.id} already, in line {first[spec.id]}")


def _check_real_ports(found: list[tuple[int, WorkloadSpec]], findings: Findings) -> None:
    """Workloads of one file run at the same time, on one machine."""
    before: list[tuple[str, PublishSpec]] = []
    for line, spec in found:
        for index, door in enumerate(spec.publish):
            owner = next((name for name, there in before if same_real_port(door, there)), None)
            if owner is not None:
                text = f"the real port {door.real_port} is one of {owner} already"
                findings.problem(line, f"publish[{index}]", text)
        before += [(spec.id, door) for door in spec.publish]
