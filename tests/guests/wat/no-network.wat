;; Imports nothing that has to do with the network or with wasi:io: comes back from the interposer unchanged.
;; `run` succeeds when the wall clock stands after 2020 and two random numbers differ.
(component
  (import "wasi:clocks/wall-clock@0.2.0" (instance $wall-clock
    (type $datetime (record (field "seconds" u64) (field "nanoseconds" u32)))
    (export "datetime" (type $datetime-named (eq $datetime)))
    (export "now" (func (result $datetime-named)))))
  (import "wasi:random/random@0.2.0" (instance $random (export "get-random-u64" (func (result u64)))))

  (core module $memory-module (memory (export "memory") 1))
  (core instance $memory-instance (instantiate $memory-module))
  (alias core export $memory-instance "memory" (core memory $memory))
  (core func $now (canon lower (func $wall-clock "now") (memory $memory)))
  (core func $random-number (canon lower (func $random "get-random-u64")))

  (core module $main-module
    (import "host" "memory" (memory 1))
    (import "host" "now" (func $now (param i32)))
    (import "host" "random-number" (func $random-number (result i64)))
    (func (export "run") (result i32)
      (call $now (i32.const 0))
      (i32.or
        (i64.lt_u (i64.load (i32.const 0)) (i64.const 1577836800))
        (i64.eq (call $random-number) (call $random-number)))))
  (core instance $main (instantiate $main-module (with "host" (instance
    (export "memory" (memory $memory)) (export "now" (func $now))
    (export "random-number" (func $random-number))))))

  (type $outcome (result))
  (func $run (result $outcome) (canon lift (core func $main "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))
