"""Standard output that is full, or that nobody reads, while guests and services run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

Run = Callable[..., Any]
Files = Callable[[str], Path]

_FULL = "standard output cannot be written: No space left on device; {} is lost"
_GONE = "whoever read standard output has gone; {} is lost"
_CLOSED = "standard output is closed; {} is lost"
_OF_GUEST = "what the guest writes there"
_OF_HOST = "what services write, which 'wasi-sockets logs' shows too,"


@contextmanager
def _gone() -> Iterator[IO[bytes]]:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as file:
        yield file


@contextmanager
def _full() -> Iterator[IO[bytes]]:
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "wb") as file:
        yield file


@pytest.fixture
def start(
    environment: dict[str, str], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command with a standard output, None for a closed one."""

    def run(
        output: IO[bytes] | None, unbuffered: str, *words: str | Path
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "service", *map(str, words)]
        return subprocess.run(
            command if output is not None else ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *command],
            env={
                **environment,
                "PYTHONUNBUFFERED": unbuffered,
                "WASI_SOCKETS_CONTROL": str(tmp_path_factory.mktemp("c") / "control"),
            },
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )

    return run


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize(
    ("place", "told", "code"), [(_full, _FULL, 125), (_gone, _GONE, 0), (None, _CLOSED, 0)]
)
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["", "json"])
def test_up_says_once_what_is_lost_and_goes_on(
    start: Run,
    guest_file: Files,
    tmp_path: Path,
    unbuffered: str,
    place: Run,
    told: str,
    code: int,
    form: list[str],
) -> None:
    guest = guest_file("c-echo-0.2.12")
    (tmp_path / "work.yaml").write_text(
        "name: work\ncomponents:\n"
        f"  one: {{component: '{guest}', arguments: [127.0.0.1, '7'], after: [echo]}}\n"
        f"  two: {{component: '{guest}', arguments: [127.0.0.1, '7'], after: [echo]}}\n"
        "services:\n  echo: {handler: 'service._serving:echo', ports: [7]}\n"
    )
    words = ("up", "--until-done", *form, "work.yaml")
    if place is None:
        ended = start(None, unbuffered, *words)
    else:
        with place() as output:
            ended = start(output, unbuffered, *words)
    assert ended.returncode == code
    lines = ended.stderr.splitlines()
    assert [line for line in lines if "lost" in line] == [f"wasi-sockets: {told.format(_OF_HOST)}"]
    if not form:
        assert {"wasi-sockets: work/one: completed", "wasi-sockets: work/two: completed"} <= set(lines)


@pytest.mark.parametrize(
    ("place", "told", "codes"), [(_full, _FULL, (125, 1)), (_gone, _GONE, (0, 1)), (None, _CLOSED, (0, 1))]
)
def test_run_says_once_what_is_lost_and_a_code_of_the_guests_stays(
    start: Run, guest_file: Files, place: Run, told: str, codes: tuple[int, int]
) -> None:
    for port, code in zip(("7", "8"), codes, strict=True):
        words = ("run", guest_file("c-echo-0.2.12"), "--service", "7=echo", "--", "127.0.0.1", port)
        if place is None:
            ended = start(None, "", *words)
        else:
            with place() as output:
                ended = start(output, "", *words)
        assert (ended.returncode, ended.stderr) == (code, f"wasi-sockets: {told.format(_OF_GUEST)}\n")


def test_what_a_handler_prints_to_nobody_changes_no_code(start: Run, guest_text: Run, tmp_path: Path) -> None:
    (tmp_path / "printing.py").write_text("print('x')\nasync def handle(stream): pass\n")
    with _gone() as output:
        ended = start(output, "", "run", guest_text("i32.const 0"), "--service", "7=printing:handle")
    assert (ended.returncode, ended.stderr) == (0, f"wasi-sockets: {_GONE.format(_OF_GUEST)}\n")


def test_output_and_error_in_one_file_keep_their_order(
    guest_file: Files, environment: dict[str, str]
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "service", "run", guest_file("python"), "--", "stderr"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert ended.stdout.splitlines() == ["out 1", "err 1", "out 2", "err 2"]
