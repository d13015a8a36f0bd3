/**
 * A first-in first-out queue that is filled and emptied every turn. Its array is kept: emptying an
 * array by its length drops the memory behind it, and the next push allocates anew.
 *
 * @example
 * ```ts
 * import { TurnQueue } from "@torpor/torpor/base/turn_queue.ts";
 * const queue = new TurnQueue<number>();
 * queue.push(2);
 * queue.drain((item) => item > 0 && queue.push(item - 1)); // 2, 1, 0
 * ```
 */
export class TurnQueue<T> {
  readonly #items: (T | undefined)[] = [];
  #next = 0;
  #end = 0;

  get length(): number {
    return this.#end - this.#next;
  }

  push(item: T): void {
    this.#items[this.#end++] = item;
  }

  /** Hands out and forgets every item, also those that `visit` adds. What is left when it throws is kept. */
  drain(visit: (item: T) => void): void {
    while (this.#next < this.#end) {
      const item = this.#items[this.#next] as T;
      this.#items[this.#next++] = undefined;
      visit(item);
    }
    this.#next = this.#end = 0;
  }
}
