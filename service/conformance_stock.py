"""The reference of `wasi-sockets conformance`: a Python with wasmtime 47.0.1, installed when it is asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from service._exits import FAILED, CommandError
from service._terminal import say

__all__ = ["STOCK_VERSION", "stock_python"]

#: The last whose package still gives components the machine's network: later ones deny it without a switch.
STOCK_VERSION = "47.0.1"


def stock_python(directory: Path) -> Path:
    """An interpreter that has the stock wasmtime.

    Args:
        directory: its virtual environment, made when it is not there or not complete.

    Raises:
        CommandError: it cannot be made, such as without a package index.
    """
    python = directory / "bin" / "python"
    if _version(python) == STOCK_VERSION:
        return python
    say(f"installing wasmtime {STOCK_VERSION} in {directory}")
    try:
        _run(sys.executable, "-m", "venv", str(directory))
        _run(
            *(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            f"wasmtime=={STOCK_VERSION}",
        )
    except (OSError, subprocess.CalledProcessError) as error:
        output = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
        last = (output.strip().splitlines() or ["no reason given"])[-1]
        raise CommandError(
            f"the stock host needs wasmtime {STOCK_VERSION}, and it could not be installed in {directory}: {last}."
            " Leave --host stock out, or install it there by hand.",
            FAILED,
        ) from error
    return python


def _version(python: Path) -> str:
    code = "import importlib.metadata as m; print(m.version('wasmtime'))"
    try:
        return subprocess.run(
            [str(python), "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _run(*command: str) -> None:
    subprocess.run(command, capture_output=True, text=True, check=True)
