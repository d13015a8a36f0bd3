import { HashIndex } from "../../../base/hash_index.ts";
import type { FlowTable } from "../conntrack/flow_table.ts";
import { Word } from "../conntrack/flow_table.ts";
import { NO_FLOW } from "../conntrack/state.ts";

/** In `Word.sourcePrevious` of a list's first flow; 0 stands in those that are in none. */
const FIRST = -1;

/**
 * The flows whose source has been decided, by the address and port that they come from: lists through the records, the
 * latest first, and an index of their first ones. So a client that speaks to many has one address and port towards all
 * (RFC 4787's endpoint-independent mapping, where ports allow).
 */
export class FlowSources {
  readonly #table: FlowTable;
  readonly #index: HashIndex;

  constructor(table: FlowTable) {
    this.#table = table;
    this.#index = new HashIndex(table.flowsMax, {
      has: (flow) => table.get(flow, Word.sourcePrevious) === FIRST,
      hashOf: (flow) => this.#hashOf(flow),
    });
  }

  get byteLength(): number {
    return this.#index.byteLength;
  }

  /** The latest flow from this source, or `NO_FLOW`. */
  first(source: number, port: number, protocolAndZone: number): number {
    const index = this.#index;
    const table = this.#table;
    const hash = table.hashSource(source, port, protocolAndZone);
    for (let flow = index.first(hash); flow >= 0; flow = index.next()) {
      if (
        table.get(flow, Word.original) === source && table.get(flow, Word.original + 2) >>> 16 === port &&
        table.get(flow, Word.protocolAndZone) === protocolAndZone
      ) return flow;
    }
    return NO_FLOW;
  }

  /** The one before it, or `NO_FLOW`. */
  next(flow: number): number {
    return this.#table.get(flow, Word.sourceNext) - 1;
  }

  add(flow: number): void {
    const table = this.#table;
    const source = table.get(flow, Word.original);
    const port = table.get(flow, Word.original + 2) >>> 16;
    const first = this.first(source, port, table.get(flow, Word.protocolAndZone));
    if (first !== NO_FLOW) {
      this.#index.remove(first, this.#hashOf(first));
      table.set(first, Word.sourcePrevious, flow + 1);
      table.set(flow, Word.sourceNext, first + 1);
    }
    table.set(flow, Word.sourcePrevious, FIRST);
    this.#index.add(flow, this.#hashOf(flow));
  }

  /** Harmless for a flow that is in no list. */
  remove(flow: number): void {
    const table = this.#table;
    const previous = table.get(flow, Word.sourcePrevious);
    const next = table.get(flow, Word.sourceNext);
    if (previous === 0) return;
    if (previous !== FIRST) {
      table.set(previous - 1, Word.sourceNext, next);
      if (next !== 0) table.set(next - 1, Word.sourcePrevious, previous);
    } else {
      this.#index.remove(flow, this.#hashOf(flow));
      if (next !== 0) {
        table.set(next - 1, Word.sourcePrevious, FIRST);
        table.set(flow, Word.sourcePrevious, 0); // before: the index may look at it
        this.#index.add(next - 1, this.#hashOf(next - 1));
      }
    }
    table.set(flow, Word.sourcePrevious, 0);
    table.set(flow, Word.sourceNext, 0);
  }

  #hashOf(flow: number): number {
    const table = this.#table;
    const port = table.get(flow, Word.original + 2) >>> 16;
    return table.hashSource(table.get(flow, Word.original), port, table.get(flow, Word.protocolAndZone));
  }
}
