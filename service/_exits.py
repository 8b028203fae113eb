"""Exit codes of the command line, and the error that carries one.

The guest's own code is passed on. What is not the guest's doing follows `env`, `timeout` and `docker run`, so that
scripts which know those know these; docs/command-line.md lists them.
"""

from __future__ import annotations

__all__ = [
    "ABORTED",
    "CANNOT_RUN",
    "FAILED",
    "NOT_FOUND",
    "SIGNALLED",
    "TIMED_OUT",
    "USAGE",
    "CommandError",
]

USAGE = 2
TIMED_OUT = 124
FAILED = 125
CANNOT_RUN = 126
NOT_FOUND = 127
SIGNALLED = 128
"""Plus the signal's number."""
ABORTED = 134
"""128 + SIGABRT: what the `wasmtime` command answers for a trap."""


class CommandError(Exception):
    """Ends the command with one line on standard error.

    Attributes:
        code: the exit code.
    """

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code
