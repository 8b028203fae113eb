"""`python -m benchmarks`: compare the virtual network with the stock host, and write down what comes out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import wasmtime

from benchmarks.cases import CASES
from benchmarks.machine import machine_facts
from benchmarks.measuring import Worker, measure
from benchmarks.report import case_result, is_complete, table, write
from benchmarks.stock_environment import stock_python

_HERE = Path(__file__).parent
_GUEST = _HERE.parent / "build" / "bench" / "guest.wasm"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; returns the exit code."""
    options = _parser().parse_args(arguments)
    names = options.cases.split(",") if options.cases else list(CASES)
    unknown = [name for name in names if name not in CASES]
    if unknown:
        print(f"unknown cases: {', '.join(unknown)}; there are: {', '.join(CASES)}", file=sys.stderr)
        return 2
    results = _results(names, options)
    complete = is_complete(results)
    if complete and options.write:
        write(results)
    print(json.dumps(results, indent=2) if options.json else table(results))
    if options.write and not complete:
        print("nothing was written down: that takes every case, the stock host and scale 1", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=11, help="of every case on every host (11)")
    parser.add_argument("--cases", default="", help="names, separated by commas; all by default")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="length of a repetition, 1 being about 0.5 s"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument(
        "--stock", metavar="PYTHON", help="the stock host's interpreter; by default one is set up"
    )
    parser.add_argument(
        "--no-stock", dest="with_stock", action="store_false", help="leave out the stock host"
    )
    parser.add_argument("--no-write", dest="write", action="store_false", help="leave the files as they are")
    return parser


def _results(names: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    _GUEST.parent.mkdir(parents=True, exist_ok=True)
    _GUEST.write_bytes(wasmtime.wat2wasm((_HERE / "guest.wat").read_text("utf-8")))
    cases = [CASES[name] for name in names]
    with ExitStack() as stack:
        virtual = stack.enter_context(Worker(sys.executable, "benchmarks.virtual_worker", _GUEST))
        versions = {"virtual": virtual.facts}
        stock = None
        if options.with_stock:
            python = Path(options.stock) if options.stock else stock_python(_progress)
            stock = stack.enter_context(Worker(python, "benchmarks.stock_worker", _GUEST))
            versions["stock"] = stock.facts
        samples = measure(
            cases,
            virtual,
            stock,
            repetitions=max(1, options.repetitions),
            scale=options.scale,
            report=_progress,
        )
    _progress("")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine_facts(),
        "versions": versions,
        "scale": options.scale,
        "cases": [case_result(case, samples[case.name]) for case in cases],
    }


def _progress(text: str) -> None:
    """One line on a terminal, nothing anywhere else."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
