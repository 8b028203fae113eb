"""What a test leaves in its networks and its guests' handle tables: it has to be nothing.

Where networks, sockets and handle tables are tested themselves, pieces of them may lie about at the end: see
`LEAVES_PIECES`. There the networks are closed first, which has to end all that is in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from wasi_sockets.engine.handles import HandleTable
from wasi_sockets.network import Network

__all__ = ["LEAVES_PIECES", "Leftovers", "leaves_pieces", "watched"]

#: The marker of single tests, and the rooms where every test has it.
LEAVES_PIECES = "leaves_pieces"
_ROOMS_OF_PIECES = ("tests/network/", "tests/sockets/", "tests/wasi/")

#: How many networks of a test are closed at its end. Those of a property test are many, and each holds 100 KB.
_KEPT = 50


def leaves_pieces(test: pytest.Item) -> bool:
    """Whether a test may leave sockets and handles that only closing their network ends."""
    return test.nodeid.startswith(_ROOMS_OF_PIECES) or test.get_closest_marker(LEAVES_PIECES) is not None


class Leftovers:
    """The networks and handle tables that were made meanwhile.

    Of most it keeps only the parts that say whether they are empty: there may be thousands, and other tests count
    what is alive.
    """

    def __init__(self) -> None:
        self._networks: list[Network] = []
        self._parts: list[tuple[Any, list[dict[int, int]]]] = []
        self._handles: list[dict[int, tuple[str, Any, Any]]] = []

    def add_network(self, network: Network) -> None:
        """Remember a network."""
        if len(self._networks) < _KEPT:
            self._networks.append(network)
        self._parts.append((network._registry, [ports._uses for ports in network._ports.values()]))

    def add_table(self, table: HandleTable) -> None:
        """Remember a handle table."""
        self._handles.append(table._entries)

    def close(self) -> None:
        """Close the networks, and forget the others and the handle tables."""
        for network in self._networks:
            network.close()
        del self._parts[len(self._networks) :]
        self._handles.clear()

    def found(self) -> list[str]:
        """Everything that is left, in words."""
        left = []
        for registry, ports in self._parts:
            left += [f"socket {endpoint!r}" for endpoint in registry]
            left += [f"port {port}" for uses in ports for port in uses]
        for entries in self._handles:
            left += [f"handle of {resource}" for resource, _, _ in entries.values()]
        return left


@contextmanager
def watched() -> Iterator[Leftovers]:
    """Collects what is made in the block."""
    leftovers = Leftovers()
    with pytest.MonkeyPatch.context() as patch:
        make_network, make_table = Network.__init__, HandleTable.__init__

        def network_made(network: Network, *arguments: Any, **options: Any) -> None:
            make_network(network, *arguments, **options)
            leftovers.add_network(network)

        def table_made(table: HandleTable, *arguments: Any, **options: Any) -> None:
            make_table(table, *arguments, **options)
            leftovers.add_table(table)

        patch.setattr(Network, "__init__", network_made)
        patch.setattr(HandleTable, "__init__", table_made)
        yield leftovers
