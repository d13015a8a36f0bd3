import type { Outcome } from "./arena.ts";
import { deviations } from "./deviations.ts";
import { showLives } from "./print.ts";

/** What a run has found. */
export interface FuzzReport {
  readonly seed: number;
  /** Of the kernel that was the judge. */
  readonly kernel: string;
  readonly stories: number;
  readonly segments: number;
  readonly seconds: number;
  /** Stories played with every connection asleep before each segment. */
  readonly asleep: number;
  /** How often each deviation was met. */
  readonly explained: Readonly<Record<string, number>>;
  /** Differences that were not there again. */
  readonly once: number;
  /** Differences that no deviation explains, and that are there each time. */
  readonly unexplained: number;
  /** One of each kind, as short as could be found. */
  readonly shown: readonly string[];
}

/** What the difference looks like, without its numbers: those that look alike have one reason as a rule. */
export function kindOf({ difference, plan }: Outcome): string {
  const { what, step, kernel, stack } = difference!;
  const played = plan.steps[step];
  const call = played?.do === "call" ? ` ${played.call}` : "";
  const plain = (text: string) => text.replace(/-?\d+/g, "n");
  return `${plan.scenario} ${what}${call}: kernel "${plain(kernel)}", stack "${plain(stack)}"`;
}

export function showReport(report: FuzzReport): string {
  const lines = report.shown.map((story) => `${story}\n`);
  const { stories, segments, seconds, seed, kernel } = report;
  lines.push(
    `seed ${seed}: ${segments} segments in ${stories} stories against Linux ${kernel}, ${
      seconds.toFixed(1)
    } s`,
  );
  if (report.asleep > 0) lines.push(`${report.asleep} stories the same with every connection asleep`);
  for (const { name } of deviations) {
    const count = report.explained[name] ?? 0;
    if (count > 0) lines.push(`${`${count}`.padStart(8)}  ${name}`);
  }
  lines.push(`${`${report.once}`.padStart(8)}  once, and not again: a timer that rang at another time`);
  lines.push(`${`${report.unexplained}`.padStart(8)}  unexplained`);
  return lines.join("\n");
}

export function showOutcome(seed: number, outcome: Outcome): string {
  const { plan, kernel, stack, difference } = outcome;
  return [
    `${kindOf(outcome)}`,
    difference!.what === "asleep"
      ? `${difference!.kernel}\n${difference!.stack}`
      : showLives(plan, kernel, stack, difference!.step),
    `the whole story: npm run fuzz:kernel -- --seed ${seed} --plan ${plan.index}`,
  ].join("\n");
}
