"""`wasi-sockets doctor`, with the installed wasmtime and with one that was broken on purpose."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from service._doctor import Line, findings
from tests.service.conftest import Command
from wasi_sockets.doctor import CHECKS
from wasi_sockets.engine.versions import NEWEST_TESTED, SUPPORTED

SEEN = [
    "version",
    "functions present",
    "callback conventions",
    "structure sizes",
    "value kinds",
    "package members",
]


def test_each_line_is_ok(command: Command) -> None:
    done = command("doctor")
    assert done.returncode == 0, done.stdout
    first, *lines = done.stdout.splitlines()
    assert first.startswith("python ")
    assert "wasmtime " in first
    assert len(lines) == len(SEEN) + 1 + len(CHECKS)
    assert all("  ok  " in line for line in lines)


def test_json(command: Command) -> None:
    done = command("doctor", "--json")
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert report["ok"] is True
    assert [each["name"] for each in report["checks"]] == [*SEEN, "import", *CHECKS]
    assert all(each["advice"] == "" for each in report["checks"])


def test_wasmtime_is_not_loaded_into_the_process_itself() -> None:
    from service import _doctor, cli

    for module in (_doctor, cli):
        assert not {"wasmtime", "wasi_sockets"} & set(vars(module))


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Line]]:
    """Runs all checks in processes in which some Python ran first."""

    def run(sabotage: str) -> dict[str, Line]:
        (tmp_path / "sitecustomize.py").write_text(sabotage)
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
        return {line.name: line for line in findings()}

    return run


Broken = Callable[[str], Mapping[str, Line]]


def test_a_missing_function(broken: Broken) -> None:
    found = broken(
        "from wasmtime import _ffi\n"
        "class Less:\n"
        "    def __init__(self, dll): self._dll = dll\n"
        "    def __getattr__(self, name):\n"
        "        if name == 'wasmtime_call_future_poll': raise AttributeError(name)\n"
        "        return getattr(self._dll, name)\n"
        "_ffi.dll = Less(_ffi.dll)\n"
    )
    wrong = found["functions present"]
    assert wrong.ok is False
    assert wrong.detail == "there is no C function wasmtime_call_future_poll"
    assert "install a supported wasmtime" in wrong.advice
    assert found["everything else"].ok is None
    assert set(found) == {*SEEN, "everything else"}


def test_another_number_of_a_kind(broken: Broken) -> None:
    found = broken(
        "import ctypes\nfrom wasmtime import _ffi\n_ffi.WASMTIME_COMPONENT_LIST = ctypes.c_uint8(99)\n"
    )
    assert found["value kinds"].detail == "component values of kind LIST have number 99, not 13"
    assert found["everything else"].ok is None


def test_a_crash_is_one_line_and_the_others_are_checked(broken: Broken) -> None:
    found = broken(
        "import ctypes\n"
        "import wasi_sockets.doctor.checks as checks\n"
        "_, advice = checks.CHECKS['values']\n"
        "def crash(): ctypes.string_at(0)\n"
        "checks.CHECKS['values'] = (crash, advice)\n"
    )
    assert found["values"].ok is False
    assert found["values"].detail == "the process that checked it ended: killed by signal 11"
    assert {name for name, line in found.items() if line.ok is not True} == {"values"}
    assert set(found) == {*SEEN, "import", *CHECKS}


def test_something_that_behaves_otherwise(broken: Broken) -> None:
    found = broken(
        "import wasi_sockets.engine.bindings as bindings\n"
        "original = bindings._from_native\n"
        "def changed(value_type, value):\n"
        "    result = original(value_type, value)\n"
        "    return result[::-1] if isinstance(result, bytes) else result\n"
        "bindings._from_native = changed\n"
    )
    assert found["values"].ok is False
    assert found["values"].detail == "bytes came back changed"
    assert f"supported is {SUPPORTED}" in found["values"].advice


@pytest.mark.parametrize(
    ("version", "ok", "detail"),
    [
        ("44.0.0", False, f"wasmtime 44.0.0 is too old; supported is wasmtime{SUPPORTED}"),
        (f"{NEWEST_TESTED + 1}.2.0", True, f"wasmtime {NEWEST_TESTED + 1}.2.0 was not tested"),
        ("", False, "wasmtime is not installed"),
    ],
)
def test_versions(monkeypatch: pytest.MonkeyPatch, version: str, ok: bool, detail: str) -> None:
    import importlib.metadata

    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    line = next(findings())
    assert line.ok is ok
    assert line.detail.startswith(detail)


def test_a_package_that_cannot_be_imported(broken: Broken) -> None:
    found = broken("import sys\nsys.modules['wasmtime._bindings'] = None\n")
    assert found["package"].ok is False
    assert "ModuleNotFoundError" in found["package"].detail
    assert found["everything else"].ok is None
