"""Where the command `wasi-sockets`, which is also `python -m service`, begins: Ctrl-C is heard before anything loads.

Loading an engine takes most of a second. Whoever thinks better of it meanwhile wants the prompt, not the names of the
modules that were being imported. So nothing but the standard library is imported above.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType

__all__ = ["main"]

_INTERRUPTED = 128 + signal.SIGINT


def main() -> int:
    """The command, with the arguments of this process.

    Returns:
        The exit code.

    Raises:
        SystemExit: for wrong options, --help and --version, as argparse does.
    """
    # A shell's background jobs are not to hear it, and what embeds Python may have a handler of its own.
    listens = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    try:
        with suppress(ValueError):  # this is another thread
            if listens:
                signal.signal(signal.SIGINT, _leave)
        from service.cli import main as command

        with suppress(ValueError):
            if listens:
                signal.signal(signal.SIGINT, signal.default_int_handler)
        return command()
    except KeyboardInterrupt:
        return _INTERRUPTED


def _leave(_number: int, _frame: FrameType | None) -> None:
    # No exception: modules that are being imported catch some, and native ones make others of them. There is nothing
    # yet that would have to be finished.
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
