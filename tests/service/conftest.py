"""The command line, in this process and in one of its own; small guests written as text."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.cli import main
from tests.service.host_processes import HANDLER, Place

ROOT = Path(__file__).resolve().parents[2]
# Shared by all runs of the tests: compiling the CPython guest takes most of a minute.
CACHE = ROOT / "build" / "cache"

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def _compiled_code_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WASI_SOCKETS_CACHE", str(CACHE))


@pytest.fixture
def environment() -> dict[str, str]:
    """Variables for processes that run the command from a checkout."""
    return {**os.environ, "WASI_SOCKETS_CACHE": str(CACHE), "PYTHONPATH": str(ROOT)}


@pytest.fixture
def command(environment: dict[str, str], tmp_path: Path) -> Command:
    """Runs `wasi-sockets` with words in a process of its own, in an empty directory; keywords as `subprocess.run`."""

    def run(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
        given: dict[str, object] = {"cwd": tmp_path, "stdin": subprocess.DEVNULL, "timeout": 120}
        if "input" in options:
            del given["stdin"]
        return subprocess.run(  # type: ignore[call-overload, no-any-return]
            [sys.executable, "-m", "service", *words],
            env=environment,
            capture_output=True,
            text=True,
            **{**given, **options},
        )

    return run


class Outcome:
    """What the command did in this process."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err


@pytest.fixture
def wasi_sockets_command(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Outcome]:
    """Runs `wasi-sockets` with words in this process, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*words: str | Path) -> Outcome:
        try:
            code = main([str(word) for word in words])
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return run


@pytest.fixture
def guest_text(tmp_path: Path) -> Callable[..., Path]:
    """Writes a guest whose `run` does what is given as core instructions, and leaves an i32: 0 for ok."""

    def write(
        body: str, *, imports: str = "", functions: str = "", with_host: str = "", name: str = "guest"
    ) -> Path:
        path = tmp_path / f"{name}.wat"
        path.write_text(f"""(component {imports}
          (core module $m {functions} (func (export "run") (result i32) {body}))
          (core instance $main (instantiate $m {with_host}))
          (type $outcome (result))
          (func $run (result $outcome) (canon lift (core func $main "run")))
          (instance $command (export "run" (func $run)))
          (export "wasi:cli/run@0.2.0" (instance $command)))""")
        return path

    return write


@pytest.fixture
def place(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path, tmp_path_factory.mktemp("c") / "control")
    place.write("wares.py", HANDLER)
    try:
        yield place
    finally:
        for running in place.started:
            running.process.kill()
            running.process.communicate()
