"""The tables of docs/hosting.md say what the code does."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from service.control._server import _COMMANDS
from service.hosting._states import TRANSITIONS, State
from service.spec import Probe, RestartPolicy

_TEXT = (Path(__file__).resolve().parents[3] / "docs" / "hosting.md").read_text()


def _rows(heading: str) -> list[list[str]]:
    """The cells of the table whose first heading this is."""
    table = re.search(rf"^\| {re.escape(heading)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", _TEXT, re.MULTILINE)
    assert table is not None, f"docs/hosting.md has no table of {heading}"
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table[1].splitlines()]


def test_the_states_and_what_they_become() -> None:
    told = {row[0]: set(re.findall(r"`([^`]+)`", row[2])) for row in _rows("state")}
    assert told == {f"`{state}`": {str(each) for each in TRANSITIONS[state]} for state in State}


@pytest.mark.parametrize("kind", [RestartPolicy, Probe])
def test_the_defaults(kind: type[RestartPolicy | Probe]) -> None:
    told = {row[0]: row[1] for row in _rows(f"`{kind.__name__}`")}
    assert told == {f"`{each.name}`": f"`{each.default!r}`" for each in fields(kind)}


def test_the_commands_of_the_control_socket() -> None:
    told = [name for row in _rows("`command`") for name in re.findall(r"`([^`]+)`", row[0])]
    assert sorted(told) == sorted(_COMMANDS)
