import { ScriptFailure } from "./failure.ts";
import { showSeconds } from "./print.ts";
import type { ScriptEvent, ScriptOptions, SyscallAction } from "./script.ts";

/** When events of a script are to happen, and whether they did: all times are microseconds since the start. */
export class Timetable {
  readonly #toleranceUs: number;
  readonly #toleranceOfWait: number;
  /** When the present event should happen; the end of its range. */
  us = 0;
  #untilUs = 0;
  /** What relative times of the present event count from. */
  #offsetUs = 0;
  /** When the event before should have happened. */
  lastUs = 0;
  #any = false;

  constructor({ toleranceUs, toleranceOfWait }: ScriptOptions) {
    this.#toleranceUs = toleranceUs;
    this.#toleranceOfWait = toleranceOfWait;
  }

  /** Goes on to the next event; `nowUs` is when the one before was over. */
  begin({ time, action, line }: ScriptEvent, last: ScriptEvent | undefined, nowUs: number): void {
    this.lastUs = last === undefined ? 0 : this.us;
    const inbound = (event: ScriptEvent | undefined): boolean =>
      (event?.action.kind === "packet" || event?.action.kind === "icmp") && event.action.inbound;
    const previousUs = this.us;
    const anchored = inbound(last) && (action.kind === "packet" || action.kind === "icmp") && action.inbound;
    this.#offsetUs = anchored ? previousUs : nowUs;
    this.#any = time.kind === "any";
    if (time.kind === "any") {
      this.us = this.#untilUs = nowUs;
      return;
    }
    const offset = time.kind === "relative" || time.kind === "relativeRange" ? this.#offsetUs : 0;
    this.us = time.us + offset;
    this.#untilUs = "endUs" in time ? time.endUs + offset : this.us;
    if (time.kind === "absolute" && last?.time.kind === "absolute" && time.us < last.time.us) {
      throw new ScriptFailure(
        line,
        `time goes backward in script from ${last.time.us} usec to ${time.us} usec`,
      );
    }
  }

  /** When a blocking call of the present event should return. */
  endUs({ time, action }: ScriptEvent): number {
    return (action as SyscallAction).endUs! + (time.kind === "relative" ? this.#offsetUs : 0);
  }

  /** How long to wait for the present event. */
  untilUs(patienceUs: number, anyUs: number): number {
    return this.#any ? anyUs : this.#untilUs + patienceUs;
  }

  /** Throws when the present event happened at another time than wanted. */
  check(event: ScriptEvent, actualUs: number, what: string, line: number): void {
    const message = this.difference(event, actualUs, what);
    if (message !== undefined) throw new ScriptFailure(line, message);
  }

  /** As `check`, for a moment that belongs to an earlier event. */
  checkAt(us: number, lastUs: number, actualUs: number, what: string, line: number): void {
    const toleranceUs = this.#tolerance(us, lastUs);
    if (Math.abs(actualUs - us) > toleranceUs) {
      throw new ScriptFailure(line, timingError(what, us, actualUs, toleranceUs));
    }
  }

  /** What is wrong with the time of the present event. */
  difference({ time }: ScriptEvent, actualUs: number, what: string): string | undefined {
    if (time.kind === "any") return undefined;
    const toleranceUs = this.#tolerance(this.us, this.lastUs);
    if (actualUs >= this.us - toleranceUs && actualUs <= this.#untilUs + toleranceUs) return undefined;
    if (time.kind === "absolute" || time.kind === "relative") {
      return timingError(what, this.us, actualUs, toleranceUs);
    }
    const base = time.kind === "relativeRange" ? this.#offsetUs : 0;
    const sign = time.kind === "relativeRange" ? "+" : "";
    return `timing error: expected ${what} in ${sign === "+" ? "relative " : ""}time range ` +
      `${sign}${showSeconds(this.us - base)}~${sign}${showSeconds(this.#untilUs - base)} sec ` +
      `but happened at ${sign}${showSeconds(actualUs - base)} sec`;
  }

  #tolerance(us: number, lastUs: number): number {
    return Math.max(this.#toleranceUs, this.#toleranceOfWait * (us - lastUs));
  }
}

function timingError(what: string, us: number, actualUs: number, toleranceUs: number): string {
  return `timing error: expected ${what} at ${showSeconds(us)} sec but happened at ${
    showSeconds(actualUs)
  } sec; ` +
    `tolerance ${showSeconds(toleranceUs)} sec`;
}
