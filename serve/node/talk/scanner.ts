/** Bytes of the longest head of a piece: a WebSocket's with a mask. */
const HEAD_BYTES_MAX = 14;

/** A protocol whose pieces say how long they are. */
export interface PieceFormat {
  /** The bytes behind a head, `undefined` when more of the head has to come, -1 when it is none. */
  measure(head: readonly number[]): number | undefined;
  /** How many of the bytes behind this head are of interest. */
  wanted(head: readonly number[]): number;
}

/** Finds the pieces of one direction of a stream, whatever parts it comes in. */
export class PieceScanner {
  readonly #format: PieceFormat;
  readonly #found: (head: readonly number[], payload: Uint8Array) => void;
  #head: number[] = [];
  #left = 0;
  #wanted = 0;
  #inPayload = false;
  #payload: Uint8Array = NOTHING;
  #payloadBytes = 0;
  /** Set when something is no piece: nothing can be said of what follows. */
  broken = false;

  /** @param found Is told of each whole piece: its head, and what of its payload was wanted, valid until it returns. */
  constructor(format: PieceFormat, found: (head: readonly number[], payload: Uint8Array) => void) {
    this.#format = format;
    this.#found = found;
  }

  /** Whether the next byte begins a piece. */
  get between(): boolean {
    return this.#head.length === 0 && !this.broken;
  }

  feed(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length && !this.broken;) {
      if (!this.#inPayload) {
        this.#head.push(bytes[at++]!);
        const length = this.#format.measure(this.#head);
        if (length === undefined) continue;
        if (length < 0) {
          this.broken = true;
          return;
        }
        this.#inPayload = true;
        this.#left = length;
        this.#wanted = Math.min(length, this.#format.wanted(this.#head));
        this.#payloadBytes = 0;
      }
      const some = Math.min(this.#left, bytes.length - at);
      if (some === this.#left && this.#payloadBytes === 0) { // as a rule: nothing is copied
        this.#end(bytes.subarray(at, at + Math.min(some, this.#wanted)));
      } else {
        this.#keep(bytes.subarray(at, at + some));
        this.#left -= some;
        if (this.#left === 0) this.#end(this.#payload.subarray(0, this.#payloadBytes));
      }
      at += some;
    }
  }

  #keep(bytes: Uint8Array): void {
    const some = bytes.subarray(0, this.#wanted - this.#payloadBytes);
    const bytesNow = this.#payloadBytes + some.length;
    if (this.#payload.length < bytesNow) { // as it comes, not as it is announced: announcing costs nothing
      const payload = new Uint8Array(Math.min(this.#wanted, Math.max(bytesNow, 2 * this.#payload.length)));
      payload.set(this.#payload.subarray(0, this.#payloadBytes));
      this.#payload = payload;
    }
    this.#payload.set(some, this.#payloadBytes);
    this.#payloadBytes += some.length;
  }

  #end(payload: Uint8Array): void {
    const head = this.#head;
    this.#head = [];
    this.#inPayload = false;
    this.#left = 0;
    this.#found(head, payload);
    this.#payload = NOTHING;
  }
}

/** Where the piece ends that `bytes` begin with: behind its last byte, -1 when that has not come. */
export function pieceEnd(format: PieceFormat, bytes: Uint8Array): number {
  const head: number[] = [];
  for (const byte of bytes.subarray(0, HEAD_BYTES_MAX)) {
    head.push(byte);
    const length = format.measure(head);
    if (length === undefined) continue;
    const end = head.length + length;
    return length >= 0 && end <= bytes.length ? end : -1;
  }
  return -1;
}

const NOTHING = new Uint8Array(0);
