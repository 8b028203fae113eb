"""`validate`: what is said of workload files, and the exit codes."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

_GOOD = """\
name: tasks
services:
  a: {task: "module.that.is.not.there:run"}
  b: {handler: "m:f", ports: [1], after: [a]}
components:
  c: {image: "registry.example.com/c:1", environment: {KEY: {from: NOBODY_SETS_THIS}}}
---
apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: Workload
metadata: {name: other, namespace: shop}
spec: {hostId: x, components: [{name: d, image: e}]}
"""


@pytest.fixture
def good(tmp_path: Path) -> str:
    (tmp_path / "good.yaml").write_text(_GOOD)
    return "good.yaml"


def test_a_file_that_is_right(wasi_sockets_command: Run, good: str) -> None:
    ended = wasi_sockets_command("validate", good)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "good.yaml: workload default/tasks: 2 services, 1 component",
        "good.yaml: workload shop/other: 1 component",
        "good.yaml:6: components.c.environment.KEY: $NOBODY_SETS_THIS is not set here, and there is no 'default'"
        " (note)",
        "good.yaml:11: spec.hostId: ignored: there is one host, and it is this one (note)",
    ]


def test_problems_and_what_is_not_there(wasi_sockets_command: Run, good: str, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("name: a\x1b\nservices:\n  a: {ports: [x]}\n")
    (tmp_path / "worse.yaml").write_text("name: a\nservices:\n  a: {ports: [x]}\n")
    ended = wasi_sockets_command("validate", "bad.yaml", "worse.yaml", "missing.yaml", ".", good)
    assert ended.code == 126
    assert ended.err.splitlines() == [
        "wasi-sockets: bad.yaml:1: the control character U+001B may not stand here",
        "wasi-sockets: worse.yaml:3: services.a.ports[0]: 'x' is no port (1 to 65535)",
        "wasi-sockets: worse.yaml:3: services.a: a service needs one of component, image, handler, asgi or task",
        "wasi-sockets: missing.yaml: No such file or directory",
        "wasi-sockets: .: Is a directory",
    ]
    assert "good.yaml: workload default/tasks" in ended.out
    assert wasi_sockets_command("validate", good, "missing.yaml").code == 127
    assert wasi_sockets_command("validate", ".", good).code == 126


def test_standard_input(wasi_sockets_command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(_GOOD.encode())))
    ended = wasi_sockets_command("validate", "-")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("standard input: workload default/tasks: 2 services, 1 component\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"name: a\nservices: 3\n")))
    ended = wasi_sockets_command("validate", "-")
    assert ended.code == 126
    assert ended.err.startswith("wasi-sockets: standard input:2: services: ")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"#" * (2 << 20))))
    assert "larger than 1024 KiB" in wasi_sockets_command("validate", "-").err
    monkeypatch.setattr(sys, "stdin", None)
    ended = wasi_sockets_command("validate", "-")
    assert (ended.code, ended.err) == (126, "wasi-sockets: standard input: Bad file descriptor\n")


def test_a_file_that_cannot_be_read_has_one_code(wasi_sockets_command: Run) -> None:
    codes = {words: wasi_sockets_command(words, ".").code for words in ("validate", "up", "run")}
    assert codes == {"validate": 126, "up": 126, "run": 126}


def test_json(wasi_sockets_command: Run, good: str, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("name: a")
    ended = wasi_sockets_command("validate", "--json", good, "bad.yaml")
    assert (ended.code, ended.err) == (126, "")
    first, second = json.loads(ended.out)
    assert first["workloads"] == [
        {"name": "tasks", "namespace": "default", "services": ["a", "b"], "components": ["c"]},
        {"name": "other", "namespace": "shop", "services": [], "components": ["d"]},
    ]
    assert [each["line"] for each in first["notes"]] == [6, 11]
    assert second == {
        "file": "bad.yaml",
        "workloads": [],
        "notes": [],
        "problems": [{"line": 1, "where": "", "text": "the workload has neither services nor components"}],
    }


def test_without_the_extra(wasi_sockets_command: Run, good: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    ended = wasi_sockets_command("validate", good)
    assert ended.code == 125
    assert "pip install 'wasi-sockets[workloads]'" in ended.err
