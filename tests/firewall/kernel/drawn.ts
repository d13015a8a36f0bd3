import type { RandomRulesOptions } from "../random_rules.ts";

/** Whom the kernel is compared with: rules alone, or a whole stack, whose rules may ask about connections as well. */
export type Side = "rules" | "stack";
export const SIDES: readonly Side[] = ["rules", "stack"];

/** What the rules may have that are given to the kernel and to us. */
export function optionsFor(side: Side): RandomRulesOptions {
  return {
    hooks: ["prerouting", "input", "forward", "postrouting", "output"],
    tracked: side === "stack",
    timed: "slow",
    nat: side === "stack",
    fib: true,
    queue: false, // not every kernel has it, and nobody listens there
    unmerged: true,
  };
}
