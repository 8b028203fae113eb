;; The guest of all benchmarks: a TCP client of the services in services.py. Every export connects to
;; 127.0.0.1:port, does its work and returns the nanoseconds it took by the guest's monotonic clock; connecting
;; and closing are inside that time only for `connections`. A failed call traps.
;;
;; It uses a socket as wasi-libc does: try, and block on the stream's pollable when the answer was "nothing yet".
;;
;; Memory
;;       0 ..    63  results of calls
;;      64 ..    79  the request: operation (u8), count (u64)
;;   65536 .. 131071 what is sent
;; 1048576 ..        where the host puts what is received
(component
  (import "wasi:io/poll@0.2.0" (instance $poll-interface
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
  (alias export $poll-interface "pollable" (type $pollable))
  (import "wasi:io/error@0.2.0" (instance $error-interface (export "error" (type (sub resource)))))
  (alias export $error-interface "error" (type $error))
  (import "wasi:io/streams@0.2.0" (instance $streams-interface
    (alias outer 1 $error (type $outer-error)) (export "error" (type $error (eq $outer-error)))
    (alias outer 1 $pollable (type $outer-pollable)) (export "pollable" (type $pollable (eq $outer-pollable)))
    (type $failure (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $failure)))
    (export "input-stream" (type $input (sub resource)))
    (export "output-stream" (type $output (sub resource)))
    (export "[method]input-stream.read" (func (param "self" (borrow $input)) (param "len" u64)
      (result (result (list u8) (error $stream-error)))))
    (export "[method]input-stream.subscribe" (func (param "self" (borrow $input)) (result (own $pollable))))
    (export "[method]output-stream.check-write" (func (param "self" (borrow $output))
      (result (result u64 (error $stream-error)))))
    (export "[method]output-stream.write" (func (param "self" (borrow $output)) (param "contents" (list u8))
      (result (result (error $stream-error)))))
    (export "[method]output-stream.subscribe" (func (param "self" (borrow $output)) (result (own $pollable))))))
  (alias export $streams-interface "input-stream" (type $input))
  (alias export $streams-interface "output-stream" (type $output))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock-interface (export "now" (func (result u64)))))
  (import "wasi:sockets/network@0.2.0" (instance $network-interface
    (export "network" (type (sub resource)))
    (type $code (enum "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory" "timeout"
      "concurrency-conflict" "not-in-progress" "would-block" "invalid-state" "new-socket-limit"
      "address-not-bindable" "address-in-use" "remote-unreachable" "connection-refused" "connection-reset"
      "connection-aborted" "datagram-too-large" "name-unresolvable" "temporary-resolver-failure"
      "permanent-resolver-failure"))
    (export "error-code" (type (eq $code)))
    (type $family (enum "ipv4" "ipv6")) (export "ip-address-family" (type (eq $family)))
    (type $ipv4 (tuple u8 u8 u8 u8)) (export "ipv4-address" (type $ipv4-named (eq $ipv4)))
    (type $ipv6 (tuple u16 u16 u16 u16 u16 u16 u16 u16)) (export "ipv6-address" (type $ipv6-named (eq $ipv6)))
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
    (export "[method]tcp-socket.start-connect" (func (param "self" (borrow $tcp-socket))
      (param "network" (borrow $network)) (param "remote-address" $address) (result (result (error $error-code)))))
    (export "[method]tcp-socket.finish-connect" (func (param "self" (borrow $tcp-socket))
      (result (result (tuple (own $input) (own $output)) (error $error-code)))))
    (export "[method]tcp-socket.subscribe" (func (param "self" (borrow $tcp-socket)) (result (own $pollable))))))
  (alias export $tcp-interface "tcp-socket" (type $tcp-socket))
  (import "wasi:sockets/tcp-create-socket@0.2.0" (instance $create-interface
    (alias outer 1 $error-code (type $outer-code)) (export "error-code" (type $error-code (eq $outer-code)))
    (alias outer 1 $address-family (type $outer-family))
    (export "ip-address-family" (type $address-family (eq $outer-family)))
    (alias outer 1 $tcp-socket (type $outer-socket))
    (export "tcp-socket" (type $tcp-socket (eq $outer-socket)))
    (export "create-tcp-socket" (func (param "address-family" $address-family)
      (result (result (own $tcp-socket) (error $error-code)))))))

  (core module $memory-module
    (memory (export "memory") 32)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1048576)))
  (core instance $memory-instance (instantiate $memory-module))
  (alias core export $memory-instance "memory" (core memory $memory))
  (alias core export $memory-instance "realloc" (core func $realloc))

  (core func $block (canon lower (func $poll-interface "[method]pollable.block")))
  (core func $read (canon lower (func $streams-interface "[method]input-stream.read")
    (memory $memory) (realloc $realloc)))
  (core func $subscribe-input (canon lower (func $streams-interface "[method]input-stream.subscribe")))
  (core func $check-write (canon lower (func $streams-interface "[method]output-stream.check-write")
    (memory $memory)))
  (core func $write (canon lower (func $streams-interface "[method]output-stream.write") (memory $memory)))
  (core func $subscribe-output (canon lower (func $streams-interface "[method]output-stream.subscribe")))
  (core func $now (canon lower (func $clock-interface "now")))
  (core func $instance-network (canon lower (func $instance-network-interface "instance-network")))
  (core func $create (canon lower (func $create-interface "create-tcp-socket") (memory $memory)))
  (core func $start-connect (canon lower (func $tcp-interface "[method]tcp-socket.start-connect") (memory $memory)))
  (core func $finish-connect (canon lower (func $tcp-interface "[method]tcp-socket.finish-connect") (memory $memory)))
  (core func $subscribe-socket (canon lower (func $tcp-interface "[method]tcp-socket.subscribe")))
  (core func $drop-pollable (canon resource.drop $pollable))
  (core func $drop-input (canon resource.drop $input))
  (core func $drop-output (canon resource.drop $output))
  (core func $drop-socket (canon resource.drop $tcp-socket))

  (core module $client
    (import "memory" "memory" (memory 32))
    (import "wasi" "block" (func $block (param i32)))
    (import "wasi" "read" (func $read (param i32 i64 i32)))
    (import "wasi" "subscribe-input" (func $subscribe-input (param i32) (result i32)))
    (import "wasi" "check-write" (func $check-write (param i32 i32)))
    (import "wasi" "write" (func $write (param i32 i32 i32 i32)))
    (import "wasi" "subscribe-output" (func $subscribe-output (param i32) (result i32)))
    (import "wasi" "now" (func $now (result i64)))
    (import "wasi" "instance-network" (func $instance-network (result i32)))
    (import "wasi" "create" (func $create (param i32 i32)))
    (import "wasi" "start-connect" (func $start-connect
      (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "wasi" "finish-connect" (func $finish-connect (param i32 i32)))
    (import "wasi" "subscribe-socket" (func $subscribe-socket (param i32) (result i32)))
    (import "wasi" "drop-pollable" (func $drop-pollable (param i32)))
    (import "wasi" "drop-input" (func $drop-input (param i32)))
    (import "wasi" "drop-output" (func $drop-output (param i32)))
    (import "wasi" "drop-socket" (func $drop-socket (param i32)))
    (global $network (mut i32) (i32.const 0))
    (global $socket (mut i32) (i32.const 0))
    (global $input (mut i32) (i32.const 0))
    (global $output (mut i32) (i32.const 0))
    (global $readable (mut i32) (i32.const 0))
    (global $writable (mut i32) (i32.const 0))

    (func $succeeded                       ;; every call here writes its result at 0, errors with 1 in front
      (if (i32.load8_u (i32.const 0)) (then unreachable)))

    (func $connect (param $port i32) (local $connected i32)
      (if (i32.eqz (global.get $network)) (then (global.set $network (call $instance-network))))
      (call $create (i32.const 0) (i32.const 0))
      (call $succeeded)
      (global.set $socket (i32.load (i32.const 4)))
      (call $start-connect (global.get $socket) (global.get $network)
        (i32.const 0) (local.get $port) (i32.const 127) (i32.const 0) (i32.const 0) (i32.const 1)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 0))
      (call $succeeded)
      (local.set $connected (call $subscribe-socket (global.get $socket)))
      (block $done
        (loop $again
          (call $finish-connect (global.get $socket) (i32.const 0))
          (br_if $done (i32.eqz (i32.load8_u (i32.const 0))))
          (if (i32.ne (i32.load8_u (i32.const 4)) (i32.const 8)) (then unreachable))  ;; would-block
          (call $block (local.get $connected))
          (br $again)))
      (call $drop-pollable (local.get $connected))
      (global.set $input (i32.load (i32.const 4)))
      (global.set $output (i32.load (i32.const 8)))
      (global.set $readable (call $subscribe-input (global.get $input)))
      (global.set $writable (call $subscribe-output (global.get $output))))

    (func $close
      (call $drop-pollable (global.get $readable))
      (call $drop-pollable (global.get $writable))
      (call $drop-input (global.get $input))
      (call $drop-output (global.get $output))
      (call $drop-socket (global.get $socket)))

    (func $send (param $at i32) (param $size i32) (local $part i32)
      (loop $again
        (call $check-write (global.get $output) (i32.const 0))
        (call $succeeded)
        (local.set $part (i32.load (i32.const 8)))
        (if (i32.eqz (local.get $part)) (then (call $block (global.get $writable)) (br $again)))
        (if (i32.gt_u (local.get $part) (local.get $size)) (then (local.set $part (local.get $size))))
        (call $write (global.get $output) (local.get $at) (local.get $part) (i32.const 0))
        (call $succeeded)
        (local.set $at (i32.add (local.get $at) (local.get $part)))
        (local.set $size (i32.sub (local.get $size) (local.get $part)))
        (br_if $again (local.get $size))))

    (func $receive (param $most i32) (result i32)
      (loop $again
        (call $read (global.get $input) (i64.extend_i32_u (local.get $most)) (i32.const 0))
        (call $succeeded)
        (if (i32.eqz (i32.load (i32.const 8))) (then (call $block (global.get $readable)) (br $again))))
      (i32.load (i32.const 8)))

    (func $receive-all (param $size i32)
      (loop $again
        (local.set $size (i32.sub (local.get $size) (call $receive (local.get $size))))
        (br_if $again (local.get $size))))

    (func $request (param $operation i32) (param $count i64)
      (i32.store8 (i32.const 64) (local.get $operation))
      (i64.store (i32.const 65) (local.get $count))
      (call $send (i32.const 64) (i32.const 9)))

    (func $fill (param $binary i32) (local $i i32)   ;; all byte values, or the letter a
      (loop $next
        (i32.store8 offset=65536 (local.get $i) (select (local.get $i) (i32.const 97) (local.get $binary)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $i) (i32.const 65536)))))

    (func (export "round-trips") (param $port i32) (param $count i32) (param $size i32) (result i64)
      (local $start i64)
      (call $connect (local.get $port))
      (call $fill (i32.const 0))
      (call $request (i32.const 101) (i64.const 0))   ;; e: echo
      (local.set $start (call $now))
      (loop $next
        (call $send (i32.const 65536) (local.get $size))
        (call $receive-all (local.get $size))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br_if $next (local.get $count)))
      (local.set $start (i64.sub (call $now) (local.get $start)))
      (call $close)
      (local.get $start))

    (func (export "connections") (param $port i32) (param $count i32) (result i64) (local $start i64)
      (local.set $start (call $now))
      (loop $next
        (call $connect (local.get $port))
        (call $request (i32.const 114) (i64.const 64))   ;; r: reply
        (call $receive-all (i32.const 64))
        (call $close)
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br_if $next (local.get $count)))
      (i64.sub (call $now) (local.get $start)))

    (func (export "upload") (param $port i32) (param $chunks i32) (param $binary i32) (result i64) (local $start i64)
      (call $connect (local.get $port))
      (call $fill (local.get $binary))
      (local.set $start (call $now))
      (call $request (i32.const 117) (i64.shl (i64.extend_i32_u (local.get $chunks)) (i64.const 16)))  ;; u: upload
      (loop $next
        (call $send (i32.const 65536) (i32.const 65536))
        (local.set $chunks (i32.sub (local.get $chunks) (i32.const 1)))
        (br_if $next (local.get $chunks)))
      (call $receive-all (i32.const 1))                  ;; the service has got all of it
      (local.set $start (i64.sub (call $now) (local.get $start)))
      (call $close)
      (local.get $start))

    (func (export "download") (param $port i32) (param $chunks i32) (param $binary i32) (result i64)
      (local $start i64) (local $left i64)
      (call $connect (local.get $port))
      (local.set $start (call $now))
      (local.set $left (i64.shl (i64.extend_i32_u (local.get $chunks)) (i64.const 16)))
      (call $request (select (i32.const 98) (i32.const 97) (local.get $binary)) (local.get $left))  ;; b, a
      (loop $next
        (local.set $left (i64.sub (local.get $left) (i64.extend_i32_u (call $receive (i32.const 65536)))))
        (br_if $next (i64.gt_s (local.get $left) (i64.const 0))))
      (local.set $start (i64.sub (call $now) (local.get $start)))
      (call $close)
      (local.get $start)))

  (core instance $client-instance (instantiate $client
    (with "memory" (instance $memory-instance))
    (with "wasi" (instance
      (export "block" (func $block))
      (export "read" (func $read))
      (export "subscribe-input" (func $subscribe-input))
      (export "check-write" (func $check-write))
      (export "write" (func $write))
      (export "subscribe-output" (func $subscribe-output))
      (export "now" (func $now))
      (export "instance-network" (func $instance-network))
      (export "create" (func $create))
      (export "start-connect" (func $start-connect))
      (export "finish-connect" (func $finish-connect))
      (export "subscribe-socket" (func $subscribe-socket))
      (export "drop-pollable" (func $drop-pollable))
      (export "drop-input" (func $drop-input))
      (export "drop-output" (func $drop-output))
      (export "drop-socket" (func $drop-socket))))))

  (func (export "round-trips") (param "port" u16) (param "count" u32) (param "size" u32) (result u64)
    (canon lift (core func $client-instance "round-trips")))
  (func (export "connections") (param "port" u16) (param "count" u32) (result u64)
    (canon lift (core func $client-instance "connections")))
  (func (export "upload") (param "port" u16) (param "chunks" u32) (param "binary" bool) (result u64)
    (canon lift (core func $client-instance "upload")))
  (func (export "download") (param "port" u16) (param "chunks" u32) (param "binary" bool) (result u64)
    (canon lift (core func $client-instance "download"))))
