import { TcpFlag } from "../../net/wire/tcp.ts";
import { Buffer } from "node:buffer";
import type { Answer } from "./answer.ts";
import { type Deviation, deviations } from "./deviations.ts";
import type { Plan } from "./plan.ts";
import type { Life, StepResult } from "./story.ts";

/** Where two hosts first part. */
export interface Difference {
  readonly plan: Plan;
  /** Index of the step; -1: before the first. */
  readonly step: number;
  /** What differs: the answers at once, those until the next step, what a call returned, the state. */
  readonly what: "now" | "late" | "ack time" | "ack lost" | "asleep" | "call" | "state" | "malformed";
  readonly kernel: string;
  readonly stack: string;
  readonly lives: { readonly kernel: Life; readonly stack: Life };
}

export interface Verdict {
  /** The first one that no deviation explains. */
  readonly difference: Difference | undefined;
  /** The deviations that were met. */
  readonly explained: readonly Deviation[];
}

/** Compares what has been played so far of one plan. */
export function compareLives(plan: Plan, kernel: Life, stack: Life): Verdict {
  const explained: Deviation[] = [];
  for (const difference of differences(plan, kernel, stack)) {
    const deviation = difference.step < 0
      ? undefined
      : deviations.find(({ explains }) => explains(difference));
    if (deviation === undefined) return { difference, explained };
    explained.push(deviation);
    if (deviation.diverges) break;
  }
  return { difference: undefined, explained };
}

function* differences(plan: Plan, kernel: Life, stack: Life): Generator<Difference> {
  const at = (step: number, what: Difference["what"], left: string, right: string): Difference => ({
    plan,
    step,
    what,
    kernel: left,
    stack: right,
    lives: { kernel, stack },
  });
  if (kernel.malformed !== stack.malformed) {
    yield at(-1, "malformed", kernel.malformed ?? "", stack.malformed ?? "");
  }
  const early = [kernel, stack].map((life) => show(life.early.filter(({ again }) => !again))) as [
    string,
    string,
  ];
  if (early[0] !== early[1]) yield at(-1, "now", ...early);
  let from = 0;
  for (let step = 0; step < kernel.results.length; step++) {
    if (plan.steps[step]!.do !== "wait" && step < kernel.results.length - 1) continue;
    yield* roundDifferences(kernel, stack, from, step, at);
    from = step + 1;
  }
}

type At = (step: number, what: Difference["what"], left: string, right: string) => Difference;

/** The steps [from, to], the last of which may be a wait. */
function* roundDifferences(
  kernel: Life,
  stack: Life,
  from: number,
  to: number,
  at: At,
): Generator<Difference> {
  for (let step = from; step <= to; step++) {
    const left = kernel.results[step]!, right = stack.results[step]!;
    if (left.result !== right.result) yield at(step, "call", left.result, right.result);
    for (const what of ["now", "late"] as const) {
      const answers = [fresh(left, what), fresh(right, what)] as const;
      const texts = [show(answers[0]), show(answers[1])] as const;
      if (texts[0] === texts[1]) continue;
      const without = [show(answers[0].filter(beyondAcks)), show(answers[1].filter(beyondAcks))] as const;
      const onlyTime = without[0] === without[1] && answers.some((each) => each.every(beyondAcks));
      yield at(step, onlyTime ? "ack time" : what, ...texts);
    }
    if (left.state === undefined || right.state === undefined) continue;
    const states = [showState(left), showState(right)] as const;
    if (states[0] !== states[1]) yield at(step, "state", ...states);
  }
  const acked = [kernel, stack].map(({ results }) => results[to]!.acked);
  const over = kernel.results[to]!.state?.state === "CLOSE";
  if (acked[0] !== acked[1]) yield at(to, over ? "ack lost" : "late", `ack ${acked[0]}`, `ack ${acked[1]}`);
}

/** Not an ACK of new data alone: when that leaves may differ, if only both have said the same in the end. */
function beyondAcks({ mayWait }: Answer): boolean {
  return !mayWait;
}

/** Without what a timer sends again: when it does depends on how busy this machine is. */
function fresh(result: StepResult, what: "now" | "late"): readonly Answer[] {
  return what === "now" ? result.now : result.late.filter(({ again }) => !again);
}

/**
 * The first step at which a connection that sleeps did not do, byte for byte, what it did awake; what timers send is
 * compared in words, for its timestamp is another. `undefined` when there is none.
 */
export function compareSleeper(plan: Plan, awake: Life, sleeper: Life): Difference | undefined {
  for (const [step, left] of awake.results.entries()) {
    const right = sleeper.results[step]!;
    const sides = [left, right].map((each) =>
      `${each.result} | ${show(each.now.filter(isAnswer))} | ${show(fresh(each, "late"))} | ${
        JSON.stringify(each.state)
      }`
    ) as [string, string];
    if (isUntold(left)) return undefined; // from then on the peer has been told another window
    if (sides[0] === sides[1] && sameBytes(left.now.filter(isAnswer), right.now.filter(isAnswer))) continue;
    return {
      plan,
      step,
      what: "asleep",
      kernel: `awake: ${sides[0]} ${hex(left.now)}`,
      stack: `asleep: ${sides[1]} ${hex(right.now)}`,
      lives: { kernel: awake, stack: sleeper },
    };
  }
  return undefined;
}

/**
 * A segment without an ACK, or with RST or SYN, between the window that the peer was told and the one that the next
 * segment tells: a sleeper's record has only the latter, and challenges where awake there is silence, or the reverse.
 */
function isUntold({ segment, before }: StepResult): boolean {
  if (segment === undefined || before === undefined) return false;
  const noise = (segment.flags & TcpFlag.ACK) === 0 || (segment.flags & (TcpFlag.RST | TcpFlag.SYN)) !== 0;
  const first = (segment.sequence - before.rcvNxt) | 0;
  return noise && first >= ((before.rcvEdge - before.rcvNxt) | 0) && first < before.nextWindow;
}

/** Not what a timer sends again, which may ring at any time. */
function isAnswer({ again, plain }: Answer): boolean {
  return plain || !again;
}

function hex(answers: readonly Answer[]): string {
  return answers.map(({ bytes }) => Buffer.from(bytes).toString("hex")).join(" ");
}

function sameBytes(left: readonly Answer[], right: readonly Answer[]): boolean {
  return left.length === right.length &&
    left.every(({ bytes }, at) => Buffer.compare(bytes, right[at]!.bytes) === 0);
}

export function show(answers: readonly Answer[]): string {
  return answers.map(({ text }) => text).join("; ");
}

function showState({ state }: StepResult): string {
  const { state: name, unread, unacked } = state!;
  const counts = !/^(TIME_WAIT|SYN_RECV|SYN_SENT|CLOSE)$/.test(name);
  return counts ? `${name} unread ${unread} unacked ${unacked}` : name;
}
