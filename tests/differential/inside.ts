/** The run itself, in a network namespace of its own: started by main.ts. */
import { release } from "node:os";
import process from "node:process";
import { Arena, type Outcome } from "./arena.ts";
import { drawPlan } from "./draw.ts";
import { KernelHost } from "./kernel_host.ts";
import type { FuzzOptions } from "./options.ts";
import type { Plan } from "./plan.ts";
import { showLives } from "./print.ts";
import { type FuzzReport, kindOf, showOutcome } from "./report.ts";
import { confirmed, shrunk } from "./shrink.ts";
import { StackHost } from "./stack_host.ts";

const START_MS = 1_700_000_000_000;
/** Kinds of differences that are made short and shown. */
const SHOWN_MAX = Number(process.env["DIFFERENTIAL_SHOWN"] ?? 8);

const options = JSON.parse(process.argv[2]!) as FuzzOptions;
const { seed } = options;
const scenarios = options.scenarios.length > 0 ? options.scenarios : undefined;
const hosts = [false, ...(options.asleep ? [true] : [])].map((asleep) =>
  new StackHost(START_MS, seed, asleep)
);
const arena = new Arena(await KernelHost.open(), hosts[0]!, hosts[1]);

function* plans(): Generator<Plan> {
  if (options.plans.length > 0) {
    for (const index of options.plans) yield drawPlan(seed, index, scenarios);
    return;
  }
  for (let index = 0; arena.segments < options.segments; index++) yield drawPlan(seed, index, scenarios);
}

const started = performance.now();
const explained: Record<string, number> = {};
const suspects: Outcome[] = [];
let stories = 0, asleep = 0;
arena.run(plans(), (outcome) => {
  stories++;
  for (const { name } of outcome.explained) explained[name] = (explained[name] ?? 0) + 1;
  if (options.asleep && outcome.difference?.what !== "asleep") asleep++;
  if (outcome.difference !== undefined) suspects.push(outcome);
  if (options.plans.length > 0) console.error(showLives(outcome.plan, outcome.kernel, outcome.stack));
});
const { segments } = arena;
const seconds = (performance.now() - started) / 1000;
const real = confirmed(arena, suspects);
const kinds = new Map<string, Outcome[]>();
for (const outcome of real) {
  const alike = kinds.get(kindOf(outcome));
  if (alike === undefined) kinds.set(kindOf(outcome), [outcome]);
  else alike.push(outcome);
}
const shown = [...kinds.values()].sort((a, b) => b.length - a.length).slice(0, SHOWN_MAX).map((alike) =>
  `${alike.length} × ${showOutcome(seed, shrunk(arena, alike[0]!))}`
);
const report: FuzzReport = {
  seed,
  kernel: release().split("-")[0]!, // what stands behind it is a distribution's
  stories,
  segments,
  seconds,
  asleep,
  explained,
  once: suspects.length - real.length,
  unexplained: real.length,
  shown: shown,
};
console.log(JSON.stringify(report));
process.exit(0);
