"""Runs checks, all or those named, and says of each that it begins and how it ended."""

from __future__ import annotations

import json
import sys

from wasi_sockets.doctor import CHECKS, run_check
from wasi_sockets.engine.self_check import FAILED_CHECKS


def main(names: list[str]) -> int:
    """0, or `FAILED_CHECKS`."""
    failed = False
    for name in names or list(CHECKS):
        print(json.dumps({"name": name}), flush=True)
        outcome = run_check(name)
        failed |= not outcome.ok
        print(json.dumps(outcome._asdict()), flush=True)
    return FAILED_CHECKS if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
