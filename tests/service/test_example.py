"""service/examples/workload.yaml, as `make example` runs it, and as `ps`, `netstat` and curl see it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKLOAD = "service/examples/workload.yaml"
TASKS = ["write the report", "call the bank", "water the plants"]

Run = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path, guest_file: Callable[[str], Path]) -> Iterator[Run]:
    """Starts `wasi-sockets` with words at the root of the project, with a control directory of its own."""
    pytest.importorskip("hypercorn", reason="the extra asgi is not installed")
    guest_file("tasks")
    guest_file("c-tasks-0.2.12")
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", *words],
            cwd=ROOT,
            env={**environment, "WASI_SOCKETS_CONTROL": os.fspath(tmp_path / "control")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def finished(process: subprocess.Popen[str]) -> tuple[int, list[str], list[str]]:
    """Exit code, standard output and standard error, by line."""
    out, err = process.communicate(timeout=180)
    return process.returncode, out.splitlines(), err.splitlines()


def until_completed(process: subprocess.Popen[str], *names: str) -> None:
    """Read what `up --json` prints until these components have done their work."""
    waited_for = set(names)
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        told = json.loads(line)
        seen.append(told)
        if told.get("state") == "completed":
            waited_for.discard(told["service"])
        if not waited_for:
            return
    raise AssertionError(f"it ended before {waited_for} had: {seen}")


def test_it_does_what_its_components_are_for(start: Run) -> None:
    code, out, err = finished(start("up", WORKLOAD, "--until-done"))
    assert code == 0, err
    # Lines of different guests may come in any order, those of one guest in its own.
    assert [line for line in out if line.startswith("tasks/api ")] == [
        f"tasks/api | new task: {title}" for title in TASKS
    ]
    assert [line for line in out if line.startswith("tasks/add ")] == ["tasks/add | added 3 tasks"]
    assert [line for line in out if line.startswith("tasks/work ")] == [
        *(f"tasks/work | done: {title}" for title in TASKS),
        "tasks/work | notices: 3",
    ]
    for said in ("tasks/notices: ready", "tasks/api: ready", "tasks/add: completed", "tasks/work: completed"):
        assert f"wasi-sockets: {said}" in err


def test_it_is_seen_and_used_from_outside_while_it_runs(start: Run) -> None:
    running = start("up", WORKLOAD, "--json")
    until_completed(running, "add", "work")

    code, out, err = finished(start("ps"))
    assert code == 0, err
    rows = {row.split()[1]: row.split() for row in out[1:]}
    assert {name: row[2:4] for name, row in rows.items()} == {
        "api": ["component", "ready"],
        "notices": ["asgi", "ready"],
        "add": ["run", "completed"],
        "work": ["run", "completed"],
    }
    own, door = rows["api"][6].split(",")
    assert own == "7777"
    real = door.removesuffix("->7777")

    code, out, err = finished(start("netstat", "tasks"))
    assert code == 0, err
    assert {(row.split()[3], row.split()[5], row.split()[-1]) for row in out[2:] if " listening " in row} == {
        ("127.0.0.1:7777", "listening", "default/tasks/api"),
        ("127.0.0.1:8080", "listening", "default/tasks/notices"),
        ("[::1]:8080", "listening", "default/tasks/notices"),
    }

    tasks: list[dict[str, Any]] = json.load(urllib.request.urlopen(f"http://{real}/tasks", timeout=30))
    assert tasks == [{"id": number, "title": title, "done": True} for number, title in enumerate(TASKS, 1)]

    assert finished(start("stop", "tasks"))[:2] == (0, ["stopped default/tasks"])
    assert finished(running)[0] == 0
