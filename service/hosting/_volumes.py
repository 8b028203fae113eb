"""Directories that live as long as a workload."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from itertools import count
from typing import Final

from service.spec import Volume

__all__ = ["Volumes"]


class Volumes:
    """The volumes of one workload: made when they are first asked for, removed with it."""

    def __init__(self) -> None:
        self._made: Final[dict[str, str]] = {}

    @property
    def made(self) -> bool:
        """Whether there are any."""
        return bool(self._made)

    def directory(self, mounted: str | os.PathLike[str] | Volume) -> str | os.PathLike[str]:
        """The directory of this machine behind what a component is to be given."""
        if not isinstance(mounted, Volume):
            return mounted
        if mounted.name not in self._made:
            self._made[mounted.name] = tempfile.mkdtemp(prefix=f"wasi-sockets-{mounted.name}-")
        return self._made[mounted.name]

    def remove(self) -> None:
        """Remove all of them, and what is in them."""
        while self._made:
            _remove(self._made.popitem()[1])


def _remove(directory: str) -> None:
    """Remove a directory and what is in it; what cannot be removed stays.

    Guests can nest directories deeper than a path can be long, or a recursion deep. So each is moved out of the one
    that it is in before its own turn comes.
    """
    with (
        suppress(OSError),
        tempfile.TemporaryDirectory(prefix="wasi-sockets-removed-", ignore_cleanup_errors=True) as graveyard,
    ):
        graves = count()
        pending = [f"{graveyard}/{next(graves)}"]
        os.rename(directory, pending[0])
        while pending:
            emptied = pending.pop()
            with os.scandir(emptied) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(f"{graveyard}/{next(graves)}")
                        os.rename(entry.path, pending[-1])
                    else:
                        os.unlink(entry.path)
            os.rmdir(emptied)
