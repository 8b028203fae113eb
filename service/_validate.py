"""`wasi-sockets validate`: what workload files hold, and what is wrong with them. Nothing is imported or started."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from service._exits import CANNOT_RUN, FAILED, NOT_FOUND, CommandError
from service._terminal import escaped, output, say
from service._workload_input import name_of, read_input
from service.files import Finding, Loaded, WorkloadFileError
from service.spec import WorkloadSpec

__all__ = ["validate"]


def validate(paths: Sequence[str], *, as_json: bool) -> int:
    """Prints what workload files hold; problems go to standard error.

    Returns:
        0, or the exit code for the first file that cannot be used.

    Raises:
        CommandError: the extra is missing.
    """
    code = 0
    reports: list[dict[str, Any]] = []
    for path in paths:
        loaded, problems, failed = _read(path)
        code = code or failed
        if as_json:
            reports.append(_as_data(path, loaded, problems))
            continue
        for workload in loaded.workloads:
            output(escaped(f"{name_of(path)}: workload {workload.id}: {_counts(workload)}"))
        for note in loaded.notes:
            output(escaped(f"{note} (note)"))
        for problem in problems:
            say(escaped(str(problem)))
    if as_json:
        output(json.dumps(reports, indent=2))
    return code


def _read(path: str) -> tuple[Loaded, tuple[Finding, ...], int]:
    try:
        # Where a file is checked is often not where it will run, and without that one's secrets.
        return read_input(path, unset_is_problem=False), (), 0
    except WorkloadFileError as error:
        return Loaded(()), error.problems, CANNOT_RUN
    except FileNotFoundError as error:
        return Loaded(()), (Finding(name_of(path), 0, "", f"{error.strerror}"),), NOT_FOUND
    except OSError as error:
        return Loaded(()), (Finding(name_of(path), 0, "", f"{error.strerror or error}"),), CANNOT_RUN
    except ModuleNotFoundError as error:
        raise CommandError(str(error), FAILED) from error


def _counts(workload: WorkloadSpec) -> str:
    found = [
        f"{len(entries)} {what}" + ("" if len(entries) == 1 else "s")
        for what, entries in (("service", workload.services), ("component", workload.components))
        if entries
    ]
    return ", ".join(found)


def _as_data(path: str, loaded: Loaded, problems: Sequence[Finding]) -> dict[str, Any]:
    return {
        "file": path,
        "workloads": [
            {
                "name": each.name,
                "namespace": each.namespace,
                "services": [service.name for service in each.services],
                "components": [component.name for component in each.components],
            }
            for each in loaded.workloads
        ],
        "notes": [_finding(each) for each in loaded.notes],
        "problems": [_finding(each) for each in problems],
    }


def _finding(found: Finding) -> dict[str, Any]:
    return {"line": found.line or None, "where": found.where, "text": found.text}
