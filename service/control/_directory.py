"""Where the control sockets of this user's hosts are."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import Final

__all__ = ["VARIABLE", "ControlDirectoryError", "control_directory", "socket_path"]

VARIABLE: Final = "WASI_SOCKETS_CONTROL"

# The most that fits into `sockaddr_un.sun_path` everywhere, with its end.
_MAX_PATH: Final = 103


class ControlDirectoryError(Exception):
    """The directory cannot be used; the text says why, and what to do."""


def control_directory(*, create: bool = False) -> Path:
    """The directory: `$WASI_SOCKETS_CONTROL`, else `wasi-sockets` in `$XDG_RUNTIME_DIR`, else one in the temporary one.

    Args:
        create: make it where it does not exist.

    Raises:
        ControlDirectoryError: it is somebody else's, others may look into it, or it cannot be made.
        FileNotFoundError: it does not exist.
    """
    path = _path()
    if create:
        try:
            path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ControlDirectoryError(
                f"{path}: {error.strerror}; name another directory in {VARIABLE}"
            ) from error
    try:
        found = path.lstat()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ControlDirectoryError(
            f"{path}: {error.strerror}; name another directory in {VARIABLE}"
        ) from error
    if not stat.S_ISDIR(found.st_mode):
        raise ControlDirectoryError(f"{path} is no directory; name another one in {VARIABLE}")
    if found.st_uid != os.geteuid():
        raise ControlDirectoryError(f"{path} is not yours; name another directory in {VARIABLE}")
    if found.st_mode & 0o077:
        raise ControlDirectoryError(f"others may look into {path}; do: chmod 700 {path}")
    return path


def socket_path(directory: Path, process: int) -> Path:
    """Where the host of a process listens.

    Raises:
        ControlDirectoryError: the path is longer than those of Unix sockets can be.
    """
    path = directory / f"{process}.sock"
    if len(os.fsencode(path)) > _MAX_PATH:
        raise ControlDirectoryError(
            f"{path} is too long for a Unix socket ({_MAX_PATH} bytes); name a shorter directory in {VARIABLE}"
        )
    return path


def _path() -> Path:
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isdir(runtime):
        return Path(runtime) / "wasi-sockets"
    return Path(tempfile.gettempdir()) / f"wasi-sockets-{os.geteuid()}"
