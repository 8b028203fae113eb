"""Python objects that are named as MODULE:NAME: importing them, and saying why that failed."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any, Final

__all__ = ["ImportFailedError", "import_object", "in_one_line", "with_place"]


_OWN: Final = frozenset({"service", "wasi_sockets"})


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
            f"there is no module {error.name!r} in {os.getcwd()} or among the installed ones{_taken(module)}"
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
            raise ImportFailedError(f"{module} ({_place(module)}) has no {path!r}{_taken(module)}") from error
    return target


def _place(module: str) -> str:
    """Where a module, which has been imported, came from."""
    found = sys.modules[module]
    places = [getattr(found, "__file__", None), *getattr(found, "__path__", ())]
    return next((_below_here(each) for each in places if each), "built in")


def _taken(module: str) -> str:
    """What to do when a module was to be found that has the name of one of this project's."""
    package = module.partition(".")[0]
    if package not in _OWN:
        return ""
    return (
        f"; {package!r} is a package of wasi-sockets itself, and hides whatever else is called so:"
        " give your module or folder another name"
    )


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
    return f"{in_one_line(error)} ({_below_here(frames[-1].filename)}, line {frames[-1].lineno})"


def _below_here(file: str) -> str:
    """A file's shortest name."""
    here = os.getcwd()
    return os.path.relpath(file) if os.path.commonpath([here, os.path.abspath(file)]) == here else file
