import { describe, expect, it } from "vitest";
import type { Entropy } from "../../../base/random.ts";
import { Identifications } from "../../../net/ip/identification.ts";

const UDP = 17;
const HERE = 0x0a000001, THERE = 0x0a000002;

/** Entropy that begins with one byte. */
function entropy(first: number): Entropy {
  return { fill: (bytes) => void bytes.fill(first++) };
}

describe("identifications (RFC 6864, RFC 7739)", () => {
  it("count by one within a tick of 4 ms, per flow", () => {
    const ids = new Identifications(entropy(1));
    const first = ids.next(HERE, THERE, UDP, 1_000);
    ids.next(HERE, THERE + 1, UDP, 1_000);
    for (let more = 1; more <= 100; more++) {
      expect(ids.next(HERE, THERE, UDP, 1_000 + more % 4)).toBe((first + more) | 0);
    }
  });

  it("take a random step after a pause, at most as many as ticks have gone by, and at most 1,024", () => {
    const ids = new Identifications(entropy(1));
    let nowMs = 1_000, last = ids.next(HERE, THERE, UDP, nowMs);
    const steps = new Map<number, Set<number>>();
    for (const ticks of [1, 2, 10, 100_000]) {
      steps.set(ticks, new Set());
      for (let turn = 0; turn < 200; turn++) {
        const next = ids.next(HERE, THERE, UDP, nowMs += ticks * 4);
        steps.get(ticks)!.add(next - last | 0);
        last = next;
      }
    }
    expect([...steps.get(1)!]).toEqual([1]);
    expect([...steps.get(2)!].sort()).toEqual([1, 2]);
    expect(Math.max(...steps.get(10)!)).toBeLessThanOrEqual(10);
    const far = [...steps.get(100_000)!];
    expect(Math.min(...far)).toBeGreaterThan(0);
    expect(Math.max(...far)).toBeLessThanOrEqual(1_024);
    expect(far.length).toBeGreaterThan(100);
  });

  it("begin anywhere, at the clock's zero as well, and go on when the clock is set back", () => {
    const starts = new Set(
      [1, 50, 100, 150].map((first) => new Identifications(entropy(first)).next(HERE, THERE, UDP, 0)),
    );
    expect(starts.size).toBe(4);
    for (const start of starts) expect(Math.abs(start)).toBeGreaterThan(1_000);
    const ids = new Identifications(entropy(1));
    const last = ids.next(HERE, THERE, UDP, 1_000_000);
    expect(ids.next(HERE, THERE, UDP, 0)).toBe((last + 1) | 0);
  });
});
