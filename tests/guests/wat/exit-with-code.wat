;; Ends with exit code 3 through exit-with-code, which stock hosts offer too. The exit of wasi-libc, CPython and
;; Rust passes on only success or failure, so for them every other code is 1.
(component
  (import "wasi:cli/exit@0.2.12" (instance $exit-interface
    (export "exit-with-code" (func (param "status-code" u8)))))
  (core func $exit-with-code (canon lower (func $exit-interface "exit-with-code")))

  (core module $main-module
    (import "host" "exit-with-code" (func $exit-with-code (param i32)))
    (func (export "run") (result i32)
      (call $exit-with-code (i32.const 3))
      (unreachable)))
  (core instance $main (instantiate $main-module
    (with "host" (instance (export "exit-with-code" (func $exit-with-code))))))

  (type $outcome (result))
  (func $run (result $outcome) (canon lift (core func $main "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.12" (instance $command)))
