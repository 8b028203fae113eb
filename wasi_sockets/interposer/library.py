"""WebAssembly text in pieces: the forms of a `.wat` file by name, and the module text that some of them need.

The library files are read as text and put together per guest, so that a helper module holds only what its trampolines
call and imports only what they use.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

__all__ = ["Assembly", "Form", "StateExport", "assemble", "forms", "state_exports", "state_text"]

_REFERENCE = re.compile(r"(?:call|global\.get|global\.set)\s+\$([\w%]+)")
_HEADER = re.compile(r'\(func\s+(?:\$\w+\s+)?\(export\s+"(\w+)"\)((?:\s*\((?:param|result)[^)]*\))*)')


def _read(name: str) -> str:
    return (resources.files("wasi_sockets.interposer") / name).read_text("utf-8")


def _without_comments(text: str) -> str:
    return re.sub(r";;[^\n]*", "", text)


def _forms(text: str) -> Iterator[str]:
    """The top-level parenthesised forms of WebAssembly text without comments."""
    depth = 0
    start = 0
    quoted = False
    for position, character in enumerate(text):
        if character == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif character == "(":
            if depth == 0:
                start = position
            depth += 1
        elif character == ")":
            depth -= 1
            if depth == 0:
                yield text[start : position + 1]


@cache
def _library() -> Mapping[str, str]:
    forms: dict[str, str] = {}
    for name in ("plain.wat", "memory.wat"):
        for form in _forms(_without_comments(_read(name))):
            match = re.match(r"\((?:func|global)\s+\$([\w%]+)", form)
            if match is None:
                raise ValueError(f"a form without a name in {name}: {form[:40]}")
            forms[match[1]] = form
    return forms


@dataclass(frozen=True, slots=True)
class Form:
    """A trampoline of the library, as the guest calls it.

    Attributes:
        parameters: core types.
        results: core types, none or one.
        memory: it touches the guest's memory.
    """

    parameters: tuple[str, ...]
    results: tuple[str, ...]
    memory: bool


@cache
def forms() -> Mapping[str, Form]:
    """The trampolines of plain.wat and memory.wat by name, placeholder left out."""
    found: dict[str, Form] = {}
    for file in ("plain.wat", "memory.wat"):
        for form in _forms(_without_comments(_read(file))):
            match = re.match(r'\(func \$(\w+)%I% \(export "f%I%"\)((?:\s*\((?:param|result)[^)]*\))*)', form)
            if match is not None:
                parameters = re.findall(r"\(param \$\w+ (\w+)\)", match[2])
                results = re.findall(r"\(result (\w+)\)", match[2])
                found[match[1]] = Form(tuple(parameters), tuple(results), file == "memory.wat")
    return found


@cache
def _state() -> str:
    return _without_comments(_read("state.wat"))


@dataclass(frozen=True, slots=True)
class StateExport:
    """A function that the private half exports, as its importers see it."""

    name: str
    signature: str


@cache
def state_exports() -> Mapping[str, StateExport]:
    """What state.wat exports, by name."""
    return {match[1]: StateExport(match[1], match[2].strip()) for match in _HEADER.finditer(_state())}


def state_text(item_numbers: Mapping[str, int]) -> str:
    """The module text of state.wat with its item numbers filled in."""
    return _fill(_state(), {name: str(number) for name, number in item_numbers.items()})


def _fill(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"%([\w-]+)%", lambda match: values[match[1]], text)


@dataclass(frozen=True, slots=True)
class Assembly:
    """Forms that belong together, and the names they expect to be imported."""

    text: str
    externals: frozenset[str]
    uses_state_memory: bool


def assemble(
    roots: Iterable[tuple[str, Mapping[str, str]]], generated: Iterable[str], shared: Mapping[str, str]
) -> Assembly:
    """Collects library forms with everything that they call.

    Args:
        roots: names of trampolines (without placeholder) with the values of `I` (item) and `R` (realloc).
        generated: texts of further functions, already complete except for what they call in the library; their
            references may carry values, as in `$finish0`.
        shared: values of the placeholders that all forms share: the item numbers of the fast paths.
    """
    library = _library()
    done: dict[str, str] = {}
    externals: set[str] = set()
    todo: list[tuple[str, Mapping[str, str]]] = []
    texts: list[str] = list(generated)

    def visit(text: str, values: Mapping[str, str]) -> None:
        todo.extend((name, values) for name in _REFERENCE.findall(text))

    for text in texts:
        visit(text, {})
    for name, values in roots:
        todo.append((f"{name}%I%", values))
    while todo:
        name, values = todo.pop()
        template, values = _template(library, name, values)
        full = _fill(name, {**shared, **values})
        if full in done or full in externals:
            continue
        if template is None:
            externals.add(full)
            continue
        done[full] = _fill(template, {**shared, **values})
        visit(template, values)
    text = "\n".join([*done.values(), *texts])
    return Assembly(text, frozenset(externals), "$state" in text)


def _template(
    library: Mapping[str, str], name: str, values: Mapping[str, str]
) -> tuple[str | None, Mapping[str, str]]:
    """The form behind a reference; one such as `finish2` or `finishnone` gives its placeholder's value itself."""
    if name in library:
        return library[name], values
    match = re.fullmatch(r"([a-z_]+?)(\d+|none)", name)
    if match and f"{match[1]}%R%" in library:
        return library[f"{match[1]}%R%"], {**values, "R": match[2]}
    return None, values
