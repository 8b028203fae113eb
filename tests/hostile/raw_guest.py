"""A guest that hands every replaced function and drop through to whoever embeds it, as plain core numbers.

Beside them it exports ways to prepare its memory and to make its realloc lie. See `Lie`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

from tests.interposer.wasi_text import (
    ALL_FUNCTIONS,
    NEWEST,
    Lowered,
    alias,
    binary,
    function_type,
    imports,
)
from wasi_sockets.component.layout import core_signature
from wasi_sockets.component.types import Borrow, FunctionType
from wasi_sockets.interposer.table import DROPS

__all__ = ["FUNCTIONS", "MEMORY_PAGES", "Function", "Lie", "composed_guest", "raw_guest"]

MEMORY_PAGES = 2
"""How large the guest's memory is at first, in pages of 64 KiB."""


class Lie(IntEnum):
    """What the guest's realloc does from now on, set by `misbehave`."""

    HONEST = 0
    """Addresses from 64 KiB upwards."""
    CHOSEN = 1
    """Always the address last given to `choose`."""
    TRAPS = 2
    CALLS_PYTHON = 3
    """Calls `instance-network`, which Python answers."""
    CALLS_SHIM = 4
    """Calls `subscribe-duration`, which the shim may answer without Python."""
    GROWS = 5
    """Grows the memory by a page and answers with the last bytes of it."""
    SPINS = 6
    """Never returns."""
    OVERWRITES = 7
    """Fills all memory with 0xff and answers honestly."""


@dataclass(frozen=True)
class Function:
    """One exported function of the guest.

    Attributes:
        name: what `Guest.call` takes.
        parameters: core types of its parameters.
        resource: the kind of its first parameter when that is a handle, such as "tcp-socket"; else "".
        pointer_result: its last parameter is where the result goes.
    """

    name: str
    parameters: tuple[str, ...]
    resource: str
    pointer_result: bool


# Not in the stock linker, or with types there that the text does not spell out.
_UNUSED = ("filesystem-error-code", "http-error-code", "network-error-code")


def _lowered() -> Iterator[tuple[str, Lowered]]:
    for interface, function in ALL_FUNCTIONS:
        if function not in _UNUSED:
            name = function.removeprefix("[method]").replace(".", "-")
            yield name, Lowered(interface, function, "(memory $memory) (realloc $realloc)")


def _functions() -> Iterator[Function]:
    for name, each in _lowered():
        found = function_type(each.interface, each.function)
        parameters, _ = core_signature(found)
        without_result, _ = core_signature(FunctionType(found.parameters, None))
        first = found.parameters[0][1] if found.parameters else None
        resource = first.resource.name if isinstance(first, Borrow) else ""
        yield Function(name, parameters, resource, len(parameters) > len(without_result))
    for _, resource in DROPS:
        yield Function(f"drop-{resource}", ("i32",), resource, False)


_MEMORY_MODULE = f"""
  (core func $network-for-realloc (canon lower (func {alias("wasi:sockets/instance-network")} "instance-network")))
  (core func $timer-for-realloc
    (canon lower (func {alias("wasi:clocks/monotonic-clock")} "subscribe-duration")))
  (core module $memory-module
    (import "host" "network" (func $network (result i32)))
    (import "host" "timer" (func $timer (param i64) (result i32)))
    (memory (export "memory") PAGES)
    (global $next (mut i32) (i32.const 65536))
    (global $lie (mut i32) (i32.const 0))
    (global $chosen (mut i32) (i32.const 0))
    (func (export "misbehave") (param i32) (global.set $lie (local.get 0)))
    (func (export "choose") (param i32) (global.set $chosen (local.get 0)))
    (func (export "store") (param i32 i32) (i32.store (local.get 0) (local.get 1)))
    (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
    (func (export "fill") (param i32 i32 i32)
      (memory.fill (local.get 0) (local.get 1) (local.get 2)))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "repeat") (param i32 i32 i32)
      (loop $next
        (i32.store (local.get 0) (local.get 1))
        (local.set 0 (i32.add (local.get 0) (i32.const 4)))
        (br_if $next (local.tee 2 (i32.sub (local.get 2) (i32.const 1))))))
    (func (export "many-networks") (param i32)
      (loop $next (drop (call $network)) (br_if $next (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func (export "many-timers") (param i32)
      (loop $next
        (drop (call $timer (i64.const 5))) (br_if $next (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func $deep (export "deep") (param i32)
      (if (local.get 0) (then (call $deep (i32.sub (local.get 0) (i32.const 1)))))
      (drop (call $network)))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
      (if (i32.eq (global.get $lie) (i32.const 1)) (then (return (global.get $chosen))))
      (if (i32.eq (global.get $lie) (i32.const 2)) (then unreachable))
      (if (i32.eq (global.get $lie) (i32.const 3)) (then (drop (call $network))))
      (if (i32.eq (global.get $lie) (i32.const 4)) (then (drop (call $timer (i64.const 5)))))
      (if (i32.eq (global.get $lie) (i32.const 5)) (then
        (drop (memory.grow (i32.const 1)))
        (return (i32.and (i32.sub (i32.shl (memory.size) (i32.const 16)) (local.get 3))
          (i32.sub (i32.const 0) (local.get 2))))))
      (if (i32.eq (global.get $lie) (i32.const 6)) (then (loop $for_ever (br $for_ever))))
      (if (i32.eq (global.get $lie) (i32.const 7)) (then
        (memory.fill (i32.const 0) (i32.const 255) (i32.shl (memory.size) (i32.const 16)))))
      (local.set $at (i32.and (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get 2))))
      (if (i32.gt_u (i32.add (local.get $at) (local.get 3)) (i32.shl (memory.size) (i32.const 16))) (then
        (local.set $at (i32.const 65536))))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $memory-instance (instantiate $memory-module
    (with "host" (instance (export "network" (func $network-for-realloc)) (export "timer" (func $timer-for-realloc))))))
  (alias core export $memory-instance "memory" (core memory $memory))
  (alias core export $memory-instance "realloc" (core func $realloc))
"""

_OWN = {
    "misbehave": ("i32",),
    "choose": ("i32",),
    "store": ("i32", "i32"),
    "load": ("i32",),
    "fill": ("i32", "i32", "i32"),
    "grow": ("i32",),
    "deep": ("i32",),
    "repeat": ("i32", "i32", "i32"),
    "many-networks": ("i32",),
    "many-timers": ("i32",),
}
_TYPES = {"i32": "u32", "i64": "u64"}


def _lift(name: str, core: str, parameters: tuple[str, ...], results: tuple[str, ...]) -> str:
    declared = " ".join(f'(param "p{number}" {_TYPES[each]})' for number, each in enumerate(parameters))
    result = f"(result {_TYPES[results[0]]})" if results else ""
    return f'(func (export "{name}") {declared} {result} (canon lift (core func {core})))'


def _declarations(pages: int) -> str:
    pairs = list(_lowered())
    functions = [(each.interface, each.function) for _, each in pairs]
    lines = [imports(functions, NEWEST, resources=DROPS), _MEMORY_MODULE.replace("PAGES", str(pages))]
    for name, each in pairs:
        lines.append(each.text(f"$f-{name}"))
        parameters, results = core_signature(function_type(each.interface, each.function))
        lines.append(_lift(name, f"$f-{name}", parameters, results))
    for interface, resource in DROPS:
        lines.append(f"(core func $d-{resource} (canon resource.drop {alias(interface, resource)}))")
        lines.append(_lift(f"drop-{resource}", f"$d-{resource}", ("i32",), ()))
    for name, parameters in _OWN.items():
        results = ("i32",) if name in ("load", "grow") else ()
        lines.append(_lift(name, f'$memory-instance "{name}"', parameters, results))
    return "\n  ".join(lines)


@cache
def raw_guest(pages: int = MEMORY_PAGES) -> bytes:
    """The guest, with a memory of so many pages."""
    return binary(f"(component\n  {_declarations(pages)})")


@cache
def composed_guest() -> bytes:
    """Two raw guests side by side in one component; they export the functions of one with -a, the other with -b."""
    declarations = _declarations(MEMORY_PAGES)
    pairs = [(each.interface, each.function) for _, each in _lowered()]
    outside = imports(pairs, NEWEST, resources=DROPS)
    interfaces = sorted(
        {line.split('"')[1] for line in outside.splitlines() if line.lstrip().startswith("(import ")}
    )
    passed = " ".join(f'(with "{name}" (instance {alias(name.partition("@")[0])}))' for name in interfaces)
    names = [each.name for each in FUNCTIONS] + list(_OWN)
    exported = "\n  ".join(
        f'(export "{name}-{which}" (func ${which} "{name}"))' for which in "ab" for name in names
    )
    return binary(
        f"(component\n  {outside}\n  (component $inner\n  {declarations})\n"
        f"  (instance $a (instantiate $inner {passed}))\n  (instance $b (instantiate $inner {passed}))\n  {exported})"
    )


FUNCTIONS: tuple[Function, ...] = tuple(_functions())
