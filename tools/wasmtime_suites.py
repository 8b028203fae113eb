"""Running test suites in a scratch environment, and counting how they end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from wasmtime_environments import ROOT

__all__ = ["Ran", "run_suites"]


@dataclass(frozen=True)
class Ran:
    """How the tests ended.

    Attributes:
        skipped: why -> how many.
        seconds: by the clock.
    """

    passed: int
    failed: tuple[str, ...]
    skipped: dict[str, int]
    seconds: float

    def __str__(self) -> str:
        return f"{self.passed} passed, {len(self.failed)} failed, {sum(self.skipped.values())} skipped"


def run_suites(python: Path, suites: Sequence[str], *, quiet: bool = False) -> Ran:
    """Run them from the checkout.

    Raises:
        subprocess.CalledProcessError: pytest could not run them at all.
    """
    report = python.parent.parent / "report.xml"
    report.unlink(missing_ok=True)
    done = subprocess.run(
        [str(python), "-m", "pytest", "-p", "no:cacheprovider", f"--junit-xml={report}", *suites],
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.DEVNULL if quiet else None,
    )
    if done.returncode not in (0, 1):
        raise subprocess.CalledProcessError(done.returncode, done.args)
    return _read(report)


def _read(report: Path) -> Ran:
    passed, failed, skipped, seconds = 0, list[str](), dict[str, int](), 0.0
    root = ElementTree.parse(report).getroot()
    for suite in root.iter("testsuite"):
        seconds += float(suite.get("time", "0"))
    for case in root.iter("testcase"):
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(f"{case.get('classname')}::{case.get('name')}")
        elif skip is not None:
            reason = skip.get("message", "")
            skipped[reason] = skipped.get(reason, 0) + 1
        else:
            passed += 1
    return Ran(passed, tuple(failed), skipped, seconds)
