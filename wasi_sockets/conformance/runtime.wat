;; What the checks are made of. Python takes from here what a component needs: each block between blank lines is
;; one function, found by its name.
;;
;; Memory: 16..79 results of host calls; 96..127 lists of pollables; 128..255 text to print; constants and the checks'
;; variables from 1,024 on; what the host allocates from 65,536 on; a megabyte of zeroes from 2 MiB on.
;;
;; An outcome is an i64: 0 ok; 1.. an error code of wasi:sockets, in the order of WIT; 31 and 32 the stream errors
;; last-operation-failed and closed; 40 nothing happened in time.

(func $outcome (param $offset i32) (result i64)
  (if (i32.eqz (i32.load8_u (i32.const 16))) (then (return (i64.const 0))))
  (i64.add (i64.const 1) (i64.load8_u offset=16 (local.get $offset))))

(func $stream-outcome (param $offset i32) (result i64)
  (if (i32.eqz (i32.load8_u (i32.const 16))) (then (return (i64.const 0))))
  (i64.add (i64.const 31) (i64.load8_u offset=16 (local.get $offset))))

(func $print (param $from i32) (param $size i32)
  (if (i32.eqz (global.get $stdout)) (then (global.set $stdout (call $stdout.get-stdout))))
  (call $output.blocking-write-and-flush
    (global.get $stdout) (local.get $from) (local.get $size) (i32.const 16)))

(func $decimal (param $value i64) (param $end i32) (result i32)
  (loop $next
    (local.set $end (i32.sub (local.get $end) (i32.const 1)))
    (i64.store8 (local.get $end)
      (i64.add (i64.const 48) (i64.rem_u (local.get $value) (i64.const 10))))
    (local.set $value (i64.div_u (local.get $value) (i64.const 10)))
    (br_if $next (i64.ne (local.get $value) (i64.const 0))))
  (local.get $end))

(func $say (param $word i32) (param $step i32) (param $value i64)
  (local $at i32)
  ;; written from the end: WORD step value newline
  (i32.store8 (i32.const 255) (i32.const 10))
  (local.set $at (call $decimal (local.get $value) (i32.const 255)))
  (local.set $at (i32.sub (local.get $at) (i32.const 1)))
  (i32.store8 (local.get $at) (i32.const 32))
  (local.set $at (call $decimal (i64.extend_i32_u (local.get $step)) (local.get $at)))
  (local.set $at (i32.sub (local.get $at) (i32.const 5)))
  (i32.store (local.get $at) (local.get $word))
  (i32.store8 offset=4 (local.get $at) (i32.const 32))
  (call $print (local.get $at) (i32.sub (i32.const 256) (local.get $at))))

(func $say-fail (param $step i32) (param $value i64)
  (call $say (i32.const 0x4c494146) (local.get $step) (local.get $value)))

(func $say-pass (param $step i32)
  (call $say (i32.const 0x53534150) (local.get $step) (i64.const 0)))

(func $say-trap (param $step i32)
  (call $say (i32.const 0x50415254) (local.get $step) (i64.const 0)))

(func $unexpected (param $step i32) (param $allowed i64) (param $got i64) (result i32)
  (if (i64.ne (i64.and (local.get $allowed) (i64.shl (i64.const 1) (local.get $got))) (i64.const 0))
    (then (return (i32.const 0))))
  (call $say-fail (local.get $step) (local.get $got))
  (i32.const 1))

(func $outside (param $step i32) (param $low i64) (param $high i64) (param $got i64) (result i32)
  (if (i64.ge_u (local.get $got) (local.get $low))
    (then (if (i64.le_u (local.get $got) (local.get $high)) (then (return (i32.const 0))))))
  (call $say-fail (local.get $step) (local.get $got))
  (i32.const 1))

(func $same-bytes (param $a i32) (param $b i32) (param $size i32) (result i64)
  (block $end
    (loop $next
      (br_if $end (i32.eqz (local.get $size)))
      (if (i32.ne (i32.load8_u (local.get $a)) (i32.load8_u (local.get $b))) (then (return (i64.const 0))))
      (local.set $a (i32.add (local.get $a) (i32.const 1)))
      (local.set $b (i32.add (local.get $b) (i32.const 1)))
      (local.set $size (i32.sub (local.get $size) (i32.const 1)))
      (br $next)))
  (i64.const 1))

(func $argument (result i32)
  (local $at i32) (local $size i32) (local $value i32)
  ;; the last argument, a decimal number; 0 without one
  (call $environment.get-arguments (i32.const 16))
  (if (i32.lt_u (i32.load (i32.const 20)) (i32.const 2)) (then (return (i32.const 0))))
  (local.set $at (i32.add (i32.load (i32.const 16))
    (i32.mul (i32.sub (i32.load (i32.const 20)) (i32.const 1)) (i32.const 8))))
  (local.set $size (i32.load offset=4 (local.get $at)))
  (local.set $at (i32.load (local.get $at)))
  (loop $next
    (local.set $value (i32.add (i32.mul (local.get $value) (i32.const 10))
      (i32.sub (i32.load8_u (local.get $at)) (i32.const 48))))
    (local.set $at (i32.add (local.get $at) (i32.const 1)))
    (local.set $size (i32.sub (local.get $size) (i32.const 1)))
    (br_if $next (local.get $size)))
  (local.get $value))

(func $the-network (result i32)
  (if (i32.eqz (global.get $network)) (then (global.set $network (call $network.instance-network))))
  (global.get $network))

(func $wait (param $pollable i32) (result i32)
  (local $timer i32) (local $ready i32)
  ;; 1 when it is ready within five seconds; the pollable is gone then
  (local.set $timer (call $clock.subscribe-duration (i64.const 5000000000)))
  (i32.store (i32.const 96) (local.get $pollable))
  (i32.store (i32.const 100) (local.get $timer))
  (call $poll.poll (i32.const 96) (i32.const 2) (i32.const 16))
  (local.set $ready (i32.eqz (i32.load (i32.load (i32.const 16)))))
  (call $drop.pollable (local.get $timer))
  (call $drop.pollable (local.get $pollable))
  (local.get $ready))

(func $take-address (param $from i32) (param $to i32)
  (local $n i32)
  ;; an address as the host wrote it, into the twelve words that calls take
  (memory.fill (local.get $to) (i32.const 0) (i32.const 48))
  (i32.store (local.get $to) (i32.load8_u (local.get $from)))
  (i32.store offset=4 (local.get $to) (i32.load16_u offset=4 (local.get $from)))
  (if (i32.eqz (i32.load8_u (local.get $from)))
    (then
      (loop $octets
        (i32.store offset=8 (i32.add (local.get $to) (i32.mul (local.get $n) (i32.const 4)))
          (i32.load8_u offset=6 (i32.add (local.get $from) (local.get $n))))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $octets (i32.lt_u (local.get $n) (i32.const 4))))
      (return)))
  (i32.store offset=8 (local.get $to) (i32.load offset=8 (local.get $from)))
  (loop $segments
    (i32.store offset=12 (i32.add (local.get $to) (i32.mul (local.get $n) (i32.const 4)))
      (i32.load16_u offset=12 (i32.add (local.get $from) (i32.mul (local.get $n) (i32.const 2)))))
    (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if $segments (i32.lt_u (local.get $n) (i32.const 8))))
  (i32.store offset=44 (local.get $to) (i32.load offset=28 (local.get $from))))

(func $put-address (param $from i32) (param $to i32)
  (local $n i32)
  ;; twelve words as the `some` of an option<ip-socket-address>, into memory
  (i32.store8 (local.get $to) (i32.const 1))
  (i32.store8 offset=4 (local.get $to) (i32.load (local.get $from)))
  (i32.store16 offset=8 (local.get $to) (i32.load offset=4 (local.get $from)))
  (if (i32.eqz (i32.load (local.get $from)))
    (then
      (loop $octets
        (i32.store8 offset=10 (i32.add (local.get $to) (local.get $n))
          (i32.load offset=8 (i32.add (local.get $from) (i32.mul (local.get $n) (i32.const 4)))))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $octets (i32.lt_u (local.get $n) (i32.const 4))))
      (return)))
  (i32.store offset=12 (local.get $to) (i32.load offset=8 (local.get $from)))
  (loop $segments
    (i32.store16 offset=16 (i32.add (local.get $to) (i32.mul (local.get $n) (i32.const 2)))
      (i32.load offset=12 (i32.add (local.get $from) (i32.mul (local.get $n) (i32.const 4)))))
    (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if $segments (i32.lt_u (local.get $n) (i32.const 8))))
  (i32.store offset=32 (local.get $to) (i32.load offset=44 (local.get $from))))

(func $tcp-start-bind (param $s i32) (param $a i32) (result i64)
  (call $tcp.start-bind (local.get $s) (call $the-network)
    (i32.load (local.get $a))
    (i32.load offset=4 (local.get $a))
    (i32.load offset=8 (local.get $a))
    (i32.load offset=12 (local.get $a))
    (i32.load offset=16 (local.get $a))
    (i32.load offset=20 (local.get $a))
    (i32.load offset=24 (local.get $a))
    (i32.load offset=28 (local.get $a))
    (i32.load offset=32 (local.get $a))
    (i32.load offset=36 (local.get $a))
    (i32.load offset=40 (local.get $a))
    (i32.load offset=44 (local.get $a))
    (i32.const 16))
  (call $outcome (i32.const 1)))

(func $tcp-finish-bind (param $s i32) (result i64)
  (call $tcp.finish-bind (local.get $s) (i32.const 16))
  (call $outcome (i32.const 1)))

(func $tcp-bind (param $s i32) (param $a i32) (result i64)
  (local $o i64)
  (local.set $o (call $tcp-start-bind (local.get $s) (local.get $a)))
  (if (i64.ne (local.get $o) (i64.const 0)) (then (return (local.get $o))))
  (loop $again
    (local.set $o (call $tcp-finish-bind (local.get $s)))
    (if (i64.ne (local.get $o) (i64.const 9)) (then (return (local.get $o))))
    (br_if $again (call $wait (call $tcp.subscribe (local.get $s)))))
  (i64.const 40))

(func $tcp-start-connect (param $s i32) (param $a i32) (result i64)
  (call $tcp.start-connect (local.get $s) (call $the-network)
    (i32.load (local.get $a))
    (i32.load offset=4 (local.get $a))
    (i32.load offset=8 (local.get $a))
    (i32.load offset=12 (local.get $a))
    (i32.load offset=16 (local.get $a))
    (i32.load offset=20 (local.get $a))
    (i32.load offset=24 (local.get $a))
    (i32.load offset=28 (local.get $a))
    (i32.load offset=32 (local.get $a))
    (i32.load offset=36 (local.get $a))
    (i32.load offset=40 (local.get $a))
    (i32.load offset=44 (local.get $a))
    (i32.const 16))
  (call $outcome (i32.const 1)))

(func $tcp-finish-connect (param $s i32) (result i64)
  (call $tcp.finish-connect (local.get $s) (i32.const 16))
  (call $outcome (i32.const 4)))

(func $tcp-wait-connect (param $s i32) (result i64)
  (local $o i64)
  (loop $again
    (local.set $o (call $tcp-finish-connect (local.get $s)))
    (if (i64.ne (local.get $o) (i64.const 9)) (then (return (local.get $o))))
    (br_if $again (call $wait (call $tcp.subscribe (local.get $s)))))
  (i64.const 40))

(func $tcp-connect (param $s i32) (param $a i32) (result i64)
  (local $o i64)
  (local.set $o (call $tcp-start-connect (local.get $s) (local.get $a)))
  (if (i64.ne (local.get $o) (i64.const 0)) (then (return (local.get $o))))
  (call $tcp-wait-connect (local.get $s)))

(func $tcp-start-listen (param $s i32) (result i64)
  (call $tcp.start-listen (local.get $s) (i32.const 16))
  (call $outcome (i32.const 1)))

(func $tcp-finish-listen (param $s i32) (result i64)
  (call $tcp.finish-listen (local.get $s) (i32.const 16))
  (call $outcome (i32.const 1)))

(func $tcp-listen (param $s i32) (result i64)
  (local $o i64)
  (local.set $o (call $tcp-start-listen (local.get $s)))
  (if (i64.ne (local.get $o) (i64.const 0)) (then (return (local.get $o))))
  (loop $again
    (local.set $o (call $tcp-finish-listen (local.get $s)))
    (if (i64.ne (local.get $o) (i64.const 9)) (then (return (local.get $o))))
    (br_if $again (call $wait (call $tcp.subscribe (local.get $s)))))
  (i64.const 40))

(func $tcp-try-accept (param $s i32) (result i64)
  (call $tcp.accept (local.get $s) (i32.const 16))
  (call $outcome (i32.const 4)))

(func $tcp-accept (param $s i32) (result i64)
  (local $o i64)
  (loop $again
    (local.set $o (call $tcp-try-accept (local.get $s)))
    (if (i64.ne (local.get $o) (i64.const 9)) (then (return (local.get $o))))
    (br_if $again (call $wait (call $tcp.subscribe (local.get $s)))))
  (i64.const 40))

(func $udp-start-bind (param $s i32) (param $a i32) (result i64)
  (call $udp.start-bind (local.get $s) (call $the-network)
    (i32.load (local.get $a))
    (i32.load offset=4 (local.get $a))
    (i32.load offset=8 (local.get $a))
    (i32.load offset=12 (local.get $a))
    (i32.load offset=16 (local.get $a))
    (i32.load offset=20 (local.get $a))
    (i32.load offset=24 (local.get $a))
    (i32.load offset=28 (local.get $a))
    (i32.load offset=32 (local.get $a))
    (i32.load offset=36 (local.get $a))
    (i32.load offset=40 (local.get $a))
    (i32.load offset=44 (local.get $a))
    (i32.const 16))
  (call $outcome (i32.const 1)))

(func $udp-finish-bind (param $s i32) (result i64)
  (call $udp.finish-bind (local.get $s) (i32.const 16))
  (call $outcome (i32.const 1)))

(func $udp-bind (param $s i32) (param $a i32) (result i64)
  (local $o i64)
  (local.set $o (call $udp-start-bind (local.get $s) (local.get $a)))
  (if (i64.ne (local.get $o) (i64.const 0)) (then (return (local.get $o))))
  (loop $again
    (local.set $o (call $udp-finish-bind (local.get $s)))
    (if (i64.ne (local.get $o) (i64.const 9)) (then (return (local.get $o))))
    (br_if $again (call $wait (call $udp.subscribe (local.get $s)))))
  (i64.const 40))

(func $udp-stream (param $s i32) (param $some i32) (param $a i32) (result i64)
  (call $udp.stream (local.get $s) (local.get $some)
    (i32.load (local.get $a))
    (i32.load offset=4 (local.get $a))
    (i32.load offset=8 (local.get $a))
    (i32.load offset=12 (local.get $a))
    (i32.load offset=16 (local.get $a))
    (i32.load offset=20 (local.get $a))
    (i32.load offset=24 (local.get $a))
    (i32.load offset=28 (local.get $a))
    (i32.load offset=32 (local.get $a))
    (i32.load offset=36 (local.get $a))
    (i32.load offset=40 (local.get $a))
    (i32.load offset=44 (local.get $a))
    (i32.const 16))
  (call $outcome (i32.const 4)))

(func $receive (param $rx i32) (param $max i64) (result i64)
  (call $forget)
  (call $incoming.receive (local.get $rx) (local.get $max) (i32.const 16))
  (call $outcome (i32.const 4)))

(func $receive-some (param $rx i32) (param $max i64) (result i64)
  (local $o i64) (local $until i64)
  ;; until something came, or an error; the time is limited also where pollables are ready in vain
  (local.set $until (i64.add (call $clock.now) (i64.const 5000000000)))
  (loop $again
    (local.set $o (call $receive (local.get $rx) (local.get $max)))
    (if (i64.ne (local.get $o) (i64.const 0)) (then (return (local.get $o))))
    (if (i32.load (i32.const 24)) (then (return (i64.const 0))))
    (if (i64.gt_u (call $clock.now) (local.get $until)) (then (return (i64.const 40))))
    (br_if $again (call $wait (call $incoming.subscribe (local.get $rx)))))
  (i64.const 40))

(func $send-datagrams (param $tx i32) (param $list i32) (param $count i32) (result i64)
  (call $outgoing.send (local.get $tx) (local.get $list) (local.get $count) (i32.const 16))
  (call $outcome (i32.const 8)))

(func $send-all-datagrams (param $tx i32) (param $list i32) (param $count i32) (result i64)
  (local $o i64) (local $n i32)
  (loop $again
    (if (i32.eqz (local.get $count)) (then (return (i64.const 0))))
    (if (i32.eqz (call $wait (call $outgoing.subscribe (local.get $tx)))) (then (return (i64.const 40))))
    (call $outgoing.check-send (local.get $tx) (i32.const 16))
    (local.set $o (call $outcome (i32.const 8)))
    (if (i64.ne (local.get $o) (i64.const 0)) (then (return (local.get $o))))
    (local.set $n (i32.wrap_i64 (i64.load (i32.const 24))))
    (if (i32.gt_u (local.get $n) (local.get $count)) (then (local.set $n (local.get $count))))
    (local.set $o (call $send-datagrams (local.get $tx) (local.get $list) (local.get $n)))
    (if (i64.ne (local.get $o) (i64.const 0)) (then (return (local.get $o))))
    (local.set $n (i32.wrap_i64 (i64.load (i32.const 24))))
    (local.set $list (i32.add (local.get $list) (i32.mul (local.get $n) (i32.const 44))))
    (local.set $count (i32.sub (local.get $count) (local.get $n)))
    (br $again))
  (unreachable))

(func $read (param $in i32) (param $size i64) (result i64)
  (call $forget)
  (call $input.read (local.get $in) (local.get $size) (i32.const 16))
  (call $stream-outcome (i32.const 4)))

(func $blocking-read (param $in i32) (param $size i64) (result i64)
  (call $forget)
  (call $input.blocking-read (local.get $in) (local.get $size) (i32.const 16))
  (call $stream-outcome (i32.const 4)))

(func $read-to-end (param $in i32) (result i64)
  (local $total i64) (local $o i64)
  ;; how many bytes came before it was closed; the largest number for any other end
  (loop $again
    (local.set $o (call $read (local.get $in) (i64.const 65536)))
    (if (i64.eq (local.get $o) (i64.const 32)) (then (return (local.get $total))))
    (if (i64.ne (local.get $o) (i64.const 0)) (then (return (i64.const -1))))
    (local.set $total (i64.add (local.get $total) (i64.load32_u (i32.const 24))))
    (br_if $again (i32.load (i32.const 24)))
    (br_if $again (call $wait (call $input.subscribe (local.get $in)))))
  (i64.const -1))

(func $check-write (param $out i32) (result i64)
  (call $output.check-write (local.get $out) (i32.const 16))
  (call $stream-outcome (i32.const 8)))

(func $write (param $out i32) (param $from i32) (param $size i32) (result i64)
  (call $output.write (local.get $out) (local.get $from) (local.get $size) (i32.const 16))
  (call $stream-outcome (i32.const 4)))

(func $flush (param $out i32) (result i64)
  (call $output.flush (local.get $out) (i32.const 16))
  (call $stream-outcome (i32.const 4)))

(func $write-all (param $out i32) (param $from i32) (param $size i32) (result i64)
  (local $o i64) (local $n i32)
  ;; as much as is permitted, waiting in between; then flushed
  (loop $again
    (if (i32.eqz (call $wait (call $output.subscribe (local.get $out)))) (then (return (i64.const 40))))
    (local.set $o (call $check-write (local.get $out)))
    (if (i64.ne (local.get $o) (i64.const 0)) (then (return (local.get $o))))
    (local.set $n (i32.wrap_i64 (i64.load (i32.const 24))))
    (if (i32.gt_u (local.get $n) (local.get $size)) (then (local.set $n (local.get $size))))
    (local.set $o (call $write (local.get $out) (local.get $from) (local.get $n)))
    (if (i64.ne (local.get $o) (i64.const 0)) (then (return (local.get $o))))
    (local.set $from (i32.add (local.get $from) (local.get $n)))
    (local.set $size (i32.sub (local.get $size) (local.get $n)))
    (br_if $again (local.get $size)))
  (local.set $o (call $flush (local.get $out)))
  (if (i64.ne (local.get $o) (i64.const 0)) (then (return (local.get $o))))
  (if (i32.eqz (call $wait (call $output.subscribe (local.get $out)))) (then (return (i64.const 40))))
  (call $check-write (local.get $out)))

(func $fill-up (param $out i32) (param $most i64) (result i64)
  (local $total i64) (local $n i64) (local $timer i32) (local $pollable i32) (local $ready i32)
  ;; writes zeroes until nothing is permitted for 50 ms, or `most` bytes went; how many went, the largest number on
  ;; an error
  (loop $again
    (if (i64.ne (call $check-write (local.get $out)) (i64.const 0)) (then (return (i64.const -1))))
    (local.set $n (i64.load (i32.const 24)))
    (if (i64.gt_u (local.get $n) (i64.const 1048576)) (then (local.set $n (i64.const 1048576))))
    (if (i64.ne (local.get $n) (i64.const 0))
      (then
        (if (i64.ne (call $write (local.get $out) (i32.const 2097152) (i32.wrap_i64 (local.get $n)))
                    (i64.const 0))
          (then (return (i64.const -1))))
        (local.set $total (i64.add (local.get $total) (local.get $n)))
        (br_if $again (i64.lt_u (local.get $total) (local.get $most)))
        (return (local.get $total))))
    (local.set $pollable (call $output.subscribe (local.get $out)))
    (local.set $timer (call $clock.subscribe-duration (i64.const 50000000)))
    (i32.store (i32.const 96) (local.get $pollable))
    (i32.store (i32.const 100) (local.get $timer))
    (call $poll.poll (i32.const 96) (i32.const 2) (i32.const 16))
    (local.set $ready (i32.eqz (i32.load (i32.load (i32.const 16)))))
    (call $drop.pollable (local.get $timer))
    (call $drop.pollable (local.get $pollable))
    (br_if $again (local.get $ready)))
  (local.get $total))

(func $busy-poll (param $in i32) (result i64)
  (local $pollable i32) (local $timer i32) (local $count i64) (local $index i32) (local $last i32)
  ;; polls the stream together with timers of no length until it is ready; how many polls that took
  (local.set $pollable (call $input.subscribe (local.get $in)))
  (loop $again
    (call $forget)
    (local.set $timer (call $clock.subscribe-duration (i64.const 0)))
    (i32.store (i32.const 96) (local.get $timer))
    (i32.store (i32.const 100) (local.get $pollable))
    (call $poll.poll (i32.const 96) (i32.const 2) (i32.const 16))
    (call $drop.pollable (local.get $timer))
    (local.set $count (i64.add (local.get $count) (i64.const 1)))
    (local.set $last (i32.sub (i32.load (i32.const 20)) (i32.const 1)))
    (local.set $index
      (i32.load (i32.add (i32.load (i32.const 16)) (i32.mul (local.get $last) (i32.const 4)))))
    (br_if $again (i32.and (i32.eqz (local.get $index)) (i64.lt_u (local.get $count) (i64.const 1000000)))))
  (call $drop.pollable (local.get $pollable))
  (local.get $count))

(func $has-index (param $index i32) (result i64)
  (local $at i32) (local $count i32)
  ;; whether the last poll, whose result is at 16, gave this index
  (local.set $at (i32.load (i32.const 16)))
  (local.set $count (i32.load (i32.const 20)))
  (loop $next
    (if (i32.eqz (local.get $count)) (then (return (i64.const 0))))
    (if (i32.eq (i32.load (local.get $at)) (local.get $index)) (then (return (i64.const 1))))
    (local.set $at (i32.add (local.get $at) (i32.const 4)))
    (local.set $count (i32.sub (local.get $count) (i32.const 1)))
    (br $next))
  (unreachable))

(func $resolve (param $name i32) (param $size i32) (result i64)
  (call $lookup.resolve-addresses (call $the-network) (local.get $name) (local.get $size) (i32.const 16))
  (call $outcome (i32.const 4)))

(func $next-address (param $stream i32) (result i64)
  (local $o i64)
  (loop $again
    (call $addresses.resolve-next-address (local.get $stream) (i32.const 16))
    (local.set $o (call $outcome (i32.const 2)))
    (if (i64.ne (local.get $o) (i64.const 9)) (then (return (local.get $o))))
    (br_if $again (call $wait (call $addresses.subscribe (local.get $stream)))))
  (i64.const 40))

(func $look-up (param $name i32) (param $size i32) (result i64)
  (local $o i64) (local $stream i32)
  ;; of a look-up, whether its failure comes at once or from the stream
  (local.set $o (call $resolve (local.get $name) (local.get $size)))
  (if (i64.ne (local.get $o) (i64.const 0)) (then (return (local.get $o))))
  (local.set $stream (i32.load (i32.const 20)))
  (local.set $o (call $next-address (local.get $stream)))
  (call $drop.resolve-address-stream (local.get $stream))
  (local.get $o))

(func $write-until-error (param $out i32) (result i64)
  (local $o i64) (local $left i32)
  ;; the error; 0 after a hundred writes, 40 when no write is permitted in time
  (local.set $left (i32.const 100))
  (loop $again
    (if (i32.eqz (call $wait (call $output.subscribe (local.get $out)))) (then (return (i64.const 40))))
    (local.set $o (call $check-write (local.get $out)))
    (if (i64.ne (local.get $o) (i64.const 0)) (then (return (local.get $o))))
    (if (i64.ne (i64.load (i32.const 24)) (i64.const 0))
      (then
        (local.set $o (call $write (local.get $out) (i32.const 2097152) (i32.const 1)))
        (if (i64.ne (local.get $o) (i64.const 0)) (then (return (local.get $o))))))
    ;; time for the reset to come back
    (drop (call $wait (call $clock.subscribe-duration (i64.const 1000000))))
    (local.set $left (i32.sub (local.get $left) (i32.const 1)))
    (br_if $again (local.get $left)))
  (i64.const 0))

(func $refused-connects (param $a i32) (param $count i32) (result i64)
  (local $s i32) (local $o i64)
  ;; the outcome of the last of them; that of the first other than connection-refused
  (loop $again
    (call $tcp.create (i32.const 0) (i32.const 16))
    (local.set $o (call $outcome (i32.const 4)))
    (if (i64.ne (local.get $o) (i64.const 0)) (then (return (local.get $o))))
    (local.set $s (i32.load (i32.const 20)))
    (local.set $o (call $tcp-connect (local.get $s) (local.get $a)))
    (call $drop.tcp-socket (local.get $s))
    (if (i64.ne (local.get $o) (i64.const 15)) (then (return (local.get $o))))
    (local.set $count (i32.sub (local.get $count) (i32.const 1)))
    (br_if $again (local.get $count)))
  (local.get $o))
