"""Which versions of wasmtime are supported. Raised when a new one is taken in (UPGRADE.md), and nowhere else."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from typing import Final

__all__ = ["NEWEST_TESTED", "OLDEST_SUPPORTED", "SUPPORTED", "installed_version", "major"]

OLDEST_SUPPORTED: Final = 45
"""The first with asynchronous component calls in its C library."""

NEWEST_TESTED: Final = 50
"""The last that `make test-matrix` has passed on. A newer one runs, with a warning, if the deep check passes."""

SUPPORTED: Final = f">={OLDEST_SUPPORTED},<{NEWEST_TESTED + 1}"


def installed_version() -> str:
    """The version of the installed package `wasmtime`; empty when it has no metadata."""
    try:
        return version("wasmtime")
    except PackageNotFoundError:
        return ""


def major(text: str) -> int | None:
    """The major number of a version, None when it has none."""
    found = re.match(r"\d+", text)
    return int(found.group()) if found else None
