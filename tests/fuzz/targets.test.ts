import { expect, test } from "vitest";
import { Fuzzer } from "./fuzzer.ts";
import { readKept } from "./kept.ts";
import { everyTarget } from "./targets.ts";

/** Beyond the kept corpus, without instrumentation: a word with every target, no campaign. */
const RUNS = 150;

test.each(everyTarget.map(({ target }) => target))(
  "$name: what has been kept, and a few changes to it, crash nothing",
  async (target) => {
    const fuzzer = new Fuzzer(target, 1);
    await fuzzer.seed([...target.seeds(), ...readKept(target.name)]);
    await fuzzer.run(fuzzer.runs + RUNS);
    const crashes = [...fuzzer.crashes.values()].map(({ input, error }) => ({ input: [...input], error }));
    expect(crashes, `seed 1, ${fuzzer.runs} runs`).toEqual([]);
    expect(fuzzer.runs).toBeGreaterThanOrEqual(RUNS);
  },
);

test("targets have names of their own", () => {
  const names = everyTarget.map(({ target }) => target.name);
  expect(new Set(names).size).toBe(names.length);
});
