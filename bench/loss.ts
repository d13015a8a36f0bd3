import { type Bench, type Cell, ratio, spreadOf, type Table } from "./bench.ts";
import { type Case, RATE_BYTES_PER_S, type Subject, SUBJECTS } from "./loss/case.ts";
import { World } from "./loss/world.ts";

interface Plan {
  readonly losses: readonly number[];
  readonly rttsMs: readonly number[];
  readonly seeds: number;
  readonly ms: number;
}

const PLAN: Plan = { losses: [0, 0.001, 0.01, 0.03, 0.05], rttsMs: [1, 20, 100], seeds: 3, ms: 4_000 };
const PLAN_FULL: Plan = { ...PLAN, seeds: 7, ms: 10_000 };
const PLAN_QUICK: Plan = { losses: [0.01], rttsMs: [20], seeds: 1, ms: 500 };
/** A row in which ours is further below Linux than this is a miss. */
const WITHIN = 0.9;

/** One connection over a link that loses packets: ours sending, ours receiving, and Linux doing both. */
export const bench: Bench = {
  async *run(options) {
    let world: World;
    try {
      world = await World.make();
    } catch (error) {
      yield { title: "throughput by loss: not measured", columns: [""], rows: [[(error as Error).message]] };
      return;
    }
    await using _ = world;
    const plan = options.quick ? PLAN_QUICK : options.full ? PLAN_FULL : PLAN;
    for (const rttMs of plan.rttsMs) yield await measure(world, rttMs, plan);
  },
};

async function measure(world: World, rttMs: number, plan: Plan): Promise<Table> {
  const rows: Cell[][] = [];
  for (const loss of plan.losses) {
    const speeds: Record<Subject, number[]> = {
      "Linux to Linux": [],
      "ours to Linux": [],
      "Linux to ours": [],
    };
    for (let seed = 1; seed <= plan.seeds; seed++) {
      // In turn, each time in another order: what else the machine does meets all of them alike.
      for (let at = 0; at < SUBJECTS.length; at++) {
        const subject = SUBJECTS[(at + seed) % SUBJECTS.length]!;
        const of: Case = { subject, loss, rttMs, seed: 1000 * seed, ms: plan.ms };
        speeds[subject].push(await world.run(of) / 1e6);
      }
    }
    const [linux, sending, receiving] = SUBJECTS.map((subject) => spreadOf(speeds[subject]));
    const worst = Math.min(sending!.median, receiving!.median) / linux!.median;
    rows.push([
      `${loss * 100}%`,
      linux!,
      sending!,
      ratio(sending!.median, linux!.median),
      receiving!,
      ratio(receiving!.median, linux!.median),
      worst >= WITHIN ? "" : "miss",
    ]);
  }
  return {
    title: `one connection, ${rttMs} ms there and back, ${
      RATE_BYTES_PER_S * 8 / 1e6
    } Mbit/s, by loss of data packets`,
    columns: ["loss", "Linux, MB/s", "ours sends", "ratio", "ours receives", "ratio", ""],
    rows,
    notes: [
      `Median (least-most) of ${plan.seeds} seeds, ${
        plan.ms / 1000
      } s each, from the first byte on; the same packets are lost`,
      "for all. A queue of a bandwidth-delay product; Linux uses cubic and its default buffers.",
    ],
  };
}
