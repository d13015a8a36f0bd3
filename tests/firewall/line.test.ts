import { expect, test } from "vitest";
import { Prng } from "../../base/random.ts";
import { Line, type Window } from "../../net/firewall/nft/line.ts";

/** As `PacketClasses` looks a value up. */
function inWindow(line: Line, { entries, base, shift, below, above }: Window, word: number): number {
  const entry = entries[(word - base) >>> shift];
  if (entry === undefined) return word >>> 0 < base ? below : above;
  return entry >= 0 ? entry : line.rowFrom(word, entry);
}

test("a value is in the class of the last cut before it, however many cuts there are and however they crowd", () => {
  const prng = new Prng(3);
  for (const bits of [6, 8, 13, 16, 20, 32]) {
    for (const count of [1, 7, 40, 3_000]) {
      for (const crowd of [1, 2, 11]) { // that many bits of a value are the same in all cuts
        const most = 2 ** Math.max(1, bits - crowd);
        const base = prng.below(2 ** bits - most + 1);
        const drawn = new Set([0, ...Array.from({ length: count }, () => base + prng.below(most))]);
        const starts = [...drawn].sort((a, b) => a - b);
        const line = new Line(bits, starts.map(BigInt), starts.map((_, at) => at * 3));
        const window = line.window();
        const asked = [0, 2 ** bits - 1, ...Array.from({ length: 200 }, () => prng.below(2 ** bits))];
        asked.push(...starts.slice(0, 200).flatMap((start) => [start, start + 1, start - 1]));
        for (const value of asked.filter((each) => each >= 0 && each < 2 ** bits)) {
          const row = starts.findLastIndex((start) => start <= value) * 3;
          expect(line.rowOfWord(value | 0), `${value} of ${bits} bits, ${count} cuts`).toBe(row);
          expect(inWindow(line, window, value | 0), `${value} of ${bits} bits, ${count} cuts`).toBe(row);
        }
      }
    }
  }
});
