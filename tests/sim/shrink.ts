import { GOOD_WIRE } from "./fabric.ts";
import type { Plan } from "./plan.ts";
import { type Failed, kindOf, type Lived, simulate } from "./simulate.ts";

/** The smallest plan found, and how it fails. */
export interface Shrunk {
  readonly plan: Plan;
  readonly failed: Failed;
  /** Worlds that were tried. */
  readonly runs: number;
}

/** Worlds that are tried for one shorter story. */
const RUNS_MAX = 400;

/**
 * Makes the story of a failing plan short: leaves out steps (half of them, a quarter, ... one), then faults of
 * wires, machines' settings and clients, as long as the failure stays of the same kind.
 */
export async function shrink(
  plan: Plan,
  failed: Failed,
  runsMax: number = RUNS_MAX,
  run: (plan: Plan) => Promise<Lived | Failed> = simulate,
): Promise<Shrunk> {
  const kind = kindOf(failed.error);
  let best = { plan, failed };
  let runs = 0;
  const fails = async (candidate: Plan): Promise<boolean> => {
    if (runs >= runsMax) return false;
    runs++;
    const result = await run(candidate);
    if (!("error" in result) || kindOf(result.error) !== kind) return false;
    best = { plan: candidate, failed: result };
    return true;
  };
  for (let size = Math.ceil(plan.steps.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = best.plan.steps.length - size; at > -size; at -= size) {
      const steps = best.plan.steps.filter((_, index) => index < at || index >= at + size);
      if (steps.length < best.plan.steps.length) await fails({ ...best.plan, steps });
    }
  }
  for (const simpler of simplifications(best.plan)) await fails(simpler(best.plan));
  return { ...best, runs };
}

function simplifications(plan: Plan): ((plan: Plan) => Plan)[] {
  const client =
    (index: number, change: (client: Plan["clients"][0]) => Plan["clients"][0]) => (now: Plan): Plan => ({
      ...now,
      clients: now.clients.map((each, at) => at === index ? change(each) : each),
    });
  return [
    (now) => ({ ...now, server: { ...now.server, wire: { ...GOOD_WIRE } } }),
    (now) => ({ ...now, server: { ...now.server, tcp: {} } }),
    (now) => ({ ...now, server: { ...now.server, syncMs: 0, shortWrites: false, segmentBytes: 100_000 } }),
    ...plan.clients.flatMap((_, index) => [
      client(index, (each) => ({ ...each, wire: { ...GOOD_WIRE } })),
      client(index, (each) => ({ ...each, tcp: {} })),
      client(index, (each) => ({ ...each, kind: "host" })),
    ]),
  ];
}
