"""What is said when a real part is not to be had: tests are skipped with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real_parts import parts


@pytest.fixture(autouse=True)
def _nothing_is_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(parts, "DIRECTORY", tmp_path / "parts")
    monkeypatch.setenv("PATH", str(tmp_path))


def _script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def _unpack(text: str) -> None:
    root = parts._HOLDERS["wrk"].path()
    _script(root / "usr" / "bin" / "wrk", text)
    (root / ".complete").touch()


def test_what_is_not_fetched_is_taken_from_path(tmp_path: Path) -> None:
    with pytest.raises(parts.RealPartMissing, match=r"make real-parts.*none on PATH"):
        parts.program("wrk")
    _script(tmp_path / "wrk", "echo wrk 9")
    found = parts.program("wrk")
    assert (found.path, found.environment, found.version) == (tmp_path / "wrk", {}, "wrk 9")


def test_what_is_fetched_comes_first_with_its_libraries(tmp_path: Path) -> None:
    _script(tmp_path / "wrk", "echo wrk 9")
    _unpack('echo "${LD_LIBRARY_PATH-none}"')
    libraries = parts._HOLDERS["wrk"].path() / "usr" / "lib" / "x86_64-linux-gnu"
    libraries.mkdir(parents=True)
    assert parts.program("wrk").version == str(libraries)


def test_what_is_fetched_and_does_not_run_is_missing() -> None:
    _unpack("echo wrk: error while loading shared libraries: libssl.so.3; exit 127")
    with pytest.raises(parts.RealPartMissing, match=r"wrk does not run.*libssl"):
        parts.program("wrk")
