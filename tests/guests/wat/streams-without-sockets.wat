;; Imports wasi:io/streams, but no wasi:sockets and no wasi:io/poll: copies standard input to standard output
;; until its end. `run` fails when writing does.
(component
  (import "wasi:io/error@0.2.6" (instance $error-interface (export "error" (type (sub resource)))))
  (alias export $error-interface "error" (type $error))
  (import "wasi:io/streams@0.2.6" (instance $streams-interface
    (alias outer 1 $error (type $outer-error)) (export "error" (type $error (eq $outer-error)))
    (export "input-stream" (type $input (sub resource)))
    (export "output-stream" (type $output (sub resource)))
    (type $failure (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $failure)))
    (type $read-result (result (list u8) (error $stream-error)))
    (type $write-result (result (error $stream-error)))
    (export "[method]input-stream.blocking-read"
      (func (param "self" (borrow $input)) (param "len" u64) (result $read-result)))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $output)) (param "contents" (list u8)) (result $write-result)))))
  (alias export $streams-interface "input-stream" (type $input))
  (alias export $streams-interface "output-stream" (type $output))
  (import "wasi:cli/stdin@0.2.6" (instance $stdin-interface
    (alias outer 1 $input (type $outer-input)) (export "input-stream" (type $input (eq $outer-input)))
    (export "get-stdin" (func (result (own $input))))))
  (import "wasi:cli/stdout@0.2.6" (instance $stdout-interface
    (alias outer 1 $output (type $outer-output)) (export "output-stream" (type $output (eq $outer-output)))
    (export "get-stdout" (func (result (own $output))))))

  (core module $memory-module
    (memory (export "memory") 2)
    ;; One block at a time is in use, so each allocation may take the same place.
    (func (export "realloc") (param $old i32) (param $old-size i32)
      (param $align i32) (param $size i32) (result i32)
      (if (i32.gt_u (local.get $size) (i32.const 65536)) (then (unreachable)))
      (i32.const 65536)))
  (core instance $memory-instance (instantiate $memory-module))
  (alias core export $memory-instance "memory" (core memory $memory))
  (alias core export $memory-instance "realloc" (core func $realloc))

  (core func $get-stdin (canon lower (func $stdin-interface "get-stdin")))
  (core func $get-stdout (canon lower (func $stdout-interface "get-stdout")))
  (core func $blocking-read
    (canon lower (func $streams-interface "[method]input-stream.blocking-read") (memory $memory) (realloc $realloc)))
  (core func $blocking-write
    (canon lower (func $streams-interface "[method]output-stream.blocking-write-and-flush") (memory $memory)))
  (core func $drop-input (canon resource.drop $input))
  (core func $drop-output (canon resource.drop $output))
  (core func $drop-error (canon resource.drop $error))

  (core module $main-module
    (import "host" "memory" (memory 2))
    (import "host" "get-stdin" (func $get-stdin (result i32)))
    (import "host" "get-stdout" (func $get-stdout (result i32)))
    (import "host" "blocking-read" (func $blocking-read (param i32 i64 i32)))
    (import "host" "blocking-write" (func $blocking-write (param i32 i32 i32 i32)))
    (import "host" "drop-input" (func $drop-input (param i32)))
    (import "host" "drop-output" (func $drop-output (param i32)))
    (import "host" "drop-error" (func $drop-error (param i32)))
    (func (export "run") (result i32)
      (local $input i32) (local $output i32) (local $failed i32)
      (local.set $input (call $get-stdin))
      (local.set $output (call $get-stdout))
      (block $end
        (loop $again
          (call $blocking-read (local.get $input) (i64.const 4096) (i32.const 0))
          (br_if $end (i32.load8_u (i32.const 0)))
          (call $blocking-write (local.get $output) (i32.load (i32.const 4)) (i32.load (i32.const 8))
            (i32.const 16))
          (br_if $again (i32.eqz (i32.load8_u (i32.const 16))))
          (local.set $failed (i32.const 1))
          (if (i32.eqz (i32.load8_u (i32.const 20))) (then (call $drop-error (i32.load (i32.const 24)))))))
      ;; Of reading, only `closed` is the end that was expected.
      (if (i32.and (i32.eqz (local.get $failed)) (i32.eqz (i32.load8_u (i32.const 4)))) (then
        (local.set $failed (i32.const 1))
        (call $drop-error (i32.load (i32.const 8)))))
      (call $drop-output (local.get $output))
      (call $drop-input (local.get $input))
      (local.get $failed)))

  (core instance $main (instantiate $main-module (with "host" (instance
    (export "memory" (memory $memory))
    (export "get-stdin" (func $get-stdin))
    (export "get-stdout" (func $get-stdout))
    (export "blocking-read" (func $blocking-read))
    (export "blocking-write" (func $blocking-write))
    (export "drop-input" (func $drop-input))
    (export "drop-output" (func $drop-output))
    (export "drop-error" (func $drop-error))))))

  (type $outcome (result))
  (func $run (result $outcome) (canon lift (core func $main "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $command)))
