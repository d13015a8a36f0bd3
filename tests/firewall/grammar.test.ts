import { expect, test } from "vitest";
import { Prng } from "../../base/random.ts";
import { grammar, wordsIn } from "./grammar.ts";
import { optionsFor, SIDES } from "./kernel/drawn.ts";
import { RandomRules } from "./random_rules.ts";

const DRAWN = 1_000;

/** What the differential against the kernel does not draw, and why, or where else it is judged. */
const NOT_DRAWN: readonly (readonly [pattern: RegExp, reason: string])[] = [
  [/^tcp option \S+ kind$/, "nft 1.0.6 has no word for it"],
  [/^meta (time|hour|day)$/, "tests/kernel/time_of_day.test.ts, beside the kernel's clock"],
  [/^(ct count|element ct count)$/, "tests/kernel/ct_count.test.ts"],
  [/^queue$/, "what hears of it is a wake policy; tests/firewall/stack.test.ts"],
  [/^names$/, "nft has no such match; tests/kernel/names.test.ts"],
  [/^(jhash|symhash)$/, "refused: other numbers than the kernel's would be another rule"],
  [
    /^limit per (second|minute|hour)$/,
    "they move in a test's time; tests/firewall/compiled.test.ts, where time is a number",
  ],
  [/^(named map of limit|limit of map)$/, "the objects that maps lead to are drawn as counters and quotas"],
  [/^dormant$/, "nft 1.0.6 breaks off when it lists such a table as JSON; tests/firewall/compiled.test.ts"],
  [
    /^nat input$/,
    "tests/kernel/conntrack/nat.test.ts: the differential has nobody who answers for the router itself",
  ],
];

test("whatever may be said in a rule the differential against the kernel draws, or there is a reason", () => {
  const drawn = new Set<string>();
  for (let seed = 0; seed < DRAWN; seed++) {
    for (const side of SIDES) {
      for (const word of wordsIn(new RandomRules(new Prng(seed), optionsFor(side)).ruleset())) {
        drawn.add(word);
      }
    }
  }
  const all = grammar();
  const reasonOf = (word: string): string | undefined =>
    NOT_DRAWN.find(([pattern]) => pattern.test(word))?.[1];
  expect([...all].filter((word) => !drawn.has(word) && reasonOf(word) === undefined)).toEqual([]);
  expect([...drawn].filter((word) => reasonOf(word) !== undefined), "a reason that is none").toEqual([]);
  for (const [pattern, reason] of NOT_DRAWN) {
    expect([...all].some((word) => pattern.test(word)), `${pattern}: ${reason}`).toBe(true);
  }
});
