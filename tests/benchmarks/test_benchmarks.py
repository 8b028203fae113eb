"""The benchmarks run, at a tiny size and without the stock host, and their results have the promised shape."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.cases import CASES
from benchmarks.report import case_result, is_complete, table, write
from benchmarks.telemetry import interval
from benchmarks.telemetry import main as telemetry_main
from benchmarks.uninstrumented import make_copy


def test_every_case_runs_on_every_host_of_ours(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--no-stock", "--no-write", "--json", "--scale", "0.0005", "--repetitions", "2"]) == 0
    out, err = capfd.readouterr()
    assert err == ""  # progress is for terminals
    results = json.loads(out)
    assert [case["case"] for case in results["cases"]] == list(CASES)
    for case in results["cases"]:
        assert case["stock"] is None
        assert min(case["virtual"], case["floor"], case["string"]) > 0
    assert results["machine"]["cores"] >= 1
    assert not is_complete(results)


def test_an_unknown_case_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--cases", "round-trip-64B,nonsense"]) == 2
    assert "nonsense" in capsys.readouterr().err


def _results() -> dict[str, object]:
    samples = {
        "virtual": [20.0, 10.0, 30.0],
        "stock": [60.0, 50.0, 40.0],
        "string": [25.0] * 3,
        "floor": [5.0] * 3,
    }
    return {
        "date": "2026-01-02",
        "machine": {"cpu": "Some CPU", "cores": 2, "system": "Linux x86_64", "python": "3.11.0"},
        "versions": {"virtual": {"wasmtime": "50.0.1"}, "stock": {"wasmtime": "47.0.1"}},
        "scale": 1,
        "cases": [case_result(case, samples) for case in CASES.values()],
    }


def test_ratios_say_how_many_times_better() -> None:
    by_name = {case["case"]: case for case in _results()["cases"]}  # type: ignore[attr-defined]
    assert by_name["round-trip-64B"]["ratio"] == 2.5  # microseconds: fewer are better
    assert by_name["upload-ascii"]["ratio"] == 0.4  # gigabytes per second: more are better
    assert by_name["round-trip-64B"]["quartiles"]["virtual"] == [15.0, 25.0]


def test_the_table_replaces_the_old_one_between_its_markers(tmp_path: Path) -> None:

    source = Path(__file__).parents[2] / "benchmarks" / "README.md"
    (tmp_path / "README.md").write_text(source.read_text("utf-8"), "utf-8")
    results = _results()
    assert is_complete(results)
    write(results, tmp_path)
    write(results, tmp_path)
    text = (tmp_path / "README.md").read_text("utf-8")
    assert text.count(table(results)) == 1
    assert text.endswith(source.read_text("utf-8").rpartition("<!-- end of results -->")[2])
    assert json.loads((tmp_path / "results" / "latest.json").read_text("utf-8")) == results


def test_the_cost_of_telemetry_is_measured_against_a_copy_without_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    telemetry_main(["--pairs", "2", "--scale", "0.001", "--no-write"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("2 pairs")
    assert [tuple(line.split()[:2]) for line in lines[1:]] == [
        (case, variant)
        for variant in ("off", "no-op", "sdk")
        for case in ("round-trip-64B", "connect-request-close")
    ]


def test_a_copy_without_telemetry(tmp_path: Path) -> None:
    assert make_copy(tmp_path) > 10
    for path in (tmp_path / "wasi_sockets" / "network").glob("_t*.py"):
        if path.name != "_tracing.py":
            assert "telemetry.tracing" not in path.read_text("utf-8")
    core = (tmp_path / "wasi_sockets" / "network" / "_core.py").read_text("utf-8")
    assert "def _start_connect" not in core
    assert "telemetry.observe" not in core


def test_the_interval_of_a_median() -> None:
    """The ranks for 30 and 60 pairs are those of the tables: 10 to 21, and 22 to 39."""
    assert interval(range(1, 31)) == (10, 21)
    assert interval(range(60, 0, -1)) == (22, 39)
    assert interval([5.0]) == (5.0, 5.0)
