"""Single values of workload files: ports, durations, sizes, names."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any, Final

from service.files._shapes import Scalar
from service.oci import Reference
from service.spec import NAME, check_name

__all__ = [
    "BOOLEAN",
    "IMAGE",
    "NAME_PATTERN",
    "PORT",
    "PORT_PATTERN",
    "SIZE",
    "TEXT",
    "choice",
    "duration",
    "integer",
    "name",
    "notation",
    "number",
    "object_path",
]

NAME_PATTERN: Final = f"^{NAME.pattern}$"

#: 1 to 65535, as the notations of the command line write them.
PORT_PATTERN: Final = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"

# Looser than Python's rule for identifiers, which other languages' patterns cannot say.
_OBJECT_PATTERN: Final = r"^[^\s\d:.][^\s:]*:[^\s\d:.][^\s:]*$"

_GREATEST: Final = 10**9

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)?")
_NO_TIME: Final = r"^0+(\.0+)?(ms|s|m|h)?$"

_SIZES: Final = {
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("kMGT", 1)},
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)},
}
_SIZE: Final = re.compile(rf"([0-9]{{1,12}}(?:\.[0-9]{{1,6}})?)({'|'.join(_SIZES)})?")


def _whole(text: str) -> int:
    try:
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    except ValueError:
        raise ValueError(f"{text!r} is no whole number") from None


def integer(what: str, least: int = 0, most: int | None = None) -> Scalar:
    """A whole number in a range."""

    def parse(text: str) -> int:
        found = _whole(text)
        if found < least or (most is not None and found > most):
            limits = f"at least {least}" if most is None else f"{least} to {most}"
            raise ValueError(f"{text} is no {what} ({limits})")
        return found

    json: dict[str, Any] = {"type": "integer", "minimum": least}
    if most is not None:
        json["maximum"] = most
    return Scalar(f"a {what}", json, ("number",), parse)


def _parse_port(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:6]) <= 65535:
        raise ValueError(f"{text!r} is no port (1 to 65535)")
    return int(text)


PORT: Final = Scalar(
    "a port (1 to 65535)",
    {"type": "integer", "minimum": 1, "maximum": 65535},
    ("number",),
    _parse_port,
    wrong="{} is no port (1 to 65535)",
)


def number(what: str, least: float, most: float) -> Scalar:
    """A number in a range, both ends included."""

    def parse(text: str) -> float:
        found = float(_whole(text)) if text[:2] in ("0o", "0x") else float(text)
        if not least <= found <= most:
            raise ValueError(f"{text} is no {what} ({least:g} to {most:g})")
        return found

    return Scalar(f"a {what}", {"type": "number", "minimum": least, "maximum": most}, ("number",), parse)


def duration(*, zero: bool = False) -> Scalar:
    """Seconds, as 1.5 or "500ms", "2s", "1m", "1h"."""

    def parse(text: str) -> float:
        found = _DURATION.fullmatch(text)
        if found is not None:
            seconds = float(found[1]) * _UNITS[found[2] or "s"]
        else:
            try:
                seconds = float(text)
            except ValueError:
                raise ValueError(
                    f"{text!r} is no duration: write seconds, or as in 500ms, 2s, 1m, 1h"
                ) from None
            if not seconds <= _GREATEST:
                raise ValueError(f"{text!r} is longer than {_GREATEST} seconds")
        if seconds < 0 or (seconds == 0 and not zero):
            raise ValueError(f"{text!r}: a duration here is {'not negative' if zero else 'above 0'}")
        return seconds

    text: dict[str, Any] = {"type": "string", "pattern": f"^{_DURATION.pattern}$"}
    seconds: dict[str, Any] = {"type": "number", "maximum": _GREATEST}
    if zero:
        seconds["minimum"] = 0
    else:
        seconds["exclusiveMinimum"] = 0
        text["not"] = {"pattern": _NO_TIME}
    return Scalar("a duration", {"anyOf": [seconds, text]}, ("number", "text"), parse)


def _parse_size(text: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text!r} is no size: write bytes, or as in 64MiB (B, kB, MB, GB, TB, KiB, MiB, GiB, TiB)"
        )
    return int(float(found[1]) * _SIZES[found[2] or "B"])


SIZE: Final = Scalar(
    "a size",
    {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": f"^{_SIZE.pattern}$"}]},
    ("number", "text"),
    _parse_size,
)

TEXT: Final = Scalar("text", {"type": "string"})

BOOLEAN: Final = Scalar(
    "true or false", {"type": "boolean"}, ("boolean",), lambda text: text.lower() == "true"
)


def choice(*values: str) -> Scalar:
    """One of some words."""
    expected = f"{', '.join(values[:-1])} or {values[-1]}"

    def parse(text: str) -> str:
        if text not in values:
            raise ValueError(f"expected {expected}, not {text!r}")
        return text

    return Scalar(expected, {"enum": list(values)}, parse=parse)


def name(what: str) -> Scalar:
    """A name of a workload, a service..."""

    def parse(text: str) -> str:
        check_name(what, text)
        return text

    return Scalar("text", {"type": "string", "pattern": NAME_PATTERN}, parse=parse)


def _parse_image(text: str) -> str:
    Reference.parse(text)
    return text


IMAGE: Final = Scalar(
    "an OCI reference",
    {"type": "string", "pattern": r"^[^\s@]+(@sha256:[0-9a-f]{64})?$"},
    parse=_parse_image,
)


def object_path(what: str, build: Callable[[str], Any]) -> Scalar:
    """MODULE:NAME; nothing is imported."""

    return Scalar(f"{what}, as MODULE:NAME", {"type": "string", "pattern": _OBJECT_PATTERN}, parse=build)


def notation(read: Callable[[str], Any], expected: str, pattern: str, *, port: bool = False) -> Scalar:
    """What the command line has an option for.

    Args:
        read: raises argparse.ArgumentTypeError.
        expected: the form, for messages.
        pattern: for the schema; may take more than `read` does, never less.
        port: whether a bare port, a number, is taken as well.
    """

    def parse(text: str) -> Any:
        try:
            return read(text)
        except argparse.ArgumentTypeError as error:
            raise ValueError(str(error)) from None

    json: dict[str, Any] = {"type": "string", "pattern": pattern}
    if port:
        json = {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, json]}
    return Scalar(expected, json, ("text", "number") if port else ("text",), parse)
