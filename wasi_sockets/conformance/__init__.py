"""Checks of `wasi:sockets`, run from inside a component, on any host.

Each check is a small guest program for one rule of the specification, or of upstream's own tests. `checks` gives them,
`run_virtual` runs them on this library's host, `run_stock` on a stock wasmtime, `run_adapter` on whatever a module of
yours can start, and `export` writes them to files. The command is `wasi-sockets conformance`.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from wasi_sockets.conformance import checks as _all_checks
from wasi_sockets.conformance.adapter import Adapter, AdapterError, load_adapter, run_adapter
from wasi_sockets.conformance.assembly import Assembled, assemble
from wasi_sockets.conformance.check import CHECKS, Check
from wasi_sockets.conformance.exporting import export
from wasi_sockets.conformance.stock import StockHostError, run_stock
from wasi_sockets.conformance.verdict import Result, Status, as_json
from wasi_sockets.conformance.virtual import run_virtual

__all__ = [
    "Adapter",
    "AdapterError",
    "Assembled",
    "Check",
    "Result",
    "Status",
    "StockHostError",
    "as_json",
    "assemble",
    "checks",
    "export",
    "load_adapter",
    "run_adapter",
    "run_stock",
    "run_virtual",
]

_ = _all_checks  # importing it is what fills CHECKS


def checks(filters: Sequence[str] = ()) -> list[Check]:
    """All checks, or those that some filter fits.

    Args:
        filters: each the beginning of a name ("tcp-bind"), or a pattern for the whole of it ("*/ipv6").
    """
    return [
        check
        for check in CHECKS.values()
        if not filters
        or any(check.name.startswith(each) or fnmatchcase(check.name, each) for each in filters)
    ]
