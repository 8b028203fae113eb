"""What may stand in a workload file: shapes that read a value, and that say the same as JSON Schema.

One table of shapes is the reader and the schema, so that an editor and the command agree.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from service.files._findings import Findings
from service.files._yaml import Item, Kind

__all__ = ["INVALID", "Either", "Field", "ListOf", "MapOf", "Reading", "Record", "Scalar", "Shape"]

Schema = dict[str, Any]


class _Invalid:
    """What a shape gives when it has told of a problem."""

    def __repr__(self) -> str:
        return "INVALID"


INVALID: Final = _Invalid()

_ARTICLES: Final[dict[Kind, str]] = {
    "mapping": "a mapping",
    "list": "a list",
    "text": "text",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
}


@dataclass(frozen=True)
class Reading:
    """What is needed to read one file.

    Attributes:
        findings: where problems and notes go.
        directory: what relative paths are relative to.
        environment: variables that the file may name.
        unset_is_problem: whether a variable that is not set is a problem, or a note.
        look: whether files and directories have to be there.
    """

    findings: Findings
    directory: str
    environment: Mapping[str, str] = field(default_factory=dict)
    unset_is_problem: bool = True
    look: bool = True

    def problem(self, item: Item, where: str, text: str) -> _Invalid:
        """Tell of a problem."""
        self.findings.problem(item.line, where, text)
        return INVALID

    def path(self, text: str) -> str:
        """An absolute path for one that stands in the file."""
        return os.path.abspath(os.path.join(self.directory, os.path.expanduser(text)))


class Shape(Protocol):
    """Reads values of one form."""

    def read(self, item: Item, where: str, reading: Reading) -> Any:
        """The value; INVALID when it has none, which has then been told."""

    def schema(self) -> Schema:
        """JSON Schema for it."""


def _shown(item: Item) -> str:
    if item.kind in ("number", "boolean", "text"):
        return repr(item.text) if len(item.text) <= 60 else f"{item.text[:60]!r}..."
    return _ARTICLES[item.kind]


def _wrong_kind(item: Item, where: str, reading: Reading, expected: str) -> _Invalid:
    hint = "; write it in quotes" if expected == "text" and item.kind in ("number", "boolean") else ""
    return reading.problem(item, where, f"expected {expected}, not {_shown(item)}{hint}")


@dataclass(frozen=True)
class Scalar:
    """A single value.

    Attributes:
        expected: what it is, for messages.
        json: JSON Schema for it.
        kinds: of scalars that are taken.
        parse: from the text as it was written; raises ValueError.
        wrong: message for other kinds, with {} for the value.
    """

    expected: str
    json: Schema
    kinds: tuple[Kind, ...] = ("text",)
    parse: Callable[[str], Any] = str
    wrong: str = ""

    def read(self, item: Item, where: str, reading: Reading) -> Any:
        if item.kind not in self.kinds:
            if self.wrong:
                return reading.problem(item, where, self.wrong.format(_shown(item)))
            return _wrong_kind(item, where, reading, self.expected)
        try:
            return self.parse(item.text)
        except ValueError as error:
            return reading.problem(item, where, str(error))

    def schema(self) -> Schema:
        return dict(self.json)


@dataclass(frozen=True)
class ListOf:
    """A list of values of one shape; read as a tuple.

    Attributes:
        of: the values.
        unique: whether each may be there only once; then the values can be hashed.
    """

    of: Shape
    unique: bool = False

    def read(self, item: Item, where: str, reading: Reading) -> Any:
        if item.kind != "list":
            return _wrong_kind(item, where, reading, "a list")
        found = [self.of.read(each, f"{where}[{index}]", reading) for index, each in enumerate(item.items)]
        if INVALID in found:
            return INVALID
        seen = set()
        for index, each in enumerate(found if self.unique else ()):
            if each in seen:
                return reading.problem(item.items[index], where, f"{each} is there twice")
            seen.add(each)
        return tuple(found)

    def schema(self) -> Schema:
        made: Schema = {"type": "array", "items": self.of.schema()}
        if self.unique:
            made["uniqueItems"] = True
        return made


@dataclass(frozen=True)
class MapOf:
    """A mapping whose keys are the user's; read as a dictionary.

    Attributes:
        of: the values.
        check_key: raises ValueError for a key that cannot be.
        key_pattern: the same for the schema.
    """

    of: Shape
    check_key: Callable[[str], object] | None = None
    key_pattern: str = ""

    def read(self, item: Item, where: str, reading: Reading) -> Any:
        if item.kind != "mapping":
            return _wrong_kind(item, where, reading, "a mapping")
        found: dict[str, Any] = {}
        good = True
        for key, (line, value) in item.entries.items():
            if self.check_key is not None:
                try:
                    self.check_key(key)
                except ValueError as error:
                    reading.findings.problem(line, where, str(error))
                    good = False
            # The key's line is the better one where a value goes on for several.
            found[key] = self.of.read(value, f"{where}.{key}", reading)
        return found if good and INVALID not in found.values() else INVALID

    def schema(self) -> Schema:
        made: Schema = {"type": "object", "additionalProperties": self.of.schema()}
        if self.key_pattern:
            made["propertyNames"] = {"pattern": self.key_pattern}
        return made


@dataclass(frozen=True)
class Either:
    """Values of several forms, told apart by their kind."""

    by_kind: Mapping[Kind, Shape]
    expected: str

    def read(self, item: Item, where: str, reading: Reading) -> Any:
        shape = self.by_kind.get(item.kind)
        if shape is None:
            return _wrong_kind(item, where, reading, self.expected)
        return shape.read(item, where, reading)

    def schema(self) -> Schema:
        different: list[Shape] = []
        for shape in self.by_kind.values():
            if shape not in different:
                different.append(shape)
        return {"anyOf": [shape.schema() for shape in different]}


@dataclass(frozen=True)
class Field:
    """One entry of a `Record`.

    Attributes:
        shape: its value.
        says: what it is for, in the schema.
        required: whether it must be there.
    """

    shape: Shape
    says: str = ""
    required: bool = False


Build = Callable[[dict[str, Any], Item, str, Reading], Any]


@dataclass(frozen=True)
class Record:
    """A mapping with known keys.

    Attributes:
        what: it is, for messages.
        fields: by key.
        build: makes the value of what the fields gave, those that are there; may raise ValueError.
        unknown: what becomes of other keys.
        extra: schema that goes beyond the fields; what it says must be in `check` as well.
        check: looks at which fields are there; tells of problems, also when some field is INVALID.
        free_prefix: keys that begin so may hold anything.
    """

    what: str
    fields: Mapping[str, Field]
    build: Build = lambda values, item, where, reading: values
    unknown: Literal["problem", "note"] = "problem"
    extra: Mapping[str, Any] = field(default_factory=dict)
    check: Callable[[Item, str, Reading], bool] | None = None
    free_prefix: str = ""

    def read(self, item: Item, where: str, reading: Reading) -> Any:
        if item.kind != "mapping":
            return _wrong_kind(item, where, reading, f"{self.what}, a mapping")
        good = True
        values: dict[str, Any] = {}
        for key, (line, value) in item.entries.items():
            if self.free_prefix and key.startswith(self.free_prefix):
                continue
            at = f"{where}.{key}" if where else key
            known = self.fields.get(key)
            if known is None:
                good = self._tell_unknown(key, line, where, reading) and good
                continue
            if self.unknown == "note" and value.kind == "null":
                continue  # For Kubernetes, whose objects these are, that is the same as no such key.
            values[key] = known.shape.read(value, at, reading)
            good = good and values[key] is not INVALID
        for key, known in self.fields.items():
            if known.required and key not in values:
                reading.problem(item, where, f"{self.what} needs {key!r}")
                good = False
        if self.check is not None:
            good = self.check(item, where, reading) and good
        if not good:
            return INVALID
        try:
            return self.build(values, item, where, reading)
        except ValueError as error:
            return reading.problem(item, where, str(error))

    def _tell_unknown(self, key: str, line: int, where: str, reading: Reading) -> bool:
        at = f"{where}.{key}" if where else key
        if self.unknown == "note":
            reading.findings.note(line, at, "ignored: unknown here")
            return True
        close = difflib.get_close_matches(key, self.fields, 1, 0.6)
        hint = f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(self.fields)}"
        reading.findings.problem(line, where, f"unknown key {key!r} in {self.what}{hint}")
        return False

    def schema(self) -> Schema:
        made: Schema = {"type": "object", "properties": {}, "additionalProperties": self.unknown == "note"}
        for key, known in self.fields.items():
            made["properties"][key] = known.shape.schema()
            if known.says:
                made["properties"][key]["description"] = known.says
        if self.free_prefix:
            made["patternProperties"] = {f"^{self.free_prefix}": True}
        required: Sequence[str] = [key for key, known in self.fields.items() if known.required]
        if required:
            made["required"] = required
        made.update(self.extra)
        return made
