"""What the build program does when tools are not to be had, and when something about a guest changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import build
import toolchains
from recipes import Guest


@dataclass(frozen=True)
class SampleTools(toolchains.Toolchain):
    """Tools that count as fetched, or call a program that does not exist or one that fails."""

    command: tuple[str, ...] = ()

    def pins(self) -> list[bytes]:
        return [word.encode() for word in self.command]

    def fetch(self, target: Path) -> None:
        if self.command:
            toolchains.run(*self.command)
        (target / "tool").touch()


def copy_the_source(scratch: Path, output: Path) -> None:
    output.write_bytes(b"component")


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guest:
    """The only guest there is, built below a temporary directory."""
    source = tmp_path / "source.c"
    source.write_text("int main(void);")
    (tmp_path / "recipes.py").touch()
    monkeypatch.setattr(build, "HERE", tmp_path)
    monkeypatch.setattr(build, "OUTPUT", tmp_path / "guests")
    monkeypatch.setattr(toolchains, "DIRECTORY", tmp_path / "toolchains")
    monkeypatch.setattr(toolchains, "BUILD", tmp_path / "build")
    return Guest("sample", "a sample", (source,), (SampleTools("tools"),), copy_the_source)


def run(guest: Guest, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(build, "GUESTS", (guest,))
    return build.main(list(words))


def test_a_guest_is_built_once_and_again_when_its_source_changes(
    guest: Guest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(guest, monkeypatch) == 0
    assert "sample: built" in capsys.readouterr().out
    assert build.component_path(guest).read_bytes() == b"component"
    assert run(guest, monkeypatch) == 0
    assert capsys.readouterr().out == "sample: up to date\n"
    guest.sources[0].write_text("int main(void) { return 1; }")
    assert run(guest, monkeypatch) == 0
    assert "sample: built" in capsys.readouterr().out


def test_a_damaged_component_is_built_again(
    guest: Guest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(guest, monkeypatch) == 0
    build.component_path(guest).write_bytes(b"truncated")
    assert run(guest, monkeypatch) == 0
    assert capsys.readouterr().out.count("sample: built") == 2
    assert build.component_path(guest).read_bytes() == b"component"


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("no-such-program",), "no-such-program is not installed"),
        (("sh", "-c", "echo mirror is away; exit 1"), "mirror is away"),
    ],
)
def test_missing_optional_tools_leave_a_reason_and_do_not_fail(
    guest: Guest, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], reason: str
) -> None:
    guest = replace(guest, toolchains=(SampleTools("tools", command),), optional=True)
    assert run(guest, monkeypatch) == 0
    record = build.read_record(guest)
    assert record is not None
    assert record["status"] == "unavailable"
    assert reason in str(record["reason"])
    assert not build.component_path(guest).exists()


def test_missing_mandatory_tools_fail_with_the_reason(
    guest: Guest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guest = replace(guest, toolchains=(SampleTools("tools", ("no-such-program",)),))
    assert run(guest, monkeypatch) == 1
    assert "no-such-program is not installed" in capsys.readouterr().err


def test_missing_tools_are_asked_for_again_only_on_request(
    guest: Guest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    attempts = tmp_path / "attempts"
    command = ("sh", "-c", f"echo once >> {attempts}; exit 1")
    guest = replace(guest, toolchains=(SampleTools("tools", command),), optional=True)
    for words, expected in (((), 1), ((), 1), (("--retry",), 2)):
        assert run(guest, monkeypatch, *words) == 0
        assert attempts.read_text().count("once") == expected


def test_an_interrupted_fetch_is_started_anew(guest: Guest) -> None:
    (tools,) = guest.toolchains
    leftover = tools.path() / "half-fetched"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    assert (tools.ensure() / "tool").exists()
    assert not leftover.exists()
