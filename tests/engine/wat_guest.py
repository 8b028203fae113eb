"""Hand-written guests that call the shim's host functions directly, as generated trampolines do."""

from __future__ import annotations

from collections.abc import Mapping

from wasi_sockets.component.types import FunctionType
from wasi_sockets.interposer.items import Item

ARITIES = range(16)


def item(
    number: int,
    name: str,
    *,
    interface: str = "shim",
    function_type: FunctionType | None = None,
    resource: str | None = None,
    memory: int | None = None,
    allocates: bool = False,
    suspends: bool = False,
    realm: int = 0,
) -> Item:
    """An item as the interposer would make it, with whatever does not matter to the engine left out."""
    return Item(
        id=number,
        realm=realm,
        interface=interface,
        name=name,
        function_type=function_type,
        resource=resource,
        parameters=(),
        results=(),
        encoding="utf8",
        memory=memory,
        allocates=allocates,
        suspends=suspends,
    )


_ALLOCATE = """
  (func $allocate (param $align i32) (param $size i32) (result i32)
    (global.set $next (i32.and (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
                               (i32.sub (i32.const 0) (local.get $align))))
    (global.get $next)
    (global.set $next (i32.add (global.get $next) (local.get $size))))
"""


def component(
    code: str, exports: Mapping[str, str], *, allocate: str = _ALLOCATE, pages: int = 2, extra: str = ""
) -> str:
    """The text of a component.

    Args:
        code: core functions. They may call `$call0`..`$call15`, `$wait0`..`$wait15` (word, arguments...),
            `$finish` (answer) to carry out commands, `$word` (item) for a word with the memory size,
            `$locate` (item), `$allocate` (align, size), and use memory 0.
        exports: name -> component-level type such as '(param "a" u64) (result u64)'. Each is exported from
            the core module as well.
        allocate: the guest's realloc, so that it can lie.
        pages: of its memory.
        extra: declarations at component level, before the core modules.
    """
    imported = []
    lowered = []
    core_imports = []
    bag = []
    for kind in ("call", "wait"):
        for arity in ARITIES:
            name = f"{kind}{arity}"
            parameters = " ".join(['(param "word" u64)', *[f'(param "a{i}" u64)' for i in range(arity)]])
            imported.append(f'(export "{name}" (func {parameters} (result u64)))')
            lowered.append(f'(core func ${name} (canon lower (func $host "{name}")))')
            core_imports.append(
                f'(import "h" "{name}" (func ${name} (param {"i64 " * (arity + 1)}) (result i64)))'
            )
            bag.append(f'(export "{name}" (func ${name}))')
    imported.append('(export "resume" (func (param "word" u64) (result u64)))')
    imported.append('(export "push" (func (param "data" string) (result u64)))')
    imported.append('(export "pull" (func (result string)))')
    lowered.append('(core func $resume (canon lower (func $host "resume")))')
    options = "string-encoding=latin1+utf16 (memory $m)"
    lowered.append(f'(core func $push (canon lower (func $host "push") {options}))')
    lowered.append(f'(core func $pull (canon lower (func $host "pull") {options} (realloc $scratch)))')
    for name, core_type in (
        ("resume", "(param i64) (result i64)"),
        ("push", "(param i32 i32) (result i64)"),
        ("pull", "(param i32)"),
    ):
        core_imports.append(f'(import "h" "{name}" (func ${name} {core_type}))')
        bag.append(f'(export "{name}" (func ${name}))')
    lifted = "\n".join(
        f'(func (export "{name}") {kind} (canon lift (core func $main "{name}") (memory $m) (realloc $scratch)))'
        for name, kind in exports.items()
    )
    newline = "\n  "
    return f"""(component
  (import "wasi-sockets:shim/host@0.1.0" (instance $host
  {newline.join(imported)}))
  {extra}
  (core module $libc
    (memory (export "memory") {pages})
    (global $next (mut i32) (i32.const 32768))
    (func (export "scratch") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
      (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (memory.copy (global.get $next) (local.get $old) (local.get $old_size))
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (local.get $size)))))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $m))
  (alias core export $libc "scratch" (core func $scratch))
  {newline.join(lowered)}
  (core module $main
    {newline.join(core_imports)}
    (import "libc" "memory" (memory 0))
    (global $next (mut i32) (i32.const 4096))
    (func $word (param $item i32) (result i64)
      (i64.or (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 32)) (i64.extend_i32_u (local.get $item))))
    {allocate}
    (func $locate (param $item i32) (result i64) (local $a i64) (local $b i64)
      (local.set $a (i64.load (i32.const 32))) (local.set $b (i64.load (i32.const 40)))
      (i64.store (i32.const 32) (call $call1 (call $word (local.get $item)) (i64.const 1)))
      (i64.store (i32.const 40) (call $call1 (call $word (local.get $item)) (i64.const 2)))
      (call $call1 (call $word (local.get $item)) (i64.const 3))
      (i64.store (i32.const 32) (local.get $a)) (i64.store (i32.const 40) (local.get $b)))
    (func $finish (param $answer i64) (result i64) (local $command i32) (local $at i32)
      (loop $next
        (if (i64.lt_s (local.get $answer) (i64.const 0)) (then
          (local.set $command (i32.and (i32.wrap_i64 (i64.shr_u (local.get $answer) (i64.const 60))) (i32.const 7)))
          (local.set $at (i32.wrap_i64 (local.get $answer)))
          (if (i32.eqz (local.get $command)) (then
            (local.set $at (call $allocate
              (i32.and (i32.wrap_i64 (i64.shr_u (local.get $answer) (i64.const 32))) (i32.const 255)) (local.get $at)))
            (local.set $answer (call $resume (call $word (local.get $at))))
            (br $next)))
          (if (i32.eq (local.get $command) (i32.const 1)) (then
            (local.set $answer (call $push (local.get $at)
              (i32.and (i32.wrap_i64 (i64.shr_u (local.get $answer) (i64.const 32))) (i32.const 0xfffffff))))
            (br $next)))
          (call $pull (i32.const 16))
          (memory.copy (local.get $at) (i32.load (i32.const 16)) (i32.load (i32.const 20)))
          (local.set $answer (call $resume (call $word (i32.const 0))))
          (br $next))))
      (local.get $answer))
    {code})
  (core instance $main (instantiate $main
    (with "h" (instance {" ".join(bag)})) (with "libc" (instance $libc))))
  {lifted})
"""
