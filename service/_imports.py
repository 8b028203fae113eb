"""Python objects that are named as MODULE:NAME: importing them, and saying why that failed."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any

__all__ = ["ImportFailedError", "import_object", "in_one_line", "with_place"]


class ImportFailedError(Exception):
    """A module or an object in it cannot be imported; the text says why, in one line."""


def import_object(named: str) -> Any:
    """What MODULE:NAME names; dots in NAME are attributes of attributes.

    Modules are looked for in the current directory and among the installed ones, as `python -m` does.

    Raises:
        ImportFailedError: there is no such thing, or importing its module failed.
    """
    if "" not in sys.path and os.getcwd() not in sys.path:  # an installed command has its own directory there
        sys.path.insert(0, os.getcwd())
    module, _, path = named.partition(":")
    try:
        target = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise _broken(module, error) from error  # something that the module itself imports
        raise ImportFailedError(
            f"there is no module {error.name!r} in {os.getcwd()} or among the installed ones"
        ) from error
    except (
        Exception,
        SystemExit,
    ) as error:  # a script that was not meant to be imported ends with sys.exit()
        raise _broken(module, error) from error
    for name in path.split("."):
        try:
            target = getattr(target, name)
        except AttributeError as error:
            raise ImportFailedError(f"{module} has no {path!r}") from error
    return target


def _broken(module: str, error: BaseException) -> ImportFailedError:
    return ImportFailedError(f"importing {module} failed: {with_place(error)}")


def in_one_line(error: BaseException) -> str:
    """An error's type and text in one line."""
    return (f"{type(error).__name__}: {error}" if str(error) else type(error).__name__).replace("\n", " ")


def with_place(error: BaseException) -> str:
    """An error in one line, with the place of the code it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) or not frames:
        return in_one_line(error)  # a syntax error tells its own place
    here = os.getcwd()
    file = frames[-1].filename
    if os.path.commonpath([here, os.path.abspath(file)]) == here:
        file = os.path.relpath(file)
    return f"{in_one_line(error)} ({file}, line {frames[-1].lineno})"
