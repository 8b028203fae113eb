;; A TCP echo client: connects, sends five bytes, compares what comes back.
;; `run` uses port 8080; `round-trip(port)` answers 0, or the number of the step that failed.
;; It never asks pollable.ready, nor for more of wasi:io than it needs.
(component
  (import "wasi:io/error@0.2.0" (instance $error-interface (export "error" (type (sub resource)))))
  (alias export $error-interface "error" (type $error))
  (import "wasi:io/poll@0.2.0" (instance $poll-interface
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
  (alias export $poll-interface "pollable" (type $pollable))
  (import "wasi:io/streams@0.2.0" (instance $streams-interface
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
  (import "wasi:sockets/network@0.2.0" (instance $network-interface
    (export "network" (type (sub resource)))
    (type $code (enum "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory" "timeout"
      "concurrency-conflict" "not-in-progress" "would-block" "invalid-state" "new-socket-limit"
      "address-not-bindable" "address-in-use" "remote-unreachable" "connection-refused" "connection-reset"
      "connection-aborted" "datagram-too-large" "name-unresolvable" "temporary-resolver-failure"
      "permanent-resolver-failure"))
    (export "error-code" (type (eq $code)))
    (type $family (enum "ipv4" "ipv6"))
    (export "ip-address-family" (type (eq $family)))
    (type $ipv4 (tuple u8 u8 u8 u8))
    (export "ipv4-address" (type $ipv4-named (eq $ipv4)))
    (type $ipv6 (tuple u16 u16 u16 u16 u16 u16 u16 u16))
    (export "ipv6-address" (type $ipv6-named (eq $ipv6)))
    (type $ipv4-socket (record (field "port" u16) (field "address" $ipv4-named)))
    (export "ipv4-socket-address" (type $ipv4-socket-named (eq $ipv4-socket)))
    (type $ipv6-socket (record
      (field "port" u16) (field "flow-info" u32) (field "address" $ipv6-named) (field "scope-id" u32)))
    (export "ipv6-socket-address" (type $ipv6-socket-named (eq $ipv6-socket)))
    (type $socket-address (variant (case "ipv4" $ipv4-socket-named) (case "ipv6" $ipv6-socket-named)))
    (export "ip-socket-address" (type (eq $socket-address)))))
  (alias export $network-interface "network" (type $network))
  (alias export $network-interface "error-code" (type $error-code))
  (alias export $network-interface "ip-address-family" (type $address-family))
  (alias export $network-interface "ip-socket-address" (type $address))
  (import "wasi:sockets/instance-network@0.2.0" (instance $instance-network-interface
    (alias outer 1 $network (type $outer-network)) (export "network" (type $network (eq $outer-network)))
    (export "instance-network" (func (result (own $network))))))
  (import "wasi:sockets/tcp@0.2.0" (instance $tcp-interface
    (alias outer 1 $network (type $outer-network)) (export "network" (type $network (eq $outer-network)))
    (alias outer 1 $error-code (type $outer-code)) (export "error-code" (type $error-code (eq $outer-code)))
    (alias outer 1 $address (type $outer-address))
    (export "ip-socket-address" (type $address (eq $outer-address)))
    (alias outer 1 $input (type $outer-input)) (export "input-stream" (type $input (eq $outer-input)))
    (alias outer 1 $output (type $outer-output)) (export "output-stream" (type $output (eq $outer-output)))
    (alias outer 1 $pollable (type $outer-pollable)) (export "pollable" (type $pollable (eq $outer-pollable)))
    (export "tcp-socket" (type $tcp-socket (sub resource)))
    (type $done (result (error $error-code)))
    (type $both (tuple (own $input) (own $output)))
    (type $streams-result (result $both (error $error-code)))
    (export "[method]tcp-socket.start-connect"
      (func (param "self" (borrow $tcp-socket))
        (param "network" (borrow $network)) (param "remote-address" $address)
        (result $done)))
    (export "[method]tcp-socket.finish-connect"
      (func (param "self" (borrow $tcp-socket)) (result $streams-result)))
    (export "[method]tcp-socket.subscribe"
      (func (param "self" (borrow $tcp-socket)) (result (own $pollable))))))
  (alias export $tcp-interface "tcp-socket" (type $tcp-socket))
  (import "wasi:sockets/tcp-create-socket@0.2.0" (instance $create-interface
    (alias outer 1 $error-code (type $outer-code)) (export "error-code" (type $error-code (eq $outer-code)))
    (alias outer 1 $address-family (type $outer-family))
    (export "ip-address-family" (type $address-family (eq $outer-family)))
    (alias outer 1 $tcp-socket (type $outer-socket))
    (export "tcp-socket" (type $tcp-socket (eq $outer-socket)))
    (type $created (result (own $tcp-socket) (error $error-code)))
    (export "create-tcp-socket" (func (param "address-family" $address-family) (result $created)))))

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

  (core func $instance-network (canon lower (func $instance-network-interface "instance-network")))
  (core func $create-socket (canon lower (func $create-interface "create-tcp-socket") (memory $memory)))
  (core func $start-connect
    (canon lower (func $tcp-interface "[method]tcp-socket.start-connect") (memory $memory)))
  (core func $finish-connect
    (canon lower (func $tcp-interface "[method]tcp-socket.finish-connect") (memory $memory)))
  (core func $subscribe-socket (canon lower (func $tcp-interface "[method]tcp-socket.subscribe")))
  (core func $block (canon lower (func $poll-interface "[method]pollable.block")))
  (core func $drop-pollable (canon resource.drop $pollable))
  (core func $drop-network (canon resource.drop $network))
  (core func $blocking-write
    (canon lower (func $streams-interface "[method]output-stream.blocking-write-and-flush") (memory $memory)))
  (core func $blocking-read
    (canon lower (func $streams-interface "[method]input-stream.blocking-read") (memory $memory) (realloc $realloc)))
  (core func $drop-output (canon resource.drop $output))
  (core func $drop-input (canon resource.drop $input))
  (core func $drop-socket (canon resource.drop $tcp-socket))

  (core module $main-module
    (import "host" "memory" (memory 2))
    (import "host" "instance-network" (func $instance-network (result i32)))
    (import "host" "create-socket" (func $create-socket (param i32 i32)))
    (import "host" "start-connect" (func $start-connect (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "host" "finish-connect" (func $finish-connect (param i32 i32)))
    (import "host" "subscribe-socket" (func $subscribe-socket (param i32) (result i32)))
    (import "host" "block" (func $block (param i32)))
    (import "host" "drop-pollable" (func $drop-pollable (param i32)))
    (import "host" "drop-network" (func $drop-network (param i32)))
    (import "host" "blocking-write" (func $blocking-write (param i32 i32 i32 i32)))
    (import "host" "blocking-read" (func $blocking-read (param i32 i64 i32)))
    (import "host" "drop-output" (func $drop-output (param i32)))
    (import "host" "drop-input" (func $drop-input (param i32)))
    (import "host" "drop-socket" (func $drop-socket (param i32)))
    (data (i32.const 512) "hello")
    (global $socket (mut i32) (i32.const 0))
    (global $input (mut i32) (i32.const 0))
    (global $output (mut i32) (i32.const 0))
    ;; Answers 0 and leaves the streams in $input and $output, or answers the step that failed.
    (func $connect (param $port i32) (result i32)
      (local $network i32) (local $pollable i32)
      (local.set $network (call $instance-network))
      (call $create-socket (i32.const 0) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then (return (i32.const 1))))
      (global.set $socket (i32.load (i32.const 4)))
      (call $start-connect (global.get $socket) (local.get $network)
        (i32.const 0) (local.get $port) (i32.const 127) (i32.const 0) (i32.const 0) (i32.const 1)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (call $drop-network (local.get $network))
      (if (i32.load8_u (i32.const 0)) (then (return (i32.const 2))))
      (local.set $pollable (call $subscribe-socket (global.get $socket)))
      (loop $again
        (call $block (local.get $pollable))
        (call $finish-connect (global.get $socket) (i32.const 0))
        (if (i32.load8_u (i32.const 0)) (then
          (br_if $again (i32.eq (i32.load8_u (i32.const 4)) (i32.const 8)))  ;; would-block
          (call $drop-pollable (local.get $pollable))
          (return (i32.const 3)))))
      (global.set $input (i32.load (i32.const 4)))
      (global.set $output (i32.load (i32.const 8)))
      (call $drop-pollable (local.get $pollable))
      (i32.const 0))
    ;; Sends "hello" and compares what comes back: 0, or the step that failed.
    (func $round-trip (export "round-trip") (param $port i32) (result i32)
      (local $step i32)
      (if (local.tee $step (call $connect (local.get $port))) (then (return (local.get $step))))
      (call $blocking-write (global.get $output) (i32.const 512) (i32.const 5) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then (return (i32.const 4))))
      (call $blocking-read (global.get $input) (i64.const 100) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then (return (i32.const 5))))
      (if (i32.ne (i32.load (i32.const 8)) (i32.const 5)) (then (return (i32.const 6))))
      (if (i32.ne (i32.load (i32.load (i32.const 4))) (i32.load (i32.const 512)))
        (then (return (i32.const 7))))
      (call $drop-output (global.get $output))
      (call $drop-input (global.get $input))
      (call $drop-socket (global.get $socket))
      (i32.const 0))
    (func (export "run") (result i32)
      (i32.ne (call $round-trip (i32.const 8080)) (i32.const 0))))

  (core instance $main (instantiate $main-module (with "host" (instance
    (export "memory" (memory $memory))
    (export "instance-network" (func $instance-network))
    (export "create-socket" (func $create-socket))
    (export "start-connect" (func $start-connect))
    (export "finish-connect" (func $finish-connect))
    (export "subscribe-socket" (func $subscribe-socket))
    (export "block" (func $block))
    (export "drop-pollable" (func $drop-pollable))
    (export "drop-network" (func $drop-network))
    (export "blocking-write" (func $blocking-write))
    (export "blocking-read" (func $blocking-read))
    (export "drop-output" (func $drop-output))
    (export "drop-input" (func $drop-input))
    (export "drop-socket" (func $drop-socket))))))

  (func (export "round-trip") (param "port" u16) (result u32) (canon lift (core func $main "round-trip")))

  (type $outcome (result))
  (func $run (result $outcome) (canon lift (core func $main "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))
