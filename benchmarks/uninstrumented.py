"""A copy of the library from which telemetry is taken out, to measure what it costs while nobody records.

What goes: statements under `if telemetry.tracing`, `metering` or `active`, calls of `telemetry` for nothing but their
effect, and the handing on of `start_connect` to its other half. Modules that tell nothing else keep their form.
"""

from __future__ import annotations

import ast
import shutil
from pathlib import Path
from typing import Final

__all__ = ["make_copy"]

_FLAGS: Final = {"tracing", "metering", "active"}
_LIBRARY: Final = Path(__file__).parent.parent / "wasi_sockets"


def make_copy(directory: Path) -> int:
    """Write the copy below `directory`, as the package `wasi_sockets`.

    Returns:
        How many statements were taken out.
    """
    target = directory / "wasi_sockets"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(_LIBRARY, target, ignore=shutil.ignore_patterns("__pycache__"))
    taken = 0
    for path in sorted(target.rglob("*.py")):
        if path.parent == target and path.name.startswith("telemetry"):
            continue
        stripper = _Stripper()
        tree = stripper.visit(ast.parse(path.read_text("utf-8")))
        if stripper.taken:
            _join_halves(tree)
            path.write_text(ast.unparse(ast.fix_missing_locations(tree)), "utf-8")
            taken += stripper.taken
    return taken


class _Stripper(ast.NodeTransformer):
    """Attributes: taken: statements that were taken out."""

    def __init__(self) -> None:
        self.taken = 0

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:  # the base class's own name
        self.generic_visit(node)
        if not _asks(node.test):
            return node
        self.taken += 1
        return node.orelse or ast.Pass()

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        called = node.value.func if isinstance(node.value, ast.Call) else None
        if isinstance(called, ast.Attribute) and _is_telemetry(called.value):
            self.taken += 1
            return ast.Pass()
        return node


def _is_telemetry(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "telemetry"


def _asks(test: ast.expr) -> bool:
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return _asks(test.values[0])
    return isinstance(test, ast.Attribute) and test.attr in _FLAGS and _is_telemetry(test.value)


def _join_halves(tree: ast.Module) -> None:
    """Let `start_connect` be what it hands on to, as it was before there was anything to tell."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        methods = {each.name: each for each in node.body if isinstance(each, ast.FunctionDef)}
        outer, inner = methods.get("start_connect"), methods.get("_start_connect")
        if outer is not None and inner is not None:
            outer.body = inner.body
            node.body.remove(inner)
