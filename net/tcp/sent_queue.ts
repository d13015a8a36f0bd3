import { assert } from "../../base/assert.ts";
import { seqLess, seqLessEqual } from "../../base/sequence.ts";

/** What is known of a segment that was sent, as bits of `SentQueue.flags`. */
export const Sent = {
  /** The peer has it, out of order. */
  sacked: 1,
  /** A retransmission of it is in the network. */
  retransmitted: 2,
  /** It is held to be lost; with `retransmitted`, its original is. */
  lost: 4,
  /** It was sent more than once (Karn). */
  everRetransmitted: 8,
  /** Its last sequence number is the FIN. */
  fin: 16,
  /** It ends what was written, and has PSH whenever it is sent. */
  push: 32,
  /** It was the last of its train (output.ts). */
  trainEnd: 64,
  /** It ends a record: nothing is ever sent behind it in one segment (records.ts). */
  record: 128,
} as const;

/** What belongs to a segment's last byte. */
const OF_THE_END = Sent.push | Sent.fin | Sent.trainEnd | Sent.record;

/** Retransmitted, now or before. */
export const SENT_AGAIN: number = Sent.retransmitted | Sent.everRetransmitted;

/** Segments that fit at first; a pool keeps the columns of those that are empty. */
const CAPACITY_MIN = 16;
/** Columns kept for reuse, of each size: what a busy process turns over in a moment, be it many small or few large ones. */
const POOL_MIN = 64;
const POOL_BYTES = 1024 * 1024;
const ENTRY_BYTES = 17;

class Columns {
  readonly capacity: number;
  readonly sentMs: Float64Array<ArrayBuffer>;
  readonly sequence: Int32Array<ArrayBuffer>;
  readonly end: Int32Array<ArrayBuffer>;
  readonly flags: Uint8Array<ArrayBuffer>;

  constructor(capacity: number) {
    this.capacity = capacity;
    const bytes = new ArrayBuffer(capacity * ENTRY_BYTES);
    this.sentMs = new Float64Array(bytes, 0, capacity);
    this.sequence = new Int32Array(bytes, capacity * 8, capacity);
    this.end = new Int32Array(bytes, capacity * 12, capacity);
    this.flags = new Uint8Array(bytes, capacity * 16, capacity);
  }
}

const NONE = new Columns(0);

/** Columns of one size that nobody uses. The array is kept: see TurnQueue. */
class Pool {
  readonly #most: number;
  readonly #columns: Columns[] = [];
  #count = 0;

  constructor(capacity: number) {
    this.#most = Math.max(POOL_MIN, Math.floor(POOL_BYTES / (capacity * ENTRY_BYTES)));
  }

  take(): Columns | undefined {
    return this.#count === 0 ? undefined : this.#columns[--this.#count];
  }

  give(columns: Columns): void {
    if (this.#count < this.#most) this.#columns[this.#count++] = columns;
  }
}

/** By power of two. */
const pools: readonly Pool[] = Array.from({ length: 31 }, (_, power) => new Pool(2 ** power));

function take(capacity: number): Columns {
  return pools[31 - Math.clz32(capacity)]!.take() ?? new Columns(capacity);
}

function give(columns: Columns): void {
  if (columns.capacity > 0) pools[31 - Math.clz32(columns.capacity)]!.give(columns);
}

/**
 * The retransmission queue: one entry per segment that was sent and is not acknowledged, in the order of
 * their sequence numbers, as columns of a ring. It holds no bytes: those are in the TCB's `sendQueue`.
 *
 * Entries are named by their place from the front. `slot` says where a place lies in the columns; slots are
 * good until the next `push`, `split` or `merge`.
 */
export class SentQueue {
  #columns: Columns = NONE;
  #start = 0;
  #length = 0;
  #sizeHint = CAPACITY_MIN; // what it needed lately, so that a window does not regrow step by step

  /** Segments: Linux's packets_out. */
  get length(): number {
    return this.#length;
  }

  /** When each left last, epoch milliseconds. */
  get sentMs(): Float64Array<ArrayBuffer> {
    return this.#columns.sentMs;
  }
  get sequence(): Int32Array<ArrayBuffer> {
    return this.#columns.sequence;
  }
  /** Sequence number just behind each: data, and the FIN. */
  get end(): Int32Array<ArrayBuffer> {
    return this.#columns.end;
  }
  /** `Sent` bits. */
  get flags(): Uint8Array<ArrayBuffer> {
    return this.#columns.flags;
  }

  /** Where the entry at `place` lies in the columns. */
  slot(place: number): number {
    return (this.#start + place) & (this.#columns.capacity - 1);
  }

  /** Adds a segment behind the others. */
  push(sequence: number, end: number, flags: number, sentMs: number): void {
    if (this.#length === this.#columns.capacity) this.#grow();
    const columns = this.#columns;
    const at = (this.#start + this.#length++) & (columns.capacity - 1);
    columns.sequence[at] = sequence;
    columns.end[at] = end;
    columns.flags[at] = flags;
    columns.sentMs[at] = sentMs;
  }

  /** Removes `count` segments from the front. */
  drop(count: number): void {
    assert(count <= this.#length);
    this.#length -= count;
    if (this.#length === 0) this.clear();
    else this.#start = (this.#start + count) & (this.#columns.capacity - 1);
  }

  /** Forgets everything and gives the memory back. */
  clear(): void {
    this.#sizeHint = Math.max(CAPACITY_MIN, this.#sizeHint >>> 1, this.#columns.capacity >>> 1);
    give(this.#columns);
    this.#columns = NONE;
    this.#start = 0;
    this.#length = 0;
  }

  /** As new: forgets what it needed, too. */
  renew(): void {
    this.clear();
    this.#sizeHint = CAPACITY_MIN;
  }

  /** Place of the first segment that reaches beyond `sequence`; `length` when there is none. */
  find(sequence: number): number {
    const { end, capacity } = this.#columns;
    let low = 0, high = this.#length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (seqLessEqual(end[(this.#start + middle) & (capacity - 1)]!, sequence)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Divides the segment at `place` in two, both with its flags but those of its end, which the second has. */
  split(place: number, at: number): void {
    if (this.#length === this.#columns.capacity) this.#grow();
    const { sequence, end, flags, sentMs } = this.#columns;
    const first = this.slot(place);
    assert(seqLess(sequence[first]!, at) && seqLess(at, end[first]!), "A segment is divided inside of it");
    const front = place < this.#length >>> 1;
    if (front) { // the shorter side makes room
      this.#start = (this.#start - 1) & (this.#columns.capacity - 1);
      this.#length++;
      for (let to = 0; to <= place; to++) this.#move(to + 1, to);
    } else {
      this.#length++;
      for (let to = this.#length - 1; to > place; to--) this.#move(to - 1, to);
    }
    const left = this.slot(place), right = this.slot(place + 1);
    sequence[left] = sequence[right]!;
    end[left] = at;
    sequence[right] = at;
    sentMs[left] = sentMs[right]!;
    flags[left] = flags[right]! & ~OF_THE_END;
  }

  /** Makes one segment of that at `place` and its successor; the first one's flags stay, with those of both ends. */
  merge(place: number): void {
    const { end, flags } = this.#columns;
    const left = this.slot(place), right = this.slot(place + 1);
    end[left] = end[right]!;
    flags[left] = flags[left]! | (flags[right]! & (OF_THE_END | Sent.everRetransmitted));
    if (place < this.#length >>> 1) {
      for (let to = place + 1; to > 0; to--) this.#move(to - 1, to);
      this.#start = (this.#start + 1) & (this.#columns.capacity - 1);
    } else {
      for (let to = place + 1; to < this.#length - 1; to++) this.#move(to + 1, to);
    }
    this.#length--;
  }

  #move(from: number, to: number): void {
    const { sequence, end, flags, sentMs } = this.#columns;
    const source = this.slot(from), target = this.slot(to);
    sequence[target] = sequence[source]!;
    end[target] = end[source]!;
    flags[target] = flags[source]!;
    sentMs[target] = sentMs[source]!;
  }

  #grow(): void {
    const old = this.#columns;
    const columns = take(Math.max(this.#sizeHint, old.capacity * 2));
    for (let place = 0; place < this.#length; place++) {
      const from = (this.#start + place) & (old.capacity - 1);
      columns.sequence[place] = old.sequence[from]!;
      columns.end[place] = old.end[from]!;
      columns.flags[place] = old.flags[from]!;
      columns.sentMs[place] = old.sentMs[from]!;
    }
    give(old);
    this.#columns = columns;
    this.#start = 0;
  }
}
