import { assert } from "../../../base/assert.ts";
import { HashIndex } from "../../../base/hash_index.ts";
import type { Entropy } from "../../../base/random.ts";
import { TupleHash } from "../../../base/xxhash64.ts";
import type { AddressHolder } from "../../ip/address_table.ts";
import { isIpv6Handle } from "../../wire/address.ts";
import type { FlowKey } from "./key.ts";
import { CtDirection, CtStatus, NO_FLOW } from "./state.ts";

/**
 * The words of a flow. Its two keys come first, as `FlowKey` has them, `protocolAndZone` once. What follows `tcp`
 * is the protocol's: see tcp.ts; of UDP the tick from which on it is a stream.
 */
export const Word = {
  original: 0,
  reply: 3,
  protocolAndZone: 6,
  /** `CtStatus` in the low half; above it the interface that a masquerade was for, plus 1. */
  status: 7,
  mark: 8,
  /** The tick after which it is forgotten. */
  deadline: 9,
  /** Grows with every flow that has this record: what `id` is made of. */
  life: 10,
  /** The flows of one source, for NAT: the next and the one before, plus 1. */
  sourceNext: 11,
  sourcePrevious: 12,
  tcp: 13,
  udpStream: 13,
} as const;

/** Bits of the status that stay in here: which of a flow's numbers are in the index. */
const INDEXED = [0x4000, 0x8000] as const;
const STATUS_MASK = 0x3fff;

const FLOW_WORDS = 26;
/** Of which the protocol has the last ones. */
export const PROTOCOL_WORDS: number = FLOW_WORDS - Word.tcp;
const CHUNK_BITS = 10;
/** Flows whose numbers follow one another, and that are kept together. */
export const CHUNK_FLOWS: number = 1 << CHUNK_BITS;
/** `nf_conntrack_max` of a machine with more than a gigabyte of memory. */
export const FLOWS_MAX = 262_144;
/** Two numbers of the index for each. */
export const FLOWS_LIMIT: number = 2 ** 25;
/** Flows that are looked at for one that may be given up when the table is full: the kernel looks at 8 buckets. */
const EVICTION_RANGE = 64;
/** Flows that are looked at whenever one begins: those that nobody has spoken of are found out. */
const SWEEP = 4;
/** Deadlines are in ticks of 10 ms, the kernel's jiffies at its slowest. */
export const TICK_MS = 10;
/** Ticks are compared by the sign of a difference of 32 bits, so all are looked at this often: every 124 days. */
const SWEEP_ALL_MS: number = 2 ** 30 * TICK_MS;
const LIFE_MASK = 0x0fff_ffff;

export interface FlowTableOptions {
  readonly entropy: Entropy;
  readonly nowMs: number;
  /** Keeps the addresses of flows, where they are handles. */
  readonly holder: AddressHolder;
  readonly flowsMax?: number;
}

/** Packets and bytes each way, where they are counted. */
const COUNTERS = 4;

/**
 * The flows, each a record of 26 words in chunks that never move, found by either of its keys through one
 * {@linkcode HashIndex}. Flows that are not confirmed have a record, but are in no index.
 *
 * A flow whose time is over is gone for whoever looks; its record is taken back when somebody looks, when the
 * hand of the sweep comes by, or when it is in the way.
 */
export class FlowTable {
  readonly flowsMax: number;
  /** Counts packets and bytes of the flows that begin from now on. */
  accounting = false;
  readonly #holder: AddressHolder;
  readonly #hash: TupleHash;
  readonly #index: HashIndex;
  readonly #chunks: Int32Array[] = [];
  readonly #counters: (Float64Array | undefined)[] = [];
  readonly #originMs: number;
  #end = 0;
  #free = NO_FLOW;
  #size = 0;
  #hand = 0;
  #sweepAtMs: number;
  /** By chunk of `CHUNK_FLOWS`: 1 where a flow has come, gone or been heard of since `untouch`: for who keeps images. */
  readonly touched: Uint8Array;
  /** Whether there is such a chunk. */
  anyTouched = false;
  /** Told before a flow leaves the table. */
  removing: (flow: number) => void = () => {};

  constructor(options: FlowTableOptions) {
    this.flowsMax = options.flowsMax ?? FLOWS_MAX;
    assert(this.flowsMax >= 1 && this.flowsMax <= FLOWS_LIMIT, "A table holds 1 to 2^25 flows");
    this.#holder = options.holder;
    this.touched = new Uint8Array(Math.ceil(this.flowsMax / CHUNK_FLOWS));
    const seeds = new Uint32Array(2);
    options.entropy.fill(new Uint8Array(seeds.buffer));
    this.#hash = new TupleHash(seeds[0]!, seeds[1]!);
    this.#originMs = Math.floor(options.nowMs);
    this.#sweepAtMs = this.#originMs + SWEEP_ALL_MS;
    this.#index = new HashIndex(2 * this.flowsMax, {
      has: (number) => (this.get(number >>> 1, Word.status) & INDEXED[(number & 1) as CtDirection]) !== 0,
      hashOf: (number) => this.#hashOf(number),
    });
  }

  /** Flows in the table, those whose time is over included as long as nobody has noticed. */
  get size(): number {
    return this.#size;
  }

  /** Bytes of memory held. */
  get byteLength(): number {
    let bytes = this.#index.byteLength + this.#chunks.length * CHUNK_FLOWS * FLOW_WORDS * 4;
    for (const counters of this.#counters) bytes += counters?.byteLength ?? 0;
    return bytes;
  }

  /** Flows have numbers below this. */
  get end(): number {
    return this.#end;
  }

  /** Its words: `chunk(flow)[offset(flow) + word]`. */
  chunk(flow: number): Int32Array {
    return this.#chunks[flow >>> CHUNK_BITS]!;
  }
  offset(flow: number): number {
    return (flow & (CHUNK_FLOWS - 1)) * FLOW_WORDS;
  }

  get(flow: number, word: number): number {
    return this.#chunks[flow >>> CHUNK_BITS]![(flow & (CHUNK_FLOWS - 1)) * FLOW_WORDS + word]!;
  }

  set(flow: number, word: number, value: number): void {
    this.#chunks[flow >>> CHUNK_BITS]![(flow & (CHUNK_FLOWS - 1)) * FLOW_WORDS + word] = value;
  }

  status(flow: number): number {
    return this.get(flow, Word.status) & STATUS_MASK;
  }

  addStatus(flow: number, bits: number): void {
    const at = this.offset(flow) + Word.status;
    this.chunk(flow)[at]! |= bits;
  }

  key(flow: number, way: CtDirection, into: FlowKey): void {
    const chunk = this.chunk(flow);
    const at = this.offset(flow) + (way === CtDirection.original ? Word.original : Word.reply);
    into.source = chunk[at]!;
    into.destination = chunk[at + 1]!;
    into.ports = chunk[at + 2]!;
    into.protocolAndZone = this.get(flow, Word.protocolAndZone);
  }

  /** A number that no other flow of this table has, or has had for long. */
  id(flow: number): number {
    return this.get(flow, Word.life) * 2 ** 25 + flow;
  }

  /** The confirmed flow with this `id`, or `NO_FLOW`. */
  byId(id: number, nowMs: number): number {
    const flow = id % 2 ** 25;
    if (flow >= this.#end || this.get(flow, Word.life) !== Math.floor(id / 2 ** 25)) return NO_FLOW;
    if ((this.status(flow) & CtStatus.confirmed) === 0) return NO_FLOW;
    return this.isOver(flow, nowMs) ? NO_FLOW : flow;
  }

  protocol(flow: number): number {
    return this.get(flow, Word.protocolAndZone) & 0xff;
  }

  tick(nowMs: number): number {
    return Math.floor((nowMs - this.#originMs) / TICK_MS) | 0;
  }

  isOver(flow: number, nowMs: number): boolean {
    return ((this.get(flow, Word.deadline) - this.tick(nowMs)) | 0) <= 0;
  }

  /** Milliseconds until it is forgotten, 0 where it should be. */
  remainingMs(flow: number, nowMs: number): number {
    return Math.max(0, (this.get(flow, Word.deadline) - this.tick(nowMs)) | 0) * TICK_MS;
  }

  rememberFor(flow: number, seconds: number, nowMs: number): void {
    this.#touch(flow);
    this.set(flow, Word.deadline, this.tick(nowMs) + Math.ceil(seconds * (1000 / TICK_MS)));
  }

  /**
   * The flow with this key, times 2, plus the way of the packet; or `NO_FLOW`. Who is asked for after its time
   * is taken out.
   */
  find(key: FlowKey, nowMs: number): number {
    if (nowMs >= this.#sweepAtMs) this.#sweepAll(nowMs);
    const found = this.#lookup(key);
    if (found < 0) return NO_FLOW;
    if (!this.isOver(found >>> 1, nowMs)) return found;
    this.remove(found >>> 1);
    return NO_FLOW;
  }

  #lookup(key: FlowKey): number {
    const { source, destination, ports, protocolAndZone } = key;
    const index = this.#index;
    const hash = this.#hash.words3(source, destination, ports) ^ Math.imul(protocolAndZone, 0x9e37_79b1);
    for (let number = index.first(hash); number >= 0; number = index.next()) {
      const chunk = this.#chunks[number >>> (CHUNK_BITS + 1)]!;
      const record = ((number >>> 1) & (CHUNK_FLOWS - 1)) * FLOW_WORDS;
      const at = record + ((number & 1) === 0 ? Word.original : Word.reply);
      if (
        chunk[at] === source && chunk[at + 1] === destination && chunk[at + 2] === ports &&
        chunk[record + Word.protocolAndZone] === protocolAndZone
      ) return number;
    }
    return NO_FLOW;
  }

  /** The hash of where flows come from, for `FlowSources`. */
  hashSource(source: number, port: number, protocolAndZone: number): number {
    return this.#hash.words3(source, port, protocolAndZone);
  }

  /** A record for a flow that nobody knows yet. @returns `NO_FLOW` when there is no room, and none can be made. */
  make(original: FlowKey, reply: FlowKey, nowMs: number): number {
    for (let steps = SWEEP; steps > 0; steps--) this.#handStep(nowMs);
    if (this.#size >= this.flowsMax && !this.#giveUpOne(nowMs)) return NO_FLOW;
    const flow = this.#take();
    const chunk = this.chunk(flow);
    const at = this.offset(flow);
    const life = chunk[at + Word.life]!;
    chunk.fill(0, at, at + FLOW_WORDS);
    chunk[at] = original.source;
    chunk[at + 1] = original.destination;
    chunk[at + 2] = original.ports;
    chunk[at + Word.life] = (life + 1) & LIFE_MASK;
    chunk[at + Word.protocolAndZone] = original.protocolAndZone;
    this.#setReply(flow, reply);
    const counted = COUNTERS * (flow & (CHUNK_FLOWS - 1));
    this.#countersOf(flow, this.accounting)?.fill(0, counted, counted + COUNTERS);
    this.#size++;
    this.#hold(flow, true);
    return flow;
  }

  /** The answers to a flow that is not confirmed will look so. */
  alterReply(flow: number, reply: FlowKey): void {
    assert((this.status(flow) & CtStatus.confirmed) === 0, "A flow's keys stay while it is in the table");
    this.#hold(flow, false);
    this.#setReply(flow, reply);
    this.#hold(flow, true);
  }

  /** Enters a flow under both its keys. @returns False when one of them is another flow's. */
  confirm(flow: number, keys: FlowKey, nowMs: number): boolean {
    this.key(flow, CtDirection.original, keys);
    if (this.find(keys, nowMs) !== NO_FLOW) return false;
    this.key(flow, CtDirection.reply, keys);
    if (this.find(keys, nowMs) !== NO_FLOW) return false;
    this.addStatus(flow, CtStatus.confirmed);
    this.#touch(flow);
    for (const way of WAYS) { // one behind the other: the index may be growing
      this.addStatus(flow, INDEXED[way]);
      this.#index.add(2 * flow + way, this.#hashOf(2 * flow + way));
    }
    return true;
  }

  #touch(flow: number): void {
    this.touched[flow >>> CHUNK_BITS] = 1;
    this.anyTouched = true;
  }

  /** The flows of a chunk have been written down as they are. */
  untouch(chunk: number): void {
    this.touched[chunk] = 0;
    this.anyTouched = this.touched.includes(1);
  }

  /** Forgets a flow, confirmed or not. */
  remove(flow: number): void {
    this.removing(flow);
    if ((this.status(flow) & CtStatus.confirmed) !== 0) {
      const at = this.offset(flow) + Word.status;
      this.#touch(flow);
      for (const way of WAYS) {
        this.#index.remove(2 * flow + way, this.#hashOf(2 * flow + way));
        this.chunk(flow)[at]! &= ~INDEXED[way];
      }
    }
    this.#hold(flow, false);
    this.set(flow, Word.status, 0);
    this.set(flow, Word.original, this.#free);
    this.#free = flow;
    this.#size--;
  }

  /** Whether the record is a flow's in the table. */
  isLive(flow: number, nowMs: number): boolean {
    return (this.status(flow) & CtStatus.confirmed) !== 0 && !this.isOver(flow, nowMs);
  }

  count(flow: number, way: CtDirection, bytes: number): void {
    const counters = this.#countersOf(flow, false);
    if (counters === undefined) return;
    const at = COUNTERS * (flow & (CHUNK_FLOWS - 1)) + 2 * way;
    counters[at]!++;
    counters[at + 1]! += bytes;
  }

  /** 0 for packets, 1 for bytes. */
  counter(flow: number, way: CtDirection, which: 0 | 1): number {
    return this.#countersOf(flow, false)?.[COUNTERS * (flow & (CHUNK_FLOWS - 1)) + 2 * way + which] ?? 0;
  }

  setCounter(flow: number, way: CtDirection, which: 0 | 1, value: number): void {
    this.#countersOf(flow, true)![COUNTERS * (flow & (CHUNK_FLOWS - 1)) + 2 * way + which] = value;
  }

  #countersOf(flow: number, make: boolean): Float64Array | undefined {
    const chunk = flow >>> CHUNK_BITS;
    if (make) this.#counters[chunk] ??= new Float64Array(CHUNK_FLOWS * COUNTERS);
    return this.#counters[chunk];
  }

  #setReply(flow: number, reply: FlowKey): void {
    const chunk = this.chunk(flow);
    const at = this.offset(flow) + Word.reply;
    chunk[at] = reply.source;
    chunk[at + 1] = reply.destination;
    chunk[at + 2] = reply.ports;
  }

  #hold(flow: number, on: boolean): void {
    const chunk = this.chunk(flow);
    const at = this.offset(flow);
    if (!isIpv6Handle(chunk[at]!)) return;
    for (const word of HELD) {
      if (on) this.#holder.retain(chunk[at + word]!);
      else this.#holder.release(chunk[at + word]!);
    }
  }

  #hashOf(number: number): number {
    const chunk = this.#chunks[number >>> (CHUNK_BITS + 1)]!;
    const record = ((number >>> 1) & (CHUNK_FLOWS - 1)) * FLOW_WORDS;
    const at = record + ((number & 1) === 0 ? Word.original : Word.reply);
    return this.#hash.words3(chunk[at]!, chunk[at + 1]!, chunk[at + 2]!) ^
      Math.imul(chunk[record + Word.protocolAndZone]!, 0x9e37_79b1);
  }

  #take(): number {
    const freed = this.#free;
    if (freed >= 0) {
      this.#free = this.get(freed, Word.original);
      return freed;
    }
    const flow = this.#end++;
    if (flow >>> CHUNK_BITS === this.#chunks.length) {
      this.#chunks.push(new Int32Array(CHUNK_FLOWS * FLOW_WORDS));
    }
    return flow;
  }

  #sweepAll(nowMs: number): void {
    // If nobody came since the last time was due, the longest timeout is over as well.
    const all = nowMs - this.#sweepAtMs >= SWEEP_ALL_MS;
    this.#sweepAtMs = nowMs + SWEEP_ALL_MS;
    for (let flow = 0; flow < this.#end; flow++) {
      const confirmed = (this.status(flow) & CtStatus.confirmed) !== 0;
      if (confirmed && (all || this.isOver(flow, nowMs))) this.remove(flow);
    }
  }

  /** Looks at one flow. @returns It, when it is still there. */
  #handStep(nowMs: number): number {
    if (this.#end === 0) return NO_FLOW;
    this.#hand = this.#hand + 1 < this.#end ? this.#hand + 1 : 0;
    const flow = this.#hand;
    if ((this.status(flow) & CtStatus.confirmed) === 0) return NO_FLOW;
    if (!this.isOver(flow, nowMs)) return flow;
    this.remove(flow);
    return NO_FLOW;
  }

  /** The kernel's early_drop(): a flow that is not assured goes for another. */
  #giveUpOne(nowMs: number): boolean {
    for (let steps = Math.min(EVICTION_RANGE, this.#end); steps > 0; steps--) {
      const flow = this.#handStep(nowMs);
      if (flow !== NO_FLOW && (this.status(flow) & CtStatus.assured) === 0) this.remove(flow);
      if (this.#size < this.flowsMax) return true;
    }
    return false;
  }
}

const WAYS = [CtDirection.original, CtDirection.reply] as const;
const HELD = [Word.original, Word.original + 1, Word.reply, Word.reply + 1] as const;
