"""Which rows of the state tables of `wasi_sockets/sockets/` real sockets have looked up while the tests ran.

A run of the whole suite fails when a row has not been. Tests that read the tables themselves do not count.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from wasi_sockets.sockets import datagrams, tcp, tcp_states, udp, udp_states

__all__ = ["StateRows", "is_whole_suite"]

_TESTS = Path(__file__).resolve().parent


class _Row(tuple[Any, ...]):
    """The cells of one state, which notes those that are looked up."""

    table: str
    state: int
    seen: set[Hashable]

    def __getitem__(self, operation: Any) -> Any:
        self.seen.add((self.table, self.state, int(operation)))
        return super().__getitem__(operation)


class _Cells(dict[Any, Any]):
    """A table that is a mapping, which notes the keys that are looked up."""

    table: str
    seen: set[Hashable]

    def __getitem__(self, key: Any) -> Any:
        self.seen.add((self.table, *map(int, key)))
        return super().__getitem__(key)


class StateRows:
    """The rows of all state tables, and those that were looked up."""

    def __init__(self) -> None:
        self._seen: set[Hashable] = set()
        self._names: dict[Hashable, str] = {}
        for table, states in (("tcp", tcp_states), ("udp", udp_states)):
            for state in states.State:
                for operation in states.Operation:
                    self._names[table, int(state), int(operation)] = (
                        f"{table}_states.CELLS: {state.name}, {operation.name}"
                    )
        for state, destination in udp_states.DESTINATIONS:
            key = ("destinations", int(state), int(destination))
            self._names[key] = f"udp_states.DESTINATIONS: {state.name}, {destination.name}"

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Notes what is looked up in the block."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tcp, "CELLS", self._rows("tcp", tcp_states.CELLS))
            patch.setattr(udp, "CELLS", self._rows("udp", udp_states.CELLS))
            destinations = _Cells(udp_states.DESTINATIONS)
            destinations.table, destinations.seen = "destinations", self._seen
            patch.setattr(datagrams, "DESTINATIONS", destinations)
            yield

    def missing(self) -> list[str]:
        """The rows that were never looked up, in words."""
        return [name for key, name in self._names.items() if key not in self._seen]

    def _rows(self, table: str, cells: tuple[tuple[Any, ...], ...]) -> tuple[_Row, ...]:
        rows = []
        for state, row in enumerate(cells):
            noting = _Row(row)
            noting.table, noting.state, noting.seen = table, state, self._seen
            rows.append(noting)
        return tuple(rows)


def is_whole_suite(config: pytest.Config) -> bool:
    """Whether a run has every test: the directory of all tests was asked for, and nothing narrows it down."""
    asked = {(config.invocation_params.dir / argument).resolve() for argument in config.args}
    options = config.option
    narrowed = (
        options.keyword or options.markexpr or options.collectonly or options.ignore or options.ignore_glob
    )
    narrowed = (
        narrowed or options.deselect or getattr(options, "lf", False) or getattr(options, "stepwise", False)
    )
    return bool(asked & {_TESTS, _TESTS.parent}) and not narrowed
