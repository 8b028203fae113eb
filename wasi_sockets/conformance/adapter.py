"""Checks on any runtime, through a Python module that knows how to start it: an adapter.

In the spirit of wasi-testsuite's adapters. The module has::

    def get_name() -> str: ...                       # for the report
    def get_version() -> str: ...
    def compute_argv(component: str, deny: list[str]) -> list[str]:
        '''The command that runs a component with network access, but without what `deny` names
        ("tcp", "udp", "ip-name-lookup").'''

and may have::

    def get_timeout_seconds() -> float: ...          # for each check, 20 by default
    def get_expected_differences() -> dict[str, str]: ...  # check -> why it fails there
    def get_skipped() -> dict[str, str]: ...         # check -> why it is not run

One process for each check: exit code 0 is a pass; a check whose rule is a trap wants another one.
"""

from __future__ import annotations

import importlib.util
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from wasi_sockets.conformance.check import Check
from wasi_sockets.conformance.exporting import export
from wasi_sockets.conformance.verdict import Ended, Result, judge

__all__ = ["Adapter", "AdapterError", "load_adapter", "run_adapter"]


class AdapterError(Exception):
    """The adapter cannot be used."""


@dataclass(frozen=True)
class Adapter:
    """How to run components on one runtime.

    Attributes:
        name: of the runtime.
        version: of the runtime.
        command: component file and denials -> the command line.
        timeout: seconds for a check.
        differences: check -> why it fails there.
        skipped: check -> why it is not run.
    """

    name: str
    version: str
    command: Callable[[str, list[str]], list[str]]
    timeout: float = 20
    differences: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)


def load_adapter(path: Path) -> Adapter:
    """Loads the module at `path`.

    Raises:
        AdapterError: there is none, it fails, or it lacks a function.
    """
    spec = importlib.util.spec_from_file_location("conformance_adapter", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise AdapterError(f"{path} is no Python module")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return _adapter(module)
    except Exception as error:
        raise AdapterError(f"{path}: {type(error).__name__}: {error}") from error


def _adapter(module: ModuleType) -> Adapter:
    optional = {
        attribute: getattr(module, function)()
        for attribute, function in (
            ("timeout", "get_timeout_seconds"),
            ("differences", "get_expected_differences"),
            ("skipped", "get_skipped"),
        )
        if hasattr(module, function)
    }
    return Adapter(module.get_name(), module.get_version(), module.compute_argv, **optional)


def run_adapter(
    adapter: Adapter, checks: Sequence[Check], *, started: Callable[[Check], None] | None = None
) -> Iterator[Result]:
    """Runs checks through an adapter and gives each result as it comes.

    Raises:
        AdapterError: the runtime's command cannot be started.
    """
    with tempfile.TemporaryDirectory() as directory:
        for check, (assembled, path) in zip(checks, export(checks, Path(directory)), strict=True):
            if started is not None:
                started(check)
            if check.name in adapter.skipped:
                yield Result(check.name, adapter.name, "skipped", check.source, adapter.skipped[check.name])
                continue
            ended = _run(adapter, str(path), sorted(check.denied))
            yield judge(check, assembled.steps[0], ended, adapter.name, adapter.differences)


def _run(adapter: Adapter, path: str, denied: list[str]) -> Ended:
    try:
        done = subprocess.run(
            adapter.command(path, denied),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=adapter.timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return Ended(None, (error.stdout or b"").decode("utf-8", "replace"), too_late=True)
    except OSError as error:
        raise AdapterError(f"{adapter.name}: {error}") from error
    return Ended(
        done.returncode,
        done.stdout.decode("utf-8", "replace"),
        done.stderr.decode("utf-8", "replace"),
        has_words=False,
    )
