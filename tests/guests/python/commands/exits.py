"""The ways in which a guest ends."""

import os
import sys

from commands.failure import Failure


def leave(how: str = "sys", code: str = "0") -> None:
    """End by `sys` (sys.exit), `os` (os._exit), `raise` (uncaught), `failure` (error result) or `abort`.

    `sys` raises SystemExit through `run`, which componentize-py reports like any exception; it is the
    guest's `exits.py` that turns it into WASI's own exit, as the `python` program does.
    """
    print("leaving by", how, flush=True)
    if how == "sys":
        try:
            sys.exit(int(code))
        except SystemExit as request:
            sys.stdout.flush()
            os._exit(request.code if isinstance(request.code, int) else 1)
    if how == "os":
        os._exit(int(code))
    if how == "raise":
        raise RuntimeError("nobody catches this")
    if how == "abort":
        os.abort()
    if how == "failure":
        raise Failure("as asked")
    raise Failure(f"no such way to leave: {how}")
