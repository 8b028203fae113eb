"""What a `Workload` resource may ask of a host: whoever may write one in a cluster is not whoever runs the host.

1. Components come by image, from registries that the operator has listed: the host asks them from its own place in the
   network, perhaps with its own credentials. Code of the host's own Python only where the operator has listed it.
2. Directories of the machine only where the operator has listed them; volumes are free.
3. What leads out of the workload's network, or into it, only where the operator allows that.
4. Nothing of the host's environment.
5. Of memory and processor time no more than the operator gives a component; that much where they say nothing.
6. No restarts one upon the other: each is work for the host.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from service.files import WorkloadFileError, read_workloads
from service.oci import Reference
from service.spec import ComponentCode, ComponentSpec, ServiceSpec, Volume, WorkloadSpec
from wasi_sockets import Limits

__all__ = ["DEFAULT_MEMORY", "Allowance", "NotAdmittedError", "admitted"]

DEFAULT_MEMORY: Final = 512 << 20
_MEMORIES: Final = 32
"""Linear memories of a component, lest it multiply what each may have; the largest here, CPython, has a quarter."""

_LONGEST: Final = 64 * 1024
"""Characters of a spec: reading one keeps this host's other workloads waiting."""

_LONGEST_MESSAGE: Final = 2000
"""Characters: it goes to the status, and a spec of many mistakes has as many messages."""

_LEAST_WAIT: Final = 0.05
"""Seconds before a restart, whatever its random part comes to."""

_RESERVED: Final = ("name", "namespace", "apiVersion", "kind")


class NotAdmittedError(Exception):
    """A resource says something that cannot be meant, or asks for more than it may; the text goes to its status."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What resources may name besides images and volumes.

    Attributes:
        registries: where images may come from, as HOST[:PORT], or with the beginning of a repository's path:
            `registry.example.com/shop`; "*" for everywhere, the host's own machine and network included.
        python: handlers, applications and tasks, as MODULE:NAME.
        directories: of this machine; those below them too.
        network: whether real ports may lead in and out, and wasi:http may be the stock host's.
        memory: bytes that each linear memory of a component may have.
        cpu: the part of one processor core that a component may use; None for no limit.
    """

    registries: frozenset[str] = frozenset()
    python: frozenset[str] = frozenset()
    directories: tuple[str, ...] = ()
    network: bool = False
    memory: int = DEFAULT_MEMORY
    cpu: float | None = None


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
    try:
        text = json.dumps(document, ensure_ascii=False)
        if len(text) > _LONGEST:
            raise NotAdmittedError(f"spec: {len(text)} characters; at most {_LONGEST} are read")
        loaded = read_workloads("spec", text=text, environment={}, look=False)
    except RecursionError:
        raise NotAdmittedError("spec: nested too deeply") from None
    except WorkloadFileError as error:
        problems = [f"spec.{each.where}: {each.text}" if each.where else each.text for each in error.problems]
        raise NotAdmittedError("; ".join(problems)[:_LONGEST_MESSAGE]) from error
    # Whatever the text was read as: it is this resource, and must not pass for another one.
    if [each.id for each in loaded.workloads] != [f"{metadata['namespace']}/{metadata['name']}"]:
        raise NotAdmittedError("spec: it is not that of one workload, with the resource's own name")
    (spec,) = loaded.workloads
    _check_network(spec, allowance)
    parts: tuple[ServiceSpec | ComponentSpec, ...] = (*spec.services, *spec.components)
    for part in parts:
        _check(part, allowance)
    return replace(
        spec,
        services=tuple(replace(each, limits=_limited(each, allowance)) for each in spec.services),
        components=tuple(replace(each, limits=_limited(each, allowance)) for each in spec.components),
    )


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
    restart, code = service.restart, service.code
    least = min(restart.backoff, restart.backoff_max) * (1 - restart.jitter)
    if restart.when != "never" and least < _LEAST_WAIT:
        raise NotAdmittedError(
            f"{service.name}: its restarts may come after {least:g} s; this host wants {_LEAST_WAIT:g} s or more,"
            " which a backoff of 100ms gives"
        )
    if not isinstance(code, ComponentCode):
        if code.target not in allowance.python:
            raise NotAdmittedError(
                f"{service.name}: {code.target} is not among the Python code that this host lists (--allow-python)"
            )
        return
    if code.image is None:
        raise NotAdmittedError(f"{service.name}: components come by `image` here, not from files of the host")
    if not _is_from(Reference.parse(code.image), allowance.registries):
        raise NotAdmittedError(
            f"{service.name}: {code.image} is not in a registry that this host lists (--allow-registry)"
        )
    if code.http == "stock" and not allowance.network:
        raise NotAdmittedError(f"{service.name}: this host lets no workload out (--allow-network)")
    for directory in code.directories.values():
        if not isinstance(directory, Volume) and not _is_below(os.fspath(directory), allowance.directories):
            raise NotAdmittedError(
                f"{service.name}: {directory} is not among the directories that this host lists (--allow-directory)"
            )


def _is_from(image: Reference, listed: frozenset[str]) -> bool:
    path = f"{image.registry}/{image.repository}/"
    return any(each == "*" or path.startswith(f"{each.lower().rstrip('/')}/") for each in listed)


def _limited(service: ServiceSpec | ComponentSpec, allowance: Allowance) -> Limits:
    limits = service.limits
    if not isinstance(service.code, ComponentCode):
        return limits
    for what, asked, most in (
        ("memory", limits.memory, allowance.memory),
        ("cpu", limits.cpu, allowance.cpu),
        ("memories", limits.memories, _MEMORIES),
    ):
        if asked is not None and most is not None and asked > most:
            raise NotAdmittedError(
                f"{service.name}: limits.{what} is {asked:g}; this host gives at most {most:g}"
            )
    return replace(
        limits,
        memory=allowance.memory if limits.memory is None else limits.memory,
        cpu=allowance.cpu if limits.cpu is None else limits.cpu,
        memories=_MEMORIES if limits.memories is None else limits.memories,
    )


def _is_below(directory: str, listed: tuple[str, ...]) -> bool:
    # Where it really is: a link inside a listed directory must not lead out of it.
    real = os.path.realpath(directory)
    return any(
        os.path.commonpath([real, os.path.realpath(each)]) == os.path.realpath(each) for each in listed
    )
