"""The memory mappings of this process, of which the kernel allows only so many.

Each guest takes some; when there are no more, native code aborts the whole process somewhere in the middle. So a
guest that might be too much is refused before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from wasi_sockets.engine.memory import open_process_file
from wasi_sockets.errors import GuestLimitError

__all__ = ["MappingBudget", "process_mappings"]

_PER_GUEST: Final = 16
"""More than a guest takes: 9 were measured, with one memory of its own."""

_RESERVE: Final = 16
"""One of so many mappings is kept for everything else: threads, libraries, large blocks of memory."""

_DEFAULT_MAXIMUM: Final = 65_530
"""`DEFAULT_MAX_MAP_COUNT` of Linux."""


class MappingBudget:
    """Lets guests begin as long as there are mappings for them.

    They are counted only when the guests since the last count could have used up the rest, since that takes 0.1 s for
    a process that is full of them.

    Args:
        count: counts the mappings of this process; OSError where that is not possible, and nothing is refused then.
        maximum: gives how many it may have.
    """

    def __init__(self, count: Callable[[], int], maximum: Callable[[], int]) -> None:
        self._count = count
        self._maximum = maximum
        self._lock = threading.Lock()  # each thread may have a trio loop with guests
        self._guests_left = 0

    def admit(self) -> None:
        """One more guest is about to begin.

        Raises:
            GuestLimitError: it might be too much.
        """
        with self._lock:
            if self._guests_left <= 0:
                self._look()
            self._guests_left -= 1

    def _look(self) -> None:
        try:
            maximum = self._maximum()
            used = self._count()
        except OSError:
            self._guests_left = 1
            return
        self._guests_left = (maximum - maximum // _RESERVE - used) // _PER_GUEST
        if self._guests_left <= 0:
            raise GuestLimitError(
                "vm.max_map_count",
                f"no room for another guest: this process has {used} of {maximum} memory mappings, and would be"
                " aborted without any left. End guests, spread them over several processes, or raise the kernel's"
                " vm.max_map_count",
            )


def _mappings() -> int:
    with open_process_file("maps") as maps:
        return sum(block.count(b"\n") for block in iter(lambda: maps.read(1 << 20), b""))


def _maximum() -> int:
    try:
        with open("/proc/sys/vm/max_map_count", "rb") as setting:
            return int(setting.read())
    except (OSError, ValueError):
        return _DEFAULT_MAXIMUM


process_mappings: Final = MappingBudget(_mappings, _maximum)
"""Those of this process."""
