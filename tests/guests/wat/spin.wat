;; Computes for ever and imports nothing: `run` never comes back and never calls the host.
(component
  (core module $main-module
    (global $counter (mut i64) (i64.const 0))
    (func (export "run") (result i32)
      (loop $for-ever
        (global.set $counter (i64.add (global.get $counter) (i64.const 1)))
        (br $for-ever))
      (unreachable)))
  (core instance $main (instantiate $main-module))

  (type $outcome (result))
  (func $run (result $outcome) (canon lift (core func $main "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))
