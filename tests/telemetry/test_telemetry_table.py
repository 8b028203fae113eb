"""The table is what the code tells: no row without a use, and no use without a row."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from wasi_sockets.telemetry_table import ATTRIBUTES, EVENTS, METRICS, SPANS

ROOT = Path(__file__).resolve().parents[2]
TREES = {
    path.relative_to(ROOT): ast.parse(path.read_text("utf-8"))
    for room in ("wasi_sockets", "service")
    for path in sorted((ROOT / room).rglob("*.py"))
    if path.name != "telemetry_table.py"
}
SAID = {
    node.value
    for tree in TREES.values()
    for node in ast.walk(tree)
    if isinstance(node, ast.Constant) and isinstance(node.value, str)
}
#: Functions of `telemetry` that take a name of a table, and which argument that is.
TAKES = {
    "start": (0, SPANS),
    "span": (0, SPANS),
    "count": (0, METRICS),
    "record": (0, METRICS),
    "event": (0, EVENTS),
    "log": (2, EVENTS),
}
#: As attributes look.
ATTRIBUTE = re.compile(
    r"(workload|component|network|server|client|error|dns|http|url|process|log|oci|wasi_sockets)(\.[a-z_]+)+"
)


@pytest.mark.parametrize("name", [*SPANS, *METRICS, *EVENTS, *ATTRIBUTES])
def test_every_row_is_told_by_some_code(name: str) -> None:
    assert name in SAID


def told() -> Iterator[tuple[str, str, object]]:
    """Where a name of a table is told, the function that takes it, and the name."""
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            function = node.func if isinstance(node, ast.Call) else None
            if not isinstance(node, ast.Call) or not isinstance(function, ast.Attribute):
                continue
            if (
                isinstance(function.value, ast.Name)
                and function.value.id == "telemetry"
                and function.attr in TAKES
            ):
                argument = node.args[TAKES[function.attr][0]]
                name = argument.value if isinstance(argument, ast.Constant) else None
                yield f"{path}:{node.lineno}", function.attr, name


def test_whatever_is_told_has_a_row() -> None:
    places = list(told())
    assert {function for _, function, _ in places} == TAKES.keys()
    assert [each for each in places if each[2] not in TAKES[each[1]][1]] == []


def test_every_attribute_that_is_set_has_a_row() -> None:
    set_without_row = [
        (f"{path}:{key.lineno}", key.value)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
        if ATTRIBUTE.fullmatch(key.value) and key.value not in ATTRIBUTES
    ]
    assert set_without_row == []
