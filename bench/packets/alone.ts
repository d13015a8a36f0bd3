import { Worker } from "../worker.ts";
import type { Done, Subject, Work } from "./subject.ts";

/** `BareStacks` in a process of their own: see alone_worker.ts. */
export class Alone implements Subject {
  readonly #worker: Worker;

  /** @param program The worker, or what has been made of it (packaged.ts). */
  constructor(timeWaitMs: number, program = "packets/alone_worker.ts") {
    this.#worker = new Worker(program, [timeWaitMs]);
  }

  run(work: Work, roundMs: number): Promise<Done> {
    return this.#worker.ask(`${work} ${roundMs}`);
  }

  close(): Promise<void> {
    return this.#worker[Symbol.asyncDispose]();
  }
}
