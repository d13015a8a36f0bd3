import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import {
  givePacketMemory,
  PACKET_MEMORY_BYTES,
  packetMemory,
  takePacketMemory,
} from "../../base/packet_memory.ts";
import { Prng } from "../../base/random.ts";
import { copyBytes, Slab } from "../../base/slab.ts";
import { judge } from "../support/judge.ts";

judge("the code of the packet memory is what wat2wasm makes of its source", ["wat2wasm"], () => {
  const source = fileURLToPath(new URL("../../base/packet_memory.wat", import.meta.url));
  const binary = execFileSync("wat2wasm", [source, "--output=-"]);
  const file = readFileSync(new URL("../../base/packet_memory.ts", import.meta.url), "utf8");
  expect(file).toContain(`"${binary.toString("base64")}"`);
});

test("blocks of the packet memory never overlap, and all of them together come back", () => {
  const largest = (): number => {
    let bytes = PACKET_MEMORY_BYTES;
    for (;; bytes /= 2) {
      const at = takePacketMemory(bytes);
      if (at < 0) continue;
      givePacketMemory(at, bytes);
      return bytes;
    }
  };
  const before = largest();
  const used = new Uint8Array(PACKET_MEMORY_BYTES >>> 10);
  for (let seed = 1; seed <= 8; seed++) {
    const prng = new Prng(seed);
    const taken: { at: number; length: number }[] = [];
    const mark = ({ at, length }: { at: number; length: number }, from: number, to: number): void => {
      for (let unit = at >>> 10; unit << 10 < at + length; unit++) {
        if (used[unit] !== from) throw new Error(`seed ${seed}: unit ${unit} is ${used[unit]}, not ${from}`);
        used[unit] = to;
      }
    };
    let refused = 0;
    for (let step = 0; step < 3_000; step++) {
      if (prng.chance(0.4) && taken.length > 0) {
        const [block] = taken.splice(prng.below(taken.length), 1);
        mark(block!, 1, 0);
        givePacketMemory(block!.at, block!.length);
        continue;
      }
      const length = prng.between(1, prng.pick([1_000, 5_000, 70_000, 400_000]));
      const at = takePacketMemory(length);
      if (at < 0) {
        refused++;
        continue;
      }
      expect(at % 1_024).toBe(0);
      expect(at + length).toBeLessThanOrEqual(packetMemory.length);
      taken.push({ at, length });
      mark(taken.at(-1)!, 0, 1);
    }
    expect(refused, `seed ${seed} fills it`).toBeGreaterThan(0);
    for (const block of taken) {
      mark(block, 1, 0);
      givePacketMemory(block.at, block.length);
    }
  }
  expect(largest()).toBe(before);
  expect(takePacketMemory(PACKET_MEMORY_BYTES + 1)).toBe(-1);
  expect(() => givePacketMemory(PACKET_MEMORY_BYTES, 1_024)).toThrow("What is given back was taken");
});

test("copyBytes() moves what set() moves, from and to either kind of memory", () => {
  const prng = new Prng(32);
  const slabs = [Slab.of(4_000), Slab.forPackets(4_000), Slab.of(4_000), Slab.forPackets(4_000)];
  for (let run = 0; run < 2_000; run++) {
    const from = prng.pick(slabs);
    const to = prng.pick(slabs.filter((each) => each !== from));
    prng.fill(from.bytes);
    const count = prng.pick([prng.below(100), prng.below(2_000), run === 0 ? 4_000 : 0]);
    const start = prng.below(4_001 - count);
    const at = prng.below(4_001 - count);
    const expected = to.bytes.slice();
    expected.set(from.bytes.subarray(start, start + count), at);
    copyBytes(from, start, to, at, count);
    expect(Buffer.compare(to.bytes, expected), `${count} bytes from ${start} to ${at}`).toBe(0);
  }
  for (const to of slabs) expect(() => copyBytes(slabs[1]!, 0, to, 3_900, 101)).toThrow(RangeError);
  expect(() => copyBytes(slabs[1]!, 3_900, slabs[3]!, 0, 101)).toThrow(RangeError);
});
