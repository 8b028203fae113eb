;; Polls with a timeout of zero for ever, as an event loop with a bug does: `run` never comes back, but calls
;; the host all the time. The allocator takes the same place each time, so that it never runs out.
(component
  (import "wasi:io/poll@0.2.0" (instance $poll-interface
    (export "pollable" (type $pollable (sub resource)))
    (export "poll" (func (param "in" (list (borrow $pollable))) (result (list u32))))))
  (alias export $poll-interface "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock-interface
    (alias outer 1 $pollable (type $outer-pollable)) (export "pollable" (type $pollable (eq $outer-pollable)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))

  (core module $memory-module
    (memory (export "memory") 2)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $memory-instance (instantiate $memory-module))
  (alias core export $memory-instance "memory" (core memory $memory))
  (alias core export $memory-instance "realloc" (core func $realloc))

  (core func $subscribe-duration (canon lower (func $clock-interface "subscribe-duration")))
  (core func $poll (canon lower (func $poll-interface "poll") (memory $memory) (realloc $realloc)))
  (core func $drop-pollable (canon resource.drop $pollable))

  (core module $main-module
    (import "host" "memory" (memory 2))
    (import "host" "subscribe-duration" (func $subscribe-duration (param i64) (result i32)))
    (import "host" "poll" (func $poll (param i32 i32 i32)))
    (import "host" "drop-pollable" (func $drop-pollable (param i32)))
    (func (export "run") (result i32)
      (loop $for-ever
        (i32.store (i32.const 32) (call $subscribe-duration (i64.const 0)))
        (call $poll (i32.const 32) (i32.const 1) (i32.const 0))
        (call $drop-pollable (i32.load (i32.const 32)))
        (br $for-ever))
      (unreachable)))

  (core instance $main (instantiate $main-module (with "host" (instance
    (export "memory" (memory $memory))
    (export "subscribe-duration" (func $subscribe-duration))
    (export "poll" (func $poll))
    (export "drop-pollable" (func $drop-pollable))))))

  (type $outcome (result))
  (func $run (result $outcome) (canon lift (core func $main "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))
