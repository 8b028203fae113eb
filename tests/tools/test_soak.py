"""The mixed load in short: every answer right, nothing left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from tools.soak import ALLOWED_GROWTH, SETTLED, Held, Outcome

ROOT: Final = Path(__file__).resolve().parents[2]


def test_one_minute(guest_file: Callable[[str], Path]) -> None:
    for name in ("c-echo-0.2.12", "c-server-0.2.12"):
        guest_file(name)
    # A process of its own: what other tests have used of this one's memory is not the soak's.
    ended = subprocess.run(
        [sys.executable, "-m", "tools.soak", "60", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads(ended.stdout)
    assert (found["failures"], found["leaks"]) == ([], [])
    for kind in ("forward", "guest clients", "guest servers", "guest service", "published service"):
        assert found["done"][kind] > 0


def test_what_is_left_behind_is_named() -> None:
    held = Held(resident=50 << 20, descriptors=10, threads=2, tasks=3, sockets=0)
    found = Outcome(SETTLED, {}, 0, [], held, held, held, held)
    assert found.leaks == []
    grown = replace(held, resident=held.resident + ALLOWED_GROWTH + 1)
    assert replace(found, end=grown).leaks == ["4.0 MiB"]
    assert replace(found, end=grown, seconds=20.0).leaks == []
    more = replace(held, descriptors=12, tasks=4, sockets=1)
    assert replace(found, after=more).leaks == ["2 descriptors", "1 tasks", "1 sockets"]
