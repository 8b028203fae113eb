"""The components that are damaged: guests in text, guests built from sources, and ones made for the purpose."""

from __future__ import annotations

from pathlib import Path

from tests.interposer.wasi_text import (
    ALL_FUNCTIONS,
    MEMORY,
    Lowered,
    alias,
    binary,
    guest,
    imports,
    memory,
    user,
)
from wasi_sockets.interposer.table import DROPS

__all__ = ["MAX_COMPILED", "seeds"]

ROOT = Path(__file__).resolve().parents[2]
MAX_COMPILED = 60_000
"""Bytes; larger components are interposed but not compiled, which would take seconds each."""

_STREAMS, _CLOCK, _POLL = "wasi:io/streams", "wasi:clocks/monotonic-clock", "wasi:io/poll"


def _unconstrained(number: int) -> bytes:
    """Lowers some functions without a module that would insist on their types, so that more mutants are valid."""
    chosen = ALL_FUNCTIONS[number::7]
    options = (
        "(memory $memory) (realloc $realloc)",
        "(memory $memory) (realloc $realloc) string-encoding=utf16",
    )
    lowered = [Lowered(*each, options[number % 2]) for each in chosen]
    lines = [each.text(f"$f{index}") for index, each in enumerate(lowered)]
    lines += [
        f"(core func $d{index} (canon resource.drop {alias(*each)}))" for index, each in enumerate(DROPS)
    ]
    exported = [f'(export "f{index}" (func $f{index}))' for index in range(len(lowered))]
    exported += [f'(export "d{index}" (func $d{index}))' for index in range(len(DROPS))]
    return binary(
        f"(component {imports(chosen, resources=list(DROPS))} {MEMORY} {memory()} {' '.join(lines)}"
        f" (core instance {' '.join(exported)}))"
    )


def _made() -> list[bytes]:
    every = [Lowered(*each) for each in ALL_FUNCTIONS]
    functions = [
        (_CLOCK, "subscribe-duration"),
        (_STREAMS, "[method]input-stream.blocking-read"),
        (_STREAMS, "[method]output-stream.blocking-write-and-flush"),
    ]
    handed = " ".join(
        f'(with "{name}@0.2.12" (instance {alias(name)}))'
        for name in ("wasi:io/error", _POLL, _STREAMS, _CLOCK)
    )
    declared = imports(functions, resources=[("wasi:io/error", "error"), (_POLL, "pollable")])
    inside = f"{declared} {MEMORY} {memory()} {user([Lowered(*each) for each in functions])}"
    instance = f"(instance (instantiate $inner {handed}))"
    return [
        binary(guest(every, list(DROPS))),
        binary(guest([Lowered(*each) for each in functions], [(_POLL, "pollable")])),
        binary(f"(component {inside} (component $inner {inside}) {instance} {instance})"),
        binary(
            f"(component {declared} (component $middle {declared} (component $inner {inside}) {instance})"
            f" {instance.replace('$inner', '$middle')})"
        ),
    ]


def seeds() -> list[bytes]:
    """Small components, each several times as often as a large one."""
    texts = sorted((ROOT / "tests" / "guests" / "wat").glob("*.wat"))
    small = (
        [binary(path.read_text()) for path in texts]
        + _made()
        + [_unconstrained(number) for number in range(7)] * 3
    )
    large = []
    for path in sorted((ROOT / "build" / "guests").glob("*.wasm")):
        data = path.read_bytes()
        if len(data) <= MAX_COMPILED:
            small.append(data)
        elif len(data) < 2_000_000:
            large.append(data)
    return small * 5 + large
