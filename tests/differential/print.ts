import { showSegment } from "../packetdrill/print.ts";
import { show } from "./compare.ts";
import type { Plan, Step } from "./plan.ts";
import type { Life, StepResult } from "./story.ts";

/** Both lives of a plan side by side, in packetdrill's notation: `<` goes to the hosts, `>` comes from them. */
export function showLives(
  plan: Plan,
  kernel: Life,
  stack: Life,
  last = kernel.results.length - 1,
): string {
  const lines = [
    `plan ${plan.index}, ${plan.scenario}: the host ${plan.active ? "connects" : "listens"}`,
    `   numbers are relative to each host's ISS and the peer's ISN; the port of the peer is its own`,
  ];
  if (plan.active) both(lines, "   ", show(kernel.early), show(stack.early));
  for (let at = 0; at <= last; at++) {
    const step = plan.steps[at]!;
    lines.push(showStep(at, step, kernel, stack));
    showResults(lines, step, kernel.results[at]!, stack.results[at]!);
  }
  return lines.join("\n");
}

function showStep(at: number, step: Step, kernel: Life, stack: Life): string {
  const number = `${at}`.padStart(2);
  if (step.do === "wait") return `${number} wait`;
  if (step.do === "call") return `${number} ${step.call}(${step.call === "write" ? step.bytes : ""})`;
  const texts = [kernel, stack].map((life) => relative(life, at));
  const spoil = step.spoil === undefined ? "" : ` [${step.spoil}]`;
  return texts[0] === texts[1]
    ? `${number} < ${texts[0]}${spoil}`
    : `${number} < kernel: ${texts[0]}${spoil}\n   < stack:  ${texts[1]}`;
}

function relative(life: Life, at: number): string {
  const segment = life.results[at]!.segment!;
  const { isn, iss = 0 } = life.view;
  const sequence = (segment.sequence - isn) | 0;
  return showSegment({
    ...segment,
    sequence,
    acknowledgment: (segment.acknowledgment - iss) | 0,
    options: segment.options.filter(({ kind }) => kind !== 8 && kind !== 5),
  }).replace(/:\d+\(/, `:${sequence + segment.payload.length}(`) + life.results[at]!.optionText;
}

function showResults(lines: string[], step: Step, left: StepResult, right: StepResult): void {
  if (step.do === "call") both(lines, "     = ", left.result, right.result);
  both(lines, "   > ", show(left.now), show(right.now));
  both(lines, "   later > ", show(left.late), show(right.late));
  if (left.state !== undefined && right.state !== undefined) {
    both(lines, "     state ", JSON.stringify(left.state), JSON.stringify(right.state));
  }
}

function both(lines: string[], prefix: string, left: string, right: string): void {
  if (left === "" && right === "") return;
  if (left === right) lines.push(`${prefix}${left}`);
  else lines.push(`${prefix}kernel: ${left || "nothing"}`, `${prefix}stack:  ${right || "nothing"}   <<<`);
}
