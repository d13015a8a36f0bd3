import { type Bench, type Cell, ratio, spreadOf, type Table } from "./bench.ts";
import { type Case, RATE_BYTES_PER_S, type Subject, SUBJECTS } from "./loss/case.ts";
import { World } from "./loss/world.ts";

interface Effort {
  readonly seeds: number;
  readonly ms: number;
  /** Transfers at a time, each in a world of its own. */
  readonly lanes: number;
}

interface Plan {
  readonly losses: readonly number[];
  readonly rttsMs: readonly number[];
  /** For rows that fill much of the link: one at a time, or the processor would decide. */
  readonly fast: Effort;
  /** For rows of a megabyte per second and less: so few packets that it is chance when the first is lost. */
  readonly slow: Effort;
}

const PLAN: Plan = {
  losses: [0, 0.001, 0.01, 0.03, 0.05],
  rttsMs: [1, 20, 100],
  fast: { seeds: 3, ms: 4_000, lanes: 1 },
  slow: { seeds: 8, ms: 10_000, lanes: 4 },
};
const PLAN_FULL: Plan = {
  ...PLAN,
  fast: { seeds: 7, ms: 10_000, lanes: 1 },
  slow: { seeds: 24, ms: 20_000, lanes: 4 },
};
const EFFORT_QUICK: Effort = { seeds: 1, ms: 500, lanes: 1 };
const PLAN_QUICK: Plan = { losses: [0.01], rttsMs: [20], fast: EFFORT_QUICK, slow: EFFORT_QUICK };
/** A row in which ours is further below Linux than this is a miss. */
const WITHIN = 0.9;

/** One connection over a link that loses packets: ours sending, ours receiving, and Linux doing both. */
export const bench: Bench = {
  async *run(options) {
    const plan = options.quick ? PLAN_QUICK : options.full ? PLAN_FULL : PLAN;
    const worlds: World[] = [];
    try {
      const trouble = await makeWorlds(worlds, Math.max(plan.fast.lanes, plan.slow.lanes));
      if (trouble !== undefined) {
        yield { title: "throughput by loss: not measured", columns: [""], rows: [[trouble]] };
        return;
      }
      for (const rttMs of plan.rttsMs) yield await measure(worlds, rttMs, plan);
    } finally {
      for (const world of worlds) await world[Symbol.asyncDispose]();
    }
  },
};

/** @returns Why not, when this machine does not let us. */
async function makeWorlds(worlds: World[], count: number): Promise<string | undefined> {
  try {
    while (worlds.length < count) worlds.push(await World.make());
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

async function measure(worlds: readonly World[], rttMs: number, plan: Plan): Promise<Table> {
  const rows: Cell[][] = [];
  for (const loss of plan.losses) {
    const effort = loss >= 0.01 && rttMs >= 20 ? plan.slow : plan.fast;
    const speeds = await transfers(worlds, loss, rttMs, effort);
    const [linux, sending, receiving] = SUBJECTS.map((subject) => spreadOf(speeds[subject]));
    const worst = Math.min(sending!.median, receiving!.median) / linux!.median;
    rows.push([
      `${loss * 100}%`,
      linux!,
      sending!,
      ratio(sending!.median, linux!.median),
      receiving!,
      ratio(receiving!.median, linux!.median),
      `${effort.seeds} x ${effort.ms / 1000} s`,
      worst >= WITHIN ? "" : "miss",
    ]);
  }
  return {
    title: `one connection, ${rttMs} ms there and back, ${
      RATE_BYTES_PER_S * 8 / 1e6
    } Mbit/s, by loss of data packets`,
    columns: ["loss", "Linux, MB/s", "ours sends", "ratio", "ours receives", "ratio", "seeds", ""],
    rows,
    notes: [
      "Median (least-most) of the seeds, each from the first byte on; of each the same packets are lost for all.",
      "A queue of a bandwidth-delay product; Linux uses cubic and its default buffers.",
    ],
  };
}

/** Megabytes per second of every seed, in turn and each time in another order: the machine's moods meet all alike. */
async function transfers(
  worlds: readonly World[],
  loss: number,
  rttMs: number,
  effort: Effort,
): Promise<Record<Subject, number[]>> {
  const speeds: Record<Subject, number[]> = {
    "Linux to Linux": [],
    "ours to Linux": [],
    "Linux to ours": [],
  };
  let next = 1;
  await Promise.all(
    worlds.slice(0, effort.lanes).map(async (world) => {
      for (let seed = next++; seed <= effort.seeds; seed = next++) {
        for (let at = 0; at < SUBJECTS.length; at++) {
          const subject = SUBJECTS[(at + seed) % SUBJECTS.length]!;
          const of: Case = { subject, loss, rttMs, seed: 1000 * seed, ms: effort.ms };
          speeds[subject].push(await world.run(of) / 1e6);
        }
      }
    }),
  );
  return speeds;
}
