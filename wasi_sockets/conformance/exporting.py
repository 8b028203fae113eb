"""Checks as files, for hosts that have nothing to do with Python."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from wasi_sockets.conformance.assembly import Assembled, assemble
from wasi_sockets.conformance.check import Check

__all__ = ["export", "file_name"]


def file_name(check: Check) -> str:
    """The component's file: the name with dots for slashes."""
    return check.name.replace("/", ".") + ".wasm"


def export(checks: Sequence[Check], directory: Path) -> list[tuple[Assembled, Path]]:
    """Writes a `wasi:cli/run` command for each check, and `manifest.json`, which says what to expect of them.

    Returns:
        The components with their files, in the order of `checks`.

    Raises:
        OSError: the directory cannot be made or written to.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for check in checks:
        assembled = assemble([check])
        path = directory / file_name(check)
        path.write_bytes(assembled.wasm)
        written.append((assembled, path))
    manifest = [
        {
            "name": check.name,
            "file": path.name,
            "rule": check.about,
            "source": check.source,
            "expect": "exit 0" if check.traps is None else "trap",
            "deny": sorted(check.denied),
            "steps": [{"does": step.text, "expects": step.expected} for step in assembled.steps[0]],
        }
        for check, (assembled, path) in zip(checks, written, strict=True)
    ]
    (directory / "manifest.json").write_text(json.dumps({"checks": manifest}, indent=1) + "\n", "utf-8")
    return written
