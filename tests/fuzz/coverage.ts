/**
 * What instrumented code writes to (instrument.ts): how often each edge was passed, how much work was
 * done, what was compared with what, how much memory was asked for. Uninstrumented code writes nothing.
 * @module
 */

/** Edges of one bundle. All of the library has about 12,000. */
export const EDGES_MAX = 1 << 15;
/** Comparisons kept of one execution; beyond that an input is too busy to learn from. */
const COMPARISONS_MAX = 4_096;

/** Hits of each edge; clamped, so that 256 of them are not none. */
export const edges: Uint8ClampedArray<ArrayBuffer> = new Uint8ClampedArray(EDGES_MAX);

/** One execution's budget. Instrumented code counts `left` down and asks `cmp`. */
export const budget = { left: 0x7fff_ffff, bytesLeft: Infinity, cmp: false };

/** What was compared, operands in turn. */
export const comparisons: unknown[] = [];

let used = 0;

/** Edges that have been handed out. */
export function edgesUsed(): number {
  return used;
}

/** The edges of one module, in the order in which modules are evaluated: the same in every run. */
export function moduleEdges(count: number): Uint8ClampedArray<ArrayBuffer> {
  if (used + count > EDGES_MAX) throw new RangeError(`More than ${EDGES_MAX} edges`);
  used += count;
  return edges.subarray(used - count, used);
}

/** An input made the code under test do more than it may. */
export class ExcessError extends Error {
  override name = "ExcessError";
}

/** The budget of work is used up. Thrown again and again, should somebody catch it. */
export function hang(): never {
  throw new ExcessError("The work of this input has no end");
}

/** Notes an array's size that is about to be allocated, and passes it on. */
export function allocate(size: unknown, bytesEach: number): unknown {
  if (typeof size === "number") {
    budget.bytesLeft -= size * bytesEach;
    if (budget.bytesLeft < 0) throw new ExcessError(`${size * bytesEach} bytes more are too much memory`);
  }
  return size;
}

/** Notes two operands that differ. */
export function compared(left: unknown, right: unknown): void {
  if (left !== right && comparisons.length < COMPARISONS_MAX) comparisons.push(left, right);
}

/** Notes what a `switch` looks at, and the labels that it knows. */
export function switched(value: unknown, labels: readonly unknown[]): void {
  for (const label of labels) compared(value, label);
}

/** Before an execution. */
export function startExecution(workMax: number, bytesMax: number, cmp: boolean): void {
  edges.fill(0, 0, used);
  budget.left = workMax;
  budget.bytesLeft = bytesMax;
  budget.cmp = cmp;
  comparisons.length = 0;
}
