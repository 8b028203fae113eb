"""Whether this library may run on the installed wasmtime: asked once, when the engine is imported.

A supported version only has to look right (`bindings_check`). An untested newer one is tried out as well, in a process
of its own that may crash (`python -m wasi_sockets.doctor`): if all goes well it runs with a warning.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable

from wasi_sockets.engine.bindings_check import problems
from wasi_sockets.engine.versions import (
    NEWEST_TESTED,
    OLDEST_SUPPORTED,
    SUPPORTED,
    installed_version,
    major,
)

__all__ = [
    "DISABLED_BY",
    "FAILED_CHECKS",
    "UntestedVersionWarning",
    "deep_problem",
    "require_usable",
    "verdict",
]

DISABLED_BY = "WASI_SOCKETS_SELF_CHECK"
"""The environment variable that, set to "0", leaves the deep check of untested versions out."""

FAILED_CHECKS = 3
"""Exit code of `python -m wasi_sockets.doctor` when it ran to its end and some check failed."""

_DEEP_CHECK_SECONDS = 120
_DISPENSABLE = ("direct memory",)
"""Checks of what only makes things faster."""


class UntestedVersionWarning(RuntimeWarning):
    """The installed wasmtime is newer than any that this library was tested with."""


def require_usable(
    version: str | None = None,
    look: Callable[[], list[str]] = problems,
    try_out: Callable[[], str] | None = None,
) -> None:
    """Refuse a wasmtime that would not work.

    Args:
        version: of wasmtime, the installed one by default.
        look: gives every difference that can be seen.
        try_out: gives the first difference that shows when it runs, or nothing; `deep_problem` by default.

    Raises:
        ImportError: saying what is wrong and which versions are supported.
    """
    version = installed_version() if version is None else version
    number = major(version)
    known = f"supported is wasmtime{SUPPORTED}"
    if number is not None and number < OLDEST_SUPPORTED:
        raise ImportError(f"wasmtime {version} is too old for wasi_sockets: {known}")
    wrong = look()
    if wrong:
        raise ImportError(f"wasi_sockets cannot use wasmtime {version} ({known}): " + "; ".join(wrong))
    if number is None or number <= NEWEST_TESTED or os.environ.get(DISABLED_BY) == "0":
        return
    found = (try_out or deep_problem)()
    if found:
        raise ImportError(f"wasi_sockets does not work with wasmtime {version} ({known}): {found}")
    warnings.warn(
        f"wasi_sockets was not tested with wasmtime {version} ({known}); its self-check passed."
        f" {DISABLED_BY}=0 leaves that check out.",
        UntestedVersionWarning,
        stacklevel=2,
    )


def deep_problem() -> str:
    """Try the installed wasmtime out in a process of its own.

    Returns:
        What is wrong; empty when nothing is.
    """
    try:
        child = subprocess.run(
            [sys.executable, "-m", "wasi_sockets.doctor"],
            env={**os.environ, DISABLED_BY: "0", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_DEEP_CHECK_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"the self-check did not end within {_DEEP_CHECK_SECONDS} s"
    except OSError as error:
        return f"the self-check could not be started: {error}"
    return verdict(child.returncode, child.stdout, child.stderr)


def verdict(code: int, output: str, errors: str) -> str:
    """What the output of `python -m wasi_sockets.doctor` says is wrong."""
    begun, last = "the start", {}
    for line in output.splitlines():
        last = json.loads(line)
        begun = last["name"]
        if last.get("ok") is False and begun not in _DISPENSABLE:
            return f"{last['name']}: {last['detail']}"
    if code and code != FAILED_CHECKS:
        end = (errors.strip().splitlines() or ["it said nothing"])[-1]
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"the self-check ended with {how} in {begun}: {end}"
    return ""
