import { expect, test } from "vitest";
import { drawSeed } from "../support/seed.ts";
import { blindAttack, tellBlind } from "./blind.ts";
import { readOptions } from "./options.ts";

test(
  "somebody off the path who guesses ports and numbers wakes and ends no sleeper (RFC 5961, 5927)",
  async () => {
    const seed = drawSeed("TORPOR_ATTACK_SEED", 2 ** 31);
    const report = await blindAttack({ packets: 30_000, seed, sleepers: 400 });
    const told = `seed ${seed}\n${tellBlind(report)}`;
    expect([report.restores, report.resets], told).toEqual([0, 0]);
    expect(report.hits, told).toBeGreaterThan(2_000); // else it has tried nothing
    expect(report.answers, told).toBeGreaterThan(300);
    expect(report.answers, told).toBeLessThan(report.hits);
  },
  60_000,
);

test(
  "the attack is one: where all traffic may wake, it wakes everybody, and exact resets would end them",
  async () => {
    const report = await blindAttack({ packets: 5_000, seed: 1, sleepers: 100, wakeOnAny: true });
    expect(report.restores).toBeGreaterThan(50);
  },
  60_000,
);

test("without --attack the simulator lives worlds", () => {
  expect(readOptions([])).toMatchObject({ attack: 0, runs: 200 });
  expect(readOptions(["--attack", "1000"]).attack).toBe(1_000);
  expect(() => readOptions(["--attack", "many"])).toThrow("--attack takes a number");
});
