"""How often guests call what, counted while somebody collects metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from wasi_sockets.interposer.items import Item

__all__ = ["counted", "counts"]

counts: Final[Counter[tuple[str, str]]] = Counter()
"""(interface, function) -> calls, over all guests of the process."""


def counted(call: Callable[..., Any], item: Item) -> Callable[..., Any]:
    """`call`, counted under the item's names."""
    key = item.interface, item.name

    def count_and_call(*arguments: int) -> Any:
        counts[key] += 1
        return call(*arguments)

    return count_and_call
