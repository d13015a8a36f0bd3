import type { Arena, Outcome } from "./arena.ts";
import type { Plan, SegmentStep, Step } from "./plan.ts";

/** A story is played so often again, and must differ each time: what a busy machine did differs once. */
const AGAIN = 2;
const ROUNDS_MAX = 25;

/** Those of `outcomes` whose difference shows every time. */
export function confirmed(arena: Arena, outcomes: readonly Outcome[]): Outcome[] {
  let left = [...outcomes];
  for (let time = 0; time < AGAIN && left.length > 0; time++) {
    const again = play(arena, left.map(({ plan }) => plan));
    left = left.filter((_, at) => again[at]!.difference !== undefined);
  }
  return left;
}

/** The shortest story to be found that still differs without a reason. */
export function shrunk(arena: Arena, outcome: Outcome): Outcome {
  let best = outcome;
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const found = play(arena, smaller(best)).find(({ difference }) =>
      difference !== undefined && difference.what === outcome.difference!.what
    );
    if (found === undefined || confirmed(arena, [found]).length === 0) return best;
    best = found;
  }
  return best;
}

function play(arena: Arena, plans: readonly Plan[]): Outcome[] {
  const outcomes = new Map<Plan, Outcome>();
  arena.run(plans.values(), (outcome) => outcomes.set(outcome.plan, outcome));
  return plans.map((plan) => outcomes.get(plan)!);
}

/** The same story without one of its steps, or with a plainer one; what follows the difference is dropped first. */
function smaller({ plan, difference }: Outcome): Plan[] {
  const steps = plan.steps.slice(0, difference!.step + 1);
  const last: Step[] = difference!.what === "state" || difference!.what === "late" ? [] : [{ do: "wait" }];
  const stories: Step[][] = [];
  if (steps.length + last.length < plan.steps.length) stories.push([...steps, ...last]);
  for (let at = steps.length - 1; at >= 0; at--) {
    stories.push([...steps.slice(0, at), ...steps.slice(at + 1), ...last]);
  }
  for (const [at, step] of steps.entries()) {
    for (const each of step.do === "segment" ? plainer(step) : []) {
      stories.push([...steps.slice(0, at), each, ...steps.slice(at + 1), ...last]);
    }
  }
  return stories.map((story) => ({ ...plan, steps: story }));
}

function plainer(step: SegmentStep): SegmentStep[] {
  const { timestamp: _stamp, ...without } = step;
  const { spoil: _spoil, ...whole } = step;
  return [
    ...(step.sack.length > 0 ? [{ ...step, sack: [] }] : []),
    ...(step.timestamp !== undefined ? [without] : []),
    ...(step.spoil !== undefined ? [whole] : []),
    ...(step.urgent > 0 ? [{ ...step, urgent: 0 }] : []),
    ...(step.window !== 65_535 ? [{ ...step, window: 65_535 }] : []),
    ...(step.length > 10 ? [{ ...step, length: 10 }] : []),
  ];
}
