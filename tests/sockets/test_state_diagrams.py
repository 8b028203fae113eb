"""docs/state-machines.md is what the tables say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from wasi_sockets.sockets import tcp_states, udp_states

ROOT = Path(__file__).resolve().parent.parent.parent
TEXT = (ROOT / "docs" / "state-machines.md").read_text("utf-8")


def test_the_document_is_up_to_date() -> None:
    """If this fails: run tools/state_diagrams.py."""
    checked = subprocess.run(
        [sys.executable, ROOT / "tools" / "state_diagrams.py", "--check"], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("tables", [tcp_states, udp_states], ids=["tcp", "udp"])
def test_every_change_of_state_has_its_arrow(tables: object) -> None:
    for (state, operation), move in tables.MOVES.items():  # type: ignore[attr-defined]
        if move.succeeded is not state:
            arrow = f"    {state.name.lower()} --> {move.succeeded.name.lower()}: "
            (labels,) = {line.removeprefix(arrow) for line in TEXT.splitlines() if line.startswith(arrow)}
            assert operation.name.lower().replace("_", "-") in labels.split(", ")
