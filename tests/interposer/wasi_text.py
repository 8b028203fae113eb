"""WASI 0.2 as WebAssembly text, and guests that lower any of its functions: what these tests are run on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from tests import text_format
from wasi_sockets.component.layout import core_signature, has_pointers
from wasi_sockets.component.reader import read_component
from wasi_sockets.component.types import FunctionType
from wasi_sockets.conformance import interfaces
from wasi_sockets.interposer.flow import FunctionEntity, InstanceEntity, look_through

NEWEST = "0.2.12"
VERSIONS = tuple(f"0.2.{patch}" for patch in range(13))


@dataclass(frozen=True)
class Interface:
    """One interface: the types it takes from others, its own types, and its functions by name."""

    uses: tuple[tuple[str, str], ...] = ()
    types: str = ""
    functions: Mapping[str, str] = field(default_factory=dict)


_ERROR, _POLL, _STREAMS = "wasi:io/error", "wasi:io/poll", "wasi:io/streams"


def _declared(name: str, more: Mapping[str, str] | None = None) -> Interface:
    """What the conformance checks know of an interface, and functions that they do not call."""
    declared = interfaces.INTERFACES[name]
    resources = [f'(export "{each}" (type ${each} (sub resource)))' for each in declared.resources]
    functions = {each.name: each.type for each in interfaces.FUNCTIONS.values() if each.interface == name}
    return Interface(declared.uses, " ".join([*resources, declared.types]), {**functions, **(more or {})})


_CLOCK, _STDERR = "wasi:clocks/monotonic-clock", "wasi:cli/stderr"

INTERFACES: Mapping[str, Interface] = {
    _ERROR: _declared(_ERROR),
    _POLL: _declared(_POLL),
    _STREAMS: _declared(_STREAMS),
    _CLOCK: _declared(
        _CLOCK,
        {
            "resolution": "(result u64)",
            "subscribe-instant": '(param "when" u64) (result (own $pollable))',
        },
    ),
    "wasi:cli/stdin": _declared("wasi:cli/stdin"),
    "wasi:cli/stdout": _declared("wasi:cli/stdout"),
    _STDERR: Interface(((_STREAMS, "output-stream"),), "", {"get-stderr": "(result (own $output-stream))"}),
    "wasi:filesystem/types": Interface(
        ((_ERROR, "error"),),
        '(type $codes (enum "access" "would-block")) (export "error-code" (type $error-code (eq $codes)))',
        {"filesystem-error-code": '(param "err" (borrow $error)) (result (option $error-code))'},
    ),
    "wasi:http/types": Interface(
        ((_ERROR, "error"),),
        '(type $codes (variant (case "DNS-timeout") (case "internal-error" (option string))))'
        ' (export "error-code" (type $error-code (eq $codes)))',
        {"http-error-code": '(param "err" (borrow $error)) (result (option $error-code))'},
    ),
    **{name: _declared(name) for name in interfaces.INTERFACES if name.startswith("wasi:sockets/")},
}

Functions = Iterable[tuple[str, str]]
ALL_FUNCTIONS = tuple((name, function) for name, each in INTERFACES.items() for function in each.functions)


def alias(interface: str, name: str = "") -> str:
    """The identifier under which an imported interface, or a type of it, is known in the text."""
    return "$" + "-".join([*interface.replace(":", "/").split("/"), *([name] if name else [])])


def _needed(names: Iterable[str]) -> list[str]:
    found: list[str] = []

    def visit(name: str) -> None:
        for used, _ in INTERFACES[name].uses:
            visit(used)
        if name not in found:
            found.append(name)

    for name in names:
        visit(name)
    return found


def instance_type(name: str, functions: Iterable[str]) -> str:
    """The declarations of an interface with just these functions."""
    interface = INTERFACES[name]
    lines = []
    for used, each in interface.uses:
        lines.append(f"(alias outer 1 {alias(used, each)} (type $outer-{each}))")
        lines.append(f'(export "{each}" (type ${each} (eq $outer-{each})))')
    lines.append(interface.types)
    lines.extend(f'(export "{each}" (func {interface.functions[each]}))' for each in functions)
    return "\n    ".join(lines)


def imports(
    functions: Functions,
    version: str = NEWEST,
    *,
    resources: Functions = (),
    names: Mapping[str, str] | None = None,
) -> str:
    """Imports that declare these functions and what they need, each with aliases for its types.

    Args:
        functions: pairs of interface and function.
        version: of all imports.
        resources: pairs of interface and resource that are needed besides.
        names: import names by interface, where they differ from the interface's own.
    """
    wanted: dict[str, list[str]] = {}
    for interface, function in functions:
        wanted.setdefault(interface, []).append(function)
    for interface, _ in resources:
        wanted.setdefault(interface, [])
    lines = []
    needed = _needed(wanted)
    used = {pair for name in needed for pair in INTERFACES[name].uses} | set(resources)
    for name in needed:
        import_name = (names or {}).get(name, f"{name}@{version}")
        lines.append(f'(import "{import_name}" (instance {alias(name)}')
        lines.append(f"    {instance_type(name, wanted.get(name, ()))}))")
        lines.extend(
            f'(alias export {alias(name)} "{each}" (type {alias(name, each)}))'
            for interface, each in sorted(used)
            if interface == name
        )
    return "\n  ".join(lines)


@cache
def function_type(interface: str, function: str) -> FunctionType:
    """The resolved type of a function."""
    root = look_through(read_component(binary(f"(component {imports([(interface, function)])})")))
    for entity in root.imports.values():
        if isinstance(entity, InstanceEntity) and function in entity.exports:
            found = entity.exports[function]
            if isinstance(found, FunctionEntity) and found.interface == interface and found.type is not None:
                return found.type
    raise LookupError(function)


def core_import(interface: str, function: str) -> str:
    """The core function type, as text."""
    parameters, results = core_signature(function_type(interface, function))
    return " ".join([*(f"(param {each})" for each in parameters), *(f"(result {each})" for each in results)])


def needs_memory(interface: str, function: str) -> bool:
    """Whether the function cannot be lowered without a memory."""
    found = function_type(interface, function)
    parameters, _ = core_signature(found)
    flat = core_signature(FunctionType(found.parameters, None))[0]
    return len(parameters) > len(flat) or any(has_pointers(valtype) for _, valtype in found.parameters)


def needs_realloc(interface: str, function: str) -> bool:
    """Whether the function cannot be lowered without a realloc."""
    return has_pointers(function_type(interface, function).result)


MEMORY = """
  (core module $memory-module
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 65536))
    (func $realloc (export "realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32)
      (result i32) (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
      (global.set $next (i32.add (local.get $at) (local.get $size)))
      (local.get $at))
    (func (export "realloc2") (param i32 i32 i32 i32) (result i32)
      (call $realloc (local.get 0) (local.get 1) (local.get 2) (local.get 3))))
"""


def memory(suffix: str = "") -> str:
    """One more instance of the memory module: `$memory`, `$realloc` and `$realloc2`, each with a suffix."""
    return f"""
  (core instance $memory-instance{suffix} (instantiate $memory-module))
  (alias core export $memory-instance{suffix} "memory" (core memory $memory{suffix}))
  (alias core export $memory-instance{suffix} "realloc" (core func $realloc{suffix}))
  (alias core export $memory-instance{suffix} "realloc2" (core func $realloc2{suffix}))"""


@dataclass(frozen=True)
class Lowered:
    """One lowered function: `options` None gives it what it needs and no more."""

    interface: str
    function: str
    options: str | None = None

    def text(self, name: str) -> str:
        options = self.options
        if options is None:
            options = "(memory $memory)" if needs_memory(self.interface, self.function) else ""
            if needs_realloc(self.interface, self.function):
                options = "(memory $memory) (realloc $realloc)"
        return f'(core func {name} (canon lower (func {alias(self.interface)} "{self.function}") {options}))'


def user(lowered: Sequence[Lowered], drops: Sequence[tuple[str, str]] = (), name: str = "$main") -> str:
    """Lowers functions and drops, and instantiates a module that imports them all."""
    lines, imported, exported = [], [], []
    for number, each in enumerate(lowered):
        lines.append(each.text(f"{name}-f{number}"))
        signature = core_import(each.interface, each.function)
        imported.append(f'(import "host" "f{number}" (func {signature}))')
        exported.append(f'(export "f{number}" (func {name}-f{number}))')
    for number, (interface, resource) in enumerate(drops):
        lines.append(f"(core func {name}-d{number} (canon resource.drop {alias(interface, resource)}))")
        imported.append(f'(import "host" "d{number}" (func (param i32)))')
        exported.append(f'(export "d{number}" (func {name}-d{number}))')
    return "\n  ".join(
        [
            *lines,
            f'(core module {name}-module {" ".join(imported)} (func (export "run")))',
            f'(core instance {name} (instantiate {name}-module (with "host" (instance {" ".join(exported)}))))',
        ]
    )


def guest(
    lowered: Sequence[Lowered],
    drops: Sequence[tuple[str, str]] = (),
    *,
    version: str = NEWEST,
    rest: str = "",
) -> str:
    """A guest that imports, lowers and uses these functions."""
    functions = [(each.interface, each.function) for each in lowered]
    declared = imports(functions, version, resources=drops)
    return f"(component\n  {declared}\n{MEMORY}{memory()}\n  {user(lowered, drops)}\n{rest})"


def binary(text: str) -> bytes:
    """The component's bytes."""
    return text_format.binary(text)
