import { availableParallelism } from "node:os";
import process from "node:process";
import { parseArgs } from "node:util";

export const HELP =
  `Simulated worlds: hosts, a sleeping server, wires, a disk, applications and attackers, under one clock and one
seed. Something that may never happen ends the run with exit code 1, a short story and a plan to run again.

  npm run sim -- [options]

  --seed N        the first world's seed; by default one that is drawn and printed
  --runs M        worlds (default 200)
  --minutes T     no more worlds after so long; without --runs as many as fit
  --jobs J        processes (default: one a core; on Deno and Bun 0: none but this one)
  --plan FILE     lives the one world of a plan file, as a failure leaves it, and tells its story
  --story         tells the story of each world, with every segment
  --no-shrink     leaves a failure's plan as it is
  --out DIR       where a failure's plan is written (default: this folder)
  --canaries A,B  breaks the code on purpose, in a copy: each canary must be caught within its number of worlds.
                  "all", names, or a count of drawn ones; --list-canaries lists them
  --attack N      instead of worlds: N packets of somebody who is on no path, guesses ports and numbers, and may neither
                  wake nor end a sleeper (docs/simulation.md)
  --json          one JSON object at the end
  --help          this

Exit codes: 0 all is well, 1 a violation or a canary that lives, 2 wrong usage.

  npm run sim -- --runs 2000
  npm run sim -- --seed 4711 --runs 1 --story
  npm run sim -- --plan sim-failure-4711.json
  npm run sim -- --canaries all
  npm run sim -- --attack 10000000`;

export interface SimOptions {
  seed: number;
  runs: number;
  minutes: number;
  jobs: number;
  plan: string | undefined;
  story: boolean;
  shrink: boolean;
  out: string;
  canaries: string | undefined;
  listCanaries: boolean;
  /** Packets of a blind attack; 0: worlds. */
  attack: number;
  json: boolean;
  help: boolean;
}

/** @throws {TypeError} {RangeError} That says which option is wrong. */
export function readOptions(args: string[]): SimOptions {
  const { values } = parseArgs({
    args,
    options: {
      seed: { type: "string" },
      runs: { type: "string" },
      minutes: { type: "string" },
      jobs: { type: "string" },
      plan: { type: "string" },
      story: { type: "boolean", default: false },
      "no-shrink": { type: "boolean", default: false },
      out: { type: "string", default: "." },
      canaries: { type: "string" },
      "list-canaries": { type: "boolean", default: false },
      attack: { type: "string" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const number = (
    name: "seed" | "runs" | "minutes" | "jobs" | "attack",
    fallback: number,
    least: number,
  ): number => {
    const text = values[name];
    const value = text === undefined ? fallback : Number(text);
    if (
      Number.isNaN(value) || value < least ||
      (name !== "minutes" && !Number.isSafeInteger(value) && value !== Infinity)
    ) {
      throw new RangeError(`--${name} takes a number from ${least} on, not "${text}"`);
    }
    return value;
  };
  const minutes = number("minutes", Infinity, 0);
  const others = process.versions["deno"] !== undefined || process.versions["bun"] !== undefined;
  return {
    seed: number("seed", Math.floor(Math.random() * 1e9), 0),
    minutes,
    runs: number("runs", minutes < Infinity ? Infinity : 200, 1),
    jobs: number("jobs", others ? 0 : availableParallelism(), 0),
    plan: values.plan,
    story: values.story,
    shrink: !values["no-shrink"],
    out: values.out,
    canaries: values.canaries,
    listCanaries: values["list-canaries"],
    attack: number("attack", 0, 0),
    json: values.json,
    help: values.help,
  };
}
