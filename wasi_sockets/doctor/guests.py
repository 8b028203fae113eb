"""Small guests that try things out, as WebAssembly text that every supported wasmtime reads."""

from __future__ import annotations

from typing import Final

__all__ = ["COPY", "ENDLESS", "FAILING", "SLEEP", "VALUES", "importing"]

_MEMORY: Final = """
  (core module $libc (memory (export "memory") 4) (global $next (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $next)
      (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get 3)) (i32.const 15))
        (i32.const -16)))))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
"""

SLEEP: Final = """(component
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $outer)) (export "pollable" (type $own (eq $outer)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $own))))))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $drop (canon resource.drop $pollable))
  (core module $main
    (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "host" "block" (func $block (param i32)))
    (import "host" "drop" (func $drop (param i32)))
    (func (export "sleep") (param i64) (local $pollable i32)
      (local.set $pollable (call $subscribe (local.get 0)))
      (call $block (local.get $pollable))
      (call $drop (local.get $pollable))))
  (core instance $main (instantiate $main (with "host" (instance
    (export "subscribe" (func $subscribe)) (export "block" (func $block)) (export "drop" (func $drop))))))
  (func (export "sleep") (param "nanoseconds" u64) (canon lift (core func $main "sleep"))))"""
"""Suspends in a host function, and goes on."""

COPY: Final = f"""(component
  (import "wasi:io/error@0.2.0" (instance $errors (export "error" (type (sub resource)))))
  (alias export $errors "error" (type $error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer 1 $error (type $outer)) (export "error" (type $named (eq $outer)))
    (type $failure (variant (case "last-operation-failed" (own $named)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $failure)))
    (export "input-stream" (type $in (sub resource)))
    (export "output-stream" (type $out (sub resource)))
    (export "[method]input-stream.blocking-read" (func (param "self" (borrow $in)) (param "len" u64)
      (result (result (list u8) (error $stream-error)))))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $out)) (param "contents" (list u8))
        (result (result (error $stream-error)))))))
  (alias export $streams "input-stream" (type $in))
  (alias export $streams "output-stream" (type $out))
  (import "wasi:cli/stdin@0.2.0" (instance $stdin
    (alias outer 1 $in (type $outer)) (export "input-stream" (type $stream (eq $outer)))
    (export "get-stdin" (func (result (own $stream))))))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $out (type $outer)) (export "output-stream" (type $stream (eq $outer)))
    (export "get-stdout" (func (result (own $stream))))))
{_MEMORY}
  (core func $stdin (canon lower (func $stdin "get-stdin")))
  (core func $stdout (canon lower (func $stdout "get-stdout")))
  (core func $read (canon lower (func $streams "[method]input-stream.blocking-read")
    (memory $memory) (realloc $realloc)))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory $memory)))
  (core module $main
    (import "libc" "memory" (memory 4))
    (import "host" "stdin" (func $stdin (result i32)))
    (import "host" "stdout" (func $stdout (result i32)))
    (import "host" "read" (func $read (param i32 i64 i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (func (export "copy") (local $in i32) (local $out i32)
      (local.set $in (call $stdin)) (local.set $out (call $stdout))
      (loop $more
        (call $read (local.get $in) (i64.const 4096) (i32.const 64))
        (if (i32.load8_u (i32.const 64)) (then (return)))
        (call $write (local.get $out) (i32.load (i32.const 68)) (i32.load (i32.const 72)) (i32.const 96))
        (if (i32.load8_u (i32.const 96)) (then (unreachable)))
        (br $more))))
  (core instance $main (instantiate $main (with "libc" (instance $libc)) (with "host" (instance
    (export "stdin" (func $stdin)) (export "stdout" (func $stdout))
    (export "read" (func $read)) (export "write" (func $write))))))
  (func (export "copy") (canon lift (core func $main "copy"))))"""
"""Copies standard input to standard output."""

ENDLESS: Final = """(component
  (core module $main (func (export "spin") (loop $again (br $again))))
  (core instance $main (instantiate $main))
  (func (export "spin") (canon lift (core func $main "spin"))))"""

FAILING: Final = """(component
  (core module $main (func (export "fail") unreachable))
  (core instance $main (instantiate $main))
  (func (export "fail") (canon lift (core func $main "fail"))))"""

VALUES: Final = f"""(component
{_MEMORY}
  (core module $main (import "libc" "memory" (memory 4))
    (func (export "echo") (param i32 i32) (result i32)
      (i32.store (i32.const 16) (local.get 0)) (i32.store (i32.const 20) (local.get 1)) (i32.const 16))
    (func (export "add") (param i64 i32) (result i64)
      (i64.add (local.get 0) (i64.extend_i32_u (local.get 1)))))
  (core instance $main (instantiate $main (with "libc" (instance $libc))))
  (func (export "bytes") (param "data" (list u8)) (result (list u8))
    (canon lift (core func $main "echo") (memory $memory) (realloc $realloc)))
  (func (export "text") (param "data" string) (result string)
    (canon lift (core func $main "echo") (memory $memory) (realloc $realloc)))
  (func (export "add") (param "a" u64) (param "b" bool) (result u64) (canon lift (core func $main "add"))))"""
"""Gives back what it is called with."""


def importing(interface: str, member: str) -> str:
    """A guest that only imports one resource, under any version."""
    return f'(component (import "{interface}" (instance (export "{member}" (type (sub resource))))))'
