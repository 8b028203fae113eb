"""`python -m benchmarks.telemetry`: what telemetry costs, against a copy of the library that tells nothing.

- **off**: as installed, with no SDK.
- **no-op**: with the SDK, disabled by `OTEL_SDK_DISABLED=true`.
- **sdk**: spans by the SDK's batch processor, metrics every second; encoded as for OTLP, and thrown away.

Each runs beside the copy, and the two are asked in turn, so that each repetition gives a pair of processor times. Said
are the median of the pairs' differences and its 95 % interval, from order statistics. Ends with 1 when off or no-op may
cost 3 %.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Final

import wasmtime

from benchmarks.cases import CASES
from benchmarks.machine import machine_facts
from benchmarks.measuring import Worker
from benchmarks.uninstrumented import make_copy

__all__ = ["interval", "main"]

_HERE: Final = Path(__file__).parent
_BUILD: Final = _HERE.parent / "build" / "bench"
_RESULTS: Final = _HERE / "results" / "telemetry.json"

VARIANTS: Final = ("off", "no-op", "sdk")
_LIMIT: Final = 0.03

#: Processes that run the same code differ by more than what is looked for, each for all its life: by where the kernel
#: puts what. So there are many of them.
_PAIRS_OF_A_PROCESS: Final = 4
_MEASURED: Final = ("round-trip-64B", "connect-request-close")


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """The confidence interval of the median that the order statistics give, without knowing the distribution."""
    ordered = sorted(values)
    count = len(ordered)
    outside, below = 0.0, 0
    while below < count // 2:
        outside += math.comb(count, below) / 2**count
        if outside > (1 - confidence) / 2:
            break
        below += 1
    first = max(0, below - 1)
    return ordered[first], ordered[count - 1 - first]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry", description=__doc__)
    parser.add_argument("--pairs", type=int, default=60, help="of each case and variant (60)")
    parser.add_argument("--scale", type=float, default=0.4, help="length of a run, 1 being about 0.5 s")
    parser.add_argument(
        "--without", type=Path, help="a checkout without instrumentation, instead of the copy"
    )
    parser.add_argument(
        "--no-write", dest="write", action="store_false", help="leave the results as they are"
    )
    options = parser.parse_args(arguments)
    results = _measured(options.pairs, options.scale, options.without)
    for line in _lines(results):
        print(line)
    if options.write:
        _RESULTS.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    return int(any(each["interval"][1] >= _LIMIT for each in results["costs"] if each["variant"] != "sdk"))


def _measured(pairs: int, scale: float, without: Path | None) -> dict[str, Any]:
    _BUILD.mkdir(parents=True, exist_ok=True)
    guest = _BUILD / "guest.wasm"
    guest.write_bytes(wasmtime.wat2wasm((_HERE / "guest.wat").read_text("utf-8")))
    plain = without
    if plain is None:
        plain = _BUILD / "uninstrumented"
        make_copy(plain)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine_facts(),
        "pairs": pairs,
        "costs": [cost for variant in VARIANTS for cost in _costs(variant, guest, plain, pairs, scale)],
    }


def _costs(variant: str, guest: Path, plain: Path, pairs: int, scale: float) -> list[dict[str, Any]]:
    """What a variant costs in each case. It runs beside nothing but the copy: an SDK has threads of its own."""
    random = Random(7)
    differences: dict[str, list[float]] = {name: [] for name in _MEASURED}
    module = "benchmarks.telemetry_worker"
    for first in range(0, pairs, _PAIRS_OF_A_PROCESS):
        with (
            Worker(sys.executable, module, guest, variant, "") as with_it,
            Worker(sys.executable, module, guest, "without", str(plain.resolve())) as without,
        ):
            for repetition in range(min(_PAIRS_OF_A_PROCESS, pairs - first) + 1):
                for name in _MEASURED:
                    seconds = {}
                    for worker in random.sample((with_it, without), 2):
                        seconds[worker] = worker.seconds("direct", CASES[name], scale)
                    if repetition:  # the first one warms up
                        differences[name].append(seconds[with_it] / seconds[without] - 1)
    return [_cost(name, variant, differences[name]) for name in _MEASURED]


def _cost(name: str, variant: str, differences: Sequence[float]) -> dict[str, Any]:
    low, high = interval(differences)
    return {
        "case": name,
        "variant": variant,
        "cost": statistics.median(differences),
        "interval": [low, high],
    }


def _lines(results: dict[str, Any]) -> list[str]:
    lines = [f"{results['pairs']} pairs; the median of their differences, and its 95 % interval"]
    for each in results["costs"]:
        low, high = each["interval"]
        lines.append(f"{each['case']:24} {each['variant']:8} {each['cost']:+7.2%}  [{low:+.2%}, {high:+.2%}]")
    return lines


if __name__ == "__main__":
    sys.exit(main())
