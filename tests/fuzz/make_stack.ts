import type { Recorder } from "../../checkpoint/replay/recorder.ts";
import { Stack, type StackOptions } from "../../net/stack.ts";

let recorder: Recorder | undefined;

/** The stacks that targets attack are made here, so that the first of a run can be recorded. */
export function makeStack(options: StackOptions): Stack {
  const recording = recorder;
  recorder = undefined;
  return recording === undefined ? new Stack(options) : recording.stack(options);
}

/** The next stack made is recorded by `by`; nobody's, with `undefined`. */
export function recordNext(by: Recorder | undefined): void {
  recorder = by;
}
