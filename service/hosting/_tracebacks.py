"""Tracebacks of services' own code, without the frames of what runs it."""

from __future__ import annotations

import os
import traceback
from typing import Final

import wasi_sockets

__all__ = ["lines_of"]

_SERVICE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_OWN: Final = tuple(os.path.join(each, "") for each in (_SERVICE, wasi_sockets.__path__[0]))
_EXAMPLES: Final = os.path.join(_OWN[0], "examples", "")
_SERVER: Final = f"{os.sep}hypercorn{os.sep}"


def lines_of(error: BaseException) -> list[str]:
    """What `traceback.format_exception` gives, in lines.

    The frames that lead to the service's code are left out; for an OSError, whose text says it all, also those of this
    project that it came from. Where no other are there, all stay.
    """
    told = traceback.TracebackException.from_exception(error)
    _strip(told, isinstance(error, OSError))
    return "".join(told.format()).rstrip().splitlines()


def _strip(told: traceback.TracebackException, to_the_end: bool) -> None:
    frames = list(told.stack)
    foreign = [index for index, frame in enumerate(frames) if not _is_ours(frame.filename)]
    if foreign:
        end = foreign[-1] + 1 if to_the_end else len(frames)
        told.stack[:] = frames[foreign[0] : end]
    for other in (told.__cause__, told.__context__, *(told.exceptions or ())):
        if other is not None:
            _strip(other, False)


def _is_ours(file: str) -> bool:
    path = os.path.abspath(file)
    return (path.startswith(_OWN) and not path.startswith(_EXAMPLES)) or _SERVER in path
