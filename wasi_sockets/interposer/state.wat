;; The shim's private half, one instance for each component instance that was interposed: what it knows of
;; streams, the pollables it hands out, and polling. It never touches the guest's memory.
;;
;; Why so much happens here and not in Python: a call out costs about a microsecond, a look here some
;; nanoseconds. So permits, "known empty" and readiness are kept here and Python is asked only when something
;; can have changed. Everything here is a cache keyed by the whole handle; Python is the authority.
;;
;; %name% stands for the item number of a fast path (docs/architecture.md, contract 3).
;;
;; Memory map
;;   0     ..  63    scratch for results of stock functions lowered on this memory
;;   64    ..  511   unused
;;   512   ..  639   free lists of the allocator, by power of two
;;   1024  .. 17407  directory: 4096 chunk pointers; a chunk has 256 entries of 64 bytes
;;   17408 ..        heap
;;
;; Entry i, 64 bytes, holds two unrelated things that happen to have the same index:
;;   stream slot, keyed by a Python-owned handle       pollable, owned by the shim
;;    0 handle (0: nothing cached)                      32 handle (0: free)
;;    4 kind: 1 input 2 output 3 other waitable         36 kind: 1 clock 2 input 3 output 4 other
;;    8 state: 0 open, -1 closed, -2 failed (1)         40 the Python-owned handle it watches
;;   12 bytes available / permitted, 0: unknown         44 free: next free index; generation in the top byte's place
;;   16 turn in which 12 was known to be really 0       48 deadline in guest nanoseconds (i64)
;;   20 children (pollables)                            56 generation
;;   24 handle of the peer stream, or 0; for other waitables the item that subscribed to it, and may again (-2: a tcp-socket)
;;   28 epoch in which 8 and 12 were learnt
;;   (1) of a tcp-socket: 8..15 the streams that wait for finish-connect, as engine/early.py packs them, or 0
(module
  (import "host" "call0" (func $call0 (param i64) (result i64)))
  (import "host" "call1" (func $call1 (param i64 i64) (result i64)))
  (import "host" "call2" (func $call2 (param i64 i64 i64) (result i64)))
  (import "host" "call7" (func $call7 (param i64 i64 i64 i64 i64 i64 i64 i64) (result i64)))
  (import "host" "wait1" (func $wait1 (param i64 i64) (result i64)))
  (import "host" "wait2" (func $wait2 (param i64 i64 i64) (result i64)))
  (memory (export "memory") 1)
  (table (export "stock") 2 funcref)            ;; 0: monotonic-clock.now, 1: pollable.ready; filled when the guest has them
  (type $now_type (func (result i64)))
  (type $ready_type (func (param i32) (result i32)))
  (global $heap (mut i32) (i32.const 17408))
  (global $turn (mut i32) (i32.const 1))         ;; counts suspensions: between two of them nothing changes
  (global $epoch (mut i32) (i32.const 1))        ;; counts events that make all cached stream states stale
  (global $flags (mut i32) (i32.const -1))       ;; what hello said
  (global $busy (export "busy") (mut i32) (i32.const 0))  ;; the guest's realloc is running

  (func $trap (export "trap") (param $reason i32) (param $detail i32)
    (drop (call $call2 (i64.const %trap%) (i64.extend_i32_u (local.get $reason)) (i64.extend_i32_u (local.get $detail))))
    unreachable)
  (func $tick (export "tick") (global.set $turn (i32.add (global.get $turn) (i32.const 1))))
  (func (export "forget") (global.set $epoch (i32.add (global.get $epoch) (i32.const 1))))

  ;; ---------------------------------------------------------------- allocator: powers of two, zeroed
  (func $class (param $size i32) (result i32)
    (if (i32.lt_u (local.get $size) (i32.const 17)) (then (return (i32.const 4))))
    (i32.sub (i32.const 32) (i32.clz (i32.sub (local.get $size) (i32.const 1)))))
  (func $allocate (param $size i32) (result i32) (local $class i32) (local $at i32) (local $end i32) (local $bytes i32)
    ;; Nobody asks for so much; the sums below must not wrap around.
    (if (i32.gt_u (local.get $size) (i32.const 0x40000000)) (then (unreachable)))
    (local.set $class (call $class (local.get $size)))
    (local.set $bytes (i32.shl (i32.const 1) (local.get $class)))
    (local.set $at (i32.load offset=512 (i32.shl (local.get $class) (i32.const 2))))
    (if (local.get $at) (then
      (i32.store offset=512 (i32.shl (local.get $class) (i32.const 2)) (i32.load (local.get $at)))
      (memory.fill (local.get $at) (i32.const 0) (local.get $bytes))
      (return (local.get $at))))
    (local.set $at (global.get $heap))
    (local.set $end (i32.add (local.get $at) (local.get $bytes)))
    (if (i32.lt_u (local.get $end) (local.get $at)) (then (unreachable)))
    (if (i32.gt_u (local.get $end) (i32.shl (memory.size) (i32.const 16))) (then
      (if (i32.eq (memory.grow (i32.add (i32.shr_u (i32.sub (local.get $end) (i32.shl (memory.size) (i32.const 16))) (i32.const 16)) (i32.const 1)))
                  (i32.const -1))
        (then unreachable))))
    (global.set $heap (local.get $end))
    (local.get $at))
  (func $release (param $at i32) (param $size i32) (local $list i32)
    (if (i32.eqz (local.get $at)) (then (return)))
    (local.set $list (i32.shl (call $class (local.get $size)) (i32.const 2)))
    (i32.store (local.get $at) (i32.load offset=512 (local.get $list)))
    (i32.store offset=512 (local.get $list) (local.get $at)))
  (func $entry (param $index i32) (result i32) (local $directory i32)
    (local.set $directory (i32.add (i32.const 1024) (i32.shl (i32.shr_u (local.get $index) (i32.const 8)) (i32.const 2))))
    (if (i32.eqz (i32.load (local.get $directory))) (then
      (i32.store (local.get $directory) (call $allocate (i32.const 16384)))))
    (i32.add (i32.load (local.get $directory)) (i32.shl (i32.and (local.get $index) (i32.const 255)) (i32.const 6))))

  ;; ---------------------------------------------------------------- stream slots
  (func $set_level (param $slot i32) (param $level i32)     ;; bytes, or a negative state
    (i32.store offset=28 (local.get $slot) (global.get $epoch))
    (if (i32.lt_s (local.get $level) (i32.const 0))
      (then (i32.store offset=8 (local.get $slot) (local.get $level)) (i32.store offset=12 (local.get $slot) (i32.const 0)))
      (else
        (i32.store offset=8 (local.get $slot) (i32.const 0))
        (i32.store offset=12 (local.get $slot) (local.get $level))
        (if (i32.eqz (local.get $level)) (then (i32.store offset=16 (local.get $slot) (global.get $turn)))))))
  ;; $wanted: 0, or the item, plus one, whose resource it must be.
  (func $attach (param $slot i32) (param $handle i32) (param $wanted i64) (local $answer i64)
    (call $send_drops)
    (local.set $answer (call $call1 (i64.const %attach%)
      (i64.or (i64.extend_i32_u (local.get $handle)) (i64.shl (local.get $wanted) (i64.const 32)))))
    (memory.fill (local.get $slot) (i32.const 0) (i32.const 32))
    (i32.store offset=4 (local.get $slot) (i32.and (i32.wrap_i64 (local.get $answer)) (i32.const 255)))
    (call $set_level (local.get $slot) (i32.wrap_i64 (i64.shr_u (local.get $answer) (i64.const 32))))
    (i32.store (local.get $slot) (local.get $handle)))
  (func $python_owned (param $handle i32)
    (if (i32.ne (i32.and (local.get $handle) (i32.const 0xe0000000)) (i32.const 0x40000000)) (then
      (call $trap (i32.const 6) (local.get $handle)))))
  ;; What Python has just handed out, so that it need not be asked about it: level 0 is unknown.
  (func $prime (export "prime") (param $handle i32) (param $kind i32) (param $level i32) (param $peer i32) (local $slot i32)
    (local.set $slot (call $entry (i32.and (local.get $handle) (i32.const 0xfffff))))
    (memory.fill (local.get $slot) (i32.const 0) (i32.const 32))
    (i32.store offset=4 (local.get $slot) (local.get $kind))
    (i32.store offset=12 (local.get $slot) (local.get $level))
    (i32.store offset=24 (local.get $slot) (local.get $peer))
    (i32.store offset=28 (local.get $slot) (global.get $epoch))
    (i32.store (local.get $slot) (local.get $handle)))
  (func $slot (param $handle i32) (param $kind i32) (result i32) (local $slot i32)
    (call $python_owned (local.get $handle))
    (local.set $slot (call $entry (i32.and (local.get $handle) (i32.const 0xfffff))))
    (if (i32.ne (i32.load (local.get $slot)) (local.get $handle)) (then (call $attach (local.get $slot) (local.get $handle) (i64.const 0))))
    (if (i32.ne (i32.load offset=4 (local.get $slot)) (local.get $kind)) (then (call $trap (i32.const 6) (local.get $handle))))
    (local.get $slot))
  (func $fresh (param $slot i32)                 ;; forget what was learnt before the last event that changes everything
    (if (i32.ne (i32.load offset=28 (local.get $slot)) (global.get $epoch)) (then
      (i32.store offset=28 (local.get $slot) (global.get $epoch))
      (i64.store offset=8 align=4 (local.get $slot) (i64.const 0))
      (i32.store offset=16 (local.get $slot) (i32.const 0)))))
  ;; The level of a stream without asking: > 0 bytes, < 0 state, 0 unknown.
  (func $known (param $slot i32) (result i32)
    (call $fresh (local.get $slot))
    (select (i32.load offset=8 (local.get $slot)) (i32.load offset=12 (local.get $slot)) (i32.load offset=8 (local.get $slot))))
  (func $level (param $slot i32) (param $item i64) (result i32) (local $level i32)
    (local.set $level (call $known (local.get $slot)))
    (if (local.get $level) (then (return (local.get $level))))
    ;; Known to be empty in this turn: said once, so that a guest that only spins does reach Python again.
    (if (i32.eq (i32.load offset=16 (local.get $slot)) (global.get $turn)) (then
      (i32.store offset=16 (local.get $slot) (i32.const 0)) (return (i32.const 0))))
    (local.set $level (i32.wrap_i64 (call $call1 (local.get $item) (i64.extend_i32_u (i32.load (local.get $slot))))))
    (call $set_level (local.get $slot) (local.get $level))
    (i32.store offset=16 (local.get $slot) (i32.const 0))
    (local.get $level))
  (func (export "available") (param $handle i32) (result i32)
    (call $level (call $slot (local.get $handle) (i32.const 1)) (i64.const %avail%)))
  (func (export "permit") (param $handle i32) (result i32)
    (call $level (call $slot (local.get $handle) (i32.const 2)) (i64.const %permit%)))
  (func (export "set_available") (param $handle i32) (param $level i32)
    (call $set_level (call $slot (local.get $handle) (i32.const 1)) (local.get $level)))
  ;; After a send: the new permit, and whether the peer input stream is known to be empty.
  (func (export "sent") (param $handle i32) (param $answer i64) (result i32) (local $slot i32) (local $peer i32)
    (local.set $slot (call $slot (local.get $handle) (i32.const 2)))
    (call $set_level (local.get $slot) (i32.wrap_i64 (local.get $answer)))
    (if (i64.eqz (i64.shr_u (local.get $answer) (i64.const 32))) (then
      (local.set $peer (i32.load offset=24 (local.get $slot)))
      (if (local.get $peer) (then
        (local.set $slot (call $entry (i32.and (local.get $peer) (i32.const 0xfffff))))
        (if (i32.eq (i32.load (local.get $slot)) (local.get $peer)) (then
          (if (i32.eqz (call $known (local.get $slot))) (then (i32.store offset=16 (local.get $slot) (global.get $turn))))))))))
    (i32.wrap_i64 (local.get $answer)))
  ;; The error resource of a failed stream; told once, from then on the stream is closed.
  (func (export "failure") (param $handle i32) (result i32)
    (call $set_level (call $entry (i32.and (local.get $handle) (i32.const 0xfffff))) (i32.const -1))
    (i32.wrap_i64 (call $call1 (i64.const %failure%) (i64.extend_i32_u (local.get $handle)))))
  (func (export "flush") (param $handle i32) (result i32)
    (drop (call $slot (local.get $handle) (i32.const 2)))
    (i32.wrap_i64 (call $call1 (i64.const %flush%) (i64.extend_i32_u (local.get $handle)))))
  (func $code (param $slot i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (i32.load offset=4 (local.get $slot))) (i64.const 32)) (i64.extend_i32_u (i32.load (local.get $slot)))))
  (func $wait_for (param $handle i32) (param $kind i32) (local $slot i32) (local $level i32)
    (local.set $slot (call $slot (local.get $handle) (local.get $kind)))
    (local.set $level (i32.wrap_i64 (call $wait2 (i64.const %wait%) (call $code (local.get $slot)) (i64.const -1))))
    (call $tick)
    (i32.store offset=16 (local.get $slot) (i32.const 0))
    (if (i32.eq (local.get $kind) (i32.const 1)) (then (call $set_level (local.get $slot) (local.get $level)))))
  (func (export "wait_readable") (param $handle i32) (call $wait_for (local.get $handle) (i32.const 1)))
  (func (export "wait_writable") (param $handle i32) (call $wait_for (local.get $handle) (i32.const 2)))
  (func $sleep (param $ns i64)
    (drop (call $wait1 (i64.const %sleep%) (local.get $ns))) (call $tick))

  ;; ---------------------------------------------------------------- connects that were decided at once
  ;; The answer to such a start-connect brings the streams that finish-connect hands out, which then need not ask.
  ;; Whatever else the guest does with the socket before that finds it as if Python had not looked ahead.
  (func $waiting_streams (param $socket i32) (result i32) (local $slot i32)     ;; its slot; 0: there are none
    (if (i32.ne (i32.and (local.get $socket) (i32.const 0xe0000000)) (i32.const 0x40000000)) (then (return (i32.const 0))))
    (local.set $slot (call $entry (i32.and (local.get $socket) (i32.const 0xfffff))))
    (if (i32.ne (i32.load (local.get $slot)) (local.get $socket)) (then (return (i32.const 0))))
    (if (i32.ne (i32.load offset=4 (local.get $slot)) (i32.const 3)) (then (return (i32.const 0))))
    (select (i32.const 0) (local.get $slot) (i64.eqz (i64.load offset=8 (local.get $slot)))))
  (func (export "put_streams") (param $socket i32) (param $streams i64) (local $slot i32)
    (local.set $slot (call $entry (i32.and (local.get $socket) (i32.const 0xfffff))))
    (if (i32.ne (i32.load (local.get $slot)) (local.get $socket)) (then
      (call $prime (local.get $socket) (i32.const 3) (i32.const 0) (i32.const -2))))
    (i64.store offset=8 (local.get $slot) (local.get $streams)))
  (func $take_streams (export "take_streams") (param $socket i32) (result i64) (local $slot i32) (local $streams i64)
    (local.set $slot (call $waiting_streams (local.get $socket)))
    (if (i32.eqz (local.get $slot)) (then (return (i64.const 0))))
    (local.set $streams (i64.load offset=8 (local.get $slot)))
    (i64.store offset=8 (local.get $slot) (i64.const 0))
    (local.get $streams))
  (func $return_streams (export "return_streams") (param $socket i32) (local $streams i64)
    (local.set $streams (call $take_streams (local.get $socket)))
    (if (i64.ne (local.get $streams) (i64.const 0)) (then
      (drop (call $call2 (i64.const %take-back%) (i64.extend_i32_u (local.get $socket)) (local.get $streams))))))

  ;; ---------------------------------------------------------------- drops
  ;; A Python-owned handle. $item tells Python which kind of resource the guest believes it is. The two streams of a
  ;; connection go together with its socket, in one call: until then they are in a list (8 bytes each at 128: item
  ;; above handle), which is sent before Python could be asked about any of them.
  (global $dropped (mut i32) (i32.const 0))
  (func $note_drop (param $handle i32) (param $item i64)
    (i64.store offset=128 (i32.shl (global.get $dropped) (i32.const 3))
      (i64.or (i64.shl (local.get $item) (i64.const 32)) (i64.extend_i32_u (local.get $handle))))
    (global.set $dropped (i32.add (global.get $dropped) (i32.const 1))))
  (func $send_drops (export "send_drops")
    (if (i32.eqz (global.get $dropped)) (then (return)))
    (memory.fill (i32.add (i32.const 128) (i32.shl (global.get $dropped) (i32.const 3))) (i32.const 0)
      (i32.shl (i32.sub (i32.const 7) (global.get $dropped)) (i32.const 3)))
    (global.set $dropped (i32.const 0))
    (drop (call $call7 (i64.const %drops%)
      (i64.load (i32.const 128)) (i64.load (i32.const 136)) (i64.load (i32.const 144)) (i64.load (i32.const 152))
      (i64.load (i32.const 160)) (i64.load (i32.const 168)) (i64.load (i32.const 176)))))
  ;; $kind: that of the slots of such a resource, 0 where it is no stream.
  (func (export "drop_owned") (param $handle i32) (param $item i64) (param $kind i32) (local $slot i32)
    (if (i32.eqz (i32.and (local.get $handle) (i32.const 0x20000000))) (then
      (local.set $slot (call $entry (i32.and (local.get $handle) (i32.const 0xfffff))))
      (if (i32.eq (i32.load (local.get $slot)) (local.get $handle)) (then
        (if (i32.load offset=20 (local.get $slot)) (then (call $trap (i32.const 1) (local.get $handle))))
        (call $return_streams (local.get $handle))
        (i32.store (local.get $slot) (i32.const 0))
        (if (i32.and (i32.eq (i32.load offset=4 (local.get $slot)) (local.get $kind)) (i32.ne (i32.load offset=24 (local.get $slot)) (i32.const 0)))
          (then
            (if (i32.eq (global.get $dropped) (i32.const 6)) (then (call $send_drops)))
            (call $note_drop (local.get $handle) (local.get $item))
            (return)))))))
    (if (global.get $dropped)
      (then (call $note_drop (local.get $handle) (local.get $item)) (call $send_drops))
      (else (drop (call $call1 (local.get $item) (i64.extend_i32_u (local.get $handle)))))))

  ;; ---------------------------------------------------------------- pollables
  (global $free (mut i32) (i32.const 0))         ;; index + 1 of the first free pollable
  (global $count (mut i32) (i32.const 0))        ;; indices ever used
  (func $new_pollable (param $kind i32) (param $target i32) (param $deadline i64) (result i32) (local $index i32) (local $at i32)
    (if (global.get $free)
      (then
        (local.set $index (i32.sub (global.get $free) (i32.const 1)))
        (local.set $at (call $entry (local.get $index)))
        (global.set $free (i32.load offset=44 (local.get $at))))
      (else
        (local.set $index (global.get $count))
        (if (i32.ge_u (local.get $index) (i32.const 0xfffff)) (then (call $trap (i32.const 8) (i32.const 0))))
        ;; As many indices were used as there are pollables, since what is free is used up first. No limit is below 16,
        ;; so that a guest that needs few is spared the question.
        (if (i32.ge_u (local.get $index) (i32.const 16)) (then
          (local.set $at (i32.shr_u (call $hello) (i32.const 2)))
          (if (i32.and (i32.ne (local.get $at) (i32.const 0)) (i32.ge_u (local.get $index) (local.get $at)))
            (then (call $trap (i32.const 12) (i32.const 0))))))
        (global.set $count (i32.add (local.get $index) (i32.const 1)))
        (local.set $at (call $entry (local.get $index)))))
    (i32.store offset=36 (local.get $at) (local.get $kind))
    (i32.store offset=40 (local.get $at) (local.get $target))
    (i64.store offset=48 (local.get $at) (local.get $deadline))
    (i32.store offset=32 (local.get $at)
      (i32.or (i32.or (i32.const 0x60000000) (local.get $index)) (i32.shl (i32.load offset=56 (local.get $at)) (i32.const 20))))
    (i32.load offset=32 (local.get $at)))
  (func $pollable (param $handle i32) (result i32) (local $at i32)
    (if (i32.or (i32.ne (i32.and (local.get $handle) (i32.const 0xe0000000)) (i32.const 0x60000000))
                (i32.ge_u (i32.and (local.get $handle) (i32.const 0xfffff)) (global.get $count)))
      (then (call $trap (i32.const 6) (local.get $handle))))
    (local.set $at (call $entry (i32.and (local.get $handle) (i32.const 0xfffff))))
    (if (i32.ne (i32.load offset=32 (local.get $at)) (local.get $handle)) (then (call $trap (i32.const 6) (local.get $handle))))
    (local.get $at))
  (func $target_slot (param $pollable i32) (result i32)
    (call $entry (i32.and (i32.load offset=40 (local.get $pollable)) (i32.const 0xfffff))))
  (func (export "drop_pollable") (param $handle i32) (local $at i32) (local $slot i32)
    (local.set $at (call $pollable (local.get $handle)))
    (if (i32.ne (i32.load offset=36 (local.get $at)) (i32.const 1)) (then
      (local.set $slot (call $target_slot (local.get $at)))
      (i32.store offset=20 (local.get $slot) (i32.sub (i32.load offset=20 (local.get $slot)) (i32.const 1)))))
    (i32.store offset=32 (local.get $at) (i32.const 0))
    (i32.store offset=56 (local.get $at) (i32.and (i32.add (i32.load offset=56 (local.get $at)) (i32.const 1)) (i32.const 511)))
    (i32.store offset=44 (local.get $at) (global.get $free))
    (global.set $free (i32.add (i32.and (local.get $handle) (i32.const 0xfffff)) (i32.const 1))))
  (func $watch_slot (param $handle i32) (param $slot_kind i32) (param $kind i32) (result i32) (local $slot i32)
    (local.set $slot (call $slot (local.get $handle) (local.get $slot_kind)))
    (i32.store offset=20 (local.get $slot) (i32.add (i32.load offset=20 (local.get $slot)) (i32.const 1)))
    (call $new_pollable (local.get $kind) (local.get $handle) (i64.const 0)))
  (func (export "subscribe_input") (param $handle i32) (result i32) (call $watch_slot (local.get $handle) (i32.const 1) (i32.const 2)))
  (func (export "subscribe_output") (param $handle i32) (result i32) (call $watch_slot (local.get $handle) (i32.const 2) (i32.const 3)))
  ;; Python is asked once whether the handle is of the resource whose method this is. A guest may have lowered the
  ;; same method twice, so that the slot may be attached already, with children.
  (func $subscribe_other (export "subscribe_other") (param $handle i32) (param $item i32) (result i32) (local $slot i32) (local $wanted i64)
    (call $python_owned (local.get $handle))
    (local.set $slot (call $entry (i32.and (local.get $handle) (i32.const 0xfffff))))
    (local.set $wanted (i64.add (i64.extend_i32_u (local.get $item)) (i64.const 1)))
    (if (i32.ne (i32.load (local.get $slot)) (local.get $handle))
      (then (call $attach (local.get $slot) (local.get $handle) (local.get $wanted)))
      (else (if (i32.ne (i32.load offset=24 (local.get $slot)) (local.get $item)) (then
        (drop (call $call1 (i64.const %attach%)
          (i64.or (i64.extend_i32_u (local.get $handle)) (i64.shl (local.get $wanted) (i64.const 32)))))))))
    (i32.store offset=24 (local.get $slot) (local.get $item))
    (call $watch_slot (local.get $handle) (i32.const 3) (i32.const 4)))
  ;; As above; a tcp-socket that was noted when it came (-2 in the place of the item) is known to be one.
  (func (export "subscribe_tcp") (param $handle i32) (param $item i32) (result i32) (local $slot i32)
    (local.set $slot (call $entry (i32.and (local.get $handle) (i32.const 0xfffff))))
    (if (i32.and (i32.eq (i32.load (local.get $slot)) (local.get $handle)) (i32.eq (i32.load offset=24 (local.get $slot)) (i32.const -2)))
      (then (return (call $watch_slot (local.get $handle) (i32.const 3) (i32.const 4)))))
    (call $subscribe_other (local.get $handle) (local.get $item)))

  ;; ---------------------------------------------------------------- clock
  (func $hello (result i32)
    (if (i32.eq (global.get $flags) (i32.const -1)) (then (global.set $flags (i32.wrap_i64 (call $call0 (i64.const %hello%))))))
    (global.get $flags))
  (func $now (export "now") (result i64)
    ;; A virtual clock (trio's MockClock, say) must be what the guest reads too, else its own loops never end.
    (if (i32.or (i32.and (call $hello) (i32.const 1)) (ref.is_null (table.get (i32.const 0))))
      (then (return (call $call0 (i64.const %now%)))))
    (call_indirect (type $now_type) (i32.const 0)))
  (func (export "subscribe_instant") (param $when i64) (result i32) (call $new_pollable (i32.const 1) (i32.const 0) (local.get $when)))
  (func (export "subscribe_duration") (param $ns i64) (result i32) (local $when i64)
    (local.set $when (i64.add (call $now) (local.get $ns)))
    (if (i64.lt_u (local.get $when) (local.get $ns)) (then (local.set $when (i64.const -1))))
    (call $new_pollable (i32.const 1) (i32.const 0) (local.get $when)))

  ;; ---------------------------------------------------------------- polling
  (func $stock_ready (param $handle i32) (result i32)
    (if (ref.is_null (table.get (i32.const 1))) (then (call $trap (i32.const 6) (local.get $handle))))
    (call_indirect (type $ready_type) (local.get $handle) (i32.const 1)))
  ;; 1 ready, 0 not, 2 only Python knows
  (func $local_ready (param $handle i32) (result i32) (local $at i32) (local $kind i32)
    (if (i32.eqz (i32.and (local.get $handle) (i32.const 0x40000000))) (then (return (call $stock_ready (local.get $handle)))))
    (local.set $at (call $pollable (local.get $handle)))
    (local.set $kind (i32.load offset=36 (local.get $at)))
    (if (i32.eq (local.get $kind) (i32.const 1)) (then (return (i64.ge_u (call $now) (i64.load offset=48 (local.get $at))))))
    (if (i32.eq (local.get $kind) (i32.const 4)) (then (return (i32.const 2))))
    (select (i32.const 1) (i32.const 2) (call $known (call $target_slot (local.get $at)))))
  (func (export "ready") (param $handle i32) (result i32) (local $ready i32)
    (local.set $ready (call $local_ready (local.get $handle)))
    (if (i32.eq (local.get $ready) (i32.const 2)) (then
      (local.set $ready (i32.wrap_i64 (call $call1 (i64.const %check%) (call $code (call $target_slot (call $pollable (local.get $handle)))))))))
    (local.get $ready))
  (global $list (mut i32) (i32.const 0)) (global $capacity (mut i32) (i32.const 0)) (global $length (mut i32) (i32.const 0))
  (func $poll_begin (export "poll_begin") (param $length i32)
    (if (i32.gt_u (local.get $length) (i32.const 0xfffff)) (then (call $trap (i32.const 8) (i32.const 0))))
    (if (i32.gt_u (local.get $length) (global.get $capacity)) (then
      (call $release (global.get $list) (i32.mul (global.get $capacity) (i32.const 24)))
      (global.set $capacity (i32.shl (i32.const 1) (call $class (local.get $length))))
      (global.set $list (call $allocate (i32.mul (global.get $capacity) (i32.const 24))))))
    (global.set $length (i32.const 0)))
  (func $poll_add (export "poll_add") (param $handle i32)
    (i32.store (i32.add (global.get $list) (i32.shl (global.get $length) (i32.const 2))) (local.get $handle))
    (global.set $length (i32.add (global.get $length) (i32.const 1))))
  (func (export "poll_result") (param $i i32) (result i32)
    (i32.load (i32.add (global.get $list) (i32.shl (i32.add (global.get $length) (local.get $i)) (i32.const 2)))))
  ;; Waits until one of the list is ready; -> how many are, their positions through poll_result.
  ;; The block at $list: handles, results, positions of the unknown (4 bytes each), then their codes (8 bytes each).
  (func $poll_run (export "poll_run") (result i32)
    (local $i i32) (local $n i32) (local $list i32) (local $results i32) (local $positions i32) (local $codes i32)
    (local $handle i32) (local $at i32) (local $ready i32) (local $found i32) (local $unknown i32) (local $stock i32)
    (local $timeout i64) (local $now i64) (local $backoff i64) (local $bits i64) (local $j i32)
    (local.set $n (global.get $length))
    (if (i32.eqz (local.get $n)) (then (call $trap (i32.const 2) (i32.const 0))))
    (local.set $list (global.get $list))
    (local.set $results (i32.add (local.get $list) (i32.shl (local.get $n) (i32.const 2))))
    (local.set $positions (i32.add (local.get $results) (i32.shl (local.get $n) (i32.const 2))))
    (local.set $codes (i32.and (i32.add (i32.add (local.get $positions) (i32.shl (local.get $n) (i32.const 2))) (i32.const 7)) (i32.const -8)))
    (local.set $backoff (i64.const 50000))
    (loop $again
      (local.set $i (i32.const 0)) (local.set $found (i32.const 0)) (local.set $unknown (i32.const 0)) (local.set $stock (i32.const 0))
      (local.set $timeout (i64.const -1)) (local.set $now (i64.const 0))
      (loop $each
        (local.set $handle (i32.load (i32.add (local.get $list) (i32.shl (local.get $i) (i32.const 2)))))
        (local.set $ready (call $local_ready (local.get $handle)))
        (block $next
          (if (i32.eq (local.get $ready) (i32.const 1)) (then
            (i32.store (i32.add (local.get $results) (i32.shl (local.get $found) (i32.const 2))) (local.get $i))
            (local.set $found (i32.add (local.get $found) (i32.const 1)))
            (br $next)))
          (if (i32.eqz (i32.and (local.get $handle) (i32.const 0x40000000))) (then (local.set $stock (i32.const 1)) (br $next)))
          (local.set $at (call $pollable (local.get $handle)))
          (if (i32.eq (local.get $ready) (i32.const 2)) (then
            (i32.store (i32.add (local.get $positions) (i32.shl (local.get $unknown) (i32.const 2))) (local.get $i))
            (i64.store (i32.add (local.get $codes) (i32.shl (local.get $unknown) (i32.const 3))) (call $code (call $target_slot (local.get $at))))
            (local.set $unknown (i32.add (local.get $unknown) (i32.const 1)))
            (br $next)))
          (if (i64.eqz (local.get $now)) (then (local.set $now (call $now))))
          (if (i64.ge_u (local.get $now) (i64.load offset=48 (local.get $at)))
            (then (local.set $timeout (i64.const 0)))
            (else (if (i64.lt_u (i64.sub (i64.load offset=48 (local.get $at)) (local.get $now)) (local.get $timeout)) (then
              (local.set $timeout (i64.sub (i64.load offset=48 (local.get $at)) (local.get $now))))))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $each (i32.lt_u (local.get $i) (local.get $n))))
      (if (local.get $found)
        (then
          (if (i32.eqz (local.get $unknown)) (then (return (local.get $found))))
          (local.set $timeout (i64.const 0)))
        (else (if (local.get $stock) (then         ;; nobody tells when a stock pollable becomes ready: look again, ever less often
          (if (i64.gt_u (local.get $timeout) (local.get $backoff)) (then (local.set $timeout (local.get $backoff))))
          (if (i64.lt_u (local.get $backoff) (i64.const 10000000)) (then
            (local.set $backoff (i64.add (local.get $backoff) (i64.shr_u (local.get $backoff) (i64.const 3))))))))))
      (if (i32.eqz (local.get $unknown)) (then (call $sleep (local.get $timeout)) (br $again)))
      (if (i32.eq (local.get $unknown) (i32.const 1))
        (then
          (local.set $ready (i32.wrap_i64 (call $wait2 (i64.const %wait%) (i64.load (local.get $codes)) (local.get $timeout))))
          (call $tick)
          (if (local.get $ready) (then
            (local.set $i (i32.load (local.get $positions)))
            (local.set $at (call $target_slot (call $pollable (i32.load (i32.add (local.get $list) (i32.shl (local.get $i) (i32.const 2)))))))
            (if (i32.eq (i32.load offset=4 (local.get $at)) (i32.const 1)) (then (call $set_level (local.get $at) (local.get $ready))))
            (i32.store (i32.add (local.get $results) (i32.shl (local.get $found) (i32.const 2))) (local.get $i))
            (local.set $found (i32.add (local.get $found) (i32.const 1))))))
        (else
          (local.set $i (i32.const 0))
          (memory.fill (i32.add (local.get $codes) (i32.shl (local.get $unknown) (i32.const 3))) (i32.const 0) (i32.const 48))
          (loop $batch
            (local.set $j (i32.add (local.get $codes) (i32.shl (local.get $i) (i32.const 3))))
            (drop (call $call7 (i64.const %watch%)
              (i64.load (local.get $j)) (i64.load offset=8 (local.get $j)) (i64.load offset=16 (local.get $j)) (i64.load offset=24 (local.get $j))
              (i64.load offset=32 (local.get $j)) (i64.load offset=40 (local.get $j)) (i64.load offset=48 (local.get $j))))
            (local.set $i (i32.add (local.get $i) (i32.const 7)))
            (br_if $batch (i32.lt_u (local.get $i) (local.get $unknown))))
          (local.set $bits (call $wait1 (i64.const %wait-many%) (local.get $timeout)))
          (call $tick)
          (if (i64.ne (local.get $bits) (i64.const 0)) (then
            (local.set $i (i32.const 0))
            (loop $bit
              (if (if (result i32) (i32.lt_u (local.get $i) (i32.const 62))
                    (then (i32.wrap_i64 (i64.and (i64.shr_u (local.get $bits) (i64.extend_i32_u (local.get $i))) (i64.const 1))))
                    (else (if (result i32) (i64.eqz (i64.shr_u (local.get $bits) (i64.const 62)))
                      (then (i32.const 0))
                      (else (i32.wrap_i64 (call $call1 (i64.const %check%) (i64.load (i32.add (local.get $codes) (i32.shl (local.get $i) (i32.const 3))))))))))
                (then
                  (i32.store (i32.add (local.get $results) (i32.shl (local.get $found) (i32.const 2)))
                    (i32.load (i32.add (local.get $positions) (i32.shl (local.get $i) (i32.const 2)))))
                  (local.set $found (i32.add (local.get $found) (i32.const 1)))))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br_if $bit (i32.lt_u (local.get $i) (local.get $unknown))))))))
      (br_if $again (i32.eqz (local.get $found))))
    (local.get $found))
  (func (export "block") (param $handle i32)
    (call $poll_begin (i32.const 1)) (call $poll_add (local.get $handle)) (drop (call $poll_run)))

  ;; ---------------------------------------------------------------- landing area for bytes that Python sends as strings
  (global $landing (mut i32) (i32.const 0)) (global $landing_size (mut i32) (i32.const 0))
  (func $scratch (export "scratch") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    ;; A realloc that always answers with the one landing area: the canonical ABI may grow a string while it copies.
    (local $new i32)
    (if (i32.gt_u (local.get $size) (global.get $landing_size)) (then
      (local.set $new (call $allocate (select (local.get $size) (i32.const 1024) (i32.gt_u (local.get $size) (i32.const 1024)))))
      (if (local.get $old) (then (memory.copy (local.get $new) (local.get $old) (local.get $old_size))))
      (call $release (global.get $landing) (global.get $landing_size))
      (global.set $landing (local.get $new))
      (global.set $landing_size (i32.shl (i32.const 1) (call $class (select (local.get $size) (i32.const 1024) (i32.gt_u (local.get $size) (i32.const 1024))))))))
    (global.get $landing))
)
