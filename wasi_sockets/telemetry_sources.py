"""Counters that exist anyway, added up by attributes whenever metrics are collected, in whatever thread does that."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias
from weakref import WeakValueDictionary

from wasi_sockets.telemetry_table import METRICS

__all__ = ["Attributes", "Measurement", "Source", "Sources", "Value"]

Value: TypeAlias = str | bool | int | float | Sequence[str]
Attributes: TypeAlias = Mapping[str, Value]
Measurement: TypeAlias = tuple[str, float, Attributes]
"""A metric's name, its value now, and its attributes."""

_Items: TypeAlias = frozenset[tuple[str, Value]]

#: Collecting runs in a thread of the SDK's, beside the trio loop.
_TRIES: Final = 5

#: Series of a metric that are kept of what is gone, as many as the specification lets an instrument have by default.
MOST_SERIES: Final = 2000
_OVERFLOW: Final[_Items] = frozenset({("otel.metric.overflow", True)})


class Source(Protocol):
    """What has metrics that are read when they are collected, in whatever thread does that."""

    def measurements(self) -> Iterable[Measurement]:
        """The values now."""


class Sources:
    """All of them, and what those that are gone have counted."""

    def __init__(self) -> None:
        # Its references are taken in one step, which a set that other threads add to does not allow.
        self._alive: Final[WeakValueDictionary[int, Any]] = WeakValueDictionary()
        self._retired: Final[dict[str, dict[_Items, float]]] = {name: {} for name in METRICS}
        self._unread: dict[str, dict[_Items, float]] = {}
        self._lock = threading.RLock()  # what is collected as garbage meanwhile may retire in the same thread
        _in_a_forked_child(self._forget_other_threads)

    def observe(self, source: Source) -> None:
        """Read `source` for as long as it exists."""
        self._alive[id(source)] = source

    def retire(self, source: Source) -> None:
        """Keep what `source` has counted; it counts no more."""
        measured = _measured(source)
        with self._lock:
            self._alive.pop(id(source), None)
            for name, value, attributes in measured:
                if value and METRICS[name].instrument == "counter":
                    kept, items = self._retired[name], frozenset(attributes.items())
                    if items not in kept and len(kept) >= MOST_SERIES:
                        items = _OVERFLOW
                    kept[items] = kept.get(items, 0) + value

    def read(self, name: str) -> dict[_Items, float]:
        """One metric, of a snapshot that serves until one of its metrics is asked for a second time."""
        with self._lock:
            if name not in self._unread:
                self._unread = self._snapshot()
            return self._unread.pop(name)

    def _snapshot(self) -> dict[str, dict[_Items, float]]:
        # Held before what is retired is read: else what goes in between would be missing, and a counter go down.
        alive = [source for each in self._alive.valuerefs() if (source := each()) is not None]
        totals = {name: dict(kept) for name, kept in self._retired.items()}
        for source in alive:
            for name, value, attributes in _measured(source):
                items = frozenset(attributes.items())
                totals[name][items] = totals[name].get(items, 0) + value
        return totals

    def _forget_other_threads(self) -> None:
        self._lock = threading.RLock()


def _measured(source: Source) -> list[Measurement]:
    for _ in range(_TRIES):
        try:
            return list(source.measurements())
        except RuntimeError:  # something was added to what it went through
            continue
    return []


def _in_a_forked_child(act: Callable[[], None]) -> None:
    """A lock that another thread held stays held in the child, where that thread is not."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=act)
