import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterAll, describe, expect, test } from "vitest";
import { Prng } from "../../base/random.ts";
import { Slab } from "../../base/slab.ts";
import { Player } from "../../checkpoint/replay/player.ts";
import { ReplayReader } from "../../checkpoint/replay/reader.ts";
import { Recorder } from "../../checkpoint/replay/recorder.ts";
import { Programs } from "./build.ts";
import { replacements } from "./comparisons.ts";
import { readCrash, writeCrash } from "./crash_file.ts";
import { instrument } from "./instrument.ts";
import { mutate } from "./mutate.ts";
import { Subject } from "./subject.ts";
import { supervise } from "./supervise.ts";
import type { Target } from "./target.ts";

/** The fuzzer is a tool of Node's; its targets are tried on every runtime (targets.test.ts). */
const otherRuntime = process.versions["deno"] !== undefined || process.versions["bun"] !== undefined;

describe.skipIf(otherRuntime)("the fuzzer, instrumented", () => {
  const programs = new Programs();
  afterAll(() => programs.dispose());
  const fuzz = async (name: string, runs: number, seed: number) => {
    const job = { task: "fuzz", seed, runs, seconds: Infinity, kept: [], input: new Uint8Array(0) } as const;
    return await supervise(await programs.make("targets/planted.ts", name), job);
  };

  test("a bug behind a magic number, a length and a name is found in 20,000 runs, its file replays", async () => {
    for (const seed of [1, 2, 3]) {
      const done = await fuzz("planted/magic", 20_000, seed);
      expect(done.crashes.map(({ error }) => error.split("\n")[0]), `seed ${seed}`)
        .toEqual(["RangeError: The planted bug"]);
      const { input, error, key } = done.crashes[0]!;
      expect([...input.subarray(0, 4)]).toEqual([0x70, 0x0b, 0x1e, 0x55]);
      expect(input.length).toBe(12);
      const folder = mkdtempSync(join(tmpdir(), "fuzz-"));
      try {
        const path = await writeCrash(folder, {
          target: "planted/magic",
          input,
          error,
          key,
          seed,
          commit: "none",
          runtime: "none",
        });
        const job = {
          task: "replay",
          seed,
          runs: 0,
          seconds: 0,
          kept: [],
          input: readCrash(path).input,
        } as const;
        const again = await supervise(await programs.make("targets/planted.ts", "planted/magic"), job);
        expect(again.crashes[0]?.key).toBe(key);
      } finally {
        rmSync(folder, { recursive: true });
      }
    }
  });

  test("the same seed and runs find the same, another seed something else", async () => {
    const one = await fuzz("planted/magic", 5_000, 7);
    expect(await fuzz("planted/magic", 5_000, 7)).toEqual({ ...one, seconds: expect.any(Number) });
    const other = await fuzz("planted/magic", 5_000, 8);
    expect(other.corpus).not.toEqual(one.corpus);
  });

  test("work without end and memory for the asking are crashes", async () => {
    const hang = await fuzz("planted/hang", 20_000, 1);
    expect(hang.crashes.map(({ error, input }) => [error.split("\n")[0], [...input]])).toEqual([
      ["ExcessError: The work of this input has no end", [0xee]],
    ]);
    const bomb = await fuzz("planted/bomb", 20_000, 1);
    expect(bomb.crashes.map(({ key }) => key)).toEqual([expect.stringMatching(/^ExcessError .*readBomb/)]);
  });
});

test("a crash is a recording: its input is in what it says of itself, what its stack went through follows", async () => {
  const folder = mkdtempSync(join(tmpdir(), "fuzz-"));
  const input = Uint8Array.of(69, 0, 0, 1) as Uint8Array<ArrayBuffer>;
  const crash = {
    target: "stack/planted",
    input,
    error: "no",
    key: "no",
    seed: 1,
    commit: "none",
    runtime: "none",
  };
  const attacked: Target = {
    name: crash.target,
    about: "a stack that hears the input, and a bug behind it",
    seeds: () => [],
    run: (bytes) => {
      const subject = new Subject({ tcp: {}, mtu: 1500, seed: 1, naps: 0 });
      const slab = Slab.of(bytes.length);
      slab.bytes.set(bytes);
      subject.stack.receive(0, slab, 0, bytes.length, subject.nowMs);
      new Subject({ tcp: {}, mtu: 1500, seed: 1, naps: 0 }); // a twin, which is nobody's to record
      throw new Error("The planted bug");
    },
  };
  try {
    const path = await writeCrash(folder, crash, attacked);
    expect(readCrash(path)).toEqual(crash);
    const player = new Player(new ReplayReader(new Uint8Array(readFileSync(path))));
    while (player.step());
    expect(player.difference).toBeUndefined();
    expect(player.framesIn).toBe(1);
    const bare = await writeCrash(folder, { ...crash, input: Uint8Array.of(1) as Uint8Array<ArrayBuffer> });
    expect(readCrash(bare).input).toEqual(Uint8Array.of(1));
    writeFileSync(join(folder, "other.replay"), new Recorder().bytes());
    expect(() => readCrash(join(folder, "other.replay"))).toThrow("it is no crash of the fuzzer");
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("instrumented code does what it did, and counts every branch", () => {
  const source = `export function f(a: number, b?: string): number {
    if (a > 3) return a < 10 ? 1 : 2;
    else if (b === "x" && a !== 0) for (const each of b) if (each) a += each.length!;
    switch (a) { case 1: case 2: return 5; default: a++; }
    const g = (x: number): { y: number } => ({ y: x as number });
    try { if (a === 8) throw new Error(); } catch { return 9; }
    do a--; while (a > 2)
    return g(a ?? 0).y + new Uint8Array(a + 1).length;
  }`;
  const code = instrument("f.ts", source, "./coverage.ts");
  expect(code.split("\n").length).toBe(source.split("\n").length);
  expect(code.match(/\$e\[\d+\]\+\+/g)!.length).toBe(new Set(code.match(/\$e\[\d+\]\+\+/g)).size);
  expect(code).toMatch(/\$m\(19\)/);
});

test("a replacement puts the other operand where one stands, in its encoding", () => {
  const changed = [...replacements(Uint8Array.of(9, 0, 5, 9), [5, 0x1234])].map((bytes) => [...bytes]);
  expect(changed).toContainEqual([9, 0x12, 0x34, 9]);
  const text = new TextEncoder();
  const words = [...replacements(text.encode("say cat"), ["cat", "meow"])];
  expect(words).toContainEqual(text.encode("say meow"));
});

test("mutations keep to the limit of length and differ from what they change", () => {
  const prng = new Prng(1);
  const input = new Uint8Array(40).fill(3);
  const material = { words: [Uint8Array.of(1, 2, 3)], other: () => input };
  let changed = 0;
  for (let run = 0; run < 2_000; run++) {
    const mutant = mutate(input, prng, material, 64);
    expect(mutant.length).toBeLessThanOrEqual(64);
    if (mutant.length !== 40 || mutant.some((byte) => byte !== 3)) changed++;
  }
  expect(changed).toBeGreaterThan(1_900);
  expect(input.every((byte) => byte === 3)).toBe(true);
});
