"""What runs: the entries that services and components of a workload file have in common."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import os
import re
import types
import typing
from typing import Any, Final

from service._guest_text import guest_text
from service.files._scalars import (
    BOOLEAN,
    IMAGE,
    SIZE,
    TEXT,
    choice,
    duration,
    integer,
    name,
    number,
    object_path,
)
from service.files._shapes import INVALID, Either, Field, ListOf, MapOf, Reading, Record, Scalar, Shape
from service.files._yaml import Item
from service.spec import AsgiCode, Code, ComponentCode, HandlerCode, TaskCode, Volume
from wasi_sockets import Limits

__all__ = [
    "COMPONENT_FIELDS",
    "COMPONENT_KINDS",
    "LIMITS",
    "PYTHON_FIELDS",
    "PYTHON_KINDS",
    "build_code",
    "one_of",
]

COMPONENT_KINDS: Final = ("component", "image")
PYTHON_KINDS: Final = ("handler", "asgi", "task")


class _EnvironmentShape:
    """A mapping of variables; a value may come from the environment of whoever reads the file."""

    _FROM: Final = Record(
        "a value from the environment",
        {
            "from": Field(
                Scalar(
                    "a variable", {"type": "string", "pattern": "^[^=]+$"}, parse=lambda text: _variable(text)
                ),
                "A variable of the environment in which the file is read.",
                required=True,
            ),
            "default": Field(TEXT, "What it is where that variable is not set; else it must be."),
        },
    )
    _VALUE: Final = Either(
        {
            "text": Scalar("text", {"type": ["string", "number"]}, ("text", "number")),
            "number": Scalar("text", {"type": ["string", "number"]}, ("text", "number")),
            "mapping": _FROM,
        },
        "text",
    )
    _ALL: Final = MapOf(_VALUE, lambda key: _variable(key), "^[^=]+$")

    def read(self, item: Item, where: str, reading: Reading) -> Any:
        found = self._ALL.read(item, where, reading)
        if found is INVALID:
            return INVALID
        made: dict[str, str] = {}
        for key, value in found.items():
            if isinstance(value, str):
                made[key] = value
                continue
            variable = value["from"]
            if variable in reading.environment:
                try:
                    made[key] = guest_text(f"${variable}", reading.environment[variable])
                except argparse.ArgumentTypeError as error:
                    reading.problem(item.entries[key][1], f"{where}.{key}", str(error))
            elif "default" in value:
                made[key] = value["default"]
            else:
                line = item.entries[key][1].line
                tell = reading.findings.problem if reading.unset_is_problem else reading.findings.note
                tell(line, f"{where}.{key}", f"${variable} is not set here, and there is no 'default'")
        return made

    def schema(self) -> dict[str, Any]:
        return self._ALL.schema()


def _variable(text: str) -> str:
    if not text or "=" in text or "\0" in text:
        raise ValueError(f"{text!r} is no name of a variable")
    return text


class _DirectoriesShape:
    """A list of HOST[::GUEST][:ro], or a mapping of the guest's paths; read as (directories, read_only)."""

    _HOST: Final = Scalar(
        "a directory", {"type": "string", "minLength": 1}, parse=lambda text: _not_empty(text)
    )
    _MOUNT: Final = Record(
        "a directory",
        {
            "path": Field(_HOST, "A directory of this machine."),
            "volume": Field(
                name("volume"),
                "Instead of a path: a directory that is empty at the start and removed with the workload.",
            ),
            "read-only": Field(BOOLEAN, "Whether the guest may only read there."),
        },
        extra={"oneOf": [{"required": ["path"]}, {"required": ["volume"]}]},
        check=lambda item, where, reading: one_of(item, where, reading, ("path", "volume"), "a directory"),
    )
    _SHAPE: Final = Either(
        {
            "list": ListOf(
                Scalar(
                    "HOST[::GUEST][:ro]",
                    {"type": "string", "pattern": "^(?!:)(?!.*::(:ro)?$)."},
                    parse=lambda text: _mount(text),
                )
            ),
            "mapping": MapOf(
                Either({"text": _HOST, "mapping": _MOUNT}, "a directory"), lambda key: _not_empty(key), "."
            ),
        },
        "a list of HOST[::GUEST][:ro], or a mapping",
    )

    def read(self, item: Item, where: str, reading: Reading) -> Any:
        found = self._SHAPE.read(item, where, reading)
        if found is INVALID:
            return INVALID
        directories: dict[str, str | os.PathLike[str] | Volume] = {}
        read_only: set[str] = set()
        if isinstance(found, tuple):
            mounts = [
                (guest, {"path": host, "read-only": ro}, each.line)
                for (guest, host, ro), each in zip(found, item.items, strict=True)
            ]
        else:
            mounts = [
                (guest, {"path": mount} if isinstance(mount, str) else mount, item.entries[guest][0])
                for guest, mount in found.items()
            ]
        good = True
        for guest, mount, line in mounts:
            if guest in directories:
                reading.findings.problem(line, where, f"the guest's {guest!r} is there twice")
                good = False
            if mount.get("read-only"):
                read_only.add(guest)
            if "volume" in mount:
                directories[guest] = Volume(mount["volume"])
                continue
            path = reading.path(mount["path"])
            if reading.look and not os.path.isdir(path):
                reading.findings.problem(line, where, f"{path!r} is not a directory")
                good = False
            directories[guest] = path
        return (directories, frozenset(read_only)) if good else INVALID

    def schema(self) -> dict[str, Any]:
        return self._SHAPE.schema()


def _not_empty(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError(f"{text!r} is no path")
    return text


def _mount(text: str) -> tuple[str, str, bool]:
    read_only = text.endswith(":ro")
    host, separator, guest = text.removesuffix(":ro").partition("::")
    if not host or (separator and not guest):
        raise ValueError(f"{text!r}: expected HOST[::GUEST][:ro]")
    return _not_empty(guest or host), _not_empty(host), read_only


def one_of(item: Item, where: str, reading: Reading, keys: tuple[str, ...], what: str) -> bool:
    there = [key for key in keys if key in item.entries]
    if len(there) == 1:
        return True
    listed = f"{', '.join(keys[:-1])} or {keys[-1]}"
    if there:
        reading.problem(item, where, f"{what} has only one of {listed}, not {' and '.join(there)}")
    else:
        reading.problem(item, where, f"{what} needs one of {listed}")
    return False


#: Limits that are sizes without saying so in their names.
_IN_BYTES: Final = ("memory", "buffered")


def _limit_shape(key: str, hint: Any) -> Shape | None:
    """The shape of one field of `Limits`, by its type and what it measures."""
    kinds = set(typing.get_args(hint)) - {types.NoneType} if isinstance(hint, types.UnionType) else {hint}
    if kinds == {bool}:
        return BOOLEAN
    if kinds == {int}:
        return SIZE if key in _IN_BYTES or "bytes" in key else integer("number")
    if kinds <= {int, float}:
        timed = ("lifetime", "timeout", "seconds", "period", "duration")
        return duration() if any(word in key for word in timed) else number("number", 0, 1e12)
    return None


def _limits_record() -> Record:
    hints = typing.get_type_hints(Limits)
    fields: dict[str, Field] = {}
    for each in dataclasses.fields(Limits):
        shape = _limit_shape(each.name, hints[each.name])
        if shape is not None:
            fields[each.name.replace("_", "-")] = Field(shape, _documented(Limits, each.name))
    return Record("limits", fields, _build_limits)


def _documented(kind: type, attribute: str) -> str:
    """What a class's docstring says of an attribute, in one line; "" where docstrings are left out."""
    text = inspect.getdoc(kind) or ""
    found = re.search(rf"^    {attribute}: (.*(?:\n     +.*)*)", text, re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


def _build_limits(values: dict[str, Any], item: Item, where: str, reading: Reading) -> Any:
    given = {key.replace("-", "_"): value for key, value in values.items()}
    good = True
    for key, value in given.items():
        try:
            Limits(**{key: value})
        except (ValueError, TypeError) as error:
            written = key.replace("_", "-")
            reading.problem(item.entries[written][1], f"{where}.{written}", str(error))
            good = False
    return Limits(**given) if good else INVALID


LIMITS: Final = _limits_record()

_ARGUMENT: Final = Scalar("text", {"type": ["string", "number"]}, ("text", "number"))

COMPONENT_FIELDS: Final = {
    "component": Field(
        Scalar("a file", {"type": "string", "minLength": 1}, parse=_not_empty),
        "File of a component, relative to this file.",
    ),
    "image": Field(IMAGE, "OCI reference of a component, such as registry.example.com/shop/tasks:1.2."),
    "pull": Field(
        choice("always", "if-not-present", "never"), "When the image is looked for in its registry."
    ),
    "pull-secret": Field(TEXT, "Name of the credentials for the registry."),
    "arguments": Field(ListOf(_ARGUMENT), "Arguments, after the component's own name."),
    "environment": Field(_EnvironmentShape(), "Variables. The component sees no others."),
    "directories": Field(_DirectoriesShape(), "Directories that the component may use."),
    "http": Field(
        choice("deny", "stock"),
        "What becomes of its requests through wasi:http; 'stock' goes around every policy.",
    ),
    "thread": Field(BOOLEAN, "Whether it runs in a thread of its own: for guests with calls that block."),
    "limits": Field(LIMITS, "What it may have at most."),
}

PYTHON_FIELDS: Final = {
    "handler": Field(
        object_path("a handler", HandlerCode),
        "Async Python function, called with each connection to `ports`.",
    ),
    "asgi": Field(object_path("an ASGI application", AsgiCode), "ASGI application, served at `ports`."),
    "task": Field(
        object_path("a task", TaskCode), "Async Python function that lives as long as the service."
    ),
}


def build_code(values: dict[str, Any], item: Item, where: str, reading: Reading) -> Code | None:
    """What a service or component runs; None when a problem has been told."""
    for kind in PYTHON_KINDS:
        if kind in values:
            made: Code = values[kind]
            return made
    directories, read_only = values.get("directories", ({}, frozenset()))
    source = values.get("component")
    if source is not None:
        source = reading.path(source)
        wrong = _file_problem(source) if reading.look else ""
        if wrong:
            reading.problem(item.entries["component"][1], f"{where}.component", wrong)
            return None
    return ComponentCode(
        source=source,
        image=values.get("image"),
        pull=values.get("pull", "if-not-present"),
        pull_secret=values.get("pull-secret", ""),
        arguments=values.get("arguments", ()),
        environment=values.get("environment", {}),
        directories=directories,
        read_only=read_only,
        call=values.get("call"),
        http=values.get("http", "deny"),
        thread=values.get("thread", False),
    )


def _file_problem(path: str) -> str:
    """Why a file cannot be loaded, as far as that can be seen without opening it; "" if it may."""
    if os.path.isdir(path):
        return f"{path!r} is a directory, and a component is a file"
    if not os.path.isfile(path):
        return f"there is no file {path!r}" if not os.path.exists(path) else f"{path!r} is no ordinary file"
    if not os.access(path, os.R_OK):
        return f"{path!r} cannot be read: permission denied"
    return ""
