import { isIpv6Handle } from "../wire/address.ts";
import { IPV6_MTU_MIN } from "../wire/ipv6.ts";
import type { AddressHolder } from "./address_table.ts";

/** A path MTU learnt from ICMP is forgotten after this time, to find out whether the path has grown (RFC 1191). */
const PATH_MTU_MS = 600_000;
/** Paths remembered; the oldest is forgotten first. */
export const PATH_MTUS_MAX = 4096;
/** A lower one is an attack (RFC 5927 section 7); IPv4 promises 576 in practice. */
export const PATH_MTU_MIN = 552;

/** What no path's MTU is below. */
export function pathMtuMin(destination: number): number {
  return isIpv6Handle(destination) ? IPV6_MTU_MIN : PATH_MTU_MIN;
}

/** MTUs of paths, as routers told (RFC 1191, RFC 8201), by destination. */
export class PathMtus {
  readonly #holder: AddressHolder;
  readonly #mtus = new Map<number, { mtu: number; untilMs: number }>();
  #generation = 0;
  /** When the first entry is forgotten. */
  #expiresAtMs = Infinity;

  constructor(holder: AddressHolder) {
    this.#holder = holder;
  }

  get size(): number {
    return this.#mtus.size;
  }

  /** A number that is another one as soon as something was learnt or forgotten. */
  generationAt(nowMs: number): number {
    if (nowMs >= this.#expiresAtMs) this.expire(nowMs);
    return this.#generation;
  }

  /** Something else changed that paths depend on. */
  changed(): void {
    this.#generation++;
  }

  /** The smaller of `mtu` and what is known of the path. */
  least(destination: number, mtu: number, nowMs: number): number {
    if (this.#mtus.size === 0) return mtu;
    const learnt = this.#mtus.get(destination);
    if (learnt === undefined) return mtu;
    if (learnt.untilMs > nowMs) return Math.min(mtu, learnt.mtu);
    this.#forget(destination);
    return mtu;
  }

  set(destination: number, mtu: number, nowMs: number): void {
    this.#forget(destination);
    if (this.#mtus.size >= PATH_MTUS_MAX) {
      for (const oldest of this.#mtus.keys()) {
        this.#forget(oldest);
        break;
      }
    }
    this.#holder.retain(destination);
    this.#mtus.set(destination, { mtu, untilMs: nowMs + PATH_MTU_MS });
    this.#expiresAtMs = Math.min(this.#expiresAtMs, nowMs + PATH_MTU_MS);
    this.#generation++;
  }

  /** Forgets what is out of date. */
  expire(nowMs: number): void {
    this.#expiresAtMs = Infinity;
    for (const [destination, { untilMs }] of this.#mtus) {
      if (untilMs <= nowMs) this.#forget(destination);
      else this.#expiresAtMs = Math.min(this.#expiresAtMs, untilMs);
    }
  }

  #forget(destination: number): void {
    if (!this.#mtus.delete(destination)) return;
    this.#generation++;
    this.#holder.release(destination);
  }
}
