;; Functions that touch a guest's memory, and the trampolines of streams and poll. A library, not a module:
;; `library.py` puts into each helper module just the forms that its trampolines need.
;;
;;   %I%   the item (a trampoline and what only it uses is made once for each item)
;;   %R%   the item's realloc (what allocates is made once for each realloc; `none` where there is none)
;;   %recv% %send% %locate%  item numbers of the fast paths of this memory
;;
;; Provided by the helper module: memory 0 = the guest's, memory $state = the shim's private one, the functions
;; of state.wat, $call1 $call3 $resume of the host, $push $push_state $pull, $realloc%R%, and stock functions
;; named $stock_WHAT%I%.

(global $located (mut i32) (i32.const 0))    ;; pages of the memory when its address was last looked for

(func $word (param $low i32) (result i64)
  (i64.or (i64.shl (i64.extend_i32_u (memory.size 0)) (i64.const 32)) (i64.extend_i32_u (local.get $low))))
(func $in_range (param $at i32) (param $size i32)
  (if (i64.gt_u (i64.add (i64.extend_i32_u (local.get $at)) (i64.extend_i32_u (local.get $size)))
                (i64.shl (i64.extend_i32_u (memory.size 0)) (i64.const 16)))
    (then (call $trap (i32.const 4) (local.get $at)))))
(func $aligned (param $at i32) (param $align i32)
  (if (i32.and (local.get $at) (i32.sub (local.get $align) (i32.const 1))) (then (call $trap (i32.const 5) (local.get $at)))))
(func $virtual (param $handle i32) (result i32) (i32.and (local.get $handle) (i32.const 0x40000000)))

;; Show Python where this memory is: a nonce at address 32 for a moment. Again after each growth, because only
;; then could it have moved.
(func $locate (local $a i64) (local $b i64)
  (if (i32.eq (memory.size 0) (global.get $located)) (then (return)))
  (global.set $located (memory.size 0))
  (local.set $a (i64.load (i32.const 32))) (local.set $b (i64.load (i32.const 40)))
  (i64.store (i32.const 32) (call $call1 (call $word (i32.const %locate%)) (i64.const 1)))
  (i64.store (i32.const 40) (call $call1 (call $word (i32.const %locate%)) (i64.const 2)))
  (drop (call $call1 (call $word (i32.const %locate%)) (i64.const 3)))
  (i64.store (i32.const 32) (local.get $a)) (i64.store (i32.const 40) (local.get $b)))

(func $new%R% (param $align i32) (param $size i32) (result i32) (local $at i32)
  (global.set $busy (i32.const 1))
  (local.set $at (call $realloc%R% (i32.const 0) (i32.const 0) (local.get $align) (local.get $size)))
  (global.set $busy (i32.const 0))
  (call $aligned (local.get $at) (local.get $align))
  (call $in_range (local.get $at) (local.get $size))
  (local.get $at))

;; Carry out Python's commands until it answers with a result.
(func $finish%R% (param $answer i64) (result i64) (local $command i32) (local $at i32) (local $size i32) (local $copy i32)
  (loop $next
    (if (i64.lt_s (local.get $answer) (i64.const 0)) (then
      (local.set $command (i32.and (i32.wrap_i64 (i64.shr_u (local.get $answer) (i64.const 60))) (i32.const 7)))
      (local.set $at (i32.wrap_i64 (local.get $answer)))
      (if (i32.eqz (local.get $command)) (then          ;; REALLOC
        (local.set $answer (call $resume (call $word (call $new%R%
          (i32.and (i32.wrap_i64 (i64.shr_u (local.get $answer) (i64.const 32))) (i32.const 255)) (local.get $at)))))
        (br $next)))
      (if (i32.eq (local.get $command) (i32.const 1)) (then    ;; READ
        (local.set $size (i32.and (i32.wrap_i64 (i64.shr_u (local.get $answer) (i64.const 32))) (i32.const 0xfffffff)))
        (call $in_range (local.get $at) (local.get $size))
        (if (i32.and (local.get $at) (i32.const 1))
          (then                                         ;; latin1+utf16 strings want even addresses
            (local.set $copy (call $scratch (i32.const 0) (i32.const 0) (i32.const 2) (local.get $size)))
            (memory.copy $state 0 (local.get $copy) (local.get $at) (local.get $size))
            (local.set $answer (call $push_state (local.get $copy) (local.get $size))))
          (else (local.set $answer (call $push (local.get $at) (local.get $size)))))
        (br $next)))
      (call $pull (i32.const 0))                        ;; WRITE
      (local.set $size (i32.load $state offset=4 (i32.const 0)))
      (call $in_range (local.get $at) (local.get $size))
      (memory.copy 0 $state (local.get $at) (i32.load $state (i32.const 0)) (local.get $size))
      (local.set $answer (call $resume (call $word (i32.const 0))))
      (br $next))))
  (local.get $answer))

;; ------------------------------------------------------------------ results of streams
;; An error of a virtual stream: result at $result, its payload (a stream-error) at $payload.
(func $fail (param $level i32) (param $stream i32) (param $payload i32) (param $result i32)
  (i32.store8 (local.get $result) (i32.const 1))
  (if (i32.eq (local.get $level) (i32.const -2))
    (then
      (i32.store8 (local.get $payload) (i32.const 0))
      (i32.store offset=4 (local.get $payload) (call $failure (local.get $stream))))
    (else (i32.store8 (local.get $payload) (i32.const 1)))))
(func $fail_unit (param $level i32) (param $stream i32) (param $result i32)
  (call $fail (local.get $level) (local.get $stream) (i32.add (local.get $result) (i32.const 4)) (local.get $result)))
(func $fail_u64 (param $level i32) (param $stream i32) (param $result i32)
  (call $fail (local.get $level) (local.get $stream) (i32.add (local.get $result) (i32.const 8)) (local.get $result)))

;; ------------------------------------------------------------------ virtual streams
(func $virtual_read%R% (param $stream i32) (param $length i64) (param $result i32) (param $block i32)
  (local $level i32) (local $at i32) (local $size i32)
  (call $aligned (local.get $result) (i32.const 4)) (call $in_range (local.get $result) (i32.const 12))
  (loop $again
    (local.set $level (call $available (local.get $stream)))
    (if (i32.lt_s (local.get $level) (i32.const 0)) (then (call $fail_unit (local.get $level) (local.get $stream) (local.get $result)) (return)))
    (if (i32.and (i32.eqz (local.get $level)) (local.get $block)) (then (call $wait_readable (local.get $stream)) (br $again)))
    (if (i32.or (i32.eqz (local.get $level)) (i64.eqz (local.get $length))) (then
      (i32.store (local.get $result) (i32.const 0))
      (i32.store offset=4 (local.get $result) (i32.const 1)) (i32.store offset=8 (local.get $result) (i32.const 0))
      (return)))
    (local.set $size (select (local.get $level) (i32.const 65536) (i32.lt_u (local.get $level) (i32.const 65536))))
    (if (i64.lt_u (local.get $length) (i64.extend_i32_u (local.get $size))) (then (local.set $size (i32.wrap_i64 (local.get $length)))))
    (local.set $at (call $new%R% (i32.const 1) (local.get $size)))
    (call $locate)
    (local.set $level (i32.wrap_i64 (call $finish%R% (call $call3 (call $word (i32.const %recv%))
      (i64.extend_i32_u (local.get $stream)) (i64.extend_i32_u (local.get $at)) (i64.extend_i32_u (local.get $size))))))
    (if (i32.eq (local.get $level) (i32.const -3)) (then (call $forget) (br $again))))
  (call $set_available (local.get $stream) (local.get $level))
  (i32.store (local.get $result) (i32.const 0))
  (i32.store offset=4 (local.get $result) (local.get $at)) (i32.store offset=8 (local.get $result) (local.get $size)))
(func $virtual_write (param $stream i32) (param $at i32) (param $size i32) (param $result i32) (local $level i32)
  (call $aligned (local.get $result) (i32.const 4)) (call $in_range (local.get $result) (i32.const 12))
  (call $in_range (local.get $at) (local.get $size))
  (local.set $level (call $permit (local.get $stream)))
  (if (i32.lt_s (local.get $level) (i32.const 0)) (then (call $fail_unit (local.get $level) (local.get $stream) (local.get $result)) (return)))
  (if (i32.gt_u (local.get $size) (local.get $level)) (then (call $trap (i32.const 3) (local.get $size))))
  (if (local.get $size) (then
    (call $locate)
    (local.set $level (call $sent (local.get $stream) (call $finishnone (call $call3 (call $word (i32.const %send%))
      (i64.extend_i32_u (local.get $stream)) (i64.extend_i32_u (local.get $at)) (i64.extend_i32_u (local.get $size))))))
    (if (i32.lt_s (local.get $level) (i32.const 0)) (then (call $fail_unit (local.get $level) (local.get $stream) (local.get $result)) (return)))))
  (i32.store (local.get $result) (i32.const 0)))
(func $virtual_blocking_write (param $stream i32) (param $at i32) (param $size i32) (param $result i32) (local $part i32)
  (call $aligned (local.get $result) (i32.const 4)) (call $in_range (local.get $result) (i32.const 12))
  (call $in_range (local.get $at) (local.get $size))
  (loop $next
    (local.set $part (call $permit (local.get $stream)))
    (if (i32.lt_s (local.get $part) (i32.const 0)) (then (call $fail_unit (local.get $part) (local.get $stream) (local.get $result)) (return)))
    (if (i32.and (i32.eqz (local.get $part)) (i32.ne (local.get $size) (i32.const 0))) (then (call $wait_writable (local.get $stream)) (br $next)))
    (local.set $part (select (local.get $part) (local.get $size) (i32.lt_u (local.get $part) (local.get $size))))
    (call $virtual_write (local.get $stream) (local.get $at) (local.get $part) (local.get $result))
    (if (i32.load8_u (local.get $result)) (then (return)))
    (local.set $at (i32.add (local.get $at) (local.get $part)))
    (local.set $size (i32.sub (local.get $size) (local.get $part)))
    (br_if $next (local.get $size)))
  (call $virtual_flush (local.get $stream) (local.get $result)))
(func $virtual_flush (param $stream i32) (param $result i32) (local $level i32)
  (call $aligned (local.get $result) (i32.const 4)) (call $in_range (local.get $result) (i32.const 12))
  (local.set $level (call $flush (local.get $stream)))
  (if (i32.lt_s (local.get $level) (i32.const 0)) (then (call $fail_unit (local.get $level) (local.get $stream) (local.get $result)) (return)))
  (i32.store (local.get $result) (i32.const 0)))

;; ------------------------------------------------------------------ trampolines: streams
(func $read%I% (export "f%I%") (param $stream i32) (param $length i64) (param $result i32)
  (call $guard)
  (if (call $virtual (local.get $stream))
    (then (call $virtual_read%R% (local.get $stream) (local.get $length) (local.get $result) (i32.const 0)))
    (else (call $stock_self%I% (local.get $stream) (local.get $length) (local.get $result)))))
(func $blocking_read%I% (export "f%I%") (param $stream i32) (param $length i64) (param $result i32)
  (call $guard)
  (if (call $virtual (local.get $stream)) (then
    (call $virtual_read%R% (local.get $stream) (local.get $length) (local.get $result) (i32.const 1)) (return)))
  (loop $again
    (call $stock_read%I% (local.get $stream) (local.get $length) (local.get $result))
    (if (i32.load8_u (local.get $result)) (then (return)))
    (if (i32.or (i32.load offset=8 (local.get $result)) (i64.eqz (local.get $length))) (then (return)))
    (br_if $again (call $stock_settled%I% (local.get $stream))))
  (call $stock_self%I% (local.get $stream) (local.get $length) (local.get $result)))
(func $blocking_skip%I% (export "f%I%") (param $stream i32) (param $length i64) (param $result i32)
  (call $guard)
  (if (call $virtual (local.get $stream)) (then
    (call $send_drops) (call $locate)
    (drop (call $finish%R% (call $wait3 (call $word (i32.const %I%)) (i64.extend_i32_u (local.get $stream)) (local.get $length) (i64.extend_i32_u (local.get $result)))))
    (call $tick) (call $forget) (return)))
  (loop $again
    (call $stock_skip%I% (local.get $stream) (local.get $length) (local.get $result))
    (if (i32.load8_u (local.get $result)) (then (return)))
    (if (i32.or (i64.ne (i64.load offset=8 (local.get $result)) (i64.const 0)) (i64.eqz (local.get $length))) (then (return)))
    (br_if $again (call $stock_settled%I% (local.get $stream))))
  (call $stock_self%I% (local.get $stream) (local.get $length) (local.get $result)))
(func $check_write%I% (export "f%I%") (param $stream i32) (param $result i32) (local $level i32)
  (call $guard)
  (if (i32.eqz (call $virtual (local.get $stream))) (then (call $stock_self%I% (local.get $stream) (local.get $result)) (return)))
  (call $aligned (local.get $result) (i32.const 8)) (call $in_range (local.get $result) (i32.const 16))
  (local.set $level (call $permit (local.get $stream)))
  (if (i32.lt_s (local.get $level) (i32.const 0)) (then (call $fail_u64 (local.get $level) (local.get $stream) (local.get $result)) (return)))
  (i32.store (local.get $result) (i32.const 0))
  (i64.store offset=8 (local.get $result) (i64.extend_i32_u (local.get $level))))
(func $write%I% (export "f%I%") (param $stream i32) (param $at i32) (param $size i32) (param $result i32)
  (call $guard)
  (if (call $virtual (local.get $stream))
    (then (call $virtual_write (local.get $stream) (local.get $at) (local.get $size) (local.get $result)))
    (else (call $stock_self%I% (local.get $stream) (local.get $at) (local.get $size) (local.get $result)))))
;; Waits until a stock stream is ready. Only being asked through a pollable lets some of them go on: a file's task is
;; looked at nowhere else. -> 0 where the guest has no pollables to ask through; the stock function must wait then.
(func $stock_settled%I% (param $stream i32) (result i32) (local $pollable i32)
  (local.set $pollable (call $stock_subscribe%I% (local.get $stream)))
  (if (i32.eq (local.get $pollable) (i32.const -1)) (then (return (i32.const 0))))
  (call $block (local.get $pollable))
  (call $stock_unsubscribe%I% (local.get $pollable))
  (i32.const 1))
;; A stock stream's permit, waiting until there is one; or -1, the error stored at $result with its payload at $payload;
;; or 0, the stock function must wait. A sink permits 2**64 - 1 bytes, which must not look like -1; no caller has more
;; than 4096.
(func $stock_permit%I% (param $stream i32) (param $payload i32) (param $result i32) (result i64)
  (loop $again
    (call $stock_check%I% (local.get $stream) (i32.const 16))
    (if (i32.load8_u $state (i32.const 16)) (then
      (call $aligned (local.get $result) (i32.const 4)) (call $in_range (local.get $result) (i32.const 12))
      (i32.store8 (local.get $result) (i32.const 1))
      (i32.store8 (local.get $payload) (i32.load8_u $state (i32.const 24)))
      (i32.store offset=4 (local.get $payload) (i32.load $state (i32.const 28)))
      (return (i64.const -1))))
    (if (i64.eqz (i64.load $state (i32.const 24))) (then (br_if $again (call $stock_settled%I% (local.get $stream))))))
  (select (i64.load $state (i32.const 24)) (i64.const 4096) (i64.lt_u (i64.load $state (i32.const 24)) (i64.const 4096))))
;; -> 0 when the stock function must wait for what was flushed.
(func $stock_flushed%I% (param $stream i32) (param $result i32) (result i32) (local $permit i64)
  (call $stock_flush%I% (local.get $stream) (local.get $result))
  (if (i32.load8_u (local.get $result)) (then (return (i32.const 1))))
  (local.set $permit (call $stock_permit%I% (local.get $stream) (i32.add (local.get $result) (i32.const 4)) (local.get $result)))
  (if (i64.ne (local.get $permit) (i64.const -1)) (then (i32.store (local.get $result) (i32.const 0))))
  (i64.ne (local.get $permit) (i64.const 0)))
(func $blocking_write%I% (export "f%I%") (param $stream i32) (param $at i32) (param $size i32) (param $result i32) (local $part i64)
  (call $guard)
  (if (i32.gt_u (local.get $size) (i32.const 4096)) (then (call $trap (i32.const 9) (local.get $size))))
  (if (call $virtual (local.get $stream)) (then
    (call $virtual_blocking_write (local.get $stream) (local.get $at) (local.get $size) (local.get $result)) (return)))
  (block $done
    (loop $next
      (br_if $done (i32.eqz (local.get $size)))
      (local.set $part (call $stock_permit%I% (local.get $stream) (i32.add (local.get $result) (i32.const 4)) (local.get $result)))
      (if (i64.eq (local.get $part) (i64.const -1)) (then (return)))
      (if (i64.eqz (local.get $part)) (then
        (call $stock_self%I% (local.get $stream) (local.get $at) (local.get $size) (local.get $result)) (return)))
      (if (i64.gt_u (local.get $part) (i64.extend_i32_u (local.get $size))) (then (local.set $part (i64.extend_i32_u (local.get $size)))))
      (call $stock_write%I% (local.get $stream) (local.get $at) (i32.wrap_i64 (local.get $part)) (local.get $result))
      (if (i32.load8_u (local.get $result)) (then (return)))
      (local.set $at (i32.add (local.get $at) (i32.wrap_i64 (local.get $part))))
      (local.set $size (i32.sub (local.get $size) (i32.wrap_i64 (local.get $part))))
      (br $next)))
  (if (i32.eqz (call $stock_flushed%I% (local.get $stream) (local.get $result))) (then
    (call $stock_self%I% (local.get $stream) (local.get $at) (i32.const 0) (local.get $result)))))
(func $blocking_write_zeroes%I% (export "f%I%") (param $stream i32) (param $size i64) (param $result i32) (local $part i64)
  (call $guard)
  (if (i64.gt_u (local.get $size) (i64.const 4096)) (then (call $trap (i32.const 10) (i32.wrap_i64 (local.get $size)))))
  (if (call $virtual (local.get $stream)) (then
    (call $send_drops) (call $locate)
    (drop (call $finish%R% (call $wait3 (call $word (i32.const %I%)) (i64.extend_i32_u (local.get $stream)) (local.get $size) (i64.extend_i32_u (local.get $result)))))
    (call $tick) (call $forget) (return)))
  (block $done
    (loop $next
      (br_if $done (i64.eqz (local.get $size)))
      (local.set $part (call $stock_permit%I% (local.get $stream) (i32.add (local.get $result) (i32.const 4)) (local.get $result)))
      (if (i64.eq (local.get $part) (i64.const -1)) (then (return)))
      (if (i64.eqz (local.get $part)) (then (call $stock_self%I% (local.get $stream) (local.get $size) (local.get $result)) (return)))
      (if (i64.gt_u (local.get $part) (local.get $size)) (then (local.set $part (local.get $size))))
      (call $stock_zeroes%I% (local.get $stream) (local.get $part) (local.get $result))
      (if (i32.load8_u (local.get $result)) (then (return)))
      (local.set $size (i64.sub (local.get $size) (local.get $part)))
      (br $next)))
  (if (i32.eqz (call $stock_flushed%I% (local.get $stream) (local.get $result))) (then
    (call $stock_self%I% (local.get $stream) (i64.const 0) (local.get $result)))))
(func $flush%I% (export "f%I%") (param $stream i32) (param $result i32)
  (call $guard)
  (if (call $virtual (local.get $stream))
    (then (call $virtual_flush (local.get $stream) (local.get $result)))
    (else (call $stock_self%I% (local.get $stream) (local.get $result)))))
(func $blocking_flush%I% (export "f%I%") (param $stream i32) (param $result i32)
  (call $guard)
  (if (call $virtual (local.get $stream))
    (then (call $virtual_flush (local.get $stream) (local.get $result)))
    (else (if (i32.eqz (call $stock_flushed%I% (local.get $stream) (local.get $result))) (then
      (call $stock_self%I% (local.get $stream) (local.get $result)))))))
(func $same_side (param $a i32) (param $b i32)
  (if (i32.ne (call $virtual (local.get $a)) (call $virtual (local.get $b))) (then (call $trap (i32.const 11) (local.get $b)))))
(func $splice%I% (export "f%I%") (param $to i32) (param $from i32) (param $length i64) (param $result i32)
  (call $guard)
  (call $same_side (local.get $to) (local.get $from))
  (if (i32.eqz (call $virtual (local.get $to))) (then
    (call $stock_self%I% (local.get $to) (local.get $from) (local.get $length) (local.get $result)) (return)))
  (call $send_drops) (call $locate)
  (drop (call $finish%R% (call $call4 (call $word (i32.const %I%)) (i64.extend_i32_u (local.get $to)) (i64.extend_i32_u (local.get $from))
    (local.get $length) (i64.extend_i32_u (local.get $result)))))
  (call $forget))
(func $blocking_splice%I% (export "f%I%") (param $to i32) (param $from i32) (param $length i64) (param $result i32)
  (local $pollable i32) (local $count i64)
  (call $guard)
  (call $same_side (local.get $to) (local.get $from))
  (if (call $virtual (local.get $to)) (then
    (call $send_drops) (call $locate)
    (drop (call $finish%R% (call $wait4 (call $word (i32.const %I%)) (i64.extend_i32_u (local.get $to)) (i64.extend_i32_u (local.get $from))
      (local.get $length) (i64.extend_i32_u (local.get $result)))))
    (call $tick) (call $forget) (return)))
  (loop $again
    (if (i32.eqz (call $stock_settled%I% (local.get $to))) (then
      (call $stock_self%I% (local.get $to) (local.get $from) (local.get $length) (local.get $result)) (return)))
    (if (i64.ne (local.get $length) (i64.const 0)) (then
      (local.set $pollable (call $stock_listen%I% (local.get $from)))
      (call $block (local.get $pollable))
      (call $stock_unsubscribe%I% (local.get $pollable))))
    (call $stock_splice%I% (local.get $to) (local.get $from) (local.get $length) (local.get $result))
    (if (i32.load8_u (local.get $result)) (then (return)))
    (local.set $count (i64.load offset=8 (local.get $result)))
    (br_if $again (i32.and (i64.eqz (local.get $count)) (i64.ne (local.get $length) (i64.const 0)))))
  (if (i64.eqz (local.get $count)) (then (return)))
  ;; As stock, it returns when the bytes are out: what a stream still holds is lost when the guest ends.
  (if (i32.eqz (call $stock_flushed%I% (local.get $to) (local.get $result))) (then (unreachable)))
  (if (i32.load8_u (local.get $result))
    (then                                               ;; an error, whose payload lies further back in this result
      (i32.store offset=12 (local.get $result) (i32.load offset=8 (local.get $result)))
      (i32.store8 offset=8 (local.get $result) (i32.load8_u offset=4 (local.get $result))))
    (else (i64.store offset=8 (local.get $result) (local.get $count)))))

;; ------------------------------------------------------------------ trampolines: poll
(func $poll%I% (export "f%I%") (param $list i32) (param $length i32) (param $result i32) (local $i i32) (local $at i32) (local $count i32)
  (call $guard)
  (call $aligned (local.get $result) (i32.const 4)) (call $in_range (local.get $result) (i32.const 8))
  (call $poll_begin (local.get $length))
  (if (i32.eqz (local.get $length)) (then (call $trap (i32.const 2) (i32.const 0))))
  (call $aligned (local.get $list) (i32.const 4)) (call $in_range (local.get $list) (i32.shl (local.get $length) (i32.const 2)))
  (loop $each
    (call $poll_add (i32.load (i32.add (local.get $list) (i32.shl (local.get $i) (i32.const 2)))))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $each (i32.lt_u (local.get $i) (local.get $length))))
  (local.set $count (call $poll_run))
  (local.set $at (call $new%R% (i32.const 4) (i32.shl (local.get $count) (i32.const 2))))
  (local.set $i (i32.const 0))
  (loop $each
    (i32.store (i32.add (local.get $at) (i32.shl (local.get $i) (i32.const 2))) (call $poll_result (local.get $i)))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $each (i32.lt_u (local.get $i) (local.get $count))))
  (i32.store (local.get $result) (local.get $at)) (i32.store offset=4 (local.get $result) (local.get $count)))

;; ------------------------------------------------------------------ trampolines: sockets that come and their streams
;; Python answers with the permit of the new output stream. Its handles are noted here, which saves asking for each.
(func $prime_streams (param $at i32) (param $permit i32)
  (call $prime (i32.load (local.get $at)) (i32.const 1) (i32.const 0) (i32.load offset=4 (local.get $at)))
  (call $prime (i32.load offset=4 (local.get $at)) (i32.const 2) (local.get $permit) (i32.load (local.get $at))))
(func $create_socket%I% (export "f%I%") (param $family i32) (param $result i32)
  (call $guard)
  (call $locate)
  (drop (call $finish%R% (call $call2 (call $word (i32.const %I%)) (i64.extend_i32_u (local.get $family)) (i64.extend_i32_u (local.get $result)))))
  (if (i32.eqz (i32.load8_u (local.get $result))) (then
    (call $prime (i32.load offset=4 (local.get $result)) (i32.const 3) (i32.const 0) (i32.const -2)))))
(func $start_connect%I% (export "f%I%") (param $socket i32) (param $network i32) (param $family i32)
  (param $a0 i32) (param $a1 i32) (param $a2 i32) (param $a3 i32) (param $a4 i32) (param $a5 i32)
  (param $a6 i32) (param $a7 i32) (param $a8 i32) (param $a9 i32) (param $a10 i32) (param $result i32) (local $streams i64)
  (call $guard)
  (call $return_streams (local.get $socket))
  (call $locate)
  (local.set $streams (call $finish%R% (call $call15 (call $word (i32.const %I%))
    (i64.extend_i32_u (local.get $socket)) (i64.extend_i32_u (local.get $network)) (i64.extend_i32_u (local.get $family))
    (i64.extend_i32_u (local.get $a0)) (i64.extend_i32_u (local.get $a1)) (i64.extend_i32_u (local.get $a2)) (i64.extend_i32_u (local.get $a3))
    (i64.extend_i32_u (local.get $a4)) (i64.extend_i32_u (local.get $a5)) (i64.extend_i32_u (local.get $a6)) (i64.extend_i32_u (local.get $a7))
    (i64.extend_i32_u (local.get $a8)) (i64.extend_i32_u (local.get $a9)) (i64.extend_i32_u (local.get $a10))
    (i64.extend_i32_u (local.get $result)))))
  (if (i64.ne (local.get $streams) (i64.const 0)) (then (call $put_streams (local.get $socket) (local.get $streams)))))
;; Streams that came with start-connect: the halves of 29 bits are handles, above them is the permit.
(func $finish_early (param $streams i64) (param $result i32) (local $permit i32)
  (call $aligned (local.get $result) (i32.const 4)) (call $in_range (local.get $result) (i32.const 12))
  (i32.store (local.get $result) (i32.const 0))
  (i32.store offset=4 (local.get $result)
    (i32.or (i32.const 0x40000000) (i32.and (i32.wrap_i64 (local.get $streams)) (i32.const 0x1fffffff))))
  (i32.store offset=8 (local.get $result)
    (i32.or (i32.const 0x40000000) (i32.and (i32.wrap_i64 (i64.shr_u (local.get $streams) (i64.const 29))) (i32.const 0x1fffffff))))
  (local.set $permit (i32.and (i32.wrap_i64 (i64.shr_u (local.get $streams) (i64.const 58))) (i32.const 15)))
  (call $prime_streams (i32.add (local.get $result) (i32.const 4))
    (select (i32.shl (i32.const 512) (local.get $permit)) (i32.const 0) (local.get $permit))))
(func $finish_connect%I% (export "f%I%") (param $socket i32) (param $result i32) (local $permit i32) (local $streams i64)
  (call $guard)
  (local.set $streams (call $take_streams (local.get $socket)))
  (if (i64.ne (local.get $streams) (i64.const 0)) (then
    (call $finish_early (local.get $streams) (local.get $result)) (return)))
  (call $locate)
  (local.set $permit (i32.wrap_i64 (call $finish%R% (call $call2 (call $word (i32.const %I%))
    (i64.extend_i32_u (local.get $socket)) (i64.extend_i32_u (local.get $result))))))
  (if (i32.eqz (i32.load8_u (local.get $result))) (then
    (call $prime_streams (i32.add (local.get $result) (i32.const 4)) (local.get $permit)))))
(func $accept%I% (export "f%I%") (param $socket i32) (param $result i32) (local $permit i32)
  (call $guard)
  (call $return_streams (local.get $socket))
  (call $locate)
  (local.set $permit (i32.wrap_i64 (call $finish%R% (call $call2 (call $word (i32.const %I%))
    (i64.extend_i32_u (local.get $socket)) (i64.extend_i32_u (local.get $result))))))
  (if (i32.eqz (i32.load8_u (local.get $result))) (then
    (call $prime (i32.load offset=4 (local.get $result)) (i32.const 3) (i32.const 0) (i32.const -2))
    (call $prime_streams (i32.add (local.get $result) (i32.const 8)) (local.get $permit)))))

;; ------------------------------------------------------------------ trampolines: errors
;; The error of a stock stream has no network error code, and the stock host of most versions has no such function.
(func $network_error_code%I% (export "f%I%") (param $error i32) (param $result i32)
  (call $guard)
  (if (i32.eqz (call $virtual (local.get $error))) (then (i32.store8 (local.get $result) (i32.const 0)) (return)))
  (call $locate)
  (drop (call $finish%R% (call $call2 (call $word (i32.const %I%)) (i64.extend_i32_u (local.get $error)) (i64.extend_i32_u (local.get $result))))))
