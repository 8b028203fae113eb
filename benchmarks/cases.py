"""What is measured: which export of the guest, how much of it, and how its time is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.services import CHUNK

__all__ = ["CASES", "Case"]


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the results.

    Attributes:
        name: as in results/latest.json.
        function: the guest's export, and the client of services.py that does the same.
        count: how often the thing is done in one repetition (round trips, connections, chunks of 64 KiB).
        arguments: what the function takes after the port and the count.
        unit: of the results.
        value: from seconds and count to that unit.
        more_is_better: of the unit.
    """

    name: str
    function: str
    count: int
    arguments: tuple[int | bool, ...]
    unit: str
    value: Callable[[float, int], float]
    more_is_better: bool

    def scaled(self, scale: float) -> int:
        """The count for a run of another length."""
        return max(1, round(self.count * scale))

    def ratio(self, virtual: float, stock: float) -> float:
        """How many times better the virtual network is."""
        return virtual / stock if self.more_is_better else stock / virtual


def _microseconds_each(seconds: float, count: int) -> float:
    return seconds / count * 1e6


def _per_second(seconds: float, count: int) -> float:
    return count / seconds


def _gigabytes_per_second(seconds: float, count: int) -> float:
    return count * CHUNK / seconds / 1e9


def _bulk(direction: str, content: str) -> Case:
    return Case(
        f"{direction}-{content}",
        direction,
        12288,
        (content == "binary",),
        "GB/s",
        _gigabytes_per_second,
        True,
    )


CASES: dict[str, Case] = {
    case.name: case
    for case in (
        Case("round-trip-64B", "round-trips", 16000, (64,), "us", _microseconds_each, False),
        Case("connect-request-close", "connections", 4000, (), "1/s", _per_second, True),
        _bulk("upload", "ascii"),
        _bulk("upload", "binary"),
        _bulk("download", "ascii"),
        _bulk("download", "binary"),
    )
}
"""By name. The sizes give repetitions of about half a second."""
