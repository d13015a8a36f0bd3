import { PROTOCOL_TCP, PROTOCOL_UDP } from "../../wire/ipv4.ts";
import { Nfproto, type NftPacket } from "./packet.ts";

/** Entries to begin with: 256 KB, of IPv4. */
const ENTRIES_MIN = 4_096;
/** And at most: 8 MB, of IPv6 12. With more flows at a time some are judged anew. */
const ENTRIES_MAX = 131_072;
/** Entries that may hold a flow; one that finds them taken takes one of them. */
const WAYS = 2;
/** Counters that one decision may count. */
const COUNTERS_MAX = 6;
const KEY_WORDS_MAX = 12;
/** Words of an entry behind its key: verdict, with how many counters above it; number of the rejection; which counters. */
const BEHIND = { verdict: 0, reject: 1, counter: 2 } as const;
const COUNT_SHIFT = 8;

/** The entries of one family. */
class Entries {
  readonly keyWords: number;
  readonly stride: number;
  table: Int32Array;
  setMask: number = ENTRIES_MIN / WAYS - 1;
  /** Flows that have lost their entry to another one since the table has had its size. */
  #taken = 0;
  #turn = 0;

  constructor(keyWords: number, stride: number) {
    this.keyWords = keyWords;
    this.stride = stride;
    this.table = new Int32Array(ENTRIES_MIN * stride);
  }

  find(key: Int32Array, hash: number): number {
    const { table, stride, keyWords } = this;
    const first = (hash & this.setMask) * WAYS * stride;
    const end = first + WAYS * stride;
    for (let at = first; at < end; at += stride) {
      let word = 0;
      while (word < keyWords && table[at + word] === key[word]) word++;
      if (word === keyWords) return at;
    }
    return -1;
  }

  /** An entry for a flow that is not there. */
  place(hash: number): number {
    const { stride } = this;
    const entries = this.table.length / stride;
    if (this.#taken > entries && entries < ENTRIES_MAX) {
      this.table = new Int32Array(stride * Math.min(ENTRIES_MAX, 4 * entries)); // those who live are known again soon
      this.setMask = this.table.length / stride / WAYS - 1;
      this.#taken = 0;
    }
    const first = (hash & this.setMask) * WAYS * stride;
    for (let at = first; at < first + WAYS * stride; at += stride) if (this.table[at] === 0) return at;
    this.#taken++;
    this.#turn = (this.#turn + 1) % WAYS;
    return first + this.#turn * stride;
  }
}

/**
 * Decisions that hold for all packets of a flow: on the same way, at the same place among the hooks, with the same state
 * and mark. So a packet of a flow that has been judged costs the same with any number of rules.
 */
export class FlowCache {
  /** Whether the decision at hand is being written down. */
  recording = false;
  readonly #four = new Entries(6, 16); // an entry is a line of the processor's cache
  #six: Entries | undefined;
  /** Those of the packet at hand. */
  #entries: Entries = this.#four;
  readonly #key = new Int32Array(KEY_WORDS_MAX);
  readonly #counted = new Int32Array(COUNTERS_MAX);
  #counters = 0;
  /** A random odd number for each word of the key: nobody outside knows which flows share a place. */
  readonly #factors = new Int32Array(KEY_WORDS_MAX);
  #hash = 0;

  constructor(seed: number) {
    for (let word = 0; word < KEY_WORDS_MAX; word++) {
      seed = (seed + 0x9e37_79b9) | 0; // splitmix32
      let mixed = Math.imul(seed ^ (seed >>> 16), 0x21f0_aaad);
      mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a_2d97);
      this.#factors[word] = (mixed ^ (mixed >>> 15)) | 1;
    }
  }

  /**
   * Looks a packet up at the place `run` (1 to 127).
   * @returns Where its entry is, or -1: the decision has to be found, and `keep` may write it down.
   */
  find(packet: NftPacket, run: number): number {
    const key = this.#key;
    const factors = this.#factors;
    const { slab: { view }, start, transport, protocol, nfproto, track } = packet;
    const way = key[0] = run | (protocol << 7) | (track.state << 15) | (track.direction << 22) |
      (packet.packetType << 23);
    const through = key[1] = (packet.iif << 16) | (packet.oif & 0xffff);
    const mark = key[2] = packet.mark;
    const ports = key[3] = view.getInt32(transport);
    let hash = Math.imul(way, factors[0]!) + Math.imul(through, factors[1]!) + Math.imul(mark, factors[2]!) +
      Math.imul(ports, factors[3]!);
    if (nfproto === Nfproto.Ipv6) {
      this.#entries = this.#six ??= new Entries(KEY_WORDS_MAX, 24);
      for (let word = 0; word < 8; word++) {
        const part = key[4 + word] = view.getInt32(start + 8 + word * 4);
        hash += Math.imul(part, factors[4 + word]!);
      }
    } else {
      this.#entries = this.#four;
      const source = key[4] = view.getInt32(start + 12);
      const destination = key[5] = view.getInt32(start + 16);
      hash += Math.imul(source, factors[4]!) + Math.imul(destination, factors[5]!);
    }
    hash |= 0;
    this.#hash = hash ^ (hash >>> 15);
    return this.#entries.find(key, this.#hash);
  }

  /** Whether packets like this one are remembered at all: those whose ports are there. */
  takes({ protocol, transport, end }: NftPacket): boolean {
    return (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP) && transport >= 0 && transport + 4 <= end;
  }

  /** A decision is being found for the packet that `find` did not find. */
  begin(): void {
    this.recording = true;
    this.#counters = 0;
  }

  /** A counter has counted. */
  count(counter: number): void {
    if (this.#counters < COUNTERS_MAX) this.#counted[this.#counters] = counter;
    this.#counters++;
  }

  /** The decision holds for the flow. */
  keep(verdict: number, reject: number): void {
    this.recording = false;
    if (this.#counters > COUNTERS_MAX) return;
    const entries = this.#entries;
    const { keyWords } = entries;
    const at = entries.place(this.#hash);
    const { table } = entries;
    for (let word = 0; word < keyWords; word++) table[at + word] = this.#key[word]!;
    const behind = at + keyWords;
    table[behind + BEHIND.verdict] = verdict | (this.#counters << COUNT_SHIFT);
    table[behind + BEHIND.reject] = reject;
    for (let each = 0; each < this.#counters; each++) {
      table[behind + BEHIND.counter + each] = this.#counted[each]!;
    }
  }

  // Of an entry that `find` has just found.

  verdict(entry: number): number {
    return this.#word(entry, BEHIND.verdict) & ((1 << COUNT_SHIFT) - 1);
  }

  reject(entry: number): number {
    return this.#word(entry, BEHIND.reject);
  }

  counters(entry: number): number {
    return this.#word(entry, BEHIND.verdict) >> COUNT_SHIFT;
  }

  counter(entry: number, at: number): number {
    return this.#word(entry, BEHIND.counter + at);
  }

  #word(entry: number, word: number): number {
    const { table, keyWords } = this.#entries;
    return table[entry + keyWords + word]!;
  }
}
