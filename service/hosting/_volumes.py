"""Directories that live as long as a workload."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Final

from service.spec import Volume

__all__ = ["Volumes"]


class Volumes:
    """The volumes of one workload: made when they are first asked for, removed with it."""

    def __init__(self) -> None:
        self._made: Final[dict[str, str]] = {}

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
            shutil.rmtree(self._made.popitem()[1], ignore_errors=True)
