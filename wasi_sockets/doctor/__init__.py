"""The deep self-check: whether the installed wasmtime does what this library expects, by trying it.

`python -m wasi_sockets.doctor` runs it and prints one JSON object per line; `wasi-sockets doctor` starts that in a
process of its own, since a wasmtime that broke a rule may crash where no exception can say so.
"""

from __future__ import annotations

from wasi_sockets.doctor.checks import CHECKS, CheckFailedError, Outcome, run_check

__all__ = ["CHECKS", "CheckFailedError", "Outcome", "run_check"]
