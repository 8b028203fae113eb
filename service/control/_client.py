"""The other end of the control socket, for commands: blocking, without trio."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from service.control._directory import ControlDirectoryError, control_directory, socket_path

__all__ = ["ControlError", "hosts", "request"]

_CONNECT_SECONDS: Final = 2.0


class ControlError(Exception):
    """A host cannot be reached, or refuses; the text says why."""


def hosts() -> list[int]:
    """The processes of this user that run workloads and can be asked. What dead ones left behind is removed.

    Raises:
        ControlError: others may look into the directory of the control sockets, or it is not this user's.
    """
    try:
        directory = control_directory()
    except FileNotFoundError:
        return []
    except ControlDirectoryError as error:
        raise ControlError(str(error)) from error
    alive: list[int] = []
    for path in directory.glob("*.sock"):
        if not path.stem.isdecimal():
            continue
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probing:
            probing.settimeout(_CONNECT_SECONDS)
            try:
                probing.connect(os.fspath(path))
            except ConnectionRefusedError:
                with suppress(OSError):
                    path.unlink()
                continue
            except OSError:
                continue
        alive.append(int(path.stem))
    return sorted(alive)


def request(process: int, asked: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Ask one host, and give its answers as they come; closing the iterator ends the request.

    Args:
        process: one of `hosts`.
        asked: with "command", see `service.control`.

    Raises:
        ControlError: the host is gone, or refuses.
    """
    try:
        path = socket_path(control_directory(), process)
    except (FileNotFoundError, ControlDirectoryError) as error:
        raise ControlError(str(error)) from error
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connected:
        try:
            connected.settimeout(_CONNECT_SECONDS)
            connected.connect(os.fspath(path))
            connected.settimeout(None)
            connected.sendall(json.dumps(asked).encode() + b"\n")
            with connected.makefile("rb") as answers:
                for line in answers:
                    answer = json.loads(line)
                    if "error" in answer:
                        raise ControlError(str(answer["error"]))
                    if "ok" in answer:
                        return
                    yield answer
        except (OSError, ValueError) as error:
            raise ControlError(f"the host of process {process} cannot be asked: {error}") from error
    raise ControlError(f"the host of process {process} ended before it had answered")
