/** Bytes that come in pieces, taken in runs: in the memory of a piece, and of the longest run that is asked for. */
export class ByteStream {
  /** The byte of the source that is next. */
  offset = 0;
  readonly #from: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  #held: Uint8Array = new Uint8Array(0);

  constructor(source: Iterable<Uint8Array> | AsyncIterable<Uint8Array>) {
    this.#from = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
  }

  /** What has come and was not taken, in bytes. */
  get left(): number {
    return this.#held.length;
  }

  /** `length` bytes, valid until the next call; `undefined` when fewer are left, which then are held. */
  async take(length: number): Promise<Uint8Array | undefined> {
    if (this.#held.length < length) {
      const pieces = [this.#held];
      let have = this.#held.length;
      while (have < length) {
        const next = await this.#from.next();
        if (next.done) break;
        pieces.push(next.value);
        have += next.value.length;
      }
      this.#held = joined(pieces, have);
      if (have < length) return undefined;
    }
    return this.#cut(length);
  }

  /** At least one byte and at most `most`; `undefined` at the end. */
  async some(most: number): Promise<Uint8Array | undefined> {
    while (this.#held.length === 0) {
      const next = await this.#from.next();
      if (next.done) return undefined;
      this.#held = next.value;
    }
    return this.#cut(Math.min(most, this.#held.length));
  }

  /** Takes all that is left: whoever counts or hashes what comes wants to see its end. */
  async drain(): Promise<void> {
    while (await this.some(Infinity) !== undefined);
  }

  #cut(length: number): Uint8Array {
    const taken = this.#held.subarray(0, length);
    this.#held = this.#held.subarray(length);
    this.offset += length;
    return taken;
  }
}

/** One array of several. */
export function joined(pieces: readonly Uint8Array[], length: number): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
