import { VirtualClock } from "../../base/clock.ts";

/** Deadlines in an image are whole milliseconds, so here all of time is: what is left to differ is a fault. */
export class MillisecondClock extends VirtualClock {
  override at(deadlineMs: number, callback: () => void): { cancel(): void } {
    return super.at(Math.ceil(deadlineMs), callback);
  }
}
