import { assert } from "../../base/assert.ts";
import { Slab } from "../../base/slab.ts";
import type { AddressHolder } from "./address_table.ts";
import { isGroupMac, MAC_BROADCAST } from "../wire/mac.ts";

/** Entries of one interface: Linux begins to mind at 1,024 as well (gc_thresh3). */
export const NEIGHBORS_MAX = 1_024;
/**
 * Packets that may wait for one address. RFC 1122 section 2.3.2.2 asks for at least the latest; a host
 * that opens many connections at once should not lose their SYNs. Linux keeps 101.
 */
export const PENDING_FRAMES_MAX = 101;
/** Bytes that may wait for all addresses together: a full queue of full frames, and some more. */
export const PENDING_BYTES_MAX = 262_144;
/** Time between requests for one address: RFC 1122 section 2.3.2.1's once per second, RFC 4861's RETRANS_TIMER. */
export const REQUEST_INTERVAL_MS = 1_000;
/** Requests without an answer before giving up. */
export const REQUESTS_MAX = 3;
/** How long an address that did not answer is not asked for again. */
export const FAILED_MS = 3_000;
/** How long an answer is believed without asking again (RFC 4861's REACHABLE_TIME). */
export const REACHABLE_MS = 30_000;
/** How long the first of several answers holds against others: Linux's locktime. */
export const LOCK_MS = 1_000;

/** What `lookup` found. */
export const Resolution = {
  /** `hi` and `lo` are set. */
  Found: 0,
  /** `hi` and `lo` are set, but old: send them a request now as well, to them alone. */
  FoundRequest: 1,
  /** Unknown: broadcast a request now; the packet may wait with `hold`. */
  Request: 2,
  /** Unknown and already asked for; the packet may wait with `hold`. */
  Wait: 3,
  /** Did not answer lately: the host is unreachable. */
  Failed: 4,
} as const;
export type Resolution = (typeof Resolution)[keyof typeof Resolution];

/** How a station's address became known. */
export const Evidence = {
  /** An ARP reply sent to us alone. */
  Reply: 0,
  /** An ARP request for one of our addresses: its sender is about to talk to us. */
  Request: 1,
  /** Any other ARP packet: gratuitous, broadcast, or a request for somebody else. */
  Announcement: 2,
} as const;
export type Evidence = (typeof Evidence)[keyof typeof Evidence];

/** States of an entry, after RFC 4861 section 7.3.2 and Linux. */
const State = {
  Free: 0,
  /** Asked for, no answer yet. Deadline: the next request, or giving up. */
  Incomplete: 1,
  /** Deadline: becomes stale. */
  Reachable: 2,
  /** Known, perhaps no longer true. No deadline: an idle entry wakes nobody. */
  Stale: 3,
  /** Known, used while stale, and asked again. Deadline as for Incomplete. */
  Probing: 4,
  /** Deadline: forgotten. */
  Failed: 5,
  /** Known, used while stale; whoever is above may yet prove that it answers. Deadline: asked again. */
  Delay: 6,
} as const;
type State = (typeof State)[keyof typeof State];

/** What has to happen outside. Called in the middle of `learn` and `advance`: it must not call back. */
export interface NeighborSink {
  /** Send an ARP request or a neighbour solicitation for `address` to the station `hi`, `lo` (ff:ff:ff:ff:ff:ff: everyone). */
  request(address: number, hi: number, lo: number): void;
  /** A packet that waited may go to the station `hi`, `lo`. `slab` is the caller's from here on. */
  deliver(slab: Slab, start: number, end: number, hi: number, lo: number): void;
  /** `address` did not answer; what waited for it is counted, and nobody's any more. */
  failed(address: number, waited: readonly Slab[]): void;
}

/** Counts of a cache. */
export interface NeighborCounters {
  /** Packets dropped because their entry failed or was evicted. */
  pendingLost: number;
  /** Packets dropped because newer ones wait for the same address. */
  pendingReplaced: number;
  /** Packets that found no room, or no entry to wait at. */
  pendingRefused: number;
  /** Entries that made room for others. */
  evicted: number;
  /** Claims not believed: no such entry, a group address, or a change within `LOCK_MS`. */
  ignored: number;
}

/** How a cache's protocol differs from ARP. */
export interface NeighborPolicy {
  /** How long proof from above is waited for before a stale entry is asked about: RFC 4861's DELAY_FIRST_PROBE_TIME. */
  readonly delayMs?: number;
  /** How long the first of several answers holds against others. */
  readonly lockMs?: number;
  /** Keeps the addresses of entries. */
  readonly holder?: AddressHolder;
}

const NOBODY: AddressHolder = { retain: () => {}, release: () => {} };

/**
 * Which station answers for which address on one Ethernet interface (RFC 826, RFC 4861 section 7), without the
 * wire: the caller reads and sends the packets of ARP or neighbour discovery.
 *
 * Station addresses are pairs of numbers as in `net/wire/mac.ts`.
 *
 * Only a lookup of our own or a request to us makes an entry; every other packet may only change one
 * that is there.
 */
export class Neighbors {
  /** How long an answer is believed, and the time between requests: a router may say so (RFC 4861 section 6.3.2). */
  reachableMs: number = REACHABLE_MS;
  requestIntervalMs: number = REQUEST_INTERVAL_MS;
  /** The station that `lookup` found. */
  hi = 0;
  lo = 0;
  readonly counters: NeighborCounters = {
    pendingLost: 0,
    pendingReplaced: 0,
    pendingRefused: 0,
    evicted: 0,
    ignored: 0,
  };

  readonly #entryOf = new Map<number, number>(); // address -> entry
  readonly #free: number[];
  readonly #address: Int32Array;
  readonly #hi: Uint16Array;
  readonly #lo: Int32Array;
  readonly #state: Uint8Array;
  readonly #requests: Uint8Array; // sent since the question came up
  readonly #requestedMs: Float64Array; // when the last request was due
  readonly #deadlineMs: Float64Array;
  readonly #updatedMs: Float64Array; // when hi and lo were last set
  readonly #usedAt: Float64Array; // `#uses` at the last lookup, for eviction
  readonly #pending: (Slab[] | undefined)[];
  readonly #pendingBytesMax: number;
  readonly #delayMs: number;
  readonly #lockMs: number;
  readonly #holder: AddressHolder;
  #pendingBytes = 0;
  #uses = 0;
  #nextMs = Infinity; // the earliest deadline, unless #nextKnown is false
  #nextKnown = true;

  constructor(
    entriesMax: number = NEIGHBORS_MAX,
    pendingBytesMax: number = PENDING_BYTES_MAX,
    policy: NeighborPolicy = {},
  ) {
    assert(entriesMax > 0);
    this.#delayMs = policy.delayMs ?? 0;
    this.#lockMs = policy.lockMs ?? LOCK_MS;
    this.#holder = policy.holder ?? NOBODY;
    this.#free = Array.from({ length: entriesMax }, (_, index) => entriesMax - 1 - index);
    this.#address = new Int32Array(entriesMax);
    this.#hi = new Uint16Array(entriesMax);
    this.#lo = new Int32Array(entriesMax);
    this.#state = new Uint8Array(entriesMax);
    this.#requests = new Uint8Array(entriesMax);
    this.#requestedMs = new Float64Array(entriesMax);
    this.#deadlineMs = new Float64Array(entriesMax).fill(Infinity);
    this.#updatedMs = new Float64Array(entriesMax);
    this.#usedAt = new Float64Array(entriesMax);
    this.#pending = new Array<Slab[] | undefined>(entriesMax).fill(undefined);
    this.#pendingBytesMax = pendingBytesMax;
  }

  /** Entries in use. */
  get size(): number {
    return this.#entryOf.size;
  }

  /** Bytes of packets that wait. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** The station for `address`, or what to do about not knowing it. */
  lookup(address: number, nowMs: number): Resolution {
    const entry = this.#entryOf.get(address | 0);
    if (entry === undefined) {
      const made = this.#make(address | 0);
      this.#requests[made] = 0;
      this.#requested(made, nowMs);
      return Resolution.Request;
    }
    this.#usedAt[entry] = ++this.#uses;
    const state = this.#state[entry] as State;
    if (state === State.Incomplete) return Resolution.Wait;
    if (state === State.Failed) return Resolution.Failed;
    this.hi = this.#hi[entry]!;
    this.lo = this.#lo[entry]!;
    const late = state === State.Reachable && nowMs >= this.#deadlineMs[entry]!;
    if (state !== State.Stale && !late) return Resolution.Found;
    if (this.#delayMs > 0) {
      this.#state[entry] = State.Delay;
      this.#arm(entry, nowMs + this.#delayMs);
      return Resolution.Found;
    }
    // Somebody may announce changes faster than we may ask about them.
    if (nowMs - this.#requestedMs[entry]! < this.requestIntervalMs) return Resolution.Found;
    this.#state[entry] = State.Probing;
    this.#requests[entry] = 0;
    this.#requested(entry, nowMs);
    return Resolution.FoundRequest;
  }

  /** Sets `hi` and `lo` to the station of `address`, if it is known, without asking anybody. */
  stationOf(address: number): boolean {
    const entry = this.#entryOf.get(address | 0);
    if (entry === undefined || !isKnown(this.#state[entry] as State)) return false;
    this.hi = this.#hi[entry]!;
    this.lo = this.#lo[entry]!;
    return true;
  }

  /**
   * Keeps a copy of a packet until `address` answers: after `Resolution.Request` or `Wait`. The
   * oldest of too many makes room.
   * @returns False when it could not be kept: dropped and counted.
   */
  hold(address: number, slab: Slab, start: number, end: number): boolean {
    assert(start <= end && end <= slab.bytes.length);
    const entry = this.#entryOf.get(address | 0);
    if (entry === undefined || this.#state[entry] !== State.Incomplete) {
      this.counters.pendingRefused++;
      return false;
    }
    const pending = this.#pending[entry] ??= [];
    const oldest = pending.length === PENDING_FRAMES_MAX ? pending[0]! : undefined;
    const bytes = this.#pendingBytes + (end - start) - (oldest?.bytes.length ?? 0);
    if (bytes > this.#pendingBytesMax) {
      this.counters.pendingRefused++;
      return false;
    }
    if (oldest) {
      pending.shift();
      this.counters.pendingReplaced++;
    }
    pending.push(new Slab(slab.bytes.slice(start, end)));
    this.#pendingBytes = bytes;
    return true;
  }

  /**
   * Takes an ARP packet's word that `address` is at the station `hi`, `lo`, and sends what waited.
   * @returns Whether it was believed.
   */
  learn(
    address: number,
    hi: number,
    lo: number,
    evidence: Evidence,
    nowMs: number,
    sink: NeighborSink,
  ): boolean {
    const isStation = !isGroupMac(hi) && (hi | lo) !== 0;
    let entry = this.#entryOf.get(address | 0);
    if (!isStation || (entry === undefined && evidence !== Evidence.Request)) {
      this.counters.ignored++;
      return false;
    }
    entry ??= this.#make(address | 0);
    const known = isKnown(this.#state[entry] as State);
    const same = known && this.#hi[entry] === hi && this.#lo[entry] === (lo | 0);
    if (
      known && !same && evidence !== Evidence.Announcement && nowMs - this.#updatedMs[entry]! < this.#lockMs
    ) {
      // Several stations answer for it. The first is the nearest; changing to and fro helps nobody.
      this.counters.ignored++;
      return false;
    }
    this.#hi[entry] = hi;
    this.#lo[entry] = lo;
    if (!same) this.#updatedMs[entry] = nowMs;
    if (evidence === Evidence.Reply) {
      this.#reached(entry, nowMs);
    } else if (!same) {
      // It can speak to us; that we can speak to it is not yet known.
      this.#stale(entry);
    }
    this.#deliver(entry, sink);
    return true;
  }

  /**
   * Takes a neighbour advertisement's word (RFC 4861 section 7.2.5): `hasLink` when it names a station,
   * `solicited` when it answers us, `override` when it may take a known one's place.
   * @returns Whether there is an entry for it.
   */
  advertise(
    address: number,
    hasLink: boolean,
    hi: number,
    lo: number,
    solicited: boolean,
    override: boolean,
    nowMs: number,
    sink: NeighborSink,
  ): boolean {
    const entry = this.#entryOf.get(address | 0);
    const isStation = !hasLink || (!isGroupMac(hi) && (hi | lo) !== 0);
    if (entry === undefined || !isStation) {
      this.counters.ignored++;
      return false;
    }
    const known = isKnown(this.#state[entry] as State);
    if (!known && !hasLink) return true;
    const same = known && (!hasLink || (this.#hi[entry] === hi && this.#lo[entry] === (lo | 0)));
    if (known && !same && !override) { // another one's claim, without the right to take the place
      if (this.#state[entry] === State.Reachable) this.#stale(entry);
      return true;
    }
    if (!same) {
      this.#hi[entry] = hi;
      this.#lo[entry] = lo;
      this.#updatedMs[entry] = nowMs;
    }
    if (solicited) this.#reached(entry, nowMs);
    else if (!same) this.#stale(entry);
    this.#deliver(entry, sink);
    return true;
  }

  /** What is above has proof that `address` hears us, such as an acknowledgment of new data. */
  confirm(address: number, nowMs: number): void {
    const entry = this.#entryOf.get(address | 0);
    if (entry === undefined) return;
    if (isKnown(this.#state[entry] as State)) this.#reached(entry, nowMs);
  }

  /** When `advance` next has something to do; Infinity when never. */
  nextDeadlineMs(): number {
    if (!this.#nextKnown) {
      this.#nextMs = this.#deadlineMs.reduce((least, deadlineMs) => Math.min(least, deadlineMs), Infinity);
      this.#nextKnown = true;
    }
    return this.#nextMs;
  }

  /** Does what is due: asks again, gives up, forgets. */
  advance(nowMs: number, sink: NeighborSink): void {
    if (nowMs < this.nextDeadlineMs()) return;
    for (let entry = 0; entry < this.#deadlineMs.length; entry++) {
      if (this.#deadlineMs[entry]! <= nowMs) this.#expire(entry, nowMs, sink);
    }
  }

  #expire(entry: number, nowMs: number, sink: NeighborSink): void {
    const address = this.#address[entry]!;
    switch (this.#state[entry] as State) {
      case State.Reachable:
        return this.#stale(entry);
      case State.Delay:
        this.#state[entry] = State.Probing;
        this.#requests[entry] = 0;
        this.#requested(entry, nowMs);
        return sink.request(address, this.#hi[entry]!, this.#lo[entry]!);
      case State.Failed:
        this.#remove(entry);
        return;
      case State.Incomplete:
      case State.Probing: {
        if (this.#requests[entry]! < REQUESTS_MAX) {
          this.#requested(entry, nowMs);
          if (this.#state[entry] === State.Probing) sink.request(address, this.#hi[entry]!, this.#lo[entry]!);
          else sink.request(address, MAC_BROADCAST.hi, MAC_BROADCAST.lo);
          return;
        }
        this.#state[entry] = State.Failed;
        this.#arm(entry, nowMs + FAILED_MS);
        const waited = this.#pending[entry] ?? [];
        this.#dropPending(entry);
        sink.failed(address, waited);
        return;
      }
      default:
        assert(false, "A free or stale entry has no deadline");
    }
  }

  #reached(entry: number, nowMs: number): void {
    this.#state[entry] = State.Reachable;
    this.#arm(entry, nowMs + this.reachableMs);
  }

  #stale(entry: number): void {
    this.#state[entry] = State.Stale;
    this.#arm(entry, Infinity);
  }

  /** Counts a request that goes out now, and waits for its answer. */
  #requested(entry: number, nowMs: number): void {
    this.#requests[entry]!++;
    this.#requestedMs[entry] = nowMs;
    this.#arm(entry, nowMs + this.requestIntervalMs);
  }

  /** A new entry that knows nothing. */
  #make(address: number): number {
    if (this.#free.length === 0) {
      this.#remove(this.#leastWanted());
      this.counters.evicted++;
    }
    const entry = this.#free.pop()!;
    this.#holder.retain(address);
    this.#entryOf.set(address, entry);
    this.#address[entry] = address;
    this.#state[entry] = State.Incomplete;
    this.#requestedMs[entry] = -Infinity;
    this.#usedAt[entry] = ++this.#uses;
    return entry;
  }

  /**
   * The entry to give up: those that name no station first, then stale ones, the least recently
   * used of them. Reading all of them happens only when the table is full.
   */
  #leastWanted(): number {
    let least = 0;
    for (let entry = 1; entry < this.#state.length; entry++) {
      const order = EVICTION_ORDER[this.#state[entry]!]! - EVICTION_ORDER[this.#state[least]!]!;
      if (order < 0 || (order === 0 && this.#usedAt[entry]! < this.#usedAt[least]!)) least = entry;
    }
    return least;
  }

  #remove(entry: number): void {
    this.#dropPending(entry);
    this.#arm(entry, Infinity);
    this.#entryOf.delete(this.#address[entry]!);
    this.#holder.release(this.#address[entry]!);
    this.#state[entry] = State.Free;
    this.#free.push(entry);
  }

  #dropPending(entry: number): void {
    for (const slab of this.#pending[entry] ?? []) {
      this.#pendingBytes -= slab.bytes.length;
      this.counters.pendingLost++;
    }
    this.#pending[entry] = undefined;
  }

  #deliver(entry: number, sink: NeighborSink): void {
    const pending = this.#pending[entry];
    if (pending === undefined) return;
    this.#pending[entry] = undefined;
    for (const slab of pending) {
      this.#pendingBytes -= slab.bytes.length;
      sink.deliver(slab, 0, slab.bytes.length, this.#hi[entry]!, this.#lo[entry]!);
    }
  }

  #arm(entry: number, deadlineMs: number): void {
    if (this.#deadlineMs[entry] === this.#nextMs && deadlineMs > this.#nextMs) this.#nextKnown = false;
    this.#deadlineMs[entry] = deadlineMs;
    if (deadlineMs < this.#nextMs) this.#nextMs = deadlineMs;
  }
}

function isKnown(state: State): boolean {
  return state === State.Reachable || state === State.Stale || state === State.Probing ||
    state === State.Delay;
}

/** By state: who goes first when there is no room. */
const EVICTION_ORDER = new Uint8Array(7);
EVICTION_ORDER[State.Stale] = 1;
EVICTION_ORDER[State.Delay] = 1;
EVICTION_ORDER[State.Probing] = 1;
EVICTION_ORDER[State.Reachable] = 2;
