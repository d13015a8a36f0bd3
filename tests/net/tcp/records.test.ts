import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { RECORDS_MAX } from "../../../net/tcp/records.ts";
import { tcpSend, tcpSendRecord } from "../../../net/tcp/user.ts";
import { REMOTE_PORT, Script, streamBytes } from "./script.ts";

/** Writes the next bytes of the stream, and a record's end behind them. */
function record(script: Script, from: number, count: number): void {
  expect(tcpSendRecord(script.stack.tcp, script.tcb, streamBytes(from, count), 0, count)).toBe(count);
}

/** Writes the next bytes of the stream, and nothing behind them. */
function write(script: Script, from: number, count: number): void {
  expect(tcpSend(script.stack.tcp, script.tcb, streamBytes(from, count), 0, count)).toBe(count);
}

test("what is written behind a record's end begins a segment of its own, and no whole record waits", () => {
  const s = new Script().accepted("mss 1000");
  record(s, 1, 300);
  record(s, 301, 1_500);
  record(s, 1_801, 200);
  write(s, 2_001, 300);
  s.poll();
  // The last segment is small, no record ends it, and small ones are on their way: Nagle holds it back.
  s.out("P. 1:301 ack 1", ". 301:1301 ack 1", "P. 1301:1801 ack 1", "P. 1801:2001 ack 1");
  s.turn(". 1 ack 2001");
  s.out("P. 2001:2301 ack 1");
});

test("segments of different records are never put together, however often they are sent again", () => {
  const s = new Script().accepted("mss 1000");
  for (let at = 0; at < 4; at++) record(s, 1 + at * 100, 100);
  s.poll();
  s.learn();
  for (const ack of [1, 101, 201, 301]) {
    s.turn(`. 1 ack ${ack}`);
    s.wait(10_000);
    const again = s.take(REMOTE_PORT).map(({ segment }) => segment.data.length);
    expect(again.length).toBeGreaterThan(0);
    expect(again).toEqual(again.map(() => 100));
  }
});

test("a record's end at the end of what was written is kept until it is sent, and only then forgotten", () => {
  const s = new Script().accepted("mss 1000", 500);
  write(s, 1, 500);
  s.poll();
  s.out("P. 1:501 ack 1");
  record(s, 501, 100); // behind the window
  s.poll();
  s.out();
  write(s, 601, 200);
  s.turn(". 1 ack 501 win 1000");
  s.out("P. 501:601 ack 1");
  s.turn(". 1 ack 601 win 1000");
  s.out("P. 601:801 ack 1");
  expect(s.tcb.records).toEqual([]);
});

test(`so many ends of records wait unsent, and no more: ${RECORDS_MAX}`, () => {
  const s = new Script().accepted("mss 1000", 0);
  for (let at = 0; at <= RECORDS_MAX; at++) {
    record(s, 1 + at, 1);
    expect(s.tcb.records.length).toBe(Math.min(at + 1, RECORDS_MAX));
  }
});

test("whatever is written, whichever windows open and whatever is lost: no segment reaches across a record's end", () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
  const prng = new Prng(seed);
  const s = new Script().accepted("mss 1000", 3_000);
  const ends = new Set<number>();
  let written = 0, acked = 0;
  for (let step = 0; step < 150; step++) {
    for (let calls = prng.between(1, 5); calls > 0; calls--) {
      const count = prng.between(1, prng.pick([200, 2_500]));
      if (prng.chance(0.5)) {
        record(s, written + 1, count);
        ends.add(written + count);
      } else {
        write(s, written + 1, count);
      }
      written += count;
    }
    s.poll();
    for (let turn = 0; turn < 500 && acked < written; turn++) {
      for (const { segment } of s.take(REMOTE_PORT)) {
        const start = (segment.sequence - s.main.ourIsn - 1) | 0;
        const end = start + segment.data.length;
        for (const each of ends) {
          expect(each > start && each < end, `seed ${seed}: ${start}-${end}`).toBe(false);
        }
        if (start <= acked && prng.chance(0.9)) acked = Math.max(acked, end); // else it is lost, or there is a hole
      }
      s.turn(`. 1 ack ${acked + 1} win ${prng.between(500, 5_000)}`);
      s.wait(acked < written ? 2_000 : 0);
    }
    expect(acked, `seed ${seed}`).toBe(written);
    ends.clear();
  }
});
