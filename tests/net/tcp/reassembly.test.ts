import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Script } from "./script.ts";

/**
 * The obvious twin of net/tcp/receive.ts: remembers which positions have arrived inside the window, one
 * by one, and where the FIN was said to be.
 */
class Twin {
  readonly #have = new Set<number>();
  #finAt = -1;
  next = 1;
  ended = false;

  take(first: number, end: number, fin: boolean, edge: number): void {
    if (this.ended) return;
    for (let at = Math.max(first, this.next); at < Math.min(end, edge); at++) this.#have.add(at);
    if (fin && end >= this.next) this.#finAt = end;
    while (this.#have.delete(this.next)) this.next++;
    if (this.#finAt === this.next) {
      this.ended = true;
      this.next++;
    }
  }
}

test("reassembly agrees with its obvious twin for every order, overlap and place of the FIN", () => {
  for (let seed = 1; seed <= 150; seed++) {
    const prng = new Prng(seed);
    const bufferBytes = prng.pick([300, 1_000, 5_000]);
    const s = new Script({
      tcp: { receiveBufferBytes: bufferBytes, outOfOrderRangesMax: 1_000 },
      startMs: 1_700_000_000_000 + seed * 1_000_000,
    });
    s.main.isn = prng.pick([1_000, -200, 0x7fff_ff80]);
    s.accepted("mss 100");
    const twin = new Twin();
    const total = prng.between(1, 3_000);
    let read = 0;
    for (let step = 0; step < 4_000 && !twin.ended; step++) {
      const around = twin.next - 1;
      const first = Math.max(
        0,
        Math.min(total, prng.chance(0.5) ? around : around + prng.between(-200, 400)),
      );
      const end = Math.min(total, first + prng.between(0, 150));
      const fin = end === total && prng.chance(0.7);
      if (end === first && !fin) continue;
      const edge = (s.tcb.rcvAdv - s.tcb.irs) | 0;
      const inWindow = first + 1 < edge && end + 1 + (fin ? 1 : 0) > twin.next && edge > twin.next;
      if (inWindow) twin.take(first + 1, end + 1, fin, edge);
      s.in(`${fin ? "F." : "."} ${first + 1}:${end + 1} ack 1`);
      const label = `seed ${seed} step ${step}: ${first + 1}:${end + 1}${
        fin ? " FIN" : ""
      } window to ${edge}`;
      expect((s.tcb.rcvNxt - s.tcb.irs) | 0, label).toBe(twin.next);
      expect(s.tcb.finReceived, label).toBe(twin.ended);
      for (let at = 0; at < s.tcb.ahead.length; at += 2) { // sorted, apart, none empty
        expect(s.tcb.ahead[at]!, label).toBeGreaterThan(at === 0 ? 0 : s.tcb.ahead[at - 1]!);
        expect(s.tcb.ahead[at + 1]!, label).toBeGreaterThan(s.tcb.ahead[at]!);
      }
      if (prng.chance(0.3)) read += s.read(prng.between(1, 500)); // which checks every byte
      if (prng.chance(0.2)) s.poll();
    }
    read += s.read();
    expect([twin.ended, read], `seed ${seed}`).toEqual([true, total]);
    s.abort();
    expect(s.tcb.receiveQueue.capacity).toBe(0);
  }
});
