/** Decisions read out of an input: a grammar's random numbers. Behind the end every answer is 0. */
export class Dice {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  #at = 0;

  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.#bytes = bytes;
  }

  /** Whether nothing is left. */
  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  byte(): number {
    return this.#bytes[this.#at++] ?? 0;
  }

  uint16(): number {
    return this.byte() * 256 + this.byte();
  }

  uint32(): number {
    return this.uint16() * 0x1_0000 + this.uint16();
  }

  /** A whole number in [0, limit), limit 256 at most. */
  below(limit: number): number {
    return this.byte() % limit;
  }

  /** Whether a byte is below `of256`. */
  chance(of256: number): boolean {
    return this.byte() >= 256 - of256;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** The next `count` bytes, fewer at the end. */
  take(count: number): Uint8Array<ArrayBuffer> {
    const taken = this.#bytes.slice(this.#at, this.#at + count);
    this.#at += count;
    return taken;
  }

  rest(): Uint8Array<ArrayBuffer> {
    return this.take(this.#bytes.length);
  }
}
