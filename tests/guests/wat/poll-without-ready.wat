;; Imports of wasi:io/poll nothing but `poll`: neither pollable.ready nor pollable.block.
;; `wait(ns)` polls standard input (a stock pollable, on a stock host) together with a timer and answers which
;; were ready: bit 0 for standard input, bit 1 for the timer.
(component
  (import "wasi:io/error@0.2.12" (instance $error-interface (export "error" (type (sub resource)))))
  (alias export $error-interface "error" (type $error))
  (import "wasi:io/poll@0.2.12" (instance $poll-interface
    (export "pollable" (type $pollable (sub resource)))
    (export "poll" (func (param "in" (list (borrow $pollable))) (result (list u32))))))
  (alias export $poll-interface "pollable" (type $pollable))
  (import "wasi:io/streams@0.2.12" (instance $streams-interface
    (alias outer 1 $error (type $outer-error)) (export "error" (type $error (eq $outer-error)))
    (alias outer 1 $pollable (type $outer-pollable)) (export "pollable" (type $pollable (eq $outer-pollable)))
    (export "input-stream" (type $input (sub resource)))
    (export "output-stream" (type $output (sub resource)))
    (export "[method]input-stream.subscribe" (func (param "self" (borrow $input)) (result (own $pollable))))))
  (alias export $streams-interface "input-stream" (type $input))
  (alias export $streams-interface "output-stream" (type $output))
  (import "wasi:clocks/monotonic-clock@0.2.12" (instance $clock-interface
    (alias outer 1 $pollable (type $outer-pollable)) (export "pollable" (type $pollable (eq $outer-pollable)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
  (import "wasi:cli/stdin@0.2.12" (instance $stdin-interface
    (alias outer 1 $input (type $outer-input)) (export "input-stream" (type $input (eq $outer-input)))
    (export "get-stdin" (func (result (own $input))))))

  (core module $memory-module
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 65536))
    (func (export "realloc") (param $old i32) (param $old-size i32)
      (param $align i32) (param $size i32) (result i32)
      (local $address i32)
      (local.set $address (i32.and
        (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
      (global.set $next (i32.add (local.get $address) (local.get $size)))
      (local.get $address)))
  (core instance $memory-instance (instantiate $memory-module))
  (alias core export $memory-instance "memory" (core memory $memory))
  (alias core export $memory-instance "realloc" (core func $realloc))

  (core func $get-stdin (canon lower (func $stdin-interface "get-stdin")))
  (core func $subscribe-input (canon lower (func $streams-interface "[method]input-stream.subscribe")))
  (core func $subscribe-duration (canon lower (func $clock-interface "subscribe-duration")))
  (core func $poll (canon lower (func $poll-interface "poll") (memory $memory) (realloc $realloc)))
  (core func $drop-pollable (canon resource.drop $pollable))
  (core func $drop-input (canon resource.drop $input))

  (core module $main-module
    (import "host" "memory" (memory 2))
    (import "host" "get-stdin" (func $get-stdin (result i32)))
    (import "host" "subscribe-input" (func $subscribe-input (param i32) (result i32)))
    (import "host" "subscribe-duration" (func $subscribe-duration (param i64) (result i32)))
    (import "host" "poll" (func $poll (param i32 i32 i32)))
    (import "host" "drop-pollable" (func $drop-pollable (param i32)))
    (import "host" "drop-input" (func $drop-input (param i32)))
    (func (export "wait") (param $duration i64) (result i32)
      (local $input i32) (local $ready i32) (local $position i32)
      (local.set $input (call $get-stdin))
      (i32.store (i32.const 32) (call $subscribe-input (local.get $input)))
      (i32.store (i32.const 36) (call $subscribe-duration (local.get $duration)))
      (call $poll (i32.const 32) (i32.const 2) (i32.const 0))
      (loop $again
        (if (i32.lt_u (local.get $position) (i32.load (i32.const 4))) (then
          (local.set $ready (i32.or (local.get $ready) (i32.shl
            (i32.const 1)
            (i32.load (i32.add (i32.load (i32.const 0)) (i32.shl (local.get $position) (i32.const 2)))))))
          (local.set $position (i32.add (local.get $position) (i32.const 1)))
          (br $again))))
      (call $drop-pollable (i32.load (i32.const 36)))
      (call $drop-pollable (i32.load (i32.const 32)))
      (call $drop-input (local.get $input))
      (local.get $ready)))

  (core instance $main (instantiate $main-module (with "host" (instance
    (export "memory" (memory $memory))
    (export "get-stdin" (func $get-stdin))
    (export "subscribe-input" (func $subscribe-input))
    (export "subscribe-duration" (func $subscribe-duration))
    (export "poll" (func $poll))
    (export "drop-pollable" (func $drop-pollable))
    (export "drop-input" (func $drop-input))))))

  (func (export "wait") (param "duration" u64) (result u32) (canon lift (core func $main "wait"))))
