"""Results as JSON and as the table in README.md."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.cases import CASES, Case
from benchmarks.measuring import Samples

__all__ = ["case_result", "is_complete", "table", "write"]

_HERE = Path(__file__).parent
_BEGIN = "<!-- results: written by `make bench` -->"
_END = "<!-- end of results -->"


def case_result(case: Case, samples: Samples) -> dict[str, Any]:
    """One case: the median of each host (None without it), quartiles, and how many times better we are."""
    medians = {host: statistics.median(values) for host, values in samples.items()}
    stock = medians.get("stock")
    return {
        "case": case.name,
        "unit": case.unit,
        "virtual": _rounded(medians["virtual"]),
        "stock": None if stock is None else _rounded(stock),
        "floor": _rounded(medians["floor"]),
        "string": _rounded(medians["string"]),
        "ratio": None if stock is None else round(case.ratio(medians["virtual"], stock), 2),
        "string_ratio": None if stock is None else round(case.ratio(medians["string"], stock), 2),
        "repetitions": len(samples["virtual"]),
        "quartiles": {host: _quartiles(values) for host, values in samples.items()},
    }


def _quartiles(values: list[float]) -> list[float]:
    if len(values) < 2:
        return [_rounded(values[0])] * 2
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return [_rounded(first), _rounded(third)]


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def table(results: Mapping[str, Any]) -> str:
    """The results as a Markdown table, with date and machine."""
    machine = results["machine"]
    lines = [
        f"{results['date']}, {machine['cpu']}, {machine['cores']} cores, {machine['system']}, Python "
        f"{machine['python']}, wasmtime {results['versions']['virtual']['wasmtime']}"
        + (f" (stock: {results['versions']['stock']['wasmtime']})" if "stock" in results["versions"] else "")
        + ". Medians, quartiles in brackets.",
        "",
        "| case | virtual | stock | ratio | string transport | floor |",
        "|---|---|---|---|---|---|",
    ]
    for result in results["cases"]:
        columns = [result["case"], _cell(result, "virtual"), _cell(result, "stock")]
        columns.append("" if result["ratio"] is None else f"**{result['ratio']:.1f}x**")
        ratio = result["string_ratio"]
        columns.append(_cell(result, "string") + ("" if ratio is None else f" ({ratio:.1f}x)"))
        columns.append(_cell(result, "floor"))
        lines.append("| " + " | ".join(columns) + " |")
    return "\n".join(lines) + "\n"


def _cell(result: Mapping[str, Any], host: str) -> str:
    value = result[host]
    if value is None:
        return ""
    low, high = result["quartiles"][host]
    return f"{_number(value)} {result['unit']} [{_number(low)}-{_number(high)}]"


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def write(results: Mapping[str, Any], directory: Path = _HERE) -> None:
    """Write results/latest.json and the table between the markers in README.md.

    Raises:
        ValueError: README.md has lost its markers.
    """
    readme = directory / "README.md"
    text = readme.read_text("utf-8")
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{readme.name} has no lines {_BEGIN!r} and {_END!r}")
    (directory / "results").mkdir(exist_ok=True)
    _replace(directory / "results" / "latest.json", json.dumps(results, indent=2) + "\n")
    _replace(readme, f"{before}{_BEGIN}\n\n{table(results)}\n{_END}{after}")


def _replace(path: Path, text: str) -> None:
    scratch = path.with_name(path.name + ".tmp")
    scratch.write_text(text, "utf-8")
    os.replace(scratch, path)


def is_complete(results: Mapping[str, Any]) -> bool:
    """Whether every case was compared with the stock host, at its full size."""
    compared = {result["case"] for result in results["cases"] if result["stock"] is not None}
    return compared >= set(CASES) and results["scale"] == 1
