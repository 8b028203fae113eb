"""The tools that compare versions of wasmtime: what they read and what they take for work. Nothing is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wasi_sockets.engine.versions import NEWEST_TESTED, OLDEST_SUPPORTED, major

TOOLS = Path(__file__).resolve().parents[2] / "tools"
BEFORE: dict[str, Any] = {
    "wasi": ["wasi:io/poll@0.2.12"],
    "stock": {"wasi:io/poll poll": "f"},
    "ours": {"wasmtime_call_future_poll": "b(p)"},
    "structures": {"wasmtime_component_val_t": 32},
    "kinds": {"LIST": 13},
    "c_functions": ["other"],
    "python": {"Config.x": "(self)"},
    "text": {"(memory $m)": True},
    "wrong": [],
}


@pytest.fixture(autouse=True)
def _tools_are_importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(TOOLS))
    yield
    for name in ("compare_wasmtime", "wasmtime_environments", "wasmtime_suites"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("key", "value", "work", "line"),
    [
        (
            "ours",
            {"wasmtime_call_future_poll": "missing"},
            True,
            "!! ~ wasmtime_call_future_poll: b(p) -> missing",
        ),
        ("stock", {}, True, "!! - wasi:io/poll poll"),
        ("stock", {**BEFORE["stock"], "wasi:io/poll new": "f"}, False, "   + wasi:io/poll new"),
        ("structures", {"wasmtime_component_val_t": 40}, True, "!! ~ wasmtime_component_val_t: 32 -> 40"),
        ("wrong", ["there is no C function x"], True, "!! there is no C function x"),
        ("c_functions", [], False, "   - other"),
        ("wasi", ["wasi:io/poll@0.2.13"], False, "   + wasi:io/poll@0.2.13"),
    ],
)
def test_what_is_taken_for_work(
    capsys: pytest.CaptureFixture[str], key: str, value: object, work: bool, line: str
) -> None:
    import compare_wasmtime

    wrong = ["wasmtime_component_val_t has 40 bytes, not 32"] if key == "structures" else BEFORE["wrong"]
    after = {**BEFORE, "wrong": wrong, key: value}
    assert compare_wasmtime._print_surfaces(BEFORE, after) is work
    printed = [each.strip() for each in capsys.readouterr().out.splitlines()]
    assert line.strip().removeprefix("!! ") in [each.removeprefix("!! ") for each in printed]


def test_nothing_changed(capsys: pytest.CaptureFixture[str]) -> None:
    import compare_wasmtime

    assert compare_wasmtime._print_surfaces(BEFORE, BEFORE) is False
    assert "!!" not in capsys.readouterr().out


def test_what_the_installed_version_offers() -> None:
    child = subprocess.run(
        [sys.executable, str(TOOLS / "wasmtime_surface.py")], capture_output=True, text=True, check=True
    )
    found = json.loads(child.stdout)
    assert found["wrong"] == []
    assert {"wasi:sockets/tcp [method]tcp-socket.start-bind", "wasi:io/poll pollable"} <= set(found["stock"])
    # These are in the specification and not in wasmtime, so the tool can tell what is missing.
    assert "wasi:sockets/network network-error-code" not in found["stock"]
    assert "wasi:clocks/timezone display" not in found["stock"]
    assert set(BEFORE) <= set(found)


def test_every_supported_version_is_in_the_matrix() -> None:
    import wasmtime_environments

    assert [major(version) for version in wasmtime_environments.TESTED] == list(
        range(OLDEST_SUPPORTED, NEWEST_TESTED + 1)
    )


def test_the_lock_without_wasmtime() -> None:
    import wasmtime_environments

    left = wasmtime_environments._lock_without(
        "# by\na==1 \\\n    --hash=x\nwasmtime==50.0.1 \\\n    --hash=y\ntrio==1\n"
    )
    assert left == "# by\na==1 \\\n    --hash=x\ntrio==1\n"


def test_how_tests_ended_is_read_from_their_report(tmp_path: Path) -> None:
    import wasmtime_suites

    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite time="1.5"><testcase classname="a" name="b"/>'
        '<testcase classname="a" name="c"><failure/></testcase><testcase classname="a" name="d"><error/></testcase>'
        '<testcase classname="a" name="e"><skipped message="why"/></testcase></testsuite></testsuites>'
    )
    ran = wasmtime_suites._read(report)
    assert (ran.passed, ran.failed, ran.skipped, ran.seconds) == (1, ("a::c", "a::d"), {"why": 1}, 1.5)
    assert str(ran) == "1 passed, 2 failed, 1 skipped"
