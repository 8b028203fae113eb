"""Write docs/state-machines.md from the tables in wasi_sockets/sockets: `state_diagrams.py [--check]`.

The tables are what the sockets obey, so the document cannot disagree with them; a test fails when it is stale.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Protocol

from wasi_sockets.sockets import ErrorCode, tcp_states, udp_states

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "state-machines.md"

_INTRODUCTION = """\
# State machines of the sockets

Written by `tools/state_diagrams.py` from `wasi_sockets/sockets/tcp_states.py` and `udp_states.py`, which name the
source of every rule. Do not edit.

An arrow of a diagram is an operation that changes the state by succeeding, or by failing where it says so. The tables
have every operation in every state: **-> state** is the state that follows, *ok* means that it is legal and the state
stays, anything else is the error that it gives, changing nothing.
"""


class Move(Protocol):
    """A legal operation, of either table."""

    @property
    def succeeded(self) -> IntEnum: ...
    @property
    def failed(self) -> IntEnum: ...


Cells = Mapping[tuple[IntEnum, IntEnum], Move | ErrorCode | None]


def _name(member: IntEnum) -> str:
    return member.name.lower().replace("_", "-")


def _identifier(state: IntEnum) -> str:
    # Mermaid takes a hyphen for the beginning of an arrow.
    return state.name.lower()


def _diagram(states: Iterable[IntEnum], cells: Cells) -> list[str]:
    arrows: dict[tuple[IntEnum, IntEnum], list[str]] = {}
    for (state, operation), cell in cells.items():
        if cell is None or isinstance(cell, ErrorCode):
            continue
        if cell.succeeded is not state:
            arrows.setdefault((state, cell.succeeded), []).append(_name(operation))
        if cell.failed is not state:
            arrows.setdefault((state, cell.failed), []).append(f"{_name(operation)} fails")
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f'    state "{_name(state)}" as {_identifier(state)}' for state in states]
    lines.append(f"    [*] --> {_identifier(next(iter(states)))}")
    lines += [
        f"    {_identifier(start)} --> {_identifier(end)}: {', '.join(labels)}"
        for (start, end), labels in arrows.items()
    ]
    return [*lines, "```"]


def _cell(state: IntEnum, cell: Move | ErrorCode | None) -> str:
    if cell is None:
        return "the error that closed it"
    if isinstance(cell, ErrorCode):
        return f"`{cell.value}`"
    text = "*ok*" if cell.succeeded is state else f"**-> {_name(cell.succeeded)}**"
    return text if cell.failed is state else f"{text}, or failed: **{_name(cell.failed)}**"


def _table(states: Iterable[IntEnum], operations: Iterable[IntEnum], cells: Cells) -> list[str]:
    states = list(states)
    lines = [
        "| | " + " | ".join(_name(state) for state in states) + " |",
        "|---" * (len(states) + 1) + "|",
    ]
    lines += [
        f"| `{_name(operation)}` | "
        + " | ".join(_cell(state, cells[state, operation]) for state in states)
        + " |"
        for operation in operations
    ]
    return lines


def _destinations() -> list[str]:
    lines = ["| state | the datagram's address | |", "|---|---|---|"]
    for (state, destination), error in udp_states.DESTINATIONS.items():
        outcome = "*sent*" if error is None else f"`{error.value}`"
        lines.append(f"| {_name(state)} | {_name(destination)} | {outcome} |")
    return lines


def render() -> str:
    """The document."""
    tcp: Cells = {
        (state, operation): tcp_states.CELLS[state][operation]
        for state in tcp_states.State
        for operation in tcp_states.Operation
    }
    udp: Cells = {
        (state, operation): udp_states.CELLS[state][operation]
        for state in udp_states.State
        for operation in udp_states.Operation
    }
    sections = [
        [_INTRODUCTION, "## TCP", ""],
        _diagram(tcp_states.State, tcp),
        [""],
        _table(tcp_states.State, tcp_states.Operation, tcp),
        ["", "## UDP", "", "`stream-some` connects, `stream-none` disconnects.", ""],
        _diagram(udp_states.State, udp),
        [""],
        _table(udp_states.State, udp_states.Operation, udp),
        ["", "Where each datagram may go:", ""],
        _destinations(),
    ]
    return "\n".join(line for section in sections for line in section) + "\n"


def main(words: list[str] | None = None) -> int:
    """Write the document, or with --check only say whether it is up to date: the exit code is then 1 if not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the document is stale")
    options = parser.parse_args(words)
    text = render()
    if not options.check:
        DOCUMENT.write_text(text, encoding="utf-8")
        return 0
    if DOCUMENT.is_file() and DOCUMENT.read_text(encoding="utf-8") == text:
        return 0
    print(f"{DOCUMENT.name} is stale: run tools/state_diagrams.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
