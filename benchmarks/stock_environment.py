"""The virtual environment of the stock host: made once, from pinned packages, and made anew when the pins change."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

__all__ = ["stock_python"]

_HERE = Path(__file__).parent
_LOCK = _HERE / "stock.lock"
_DIRECTORY = _HERE.parent / "build" / "bench-stock"


def stock_python(report: Callable[[str], None]) -> Path:
    """The interpreter of the stock host's environment.

    Args:
        report: told what takes a while.

    Raises:
        subprocess.CalledProcessError: pip failed.
    """
    python = _DIRECTORY / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    mark = _DIRECTORY / "installed"
    wanted = hashlib.sha256(_LOCK.read_bytes() + sys.version.encode()).hexdigest()
    if not mark.exists() or mark.read_text() != wanted:
        report("installing the stock host")
        shutil.rmtree(_DIRECTORY, ignore_errors=True)
        venv.create(_DIRECTORY, with_pip=True)
        subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "--requirement", str(_LOCK)],
            check=True,
        )
        mark.write_text(wanted)
    return python
