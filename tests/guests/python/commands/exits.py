"""The ways in which a guest ends."""

import os
import sys

from commands.failure import Failure


def leave(how: str = "sys", code: str = "0") -> None:
    """End by `sys` (sys.exit), `os` (os._exit), `raise` (uncaught), `failure` (error result) or `abort`.

    componentize-py lets SystemExit trap like any other exception, so `sys` does what the `python` program
    does with it. WASI 0.2 passes on only whether the code was 0: any other arrives at the host as 1.
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
