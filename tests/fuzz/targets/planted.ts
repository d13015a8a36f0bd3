import { readBomb, readForEver, readMagic } from "../planted/magic.ts";
import type { Target } from "../target.ts";

/** Bugs planted to see whether the fuzzer finds them; not among those that are fuzzed. */
export const targets: readonly Target[] = [
  {
    name: "planted/magic",
    about: "a bug behind a magic number",
    run: (input) => void readMagic(input),
    seeds: () => [],
  },
  {
    name: "planted/hang",
    about: "a loop without end",
    run: (input) => void readForEver(input),
    seeds: () => [],
    workMax: () => 20_000,
  },
  {
    name: "planted/bomb",
    about: "memory for the asking",
    run: (input) => void readBomb(input),
    seeds: () => [],
  },
];
