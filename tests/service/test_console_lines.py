"""What others have a say in does not pass for a line of this program's own on the console."""

from __future__ import annotations

from pathlib import Path

import pytest

from service._host_command import Console
from service._up import read
from service.hosting import Event, State


async def test_a_reason_of_several_lines_is_no_other_message(capsys: pytest.CaptureFixture[str]) -> None:
    reason = "no such type: a\nwasi-sockets: bank/api: ready\r\x1b[31m"
    await Console(as_json=False).event(Event(0.0, "default/shop", "api", State.FAILED, reason, 1))
    first, *more = capsys.readouterr().err.splitlines()
    assert first == "wasi-sockets: shop/api: failed: no such type: a"
    assert more
    assert all(each.startswith("    ") and "\x1b" not in each for each in more)


def test_a_note_on_a_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "w.yaml"
    file.write_text('apiVersion: x\nkind: "a\\nwasi-sockets: bank/api: ready"\n')
    assert read(str(file)) == ()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"wasi-sockets: {file}:1: ")
