"""The report of the Kubernetes benchmark; its measuring runs in `make bench-kubernetes` only."""

from __future__ import annotations

from benchmarks.kubernetes import WAYS, lines_of, summary


def test_the_report_has_median_and_p99_of_each_way() -> None:
    found = summary([float(each) for each in range(1, 101)])
    assert found == {"median": 50.5, "p99": 99.99}
    lines = lines_of({"events": 100, "milliseconds": dict.fromkeys(WAYS, found)})
    assert [line.split()[-2:] for line in lines[2:]] == [["50.50", "99.99"]] * 3
