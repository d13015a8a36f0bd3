import type { Plan } from "./plan.ts";
import { World, type WorldStats } from "./world.ts";

/** A world that came to its end. */
export interface Lived {
  readonly stats: WorldStats;
  /** Of every packet that was sent and when: the same wherever the plan is run. */
  readonly hash: number;
}

/** A world in which something happened that may not happen. */
export interface Failed {
  readonly error: Error;
  readonly story: readonly string[];
}

/** Runs the world of a plan from its beginning to its end. */
export async function simulate(plan: Plan): Promise<Lived | Failed> {
  const world = new World(plan);
  try {
    const stats = await world.live();
    return { stats, hash: world.judge.hash };
  } catch (error) {
    return { error: error instanceof Error ? error : new Error(String(error)), story: world.story };
  }
}

/** What two failures of the same kind have in common: their words, without the numbers. */
export function kindOf(error: Error): string {
  return error.message.replace(/-?\d+(\.\d+)?/g, "#").slice(0, 200);
}
