import type { Tcb } from "../tcp/tcb.ts";
import type { Connection } from "./connection.ts";

/** What is asked of a connection that is not awake yet. */
export type Errand = (connection: Connection, tcb: Tcb) => void;

interface Errands {
  /** Records are used again: an errand must not reach the connection that comes after. */
  readonly id: string;
  readonly actions: Errand[];
  bytes: number;
}

/** What waits for connections to be awake, by their records, in the order in which it was asked. */
export class WaitingErrands {
  readonly #all = new Map<number, Errands>();

  get size(): number {
    return this.#all.size;
  }

  /** @param bytes What it keeps in memory. */
  add(record: number, id: string, errand: Errand, bytes = 0): void {
    let errands = this.#all.get(record);
    if (errands === undefined || errands.id !== id) {
      errands = { id, actions: [], bytes: 0 };
      this.#all.set(record, errands);
    }
    errands.actions.push(errand);
    errands.bytes += bytes;
  }

  /** Bytes that wait for a connection. */
  bytesFor(record: number, id: string): number {
    const errands = this.#all.get(record);
    return errands?.id === id ? errands.bytes : 0;
  }

  /** Takes out what waits for a connection. Of one that has ended in its sleep nothing is left. */
  take(record: number, id: string): readonly Errand[] {
    const errands = this.#all.get(record);
    if (errands === undefined) return [];
    this.#all.delete(record);
    return errands.id === id ? errands.actions : [];
  }

  /** A connection is over: the next one may have the same ports. */
  forget(id: string): void {
    for (const [record, errands] of this.#all) {
      if (errands.id === id) this.#all.delete(record);
    }
  }

  clear(): void {
    this.#all.clear();
  }
}
