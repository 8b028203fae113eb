"""Damaged components: bytes, sections or single values of the model changed at random, always the same for a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from random import Random
from typing import Any

from wasi_sockets.component import model
from wasi_sockets.component.binary import Reader, u32
from wasi_sockets.component.opcodes import CANON_OPTIONS, PREAMBLE, PRIMITIVES, SORT_BYTES
from wasi_sockets.component.reader import read_component
from wasi_sockets.component.writer import write_component
from wasi_sockets.errors import WasiSocketsError

__all__ = ["mutant"]

_NUMBERS = (0, 1, 2, 3, 15, 16, 17, 127, 128, 255, 1000, 65_535, 2**31, 2**32 - 1)
_NAMES = (
    "",
    "run",
    "memory",
    "wasi:io/poll@0.2.0",
    "wasi:io/streams@0.2.12",
    "wasi:sockets/tcp@0.2.3",
    "wasi:clocks/monotonic-clock@0.2.0",
    "wasi:cli/stdin@0.2.0",
    "wasi:io/poll@0.3.0",
    "wasi-sockets:shim/host@0.1.0",
    "poll",
    "now",
    "pollable",
    "input-stream",
    "output-stream",
    "error",
    "subscribe-duration",
    "[method]pollable.ready",
    "[method]input-stream.read",
    "[method]input-stream.blocking-read",
    "[method]output-stream.check-write",
    "[method]output-stream.blocking-flush",
    "[method]tcp-socket.start-connect",
    "\0\n\x1b[31m",
    "\N{SNOWMAN}" * 40,
)
_BIG_SECTION = 4096
"""A core module above this is left alone: what is inside it is not the interposer's business."""


def mutant(random: Random, seeds: Sequence[bytes]) -> tuple[str, bytes]:
    """How a component was damaged, and the result."""
    data = random.choice(seeds)
    how = random.choices(list(_WAYS), weights=[weight for weight, _ in _WAYS.values()])[0]
    for _ in range(random.choice((1, 1, 1, 1, 2, 5))):
        data = _WAYS[how][1](random, data)
    return how, data


# ---------------------------------------------------------------- bytes


def _wiring(data: bytes) -> list[int]:
    """Positions of bytes outside large core modules."""
    positions: list[int] = []
    reader = Reader(data, len(PREAMBLE), len(data))
    try:
        while reader.position < len(data):
            start = reader.position
            section = reader.u8()
            size = reader.u32()
            body = reader.position
            reader.take(size)
            positions.extend(range(start, body))
            if section != 1 or size < _BIG_SECTION:
                positions.extend(range(body, reader.position))
    except WasiSocketsError:
        positions.extend(range(reader.position, len(data)))
    return positions or list(range(len(data)))


def _position(random: Random, data: bytes) -> int:
    return random.choice(_wiring(data)) if data else 0


def _flip(random: Random, data: bytes) -> bytes:
    position = _position(random, data)
    changed = bytearray(data)
    if changed:
        changed[position] ^= 1 << random.randrange(8)
    return bytes(changed)


def _overwrite(random: Random, data: bytes) -> bytes:
    position = _position(random, data)
    return data[:position] + random.randbytes(random.choice((1, 1, 2, 4))) + data[position + 1 :]


def _cut(random: Random, data: bytes) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _remove(random: Random, data: bytes) -> bytes:
    position = _position(random, data)
    return data[:position] + data[position + random.choice((1, 1, 2, 8, 64)) :]


def _repeat(random: Random, data: bytes) -> bytes:
    position = _position(random, data)
    return data[:position] + data[position : position + random.choice((1, 4, 16, 64))] * 2 + data[position:]


def _number(random: Random, data: bytes) -> bytes:
    """A number in the file becomes a huge, overlong or endless one."""
    position = _position(random, data)
    number = random.choice(
        (b"\xff\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x00", b"\xff" * 12, b"\x80\x00", b"\xff\x7f")
    )
    return data[:position] + number + data[position + 1 :]


# ---------------------------------------------------------------- sections


def _sections(data: bytes) -> list[tuple[int, bytes]]:
    reader = Reader(data, len(PREAMBLE), len(data))
    found = []
    while reader.position < len(data):
        section = reader.u8()
        found.append((section, reader.take(reader.u32())))
    return found


def _joined(sections: Sequence[tuple[int, bytes]]) -> bytes:
    return PREAMBLE + b"".join(bytes((section,)) + u32(len(body)) + body for section, body in sections)


def _resection(random: Random, data: bytes) -> bytes:
    try:
        sections = _sections(data)
    except WasiSocketsError:
        return _flip(random, data)
    if not sections:
        return data
    at = random.randrange(len(sections))
    section, body = sections[at]
    match random.randrange(6):
        case 0:
            del sections[at]
        case 1:
            sections.insert(random.randrange(len(sections) + 1), sections[at])
        case 2:
            other = random.randrange(len(sections))
            sections[at], sections[other] = sections[other], sections[at]
        case 3:
            random.shuffle(sections)
        case 4:
            sections[at] = random.randrange(14), body
        case _:
            if body[:8] == PREAMBLE:
                body = _resection(random, body)
            elif len(body) < _BIG_SECTION:
                body = _flip(random, body)
            sections[at] = section, body
    return _joined(sections)


# ---------------------------------------------------------------- the model


def _remodel(random: Random, data: bytes) -> bytes:
    """One value somewhere in the model changes; what the writer cannot write is tried again elsewhere."""
    try:
        component = read_component(data)
    except WasiSocketsError:
        return _flip(random, data)
    for _ in range(20):
        changed = _changed(random, component)
        try:
            return write_component(changed)
        except Exception:  # a value of the wrong kind in the wrong place; no affair of the interposer
            continue
    return data


def _changed(random: Random, component: model.Component) -> model.Component:
    definitions = list(component.definitions)
    if not definitions:
        return component
    at = random.randrange(len(definitions))
    other = random.randrange(len(definitions))
    match random.randrange(10):
        case 0:
            del definitions[at]
        case 1:
            definitions.insert(other, definitions[at])
        case 2:
            definitions[at], definitions[other] = definitions[other], definitions[at]
        case 3:
            definitions[at] = model.NestedComponent(model.Component(tuple(definitions[at : at + 3])))
        case 4:
            definitions.append(model.Instantiate(random.randrange(3), ()))
        case _:
            definitions[at] = _changed_value(random, definitions[at])
    return model.Component(tuple(definitions))


def _changed_value(random: Random, value: Any) -> Any:
    if isinstance(value, model.Component):
        return _changed(random, value)
    if isinstance(value, model.CanonOption) and random.random() < 0.5:
        name, space = random.choice(list(CANON_OPTIONS.values()))
        return model.CanonOption(name, None if space is None else random.randrange(4))
    if is_dataclass(value) and not isinstance(value, type):
        names = [each.name for each in fields(value) if each.init]
        if not names:
            return value
        name = random.choice(names)
        return replace(value, **{name: _changed_value(random, getattr(value, name))})
    if isinstance(value, tuple):
        return _changed_tuple(random, value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return random.choice((value + 1, max(value - 1, 0), random.randrange(40), random.choice(_NUMBERS)))
    if isinstance(value, str):
        if value in SORT_BYTES:
            return random.choice(list(SORT_BYTES))
        if value in PRIMITIVES.values():
            return random.choice((*PRIMITIVES.values(), random.randrange(20)))
        return random.choice(_NAMES)
    if value is None:
        return random.choice((random.randrange(20), "u8", "string"))
    return value


def _changed_tuple(random: Random, values: tuple[Any, ...]) -> tuple[Any, ...]:
    items = list(values)
    if not items:
        return (model.CanonOption("memory", random.randrange(3)),)
    at = random.randrange(len(items))
    match random.randrange(8):
        case 0:
            del items[at]
        case 1:
            items.insert(random.randrange(len(items) + 1), items[at])
        case 2:
            other = random.randrange(len(items))
            items[at], items[other] = items[other], items[at]
        case _:
            items[at] = _changed_value(random, items[at])
    return tuple(items)


_WAYS: dict[str, tuple[int, Callable[[Random, bytes], bytes]]] = {
    "flip": (3, _flip),
    "overwrite": (2, _overwrite),
    "cut": (1, _cut),
    "remove": (1, _remove),
    "repeat": (1, _repeat),
    "number": (1, _number),
    "sections": (3, _resection),
    "model": (12, _remodel),
}
