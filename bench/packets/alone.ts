import { Worker } from "../worker.ts";
import type { Done, Subject, Work } from "./subject.ts";

/** `BareStacks` in a process of their own: see alone_worker.ts. */
export class Alone implements Subject {
  readonly #worker: Worker;

  constructor(timeWaitMs: number) {
    this.#worker = new Worker("packets/alone_worker.ts", [timeWaitMs]);
  }

  run(work: Work, roundMs: number): Promise<Done> {
    return this.#worker.ask(`${work} ${roundMs}`);
  }

  close(): Promise<void> {
    return this.#worker[Symbol.asyncDispose]();
  }
}
