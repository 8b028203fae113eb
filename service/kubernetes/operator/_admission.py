"""What a `Workload` resource may ask of a host: whoever may write one in a cluster is not whoever runs the host.

1. Components come by image; code of the host's own Python only where the operator has listed it.
2. Directories of the machine only where the operator has listed them; volumes are free.
3. What leads out of the workload's network, or into it, only where the operator allows that.
4. Nothing of the host's environment.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from service.files import WorkloadFileError, read_workloads
from service.spec import ComponentCode, ComponentSpec, ServiceSpec, Volume, WorkloadSpec

__all__ = ["Allowance", "NotAdmittedError", "admitted"]

_RESERVED: Final = ("name", "namespace", "apiVersion", "kind")


class NotAdmittedError(Exception):
    """A resource says something that cannot be meant, or asks for more than it may; the text goes to its status."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What resources may name besides images and volumes.

    Attributes:
        python: handlers, applications and tasks, as MODULE:NAME.
        directories: of this machine; those below them too.
        network: whether real ports may lead in and out, and wasi:http may be the stock host's.
    """

    python: frozenset[str] = frozenset()
    directories: tuple[str, ...] = ()
    network: bool = False


def admitted(resource: Mapping[str, Any], allowance: Allowance) -> WorkloadSpec:
    """The workload that a resource describes: its spec is a workload file without name and namespace.

    Raises:
        NotAdmittedError: it cannot be run as it is.
    """
    metadata, wanted = resource["metadata"], resource.get("spec")
    if not isinstance(wanted, dict):
        raise NotAdmittedError("spec: missing; it is what a workload file says, without name and namespace")
    for each in _RESERVED:
        if each in wanted:
            raise NotAdmittedError(f"spec.{each}: it is the resource's own")
    document = {"name": metadata["name"], "namespace": metadata["namespace"], **wanted}
    text = json.dumps(document, ensure_ascii=False)
    try:
        loaded = read_workloads("spec", text=text, environment={}, look=False)
    except WorkloadFileError as error:
        raise NotAdmittedError(
            "; ".join(
                f"spec.{each.where}: {each.text}" if each.where else each.text for each in error.problems
            )
        ) from error
    (spec,) = loaded.workloads
    _check_network(spec, allowance)
    for service in spec.services:
        _check(service, allowance)
    for component in spec.components:
        _check(component, allowance)
    return spec


def _check_network(spec: WorkloadSpec, allowance: Allowance) -> None:
    if allowance.network:
        return
    for name, asked in (
        ("publish", spec.publish or spec.publish_all),
        ("forward", spec.forward),
        ("allow", spec.allow),
    ):
        if asked:
            raise NotAdmittedError(f"spec.{name}: this host lets no workload in or out (--allow-network)")


def _check(service: ServiceSpec | ComponentSpec, allowance: Allowance) -> None:
    code = service.code
    if not isinstance(code, ComponentCode):
        if code.target not in allowance.python:
            raise NotAdmittedError(
                f"{service.name}: {code.target} is not among the Python code that this host lists (--allow-python)"
            )
        return
    if code.image is None:
        raise NotAdmittedError(f"{service.name}: components come by `image` here, not from files of the host")
    if code.http == "stock" and not allowance.network:
        raise NotAdmittedError(f"{service.name}: this host lets no workload out (--allow-network)")
    for directory in code.directories.values():
        if not isinstance(directory, Volume) and not _is_below(os.fspath(directory), allowance.directories):
            raise NotAdmittedError(
                f"{service.name}: {directory} is not among the directories that this host lists (--allow-directory)"
            )


def _is_below(directory: str, listed: tuple[str, ...]) -> bool:
    # Where it really is: a link inside a listed directory must not lead out of it.
    real = os.path.realpath(directory)
    return any(
        os.path.commonpath([real, os.path.realpath(each)]) == os.path.realpath(each) for each in listed
    )
