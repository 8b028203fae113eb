"""YAML text into trees that know their lines.

Made from the parser's events and not from its objects: those have lost lines, doubled keys and how a number was
written, follow YAML 1.1 (`8080:22` is a number there, `on` is true), and grow without bound where a few lines of
anchors name each other. Here plain scalars mean what YAML 1.2's core schema says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NoReturn

from service.files._findings import Findings

__all__ = ["MAX_BYTES", "Item", "Kind", "documents"]

#: No workload file comes near it; what does is something else.
MAX_BYTES: Final = 1 << 20

_MAX_DEPTH: Final = 32
_MAX_ITEMS: Final = 50_000

Kind = Literal["mapping", "list", "text", "number", "boolean", "null"]

_NULL: Final = ("", "~", "null", "Null", "NULL")
_TRUE: Final = ("true", "True", "TRUE")
_FALSE: Final = ("false", "False", "FALSE")
# More digits than any number here has: they stay text.
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,30}")
_BASED: Final = re.compile(r"0o[0-7]{1,30}|0x[0-9a-fA-F]{1,30}")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]{1,30}|[0-9]{1,30}(\.[0-9]{0,30})?)([eE][-+]?[0-9]{1,3})?")

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_NO_TEXT: Final = re.compile("[\0\ud800-\udfff]")

_TEXT_TAGS: Final = ("tag:yaml.org,2002:str", "!")
_PLAIN_TAGS: Final = {"tag:yaml.org,2002:map": "mapping", "tag:yaml.org,2002:seq": "list"}


@dataclass(slots=True)
class Item:
    """One value of a document.

    Attributes:
        line: from 1.
        kind: what it is.
        text: a scalar as it was written.
        value: a scalar as Python has it.
        entries: of a mapping: key -> (line of the key, value).
        items: of a list.
        quoted: a scalar that is text whatever it looks like.
        merged: of a mapping: (line, value) of its `<<`.
        size: items in it, itself included, each as often as it is named.
        depth: of mappings and lists in it, itself included; aliases may make more of it than the text shows.
    """

    line: int
    kind: Kind
    text: str = ""
    value: str | int | float | bool | None = None
    entries: dict[str, tuple[int, Item]] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)
    quoted: bool = False
    merged: tuple[int, Item] | None = None
    size: int = 1
    depth: int = 0

    def plain(self) -> Any:
        """The same as Python's lists, dictionaries and scalars."""
        if self.kind == "mapping":
            return {key: item.plain() for key, (_, item) in self.entries.items()}
        if self.kind == "list":
            return [item.plain() for item in self.items]
        return self.value


class _StopReading(Exception):
    """The rest of the file makes no sense; what is wrong has been said."""


def documents(content: bytes, findings: Findings) -> list[Item]:
    """The documents of a file that are not empty, as far as it can be read; what is wrong goes to `findings`.

    Raises:
        ModuleNotFoundError: PyYAML is not installed; the message says how to get it.
    """
    found: list[Item] = []
    try:
        text = _decoded(content, findings)
        found.extend(item for item in _Reader(text, findings).documents() if item.kind != "null")
    except _StopReading:
        pass
    return found


def _decoded(content: bytes, findings: Findings) -> str:
    if len(content) > MAX_BYTES:
        findings.problem(0, "", f"the file is larger than {MAX_BYTES >> 10} KiB: that is no workload file")
        raise _StopReading
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        findings.problem(1, "", "the file is UTF-16: save it as UTF-8")
        raise _StopReading
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        findings.problem(
            line, "", f"not UTF-8: the byte 0x{byte:02x} stands for no character; save the file as UTF-8"
        )
        raise _StopReading from None


def _library() -> Any:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"reading workload files needs PyYAML ({error.name} is missing): pip install 'wasi-sockets[workloads]'",
            name=error.name,
        ) from error
    return yaml


class _Reader:
    """Builds trees without recursion, so that no file can exhaust the stack."""

    def __init__(self, text: str, findings: Findings) -> None:
        self._text = text
        self._findings = findings
        self._yaml = _library()
        self._anchors: dict[str, Item] = {}

    def documents(self) -> Iterator[Item]:
        events = self._events()
        for event in events:
            if type(event).__name__ == "DocumentStartEvent":
                self._anchors = {}
                yield self._document(events)

    def _events(self) -> Iterator[Any]:
        try:
            yield from self._yaml.parse(self._text, Loader=self._yaml.SafeLoader)
        except self._yaml.reader.ReaderError as error:
            line = self._text.count("\n", 0, error.position) + 1
            character = self._text[error.position] if error.position < len(self._text) else "?"
            self._stop(line, f"the control character U+{ord(character):04X} may not stand here")
        except self._yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 0
            if mark is not None and self._text[mark.index : mark.index + 1] == "\t":
                self._stop(line, "a tab: YAML is indented with spaces")
            started = error.context_mark
            context = f" {error.context}" if error.context else ""
            if started is not None and started.line + 1 != line:
                context += f" (begun in line {started.line + 1})"
            self._stop(line, f"not YAML: {error.problem}{context}")
        except (ValueError, OverflowError):
            # PyYAML makes numbers and characters of digits without asking how large they are.
            self._stop(0, "not YAML: '\\U' with more than a character has, or a %YAML version without end")

    def _stop(self, line: int, text: str) -> NoReturn:
        self._findings.problem(line, "", text)
        raise _StopReading

    def _document(self, events: Iterator[Any]) -> Item:
        # Of each open mapping or list: itself, its anchor, and the key that waits for its value.
        above: list[tuple[Item, str | None]] = []
        keys: list[Item | None] = []
        while True:
            event = next(events)
            name = type(event).__name__
            line = event.start_mark.line + 1
            if name in ("MappingStartEvent", "SequenceStartEvent"):
                if len(above) >= _MAX_DEPTH:
                    self._stop(line, f"nested deeper than {_MAX_DEPTH}: that is no workload file")
                # The key's line says more than that of the first entry below it.
                key = keys[-1] if keys else None
                kind: Kind = "mapping" if name == "MappingStartEvent" else "list"
                item = Item(key.line if key else line, kind, depth=1)
                self._check_tag(event, item)
                above.append((item, event.anchor))
                keys.append(None)
                continue
            if name in ("MappingEndEvent", "SequenceEndEvent"):
                item, anchor = above.pop()
                keys.pop()
                if item.kind == "mapping":
                    self._merge(item)
            elif name == "AliasEvent":
                item, anchor = self._aliased(event, line), None
            else:
                item, anchor = self._scalar(event, line), event.anchor
            if anchor is not None:
                self._anchors[anchor] = item
            if not above:
                return item
            holder = above[-1][0]
            if holder.kind == "list":
                holder.items.append(item)
                self._grow(holder, item, line)
            elif keys[-1] is None:
                keys[-1] = item
            else:
                self._put(holder, keys[-1], item)
                keys[-1] = None

    def _grow(self, holder: Item, item: Item, line: int) -> None:
        holder.size += item.size
        if holder.size > _MAX_ITEMS:
            self._stop(
                line, f"more than {_MAX_ITEMS} values, with aliases counted as often as they are named"
            )
        holder.depth = max(holder.depth, item.depth + 1)
        if holder.depth > _MAX_DEPTH:
            self._stop(line, f"aliases nest deeper than {_MAX_DEPTH}: that is no workload file")

    def _put(self, holder: Item, key: Item, item: Item) -> None:
        self._grow(holder, item, item.line)
        if key.kind in ("mapping", "list", "null"):
            self._findings.problem(key.line, "", f"a key is text, not a {key.kind}")
            return
        # In quotes it is a key like any other: JSON, which is YAML too, knows no merging.
        merges = key.text == "<<" and not key.quoted
        earlier = holder.merged if merges else holder.entries.get(key.text)
        if earlier is not None:
            self._findings.problem(
                key.line, "", f"the key {key.text!r} is there twice, first in line {earlier[0]}"
            )
            return
        if merges:
            holder.merged = (key.line, item)
        else:
            holder.entries[key.text] = (key.line, item)

    def _merge(self, item: Item) -> None:
        """`<<: *alias`: entries of another mapping, which its own come before."""
        if item.merged is None:
            return
        line, merged = item.merged
        for each in merged.items if merged.kind == "list" else [merged]:
            if each.kind != "mapping":
                self._findings.problem(line, "", "'<<' takes a mapping, or a list of them")
                return
            for key, entry in each.entries.items():
                item.entries.setdefault(key, entry)

    def _aliased(self, event: Any, line: int) -> Item:
        item = self._anchors.get(event.anchor)
        if item is None:
            self._stop(line, f"there is no anchor &{event.anchor} before this")
        return item

    def _check_tag(self, event: Any, item: Item) -> None:
        if event.tag is not None and _PLAIN_TAGS.get(event.tag) != item.kind and event.tag != "!":
            self._findings.problem(item.line, "", f"the tag {event.tag} means nothing here")

    def _content(self, event: Any, line: int) -> str:
        """What a scalar says, which escapes in quotes can make something of that a guest could be given in no form."""
        # As JSON writes what is beyond 16 bits: two escapes, one character.
        text: str = event.value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        if _SURROGATE.search(text):
            self._findings.problem(line, "", f"{text[:60]!a} holds half a character (U+D800 to U+DFFF)")
        if "\0" in text:
            self._findings.problem(
                line, "", f"{text[:60]!a} holds NUL, which ends a text for what is not Python"
            )
        return _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", text)

    def _scalar(self, event: Any, line: int) -> Item:
        text = self._content(event, line)
        if event.tag is not None:
            if event.tag not in _TEXT_TAGS:
                self._findings.problem(line, "", f"the tag {event.tag} means nothing here")
            return Item(line, "text", text, text, quoted=True)
        if event.style is not None:
            return Item(line, "text", text, text, quoted=True)
        if text in _NULL:
            return Item(line, "null", text)
        if text in _TRUE or text in _FALSE:
            return Item(line, "boolean", text, text in _TRUE)
        if _INTEGER.fullmatch(text):
            return Item(line, "number", text, int(text))
        if _BASED.fullmatch(text):
            return Item(line, "number", text, int(text, 0))
        if _FLOAT.fullmatch(text):
            return Item(line, "number", text, float(text))
        return Item(line, "text", text, text)
