;; Defines a resource of its own, `holder`, whose destructor drops a tcp-socket: a replaced function that is
;; needed before the main module exists. `open()` makes one, `check(holder)` asks its socket whether it
;; listens (0), and `dropped()` counts the destructor's calls. `run` makes and drops three of them inside the guest.
(component
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
    (export "tcp-socket" (type $tcp-socket (sub resource)))
    (type $done (result (error $error-code)))
    (export "[method]tcp-socket.is-listening" (func (param "self" (borrow $tcp-socket)) (result bool)))))
  (alias export $tcp-interface "tcp-socket" (type $tcp-socket))
  (import "wasi:sockets/tcp-create-socket@0.2.0" (instance $create-interface
    (alias outer 1 $error-code (type $outer-code)) (export "error-code" (type $error-code (eq $outer-code)))
    (alias outer 1 $address-family (type $outer-family))
    (export "ip-address-family" (type $address-family (eq $outer-family)))
    (alias outer 1 $tcp-socket (type $outer-socket))
    (export "tcp-socket" (type $tcp-socket (eq $outer-socket)))
    (type $created (result (own $tcp-socket) (error $error-code)))
    (export "create-tcp-socket" (func (param "address-family" $address-family) (result $created)))))

  (core module $memory-module (memory (export "memory") 2))
  (core instance $memory-instance (instantiate $memory-module))
  (alias core export $memory-instance "memory" (core memory $memory))

  (core func $drop-socket (canon resource.drop $tcp-socket))
  (core module $destructor-module
    (import "host" "drop-socket" (func $drop-socket (param i32)))
    (global $dropped (mut i32) (i32.const 0))
    (func (export "dropped") (result i32) (global.get $dropped))
    (func (export "destroy") (param $socket i32)
      (call $drop-socket (local.get $socket))
      (global.set $dropped (i32.add (global.get $dropped) (i32.const 1)))))
  (core instance $destructor (instantiate $destructor-module
    (with "host" (instance (export "drop-socket" (func $drop-socket))))))
  (alias core export $destructor "destroy" (core func $destroy))
  (type $holder (resource (rep i32) (dtor (core func $destroy))))
  (core func $new-holder (canon resource.new $holder))
  (core func $holder-socket (canon resource.rep $holder))
  (core func $drop-holder (canon resource.drop $holder))

  (core func $instance-network (canon lower (func $instance-network-interface "instance-network")))
  (core func $create-socket (canon lower (func $create-interface "create-tcp-socket") (memory $memory)))
  (core func $is-listening (canon lower (func $tcp-interface "[method]tcp-socket.is-listening")))
  (core func $drop-network (canon resource.drop $network))

  (core module $main-module
    (import "host" "memory" (memory 2))
    (import "host" "instance-network" (func $instance-network (result i32)))
    (import "host" "create-socket" (func $create-socket (param i32 i32)))
    (import "host" "is-listening" (func $is-listening (param i32) (result i32)))
    (import "host" "drop-network" (func $drop-network (param i32)))
    (import "host" "new-holder" (func $new-holder (param i32) (result i32)))
    (import "host" "drop-holder" (func $drop-holder (param i32)))
    (import "host" "dropped" (func $dropped (result i32)))
    (func $open (export "open") (result i32)
      (call $create-socket (i32.const 0) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then (unreachable)))
      (call $new-holder (i32.load (i32.const 4))))
    (func (export "check") (param $socket i32) (result i32) (call $is-listening (local.get $socket)))
    (func (export "run") (result i32)
      (local $before i32) (local $first i32) (local $second i32)
      (local.set $before (call $dropped))
      (local.set $first (call $open))
      (local.set $second (call $open))
      (call $drop-holder (local.get $first))
      (call $drop-holder (call $open))
      (call $drop-holder (local.get $second))
      (call $drop-network (call $instance-network))
      (i32.ne (i32.sub (call $dropped) (local.get $before)) (i32.const 3))))

  (core instance $main (instantiate $main-module (with "host" (instance
    (export "memory" (memory $memory))
    (export "instance-network" (func $instance-network))
    (export "create-socket" (func $create-socket))
    (export "is-listening" (func $is-listening))
    (export "drop-network" (func $drop-network))
    (export "new-holder" (func $new-holder))
    (export "drop-holder" (func $drop-holder))
    (export "dropped" (func $destructor "dropped"))))))

  (export $holder-named "holder" (type $holder))
  (func (export "open") (result (own $holder-named)) (canon lift (core func $main "open")))
  (func (export "check") (param "holder" (borrow $holder-named)) (result bool)
    (canon lift (core func $main "check")))
  (func (export "dropped") (result u32) (canon lift (core func $destructor "dropped")))

  (type $outcome (result))
  (func $run (result $outcome) (canon lift (core func $main "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))
