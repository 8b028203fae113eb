"""Components for these tests, each by what it holds. `wat2wasm` parses and encodes but does not validate."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tests.text_format import binary

ROOT = Path(__file__).resolve().parents[2]
GUESTS = ROOT / "build" / "guests"

WIRING = """
(component $top
  (core module $m
    (memory (export "memory") 1)
    (table (export "table") 1 funcref)
    (global (export "global") i32 (i32.const 1))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 16)
    (func (export "f") (param i32 i32) (result i32) i32.const 0)
    (func (export "after") (param i32))
    (func (export "destroy") (param i32))
  )
  (import "wasi:io/poll@0.2.6" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (type $handle (borrow $pollable))
    (export "ready" (func (param "self" $handle) (result bool)))
    (export "strings" (func (param "a" string) (result string)))
  ))
  (alias export $poll "pollable" (type $pollable))
  (alias export $poll "ready" (func $ready))
  (alias export $poll "strings" (func $strings))
  (core instance $i (instantiate $m))
  (alias core export $i "memory" (core memory $memory))
  (alias core export $i "realloc" (core func $realloc))
  (alias core export $i "destroy" (core func $destroy))
  (core func $lowered (canon lower (func $ready)))
  (core func $lowered-strings (canon lower (func $strings) (memory (core memory $memory))
    (realloc (core func $realloc)) string-encoding=utf16))
  (core func $drop (canon resource.drop $pollable))
  (type $mine (resource (rep i32) (dtor (core func $destroy))))
  (core func $new (canon resource.new $mine))
  (core func $rep (canon resource.rep $mine))
  (core instance $bag
    (export "lowered" (func $lowered))
    (export "strings" (func $lowered-strings))
    (export "drop" (func $drop))
    (export "new" (func $new))
    (export "rep" (func $rep))
    (export "memory" (memory $memory)))
  (core module $user
    (import "host" "lowered" (func (param i32) (result i32)))
    (import "host" "strings" (func (param i32 i32 i32)))
    (import "host" "drop" (func (param i32)))
    (import "host" "new" (func (param i32) (result i32)))
    (import "host" "rep" (func (param i32) (result i32)))
    (import "host" "memory" (memory 1)))
  (core instance (instantiate $user (with "host" (instance $bag))))
  (alias core export $i "f" (core func $f))
  (alias core export $i "after" (core func $after))
  (type $run (func (param "a" string) (result string)))
  (func $lifted (type $run)
    (canon lift (core func $f) (memory (core memory $memory)) (realloc (core func $realloc))
      (post-return (core func $after))
      string-encoding=latin1+utf16))
  (export $exported "run" (func $lifted) (func (type $run)))
  (instance $out (export "again" (func $exported)))
  (export "test:pkg/out@1.2.3" (instance $out))
)
"""

TYPES = """
(component
  (type (record (field "a" u8) (field "b" string)))
  (type (variant (case "a") (case "b" s64)))
  (type (list char))
  (type (tuple f32 f64 bool))
  (type (flags "x" "y"))
  (type (enum "p" "q"))
  (type (option s8))
  (type (result u16 (error s16)))
  (type (result))
  (type (result (error u32)))
  (type (result s32))
  (type u64)
  (type (func (param "a" 0) (param "b" 1) (result 2)))
  (type (func))
  (type $resource (resource (rep i32)))
  (type (own $resource))
  (type (borrow $resource))
  (core type (func (param i32 i64) (result f32 f64)))
  (core type (module
    (type (func (param i32)))
    (import "a" "f" (func (type 0)))
    (import "a" "m" (memory 1 2))
    (import "a" "t" (table 1 funcref))
    (import "a" "g" (global (mut i64)))
    (export "f" (func (type 0)))
    (export "m" (memory 1))))
  (type $outer (record (field "n" u8)))
  (type $inner (instance
    (alias outer 1 $outer (type $seen))
    (export "seen" (type $seen2 (eq $seen)))
    (type $deep (component
      (alias outer 2 $outer (type $far))
      (alias outer 1 $seen (type $near))
      (import "far" (type (eq $far)))
      (import "near" (type (eq $near)))
      (import "r" (type (sub resource)))
      (export "f" (func))))
    (export "component" (component (type $deep)))
    (core type (func))
    (export "r" (type $r (sub resource)))
    (type $list (list $seen2))
    (type $own (own $r))
    (export "g" (func (param "l" $list) (result $own)))))
  (import "test:pkg/types" (instance (type $inner)))
  (import "module" (core module (import "a" "f" (func))))
  (component $nested
    (alias outer 1 $outer (type $t))
    (type (list $t))
    (import "r" (type (sub resource)))
    (export "t" (type $t)))
  (component
    (import "c" (component (type u8) (export "t" (type (eq 0)))))
    (type (tuple u8 u8)))
)
"""

COMPOSED = """
(component
  (type $shape (record (field "n" u32)))
  (import "log" (func $log (param "text" string)))
  (component $inner
    (alias outer 1 $shape (type $shape-here))
    (import "log" (func $log (param "text" string)))
    (import "shape" (type $imported (eq $shape-here)))
    (core module $m
      (memory (export "memory") 1)
      (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 8)
      (func (export "take") (param i32) (result i32) local.get 0))
    (core module $needs (import "" "log" (func (param i32 i32))))
    (core instance $i (instantiate $m))
    (core func $lowered (canon lower (func $log) (memory (core memory $i "memory"))
      (realloc (core func $i "realloc"))))
    (core instance (instantiate $needs (with "" (instance (export "log" (func $lowered))))))
    (func $take (param "s" $imported) (result u32) (canon lift (core func $i "take")))
    (export "take" (func $take)))
  (instance $one (instantiate $inner (with "log" (func $log)) (with "shape" (type $shape))))
  (instance $two (instantiate $inner (with "log" (func $log)) (with "shape" (type $shape))))
  (alias export $one "take" (func $take))
  (export $shape-out "shape" (type $shape))
  (export "take" (func $take) (func (param "s" $shape-out) (result u32)))
)
"""

# Gated features: encoded and read back, never compiled here.
ASYNC = """
(component
  (core module $m
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 16)
    (func (export "callback") (param i32 i32 i32) (result i32) i32.const 0)
    (func (export "f") (result i32) i32.const 0))
  (core instance $i (instantiate $m))
  (alias core export $i "memory" (core memory $memory))
  (alias core export $i "realloc" (core func $realloc))
  (alias core export $i "callback" (core func $callback))
  (alias core export $i "f" (core func $f))
  (type $stream (stream u8))
  (type $future (future))
  (type $t (func async (result u8)))
  (type error-context)
  (type (list u8 4))
  (type (map string u8))
  (func (type $t) (canon lift (core func $f) async (callback (core func $callback))
    (memory (core memory $memory))))
  (core func (canon task.return (result u8)))
  (core func (canon task.return))
  (core func (canon task.return (result string) (memory (core memory $memory))
    (realloc (core func $realloc))))
  (core func (canon task.cancel))
  (core func (canon context.get i32 0))
  (core func (canon context.set i32 1))
  (core func (canon backpressure.inc))
  (core func (canon backpressure.dec))
  (core func (canon thread.yield))
  (core func (canon subtask.drop))
  (core func (canon subtask.cancel))
  (core func (canon subtask.cancel async))
  (core func (canon stream.new $stream))
  (core func (canon stream.read $stream async (memory (core memory $memory))))
  (core func (canon stream.write $stream (memory (core memory $memory))))
  (core func (canon stream.cancel-read $stream async))
  (core func (canon stream.cancel-write $stream))
  (core func (canon stream.drop-readable $stream))
  (core func (canon stream.drop-writable $stream))
  (core func (canon future.new $future))
  (core func (canon future.read $future))
  (core func (canon future.write $future async))
  (core func (canon future.cancel-read $future))
  (core func (canon future.cancel-write $future async))
  (core func (canon future.drop-readable $future))
  (core func (canon future.drop-writable $future))
  (core func (canon error-context.new (memory (core memory $memory))))
  (core func (canon error-context.debug-message (memory (core memory $memory))
    (realloc (core func $realloc))))
  (core func (canon error-context.drop))
  (core func (canon waitable-set.new))
  (core func (canon waitable-set.wait (memory (core memory $memory))))
  (core func (canon waitable-set.poll (memory (core memory $memory))))
  (core func (canon waitable-set.drop))
  (core func (canon waitable.join))
)
"""

TEXTS = {"wiring": WIRING, "types": TYPES, "composed": COMPOSED, "async": ASYNC}
COMPILABLE = ("wiring", "types", "composed")


@cache
def sample(name: str) -> bytes:
    """The bytes of one of `TEXTS`."""
    return binary(TEXTS[name])
