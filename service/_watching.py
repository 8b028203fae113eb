"""Files that change on disk."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Final

import trio

__all__ = ["Watched"]

_PERIOD: Final = 0.3
"""Seconds between two looks, and for which a file must have stayed the same: a compiler may still be writing it."""

_Stamp = tuple[int, int, int]


class Watched:
    """Files, looked at again and again; most editors and compilers replace them, which few notifications survive.

    Attributes:
        files: absolute paths; may be changed.
    """

    def __init__(self, files: Collection[str]) -> None:
        self.files = files
        self._known: dict[str, _Stamp | None] = {each: _stamp(each) for each in files}

    async def changes(self) -> list[str]:
        """Wait until files have changed, and have been left alone for a moment. One that is gone is waited for."""
        while True:
            await trio.sleep(_PERIOD)
            changed = self._changed()
            if not changed:
                continue
            await trio.sleep(_PERIOD)
            settled = [each for each in changed if changed[each] == _stamp(each)]
            self._known.update((each, changed[each]) for each in settled)
            if settled:
                return settled

    def _changed(self) -> dict[str, _Stamp]:
        found: dict[str, _Stamp] = {}
        for each in self.files:
            stamp = _stamp(each)
            if stamp is not None and stamp != self._known.setdefault(each, stamp):
                found[each] = stamp
        return found


def _stamp(path: str) -> _Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
