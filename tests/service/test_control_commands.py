"""`ps` and the like beside hosts that come and go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service import _control_commands

Run = Callable[..., Any]

#: No process has such a number.
GONE = 2**30


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    control = tmp_path / "control"
    control.mkdir(0o700)
    monkeypatch.setenv("WASI_SOCKETS_CONTROL", str(control))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["ps"], 0, "nothing runs"),
        (["netstat"], 0, "nothing runs"),
        (["restart", "shop"], 125, "there is no workload 'shop'"),
    ],
)
def test_a_host_that_ends_after_it_was_found_has_no_workloads(
    wasi_sockets_command: Run, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, said: str
) -> None:
    answers = iter([[GONE], []])
    monkeypatch.setattr(_control_commands, "hosts", lambda: next(answers))
    ended = wasi_sockets_command(*words)
    assert (ended.code, said in ended.out + ended.err) == (code, True), ended.err


def test_a_host_that_is_there_and_does_not_answer_is_told(
    wasi_sockets_command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_control_commands, "hosts", lambda: [GONE])
    ended = wasi_sockets_command("ps")
    assert ended.code == 125
    assert f"the host of process {GONE} cannot be asked" in ended.err
