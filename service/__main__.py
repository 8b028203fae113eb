"""`python -m service`: the command `wasi-sockets`."""

from __future__ import annotations

import sys

from service.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
