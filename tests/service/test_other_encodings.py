"""Words that are not UTF-8, and locales that are not of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
Files = Callable[[str], Path]
GuestText = Callable[..., Path]

_BAD = "a\udcff"  # what Python makes of the byte 0xff
_NOT_UTF_8 = "the byte 0xff is not UTF-8, and guests take nothing else\n"


@pytest.fixture
def bad_directory(tmp_path: Path) -> Path:
    """The current directory of the command, with `a\\xff` and `a` in it."""
    try:
        (tmp_path / _BAD).mkdir()
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such name")
    (tmp_path / "a").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--", "x", _BAD], r"argument of the guest 'a\udcff': "),
        (["--env", f"A={_BAD}"], r"--env 'A=a\udcff': "),
        (["--env", f"{_BAD}=A"], r"--env 'a\udcff=A': "),
        (["--env", "NOT_UTF_8"], "--env 'NOT_UTF_8': "),
        (["--dir", _BAD], r"argument --dir: 'a\udcff': "),
        (["--dir", f"{_BAD}::/a"], r"argument --dir: 'a\udcff::/a': "),
        (["--dir", f"a::/{_BAD}"], r"argument --dir: 'a::/a\udcff': "),
    ],
)
@pytest.mark.usefixtures("bad_directory")
def test_what_a_guest_cannot_be_told(
    wasi_sockets_command: Run,
    guest_text: GuestText,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    told: str,
) -> None:
    monkeypatch.setenv("NOT_UTF_8", _BAD)
    ended = wasi_sockets_command("run", guest_text("(i32.const 0)"), *words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.endswith(f"{told}{_NOT_UTF_8}")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["run", f"{_BAD}.wat"], 0),
        (["run", f"not-{_BAD}.wat"], 127),
        (["run", f"{_BAD}.wat", "--service", f"7={_BAD}:x"], 2),
        (["run", f"{_BAD}.wat", "--allow", _BAD], 2),
        (["run", f"{_BAD}.wat", "--forward", f"7={_BAD}:7"], 2),
        (["run", f"{_BAD}.wat", "--publish", f"{_BAD}:7:7"], 2),
        (["run", f"{_BAD}.wat", f"--{_BAD}"], 2),
        (["inspect", f"{_BAD}.wat"], 0),
        (["inspect", f"{_BAD}.wat", "--json"], 0),
        (["validate", f"{_BAD}.yaml"], 0),
        (["validate", f"{_BAD}.yaml", "--json"], 0),
        (["up", f"{_BAD}.yaml"], 0),
        (["up", "--json", f"{_BAD}.yaml"], 0),
        (["up", f"not-{_BAD}.yaml"], 127),
        (["ps", _BAD], 125),
        (["stop", _BAD], 125),
        (["conformance", "--filter", _BAD], 2),
        (["operator", "--kubeconfig", _BAD], 125),
    ],
    ids=lambda given: " ".join(given).replace(_BAD, "BAD") if isinstance(given, list) else str(given),
)
def test_names_that_are_not_utf_8(
    wasi_sockets_command: Run,
    guest_text: GuestText,
    bad_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    words: list[str],
    code: int,
) -> None:
    monkeypatch.setenv("WASI_SOCKETS_CONTROL", str(tmp_path_factory.mktemp("c") / "control"))
    guest_text("(i32.const 0)", name=_BAD)
    (bad_directory / f"{_BAD}.yaml").write_text(
        f'name: shop\ncomponents: {{work: {{component: "{guest_text("(i32.const 0)")}"}}}}\n'
    )
    ended = wasi_sockets_command(*words)
    assert ended.code == code, ended.err
    assert "Traceback" not in ended.err
    if code:
        assert ended.err


@pytest.mark.skipif(sys.platform == "win32", reason="has no such locale")
def test_a_locale_that_is_not_of_utf_8(
    guest_file: Files, environment: dict[str, str], tmp_path: Path
) -> None:
    place = tmp_path / "größe"
    place.mkdir()
    guest = place / "gäst.wasm"
    guest.write_bytes(guest_file("python").read_bytes())
    (place / "workload.yaml").write_text("name: shop\ncomponents: {work: {component: gäst.wasm}}\n")

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "service", *words],
            env={
                **environment,
                "LC_ALL": "C",
                "PYTHONUTF8": "0",
                "PYTHONCOERCECLOCALE": "0",
                "GIVEN": "ü",
                "WASI_SOCKETS_CONTROL": os.fspath(tmp_path / "c"),
            },
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
        )

    ended = run("run", guest, "--", "args", "ä b")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "'ä b'\n", "")
    ended = run("run", guest, "--env", "GIVEN", "--env", "Ö=ß", "--", "env")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert set(ended.stdout.splitlines()) == {"GIVEN='ü'", "Ö='ß'"}
    ended = run("run", guest, "--dir", f"{place}::/ä", "--", "files", "/ä")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (place / "kept.txt").exists()
    # What stands in a file is text, and this Python cannot name a file by it.
    ended = run("up", place / "workload.yaml")
    assert ended.returncode == 126
    assert "there is no file" in ended.stderr
    assert "Traceback" not in ended.stderr
