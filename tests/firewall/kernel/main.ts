import process from "node:process";
import { parseArgs } from "node:util";
import { compareCost } from "./cost.ts";
import { compareOne, type Outcome } from "./differential.ts";
import { type Side, SIDES } from "./drawn.ts";
import { KernelFirewall } from "./kernel_firewall.ts";

const HELP = `usage: npm run firewall:kernel -- [--seed N] [--runs M] [--side rules|stack] [--cost]

Draws M rule sets with packets (default 1000), from seed N on, gives both to the kernel in a network namespace and to
Torpor, and compares every counter, quota and set. Every other one goes to a whole stack, and its rules may ask about
connections. --cost measures instead what a datagram costs both behind a block list. Needs root, nft and python3.`;

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    runs: { type: "string" },
    side: { type: "string" },
    cost: { type: "boolean" },
    help: { type: "boolean" },
  },
});
if (values.help) console.log(HELP);
else {
  const { seed = Date.now() % 1_000_000, runs = 1_000 } = values;
  process.exitCode = await main(Number(seed), Number(runs));
}

function sideOf(seed: number): Side {
  return values.side === "rules" || values.side === "stack" ? values.side : SIDES[seed % 2]!;
}

async function main(seed: number, runs: number): Promise<number> {
  using kernel = await KernelFirewall.start();
  if (values.cost) {
    await compareCost(kernel);
    return 0;
  }
  const counts: Record<Outcome["kind"], number> = { same: 0, drawn: 0, refused: 0, different: 0 };
  for (let run = 0; run < runs; run++) {
    const outcome = await compareOne(seed + run, kernel, sideOf(seed + run));
    counts[outcome.kind]++;
    if (outcome.kind === "same" || outcome.kind === "drawn") continue;
    console.log(`--seed ${seed + run} --runs 1: ${outcome.kind}\n${outcome.rules}`);
    if (outcome.kind === "refused") console.log(outcome.said);
    else console.log(outcome.differences.join("\n"));
  }
  console.log(`${runs} rule sets from seed ${seed}: ${JSON.stringify(counts)}`);
  return counts.different + counts.refused === 0 ? 0 : 1;
}
