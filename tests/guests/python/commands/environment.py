"""Environment variables and arguments."""

import os
import sys


def variables() -> None:
    """Print every environment variable, sorted."""
    for name, value in sorted(os.environ.items()):
        print(f"{name}={value!r}")


def arguments(*_arguments: str) -> None:
    """Print every argument after the sub-command's name."""
    for argument in sys.argv[2:]:
        print(repr(argument))
