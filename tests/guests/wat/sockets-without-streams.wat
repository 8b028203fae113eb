;; Imports wasi:sockets and wasi:io/poll, but neither wasi:io/streams nor wasi:io/error.
;; `listen(port)` binds 127.0.0.1 and listens: the bound port, or 0x10000 + the step that failed.
;; `close()` ends it.
(component
  (import "wasi:io/poll@0.2.3" (instance $poll-interface
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
  (alias export $poll-interface "pollable" (type $pollable))
  (import "wasi:sockets/network@0.2.3" (instance $network-interface
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
  (import "wasi:sockets/instance-network@0.2.3" (instance $instance-network-interface
    (alias outer 1 $network (type $outer-network)) (export "network" (type $network (eq $outer-network)))
    (export "instance-network" (func (result (own $network))))))
  (import "wasi:sockets/tcp@0.2.3" (instance $tcp-interface
    (alias outer 1 $network (type $outer-network)) (export "network" (type $network (eq $outer-network)))
    (alias outer 1 $error-code (type $outer-code)) (export "error-code" (type $error-code (eq $outer-code)))
    (alias outer 1 $address (type $outer-address))
    (export "ip-socket-address" (type $address (eq $outer-address)))
    (alias outer 1 $pollable (type $outer-pollable)) (export "pollable" (type $pollable (eq $outer-pollable)))
    (export "tcp-socket" (type $tcp-socket (sub resource)))
    (type $done (result (error $error-code)))
    (type $address-result (result $address (error $error-code)))
    (export "[method]tcp-socket.start-bind"
      (func (param "self" (borrow $tcp-socket))
        (param "network" (borrow $network)) (param "local-address" $address)
        (result $done)))
    (export "[method]tcp-socket.finish-bind" (func (param "self" (borrow $tcp-socket)) (result $done)))
    (export "[method]tcp-socket.start-listen" (func (param "self" (borrow $tcp-socket)) (result $done)))
    (export "[method]tcp-socket.finish-listen" (func (param "self" (borrow $tcp-socket)) (result $done)))
    (export "[method]tcp-socket.local-address"
      (func (param "self" (borrow $tcp-socket)) (result $address-result)))
    (export "[method]tcp-socket.is-listening" (func (param "self" (borrow $tcp-socket)) (result bool)))
    (export "[method]tcp-socket.subscribe"
      (func (param "self" (borrow $tcp-socket)) (result (own $pollable))))))
  (alias export $tcp-interface "tcp-socket" (type $tcp-socket))
  (import "wasi:sockets/tcp-create-socket@0.2.3" (instance $create-interface
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

  (core func $instance-network (canon lower (func $instance-network-interface "instance-network")))
  (core func $create-socket (canon lower (func $create-interface "create-tcp-socket") (memory $memory)))
  (core func $start-bind (canon lower (func $tcp-interface "[method]tcp-socket.start-bind") (memory $memory)))
  (core func $finish-bind
    (canon lower (func $tcp-interface "[method]tcp-socket.finish-bind") (memory $memory)))
  (core func $start-listen
    (canon lower (func $tcp-interface "[method]tcp-socket.start-listen") (memory $memory)))
  (core func $finish-listen
    (canon lower (func $tcp-interface "[method]tcp-socket.finish-listen") (memory $memory)))
  (core func $local-address
    (canon lower (func $tcp-interface "[method]tcp-socket.local-address") (memory $memory)))
  (core func $is-listening (canon lower (func $tcp-interface "[method]tcp-socket.is-listening")))
  (core func $subscribe-socket (canon lower (func $tcp-interface "[method]tcp-socket.subscribe")))
  (core func $block (canon lower (func $poll-interface "[method]pollable.block")))
  (core func $drop-pollable (canon resource.drop $pollable))
  (core func $drop-network (canon resource.drop $network))
  (core func $drop-socket (canon resource.drop $tcp-socket))

  (core module $main-module
    (import "host" "memory" (memory 2))
    (import "host" "instance-network" (func $instance-network (result i32)))
    (import "host" "create-socket" (func $create-socket (param i32 i32)))
    (import "host" "start-bind" (func $start-bind (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "host" "finish-bind" (func $finish-bind (param i32 i32)))
    (import "host" "start-listen" (func $start-listen (param i32 i32)))
    (import "host" "finish-listen" (func $finish-listen (param i32 i32)))
    (import "host" "local-address" (func $local-address (param i32 i32)))
    (import "host" "is-listening" (func $is-listening (param i32) (result i32)))
    (import "host" "subscribe-socket" (func $subscribe-socket (param i32) (result i32)))
    (import "host" "block" (func $block (param i32)))
    (import "host" "drop-pollable" (func $drop-pollable (param i32)))
    (import "host" "drop-network" (func $drop-network (param i32)))
    (import "host" "drop-socket" (func $drop-socket (param i32)))
    (global $socket (mut i32) (i32.const 0))
    (func $failed (param $step i32) (result i32) (i32.add (i32.const 0x10000) (local.get $step)))
    (func (export "listen") (param $port i32) (result i32)
      (local $network i32) (local $pollable i32)
      (local.set $network (call $instance-network))
      (call $create-socket (i32.const 0) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then (return (call $failed (i32.const 1)))))
      (global.set $socket (i32.load (i32.const 4)))
      (call $start-bind (global.get $socket) (local.get $network)
        (i32.const 0) (local.get $port) (i32.const 127) (i32.const 0) (i32.const 0) (i32.const 1)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (call $drop-network (local.get $network))
      (if (i32.load8_u (i32.const 0)) (then (return (call $failed (i32.const 2)))))
      (local.set $pollable (call $subscribe-socket (global.get $socket)))
      (loop $again
        (call $block (local.get $pollable))
        (call $finish-bind (global.get $socket) (i32.const 0))
        (if (i32.load8_u (i32.const 0)) (then
          (br_if $again (i32.eq (i32.load8_u (i32.const 1)) (i32.const 8)))  ;; would-block
          (return (call $failed (i32.const 3))))))
      (call $start-listen (global.get $socket) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then (return (call $failed (i32.const 4)))))
      (loop $again
        (call $block (local.get $pollable))
        (call $finish-listen (global.get $socket) (i32.const 0))
        (if (i32.load8_u (i32.const 0)) (then
          (br_if $again (i32.eq (i32.load8_u (i32.const 1)) (i32.const 8)))
          (return (call $failed (i32.const 5))))))
      (call $drop-pollable (local.get $pollable))
      (if (i32.eqz (call $is-listening (global.get $socket))) (then (return (call $failed (i32.const 6)))))
      (call $local-address (global.get $socket) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then (return (call $failed (i32.const 7)))))
      (i32.load16_u (i32.const 8)))
    (func (export "close") (call $drop-socket (global.get $socket))))

  (core instance $main (instantiate $main-module (with "host" (instance
    (export "memory" (memory $memory))
    (export "instance-network" (func $instance-network))
    (export "create-socket" (func $create-socket))
    (export "start-bind" (func $start-bind))
    (export "finish-bind" (func $finish-bind))
    (export "start-listen" (func $start-listen))
    (export "finish-listen" (func $finish-listen))
    (export "local-address" (func $local-address))
    (export "is-listening" (func $is-listening))
    (export "subscribe-socket" (func $subscribe-socket))
    (export "block" (func $block))
    (export "drop-pollable" (func $drop-pollable))
    (export "drop-network" (func $drop-network))
    (export "drop-socket" (func $drop-socket))))))

  (func (export "listen") (param "port" u16) (result u32) (canon lift (core func $main "listen")))
  (func (export "close") (canon lift (core func $main "close"))))
