"""What the options of the command line mean: text in, plain values out, nothing imported or opened yet."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from service._guest_text import guest_text
from service._notations import address_of, port_of, wrong

__all__ = [
    "ServiceOption",
    "directory",
    "environment",
    "grace",
    "mebibytes",
    "part_of_a_core",
    "pull_secret",
    "seconds",
    "service_option",
]

_LOOPBACK = ("127.0.0.1", "::1")
_OBJECT = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<path>[^\W\d]\w*(\.[^\W\d]\w*)*)")


@dataclass(frozen=True, slots=True)
class ServiceOption:
    """One `--service`.

    Attributes:
        text: as it was given, for messages.
        hosts: addresses of the network to listen on.
        port: in 1..65535.
        kind: what answers there.
        module: where the object is imported from; "" for "echo".
        path: the object's name in the module, with dots for attributes of attributes; "" for "echo".
    """

    text: str
    hosts: tuple[str, ...]
    port: int
    kind: Literal["echo", "handler", "asgi"]
    module: str = ""
    path: str = ""


def service_option(text: str) -> ServiceOption:
    """Reads `[ADDRESS:]PORT=echo`, `...=MODULE:CALLABLE` or `...=asgi:MODULE:APP`.

    Raises:
        argparse.ArgumentTypeError: it is none of these; the message says what is wrong.
    """
    where, equals, what = text.partition("=")
    if not equals or not what:
        raise wrong(text, "expected [ADDRESS:]PORT=echo, =MODULE:CALLABLE or =asgi:MODULE:APP")
    hosts, port = _endpoint(text, where)
    if what == "echo":
        return ServiceOption(text, hosts, port, "echo")
    is_asgi = what.startswith("asgi:")
    found = _OBJECT.fullmatch(what.removeprefix("asgi:"))
    if found is None:
        raise wrong(text, f"{what!r} is neither 'echo' nor MODULE:CALLABLE nor asgi:MODULE:APP")
    return ServiceOption(text, hosts, port, "asgi" if is_asgi else "handler", found["module"], found["path"])


def _endpoint(text: str, where: str) -> tuple[tuple[str, ...], int]:
    host, colon, digits = where.rpartition(":")
    port = port_of(text, digits)
    if not colon or host == "localhost":
        return _LOOPBACK, port
    return (str(address_of(text, host)),), port


def directory(text: str) -> tuple[str, str]:
    """Reads `HOST[::GUEST]` into (path for the guest, directory here).

    Raises:
        argparse.ArgumentTypeError: there is no such directory.
    """
    here, separator, there = text.partition("::")
    if not os.path.isdir(here):
        raise wrong(text, f"{here!r} is not a directory")
    if separator and not there:
        raise wrong(text, "nothing after '::'; expected HOST::GUEST")
    guest_text(text, here)  # which the guest's runtime opens
    return guest_text(text, there if separator else here), here


def pull_secret(text: str) -> tuple[str, str]:
    """Reads `NAME=FILE` into (name, path of a file like Docker's config.json).

    Raises:
        argparse.ArgumentTypeError: there is no such file.
    """
    name, equals, path = text.partition("=")
    if not equals or not name:
        raise wrong(text, "expected NAME=FILE")
    if not os.path.isfile(path):
        raise wrong(text, f"{path!r} is not a file")
    return name, os.path.abspath(path)


def environment(options: Sequence[str], own: Mapping[str, str]) -> dict[str, str]:
    """The guest's environment from all `--env`: `NAME=VALUE`, or `NAME` to pass on this process's value if it has one.

    Raises:
        argparse.ArgumentTypeError: an empty name, or what is not UTF-8.
    """
    made: dict[str, str] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not name:
            raise wrong(option, "expected NAME=VALUE or NAME")
        if not equals and name not in own:
            continue
        made[guest_text(option, name)] = guest_text(option, value if equals else own[name])
    return made


def grace(text: str) -> float:
    """A finite number of seconds, 0 for at once.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    number = _number(text)
    if not 0 <= number < float("inf"):
        raise wrong(text, "expected a number of seconds, 0 for at once")
    return number


def seconds(text: str) -> float:
    """A positive, finite number of seconds.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    number = _number(text)
    if not 0 < number < float("inf"):
        raise wrong(text, "expected a positive number of seconds")
    return number


def mebibytes(text: str) -> int:
    """A number of MiB, from 1 to 4096, as bytes.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:8]) <= 4096:
        raise wrong(text, "a number of MiB, from 1 to 4096, is expected")
    return int(text) << 20


def part_of_a_core(text: str) -> float:
    """A part of one processor core, above 0 and at most 1.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    part = _number(text)
    if not 0 < part <= 1:
        raise wrong(text, "a part of one processor core is expected, above 0 and at most 1")
    return part


def _number(text: str) -> float:
    """NaN, which no bounds admit, for what is none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")
