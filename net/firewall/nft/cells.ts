import type { NftEnvironment } from "./environment.ts";
import type { CellSpec } from "./linked.ts";
import type { KeptState } from "./state.ts";
import { NO_FLOW } from "../conntrack/state.ts";
import type { NftPacket } from "./packet.ts";

/** What a cell has counted, as plain data. */
export type CellState =
  | { readonly packets: number; readonly bytes: number }
  | { readonly used: number }
  /** Nanoseconds of credit, and when they were counted, epoch milliseconds. */
  | { readonly tokens: number; readonly lastMs: number }
  /** The tracker's ids. */
  | { readonly connections: readonly number[] };

/** Something that keeps count, in a rule, a table or an element of a set. */
export interface Cell {
  readonly spec: CellSpec;
  /** Counts the packet. False: the rule ends here. */
  hold(packet: NftPacket): boolean;
  save(): CellState;
  load(state: CellState): void;
}

/** Connections that one `ct count` remembers: more than any limit that somebody writes down. */
const CONNECTIONS_MAX = 65_536;
const NS_PER_MS = 1_000_000;
const NS_PER_SECOND = 1_000_000_000n;

/** The kernel's nft_counter. */
class CounterCell implements Cell {
  readonly spec: CellSpec & { readonly kind: "counter" };
  packets: number;
  bytes: number;

  constructor(spec: CellSpec & { readonly kind: "counter" }) {
    this.spec = spec;
    this.packets = spec.packets;
    this.bytes = spec.bytes;
  }

  hold(packet: NftPacket): boolean {
    this.packets++;
    this.bytes += packet.end - packet.start;
    return true;
  }

  save(): CellState {
    return { packets: this.packets, bytes: this.bytes };
  }

  load(state: CellState): void {
    if (!("packets" in state)) return;
    this.packets = state.packets;
    this.bytes = state.bytes;
  }
}

/**
 * A counter of a rule, whose counts lie beside those of all others: who counts by its number touches one place in memory, where
 * objects would be three.
 */
export class SharedCounterCell implements Cell {
  readonly spec: CellSpec & { readonly kind: "counter" };
  readonly #counts: Float64Array;
  readonly #at: number;

  /** @param counts Packets and bytes of counter 0, of counter 1, and so on. */
  constructor(spec: CellSpec & { readonly kind: "counter" }, counts: Float64Array, number: number) {
    this.spec = spec;
    this.#counts = counts;
    this.#at = 2 * number;
    this.load(spec);
  }

  hold(packet: NftPacket): boolean {
    this.#counts[this.#at]!++;
    this.#counts[this.#at + 1]! += packet.end - packet.start;
    return true;
  }

  save(): CellState {
    return { packets: this.#counts[this.#at]!, bytes: this.#counts[this.#at + 1]! };
  }

  load(state: CellState): void {
    if (!("packets" in state)) return;
    this.#counts[this.#at] = state.packets;
    this.#counts[this.#at + 1] = state.bytes;
  }
}

/** The kernel's nft_quota: what goes over it counts as well. */
class QuotaCell implements Cell {
  readonly spec: CellSpec & { readonly kind: "quota" };
  readonly #bytes: number;
  readonly #inv: boolean;
  #used: number;

  constructor(spec: CellSpec & { readonly kind: "quota" }) {
    this.spec = spec;
    this.#bytes = spec.bytes;
    this.#used = spec.used;
    this.#inv = spec.inv;
  }

  hold(packet: NftPacket): boolean {
    this.#used += packet.end - packet.start;
    return (this.#used > this.#bytes) === this.#inv;
  }

  save(): CellState {
    return { used: this.#used };
  }

  load(state: CellState): void {
    if ("used" in state) this.#used = state.used;
  }
}

/** The kernel's nft_limit: a bucket of nanoseconds, of which each packet, or byte, costs some. */
class LimitCell implements Cell {
  readonly spec: CellSpec & { readonly kind: "limit" };
  readonly #isBytes: boolean;
  readonly #inv: boolean;
  readonly #max: number;
  /** Nanoseconds that a packet costs; of a byte what is whole, and what is left over, of `rate`. */
  readonly #cost: number;
  readonly #costRest: number;
  readonly #rate: number;
  /** Nanoseconds of credit, and when they were counted: in an array, where a number that is no integer costs no memory. */
  readonly #bucket = new Float64Array(2);

  constructor(spec: CellSpec & { readonly kind: "limit" }) {
    this.spec = spec;
    const ns = BigInt(spec.perSeconds) * NS_PER_SECOND;
    const rate = BigInt(spec.rate);
    this.#isBytes = spec.isBytes;
    this.#inv = spec.inv;
    this.#rate = spec.rate;
    this.#cost = Number(ns / rate);
    this.#costRest = Number(ns % rate);
    const burst = BigInt(spec.burst);
    this.#max = Number(spec.isBytes ? (ns * (rate + burst)) / rate : (ns / rate) * burst);
    this.#bucket[0] = this.#max;
  }

  hold(packet: NftPacket): boolean {
    const { nowMs } = packet;
    const bucket = this.#bucket;
    const passed = Math.max(0, nowMs - bucket[1]!) * NS_PER_MS;
    const tokens = Math.min(this.#max, bucket[0]! + passed);
    bucket[1] = nowMs;
    const cost = this.#isBytes ? this.#costOf(packet.end - packet.start) : this.#cost;
    const enough = tokens >= cost;
    bucket[0] = enough ? tokens - cost : tokens;
    return enough !== this.#inv;
  }

  #costOf(bytes: number): number {
    return this.#cost * bytes + Math.floor((this.#costRest * bytes) / this.#rate);
  }

  save(): CellState {
    return { tokens: this.#bucket[0]!, lastMs: this.#bucket[1]! };
  }

  load(state: CellState): void {
    if (!("tokens" in state)) return;
    this.#bucket[0] = Math.min(this.#max, state.tokens);
    this.#bucket[1] = state.lastMs;
  }
}

/** The kernel's nft_connlimit: the connections seen here that are still there. */
class CountCell implements Cell {
  readonly spec: CellSpec & { readonly kind: "ct count" };
  readonly #environment: NftEnvironment;
  readonly #most: number;
  readonly #inv: boolean;
  #connections: number[] = [];

  constructor(spec: CellSpec & { readonly kind: "ct count" }, environment: NftEnvironment) {
    this.spec = spec;
    this.#most = spec.val;
    this.#inv = spec.inv;
    this.#environment = environment;
  }

  hold(packet: NftPacket): boolean {
    const { tracker } = this.#environment;
    const ids = this.#connections;
    if (tracker !== undefined && packet.track.flow !== NO_FLOW) {
      const id = tracker.id(packet.track);
      let kept = 0;
      let known = false;
      for (let at = 0; at < ids.length; at++) {
        const each = ids[at]!;
        if (each === id) known = true;
        else if (tracker.alive?.(each) === false) continue;
        ids[kept++] = each;
      }
      ids.length = kept;
      if (!known && kept < CONNECTIONS_MAX) ids.push(id);
    }
    return (ids.length > this.#most) === this.#inv;
  }

  save(): CellState {
    return { connections: [...this.#connections] };
  }

  load(state: CellState): void {
    if ("connections" in state) this.#connections = [...state.connections];
  }
}

/** What an element keeps, as data, and again. */
export function saveKept(cells: readonly Cell[]): KeptState[] {
  return cells.map((cell) => ({ spec: cell.spec, state: cell.save() }));
}
export function loadKept(kept: readonly KeptState[], environment: NftEnvironment): Cell[] {
  return kept.map(({ spec, state }) => {
    const cell = makeCell(spec, environment);
    cell.load(state);
    return cell;
  });
}

/** A cell in its first state. */
export function makeCell(spec: CellSpec, environment: NftEnvironment): Cell {
  switch (spec.kind) {
    case "counter":
      return new CounterCell(spec);
    case "quota":
      return new QuotaCell(spec);
    case "limit":
      return new LimitCell(spec);
    case "ct count":
      return new CountCell(spec, environment);
  }
}
