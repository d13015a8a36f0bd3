;; What is done with every byte of a packet: summing it and moving it. Built into packet_memory.ts with
;; `wat2wasm packet_memory.wat --output=- | base64 -w0`; tests/base/packet_memory.test.ts builds it again.
(module
  (import "torpor" "memory" (memory 1))

  ;; Lanes and words as a one's complement sum of 16 bits in network order (RFC 1071); 0 only for 0.
  (func $fold (param $lanes v128) (param $rest i64) (result i32)
    (local $sum i64)
    (local.set $sum
      (i64.add
        (i64.add
          (i64.extend_i32_u (i32x4.extract_lane 0 (local.get $lanes)))
          (i64.extend_i32_u (i32x4.extract_lane 1 (local.get $lanes))))
        (i64.add
          (i64.add
            (i64.extend_i32_u (i32x4.extract_lane 2 (local.get $lanes)))
            (i64.extend_i32_u (i32x4.extract_lane 3 (local.get $lanes))))
          (local.get $rest))))
    ;; at most 2^36: 16-bit digits add up to less than 2^18, then to 17 bits, then to 16
    (local.set $sum
      (i64.add
        (i64.add
          (i64.and (local.get $sum) (i64.const 0xffff))
          (i64.and (i64.shr_u (local.get $sum) (i64.const 16)) (i64.const 0xffff)))
        (i64.shr_u (local.get $sum) (i64.const 32))))
    (local.set $sum
      (i64.add
        (i64.and (local.get $sum) (i64.const 0xffff))
        (i64.shr_u (local.get $sum) (i64.const 16))))
    (local.set $sum
      (i64.add
        (i64.and (local.get $sum) (i64.const 0xffff))
        (i64.shr_u (local.get $sum) (i64.const 16))))
    ;; the sum of swapped words is the swapped sum (section 2.B)
    (i32.or
      (i32.and (i32.shl (i32.wrap_i64 (local.get $sum)) (i32.const 8)) (i32.const 0xff00))
      (i32.shr_u (i32.wrap_i64 (local.get $sum)) (i32.const 8))))

  ;; The sum of [at, at + length), at most 64 KiB and an odd last byte padded with zero.
  (func (export "sum") (param $at i32) (param $length i32) (result i32)
    (local $end i32) (local $last i32) (local $a v128) (local $b v128) (local $rest i64)
    (local.set $end (i32.add (local.get $at) (local.get $length)))
    (local.set $last (i32.sub (local.get $end) (i32.const 64)))
    (block $done64
      (loop $by64
        (br_if $done64 (i32.gt_s (local.get $at) (local.get $last)))
        (local.set $a
          (i32x4.add (local.get $a)
            (i32x4.add
              (i32x4.extadd_pairwise_i16x8_u (v128.load (local.get $at)))
              (i32x4.extadd_pairwise_i16x8_u (v128.load offset=16 (local.get $at))))))
        (local.set $b
          (i32x4.add (local.get $b)
            (i32x4.add
              (i32x4.extadd_pairwise_i16x8_u (v128.load offset=32 (local.get $at)))
              (i32x4.extadd_pairwise_i16x8_u (v128.load offset=48 (local.get $at))))))
        (local.set $at (i32.add (local.get $at) (i32.const 64)))
        (br $by64)))
    (local.set $last (i32.sub (local.get $end) (i32.const 16)))
    (block $done16
      (loop $by16
        (br_if $done16 (i32.gt_s (local.get $at) (local.get $last)))
        (local.set $a (i32x4.add (local.get $a) (i32x4.extadd_pairwise_i16x8_u (v128.load (local.get $at)))))
        (local.set $at (i32.add (local.get $at) (i32.const 16)))
        (br $by16)))
    (local.set $last (i32.sub (local.get $end) (i32.const 4)))
    (block $done4
      (loop $by4
        (br_if $done4 (i32.gt_s (local.get $at) (local.get $last)))
        (local.set $rest (i64.add (local.get $rest) (i64.load32_u (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 4)))
        (br $by4)))
    (if (i32.le_s (i32.add (local.get $at) (i32.const 2)) (local.get $end))
      (then
        (local.set $rest (i64.add (local.get $rest) (i64.load16_u (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 2)))))
    (if (i32.lt_s (local.get $at) (local.get $end))
      (then (local.set $rest (i64.add (local.get $rest) (i64.load8_u (local.get $at))))))
    (call $fold (i32x4.add (local.get $a) (local.get $b)) (local.get $rest)))

  (func (export "copy") (param $to i32) (param $from i32) (param $length i32)
    (memory.copy (local.get $to) (local.get $from) (local.get $length))))
