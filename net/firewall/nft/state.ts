import type { CellState } from "./cells.ts";
import type { CellSpec, LinkedVerdict } from "./linked.ts";

/** Everything that changes while rules are in force, as plain data, in the order of `LinkedRules`. */
export interface NftState {
  readonly cells: readonly CellState[];
  /** The last number that each generator gave. */
  readonly generators: readonly number[];
  /** By set; empty for sets that neither rules nor time change, and keep no count. */
  readonly sets: readonly (readonly ElementState[])[];
}

/** An element of a set that changes. */
export interface ElementState {
  /** Bounds of each part of the key: see `LinkedElement`. Both empty: what holds for all other keys. */
  readonly low: readonly bigint[];
  readonly high: readonly bigint[];
  readonly data: LinkedVerdict | readonly bigint[] | number | undefined;
  /** Milliseconds it lives, 0 for ever, and when it ends, epoch milliseconds. */
  readonly timeoutMs: number;
  readonly expiresMs: number;
  readonly cells: readonly KeptState[];
}

/** What an element keeps: its set has said so, or the rule that added it. */
export interface KeptState {
  readonly spec: CellSpec;
  readonly state: CellState;
}
