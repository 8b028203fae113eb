;; Traps at once.
(component
  (core module $main-module (func (export "run") (result i32) (unreachable)))
  (core instance $main (instantiate $main-module))

  (type $outcome (result))
  (func $run (result $outcome) (canon lift (core func $main "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))
