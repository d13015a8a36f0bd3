/** Half-open intervals of whole numbers, as few as can be, in order. Small and obvious: a test's. */
export class Intervals {
  #all: [start: number, end: number][] = [];

  add(start: number, end: number): void {
    const apart = this.#all.filter(([left, right]) => right < start || left > end);
    const touching = this.#all.filter(([left, right]) => right >= start && left <= end);
    const merged: [number, number] = [
      Math.min(start, ...touching.map(([left]) => left)),
      Math.max(end, ...touching.map(([, right]) => right)),
    ];
    this.#all = [...apart, merged].sort(([a], [b]) => a - b);
  }

  has(start: number, end: number): boolean {
    return this.#all.some(([left, right]) => left <= start && end <= right);
  }

  /** Of all of them together. */
  get total(): number {
    return this.#all.reduce((sum, [start, end]) => sum + end - start, 0);
  }

  /** The end of what is there without a gap from `start` on; `start` when nothing is. */
  endOf(start: number): number {
    return this.#all.find(([left, right]) => left <= start && start < right)?.[1] ?? start;
  }
}
