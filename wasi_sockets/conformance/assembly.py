"""From checks to a component: an ordinary `wasi:cli/run` command.

Without an argument it runs its first check, with one the check of that number. It says on standard output what came of
it, in one line: `PASS steps 0`, `FAIL step value`, or `TRAP step 0` just before the step that has to trap; and `run`
returns an error when the check failed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import wasmtime

from wasi_sockets.conformance.check import Check
from wasi_sockets.conformance.interfaces import (
    FUNCTIONS,
    UNSTABLE,
    core_import,
    drop_resource,
    import_text,
    lowering_text,
)
from wasi_sockets.conformance.program import Constants, Step

__all__ = ["Assembled", "assemble", "bundles"]

_NAME = re.compile(r"\$[a-z][a-z0-9.-]*")

_MEMORY = """
  (core module $memory-module
    (memory (export "memory") 64)
    (global $next (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32) (param $size i32) (result i32) (local $at i32)
      (local.set $at (global.get $next))
      (global.set $next
        (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 15)) (i32.const -16)))
      (if (i32.gt_u (global.get $next) (i32.const 2097152)) (then (unreachable)))
      (local.get $at))
    ;; what the host allocated is no longer needed
    (func (export "forget") (global.set $next (i32.const 65536))))
  (core instance $memory (instantiate $memory-module))
  (alias core export $memory "memory" (core memory $guest-memory))
  (alias core export $memory "realloc" (core func $guest-realloc))"""
# By these aliases and not in place: wasmtime 45 to 47 and wasmtime 50 want the latter written differently.


@dataclass(frozen=True)
class Assembled:
    """A component, and how to read what it says.

    Attributes:
        checks: what it holds, by the number that is its argument.
        steps: the steps of each check.
        wat: the component as text.
    """

    checks: tuple[Check, ...]
    steps: tuple[tuple[Step, ...], ...]
    wat: str

    @property
    def wasm(self) -> bytes:
        """The component."""
        return bytes(wasmtime.wat2wasm(self.wat))


def assemble(checks: Sequence[Check]) -> Assembled:
    """Puts checks together into one component.

    Raises:
        ValueError: without a check.
    """
    if not checks:
        raise ValueError("a component needs at least one check")
    constants = Constants()
    programs = [check.program(constants) for check in checks]
    bodies = []
    for number, program in enumerate(programs):
        variables = " ".join(f"(local {name} {core_type})" for name, core_type in program.variables)
        lines = "\n      ".join(program.lines)
        bodies.append(
            f";; {checks[number].name}\n  (func $check{number} (result i32) {variables}\n"
            f"    (block $fail\n      {lines}\n"
            f"      (call $say-pass (i32.const {len(program.steps)}))\n      (return (i32.const 0)))\n"
            f"    (i32.const 1))"
        )
    bodies.append(_entry(len(checks)))
    helpers = _helpers_for("\n".join(bodies))
    code = "\n\n".join([*helpers, *bodies])
    used = {name[1:] for name in _NAME.findall(_without_comments(code)) if "." in name}
    return Assembled(
        tuple(checks),
        tuple(tuple(program.steps) for program in programs),
        _component(sorted(used), constants.text(), code),
    )


def bundles(checks: Sequence[Check]) -> Iterator[Assembled]:
    """As few components as can be: one, and one more with what imports functions that a host need not have."""
    common: list[Check] = []
    unstable: list[Check] = []
    for check in checks:
        text = assemble([check]).wat
        (unstable if any(f"${name} " in text for name in UNSTABLE) else common).append(check)
    for part in (common, unstable):
        if part:
            yield assemble(part)


def _entry(count: int) -> str:
    if count == 1:
        return '(func $run (export "run") (result i32) (call $check0))'
    cases = "".join(f"\n    (if (i32.eq (local.get $n) (i32.const {n})) (then (return (call $check{n}))))" for n in range(count))  # noqa: E501  # fmt: skip
    return (
        '(func $run (export "run") (result i32) (local $n i32)\n    (local.set $n (call $argument))'
        f"{cases}\n    (i32.const 1))"
    )


@cache
def _helpers() -> dict[str, str]:
    text = files("wasi_sockets.conformance").joinpath("runtime.wat").read_text("utf-8")
    blocks = [block for block in text.split("\n\n") if block.startswith("(func ")]
    return {block.split(maxsplit=2)[1]: block for block in blocks}


def _without_comments(text: str) -> str:
    return re.sub(r";;.*", "", text)


def _helpers_for(code: str) -> list[str]:
    """The runtime functions that some code needs, and those that they need."""
    known, needed = _helpers(), set[str]()
    waiting = [code]
    while waiting:
        for name in _NAME.findall(_without_comments(waiting.pop())):
            if name in known and name not in needed:
                needed.add(name)
                waiting.append(known[name])
    return [text for name, text in known.items() if name in needed]


def _component(used: Sequence[str], data: str, code: str) -> str:
    drops = [pair for pair in map(drop_resource, used) if pair is not None]
    functions = [FUNCTIONS[name] for name in used if name in FUNCTIONS]
    lowered = "\n  ".join(map(lowering_text, used))
    imported = "\n    ".join(map(core_import, used))
    given = " ".join(f'(export "{name}" (func ${name}))' for name in used)
    return f"""(component
  {import_text(functions, drops)}
{_MEMORY}
  {lowered}
  (core module $main
    (import "memory" "memory" (memory 64))
    (import "memory" "forget" (func $forget))
    {imported}
    (global $stdout (mut i32) (i32.const 0))
    (global $network (mut i32) (i32.const 0))
    {data}
  {code}
  )
  (core instance $main (instantiate $main
    (with "memory" (instance $memory)) (with "wasi" (instance {given}))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command))
)
"""
