import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Sent, SentQueue } from "../../../net/tcp/sent_queue.ts";
import { packetsInFlight, type Tcb } from "../../../net/tcp/tcb.ts";
import { Script } from "./script.ts";

interface Entry {
  sequence: number;
  end: number;
  flags: number;
  sentMs: number;
}

function entries(sent: SentQueue): Entry[] {
  return Array.from({ length: sent.length }, (_, place) => {
    const at = sent.slot(place);
    return {
      sequence: sent.sequence[at]!,
      end: sent.end[at]!,
      flags: sent.flags[at]!,
      sentMs: sent.sentMs[at]!,
    };
  });
}

test("the retransmission queue is the list that it stands for, through growth, cuts and joins, around the ring and the sequence space", () => {
  for (let seed = 1; seed <= 60; seed++) {
    const prng = new Prng(seed);
    const sent = new SentQueue();
    const twin: Entry[] = [];
    let next = prng.pick([0, -50, 0x7fff_ff00, prng.uint32() | 0]);
    for (let step = 0; step < 400; step++) {
      const kind = prng.below(8);
      const place = twin.length > 0 ? prng.below(twin.length) : 0;
      const entry = twin[place];
      if (kind <= 3) {
        const end = (next + prng.between(1, 40)) | 0, flags = prng.below(128), sentMs = prng.below(1e6) / 8;
        sent.push(next, end, flags, sentMs);
        twin.push({ sequence: next, end, flags, sentMs });
        next = end;
      } else if (kind === 4) {
        const count = prng.below(Math.min(twin.length, 20) + 1);
        sent.drop(count);
        twin.splice(0, count);
      } else if (kind === 5 && entry !== undefined && ((entry.end - entry.sequence) | 0) > 1) {
        const at = (entry.sequence + prng.between(1, ((entry.end - entry.sequence) | 0) - 1)) | 0;
        sent.split(place, at);
        const ends = Sent.push | Sent.fin | Sent.trainEnd;
        twin.splice(place, 1, { ...entry, end: at, flags: entry.flags & ~ends }, { ...entry, sequence: at });
      } else if (kind === 6 && place + 1 < twin.length) {
        const after = twin[place + 1]!;
        sent.merge(place);
        const taken = after.flags & (Sent.push | Sent.fin | Sent.trainEnd | Sent.everRetransmitted);
        twin.splice(place, 2, { ...entry!, end: after.end, flags: entry!.flags | taken });
      } else if (kind === 7 && entry !== undefined) {
        const within = (entry.sequence + prng.below((entry.end - entry.sequence) | 0)) | 0;
        expect(sent.find(within), `seed ${seed}`).toBe(place);
        expect(sent.find(next), `seed ${seed}`).toBe(twin.length);
      }
      if (step % 16 === 0) expect(entries(sent), `seed ${seed}, step ${step}`).toEqual(twin);
    }
    sent.clear();
    expect(sent.length).toBe(0);
  }
});

/** Linux's counters, counted anew. */
function recount(tcb: Tcb): number[] {
  let sacked = 0, lost = 0, retransmitted = 0;
  for (const { flags } of entries(tcb.sent)) {
    if (flags & Sent.sacked) sacked++;
    if (flags & Sent.lost) lost++;
    if (flags & Sent.retransmitted) retransmitted++;
    expect(flags & Sent.sacked && flags & Sent.lost, "what has arrived is not lost").toBe(0);
  }
  return [sacked, lost, retransmitted];
}

test("the scoreboard believes exactly the blocks that can be, and counts what it believes (RFC 2018 section 5, RFC 6675)", () => {
  let believed = 0, disbelieved = 0;
  for (let seed = 1; seed <= 40; seed++) {
    const prng = new Prng(seed);
    const s = new Script({ seed, tcp: { initialWindowSegments: 40, rtoMinMs: 60_000 } })
      .accepted("mss 1000,sackOK");
    s.write(40_000);
    let una = 1;
    const arrived = new Set<number>(); // segments, by their first number, that a block covered whole
    for (let step = 0; step < 25 && una < 40_001; step++) {
      if (prng.chance(0.25)) una += prng.pick([0, 1000, 1000, 3000]);
      una = Math.min(una, 40_001);
      const sndMax = (s.tcb.sndMax - s.tcb.iss) | 0;
      const blocks: string[] = [];
      for (let count = prng.between(1, 3); count > 0; count--) {
        const start = prng.pick([
          1 + 1000 * prng.below(40),
          1 + prng.below(40_000),
          una - prng.below(3000),
          50_000 + prng.below(1000),
          -prng.below(1 << 30),
        ]);
        const end = start + prng.pick([1000, 2000, 5000, prng.below(4000), -prng.below(5000), 1 << 30]);
        blocks.push(`${start}:${end}`);
        // Inside of what is in flight and in the right order. A block at SND.UNA contradicts the ACK beside it.
        const possible = una < start && start < end && end <= sndMax;
        if (possible) believed++;
        else disbelieved++;
        for (let first = 1; possible && first < 40_001; first += 1000) {
          if (start <= first && first + 1000 <= end) arrived.add(first);
        }
      }
      s.turn(`. 1 ack ${una} <sack ${blocks.join(" ")}>`);
      s.take(4000);
      const where = `seed ${seed}, step ${step}: ack ${una}, ${blocks.join(" ")}`;
      const flying = entries(s.tcb.sent);
      expect([s.tcb.sackedOut, s.tcb.lostOut, s.tcb.retransOut], where).toEqual(recount(s.tcb));
      for (const { sequence, flags } of flying) {
        const first = (sequence - s.tcb.iss) | 0;
        expect((flags & Sent.sacked) !== 0, `${where}: ${first}`).toBe(arrived.has(first));
      }
      expect(packetsInFlight(s.tcb), where).toBeGreaterThanOrEqual(0);
      expect(s.tcb.sackedOut + s.tcb.lostOut, where).toBeLessThanOrEqual(flying.length);
    }
  }
  expect(believed).toBeGreaterThan(300);
  expect(disbelieved).toBeGreaterThan(300);
});

test("a peer that drops what it SACKed gets a moment to say otherwise, then everything again (RFC 2018 section 8)", () => {
  const s = new Script({ tcp: { initialWindowSegments: 4 } }).accepted("mss 1000,sackOK");
  s.write(4_000);
  s.take(4000);
  s.turn(". 1 ack 1 <sack 2001:4001>");
  s.wait(2);
  s.out(". 1:1001 ack 1", "P. 1001:2001 ack 1"); // the first two are lost
  s.turn(". 1 ack 2001"); // and yet not what was SACKed
  s.out();
  s.wait(9);
  s.out();
  s.wait(1);
  s.out(". 2001:3001 ack 1");
  expect([s.tcb.sackedOut, s.tcb.reneging]).toEqual([0, true]);
  s.turn(". 1 ack 4001");
  expect([s.tcb.reneging, s.tcb.sent.length]).toEqual([false, 0]);
});
