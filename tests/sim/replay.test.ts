import { expect, test } from "vitest";
import { Player } from "../../checkpoint/replay/player.ts";
import { ReplayReader } from "../../checkpoint/replay/reader.ts";
import { Recorder } from "../../checkpoint/replay/recorder.ts";
import { drawPlan } from "./plan.ts";
import { World } from "./world.ts";

const SEED = 1;
const WORLDS = 20;

test(`every stack of ${WORLDS} simulated worlds is recorded, and replays (seed ${SEED})`, async () => {
  let stacks = 0;
  for (let seed = SEED; seed < SEED + WORLDS; seed++) {
    const recorders = new Map<string, Recorder>();
    const world = new World(drawPlan(seed), (name) => {
      const recorder = new Recorder();
      recorders.set(name, recorder);
      return recorder;
    });
    await world.live();
    for (const [name, recorder] of recorders) {
      const player = new Player(new ReplayReader(recorder.bytes()));
      while (player.step());
      expect(player.difference?.message, `seed ${seed}, ${name}`).toBe(undefined);
      stacks++;
    }
  }
  expect(stacks).toBeGreaterThan(2 * WORLDS);
}, 300_000);
