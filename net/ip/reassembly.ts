import { HANDED_ON } from "../../base/handed_on.ts";
import { Slab } from "../../base/slab.ts";
import { Drop } from "../wire/drop.ts";

/** Bytes that unfinished datagrams may hold together, overhead counted: Linux's ipfrag_high_thresh. */
export const REASSEMBLY_BYTES_MAX = 4_194_304;
/** Unfinished datagrams. Each one costs its sender a packet and us a walk over all when one is due. */
export const REASSEMBLY_DATAGRAMS_MAX = 1_024;
/**
 * Fragments of one datagram: as many as the narrowest link that IPv4 allows (68 bytes, RFC 791) makes of
 * the longest datagram, 65,515 / 48. Who sends more sends smaller ones than any link asks for.
 */
export const FRAGMENTS_MAX = 1_365;
/** What a fragment costs beside its bytes, so that tiny ones are bounded too. */
const FRAGMENT_OVERHEAD_BYTES = 256;
/** What a datagram costs beside its fragments. */
const DATAGRAM_OVERHEAD_BYTES = 512;
/** How long to wait for the rest: Linux's 30 s for IPv4 (RFC 1122 has 60 to 120, from slower times)... */
export const REASSEMBLY_IPV4_MS = 30_000;
/** ...and the 60 s of RFC 8200 section 4.5. */
export const REASSEMBLY_IPV6_MS = 60_000;

/** Limits of one stack's reassembly; for tests and small machines. */
export interface ReassemblyLimits {
  readonly bytesMax?: number;
  readonly datagramsMax?: number;
  readonly fragmentsMax?: number;
}

/** A fragment as reassembly needs it, of either family. Make one and fill it for each. */
export class Fragment {
  source = 0;
  destination = 0;
  protocol = 0;
  /** 16 bits for IPv4, 32 for IPv6. */
  identification = 0;
  /** RFC 8200 and RFC 5722: waits longer, and only an exact duplicate may overlap. */
  ipv6 = false;
  /** Where its data belongs in the datagram's, in bytes. */
  offset = 0;
  more = false;
  /** The ECN field: 0 not capable, 1 and 2 capable, 3 congestion experienced. */
  ecn = 0;
  /** The most data that the datagram can have beside its headers. */
  lengthMax = 0;
  /** Offsets into the slab: the headers that the whole datagram gets, and the data. */
  headerStart = 0;
  headerEnd = 0;
  dataStart = 0;
  dataEnd = 0;
}

/** Counts of one reassembly. */
export interface ReassemblyCounters {
  /** Datagrams that became whole. */
  whole: number;
  /** Datagrams whose time was up. */
  timeouts: number;
  /** Datagrams dropped because two of their fragments claim the same bytes (RFC 5722). */
  overlaps: number;
  /** Datagrams dropped because their fragments contradict each other, or are too many or too long. */
  malformed: number;
  /** Datagrams that made room for newer ones. */
  evicted: number;
  /** Fragments that were there already. */
  duplicates: number;
}

interface Piece {
  readonly start: number;
  readonly end: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** A datagram that is not whole yet. */
interface Partial {
  readonly key: string;
  readonly ipv6: boolean;
  readonly deadlineMs: number;
  /** In order, apart. */
  readonly pieces: Piece[];
  /** Bytes of data that are there. */
  received: number;
  /** The end of what is there or was promised. */
  end: number;
  /** The last fragment is there: `end` is the datagram's. */
  ended: boolean;
  /** ECN fields seen, a bit each. */
  ecnSeen: number;
  /** Of the first fragment; empty before it. */
  header: Uint8Array<ArrayBuffer>;
  lengthMax: number;
  cost: number;
}

/**
 * Puts the fragments of datagrams together (RFC 791 section 3.2, RFC 8200 section 4.5), as Linux does:
 * what overlaps or contradicts itself is dropped whole, so that no two readers can see two datagrams
 * in the same fragments.
 *
 * @example
 * ```ts
 * import { Fragment, Reassembly } from "@torpor/torpor/net/ip/reassembly.ts";
 * import { Slab } from "@torpor/torpor/base/slab.ts";
 * const reassembly = new Reassembly();
 * const first = Object.assign(new Fragment(), { more: true, dataEnd: 8, lengthMax: 65_515 });
 * const last = Object.assign(new Fragment(), { offset: 8, dataEnd: 3, lengthMax: 65_515 });
 * reassembly.add(last, Slab.of(3), 0);
 * reassembly.add(first, Slab.of(8), 0);
 * console.log(reassembly.whole?.bytes.length); // 11
 * ```
 */
export class Reassembly {
  /** Set by `add` when it made a datagram whole: the first fragment's headers as they came, then all data. */
  whole: Slab | undefined;
  /** Of the datagram that became whole: bytes of its headers, and of its longest fragment's data. */
  wholeHeaderLength = 0;
  longestPiece = 0;
  /** Whether a router marked one of its fragments: so must the whole be (RFC 3168 section 5.3). */
  congestionExperienced = false;
  readonly counters: ReassemblyCounters = {
    whole: 0,
    timeouts: 0,
    overlaps: 0,
    malformed: 0,
    evicted: 0,
    duplicates: 0,
  };
  readonly #partials = new Map<string, Partial>(); // oldest first
  readonly #bytesMax: number;
  readonly #datagramsMax: number;
  readonly #fragmentsMax: number;
  #bytes = 0;
  #nextMs: number = HANDED_ON; // the earliest deadline, or earlier

  constructor(limits: ReassemblyLimits = {}) {
    this.#nextMs = Infinity;
    this.#bytesMax = limits.bytesMax ?? REASSEMBLY_BYTES_MAX;
    this.#datagramsMax = limits.datagramsMax ?? REASSEMBLY_DATAGRAMS_MAX;
    this.#fragmentsMax = limits.fragmentsMax ?? FRAGMENTS_MAX;
  }

  /** Datagrams that are not whole. */
  get size(): number {
    return this.#partials.size;
  }

  /** Bytes that they hold, overhead counted. */
  get bytes(): number {
    return this.#bytes;
  }

  /** When `advance` next has something to do, or earlier; Infinity when never. */
  nextDeadlineMs(): number {
    return this.#nextMs;
  }

  /** Takes a copy of a fragment. With `Drop.None` look at `whole`. */
  add(fragment: Fragment, slab: Slab, nowMs: number): Drop {
    this.whole = undefined;
    const { source, destination, protocol, identification, ipv6 } = fragment;
    const key = `${source},${destination},${identification},${ipv6 ? "" : protocol}`; // RFC 8200 leaves it out
    const partial = this.#partials.get(key) ?? this.#begin(key, ipv6, nowMs);
    const reason = this.#insert(partial, fragment, slab);
    if (reason !== Drop.None) return reason;
    if (partial.ended && partial.received === partial.end) return this.#finish(partial);
    while (this.#bytes > this.#bytesMax) this.#evict();
    return Drop.None;
  }

  /**
   * Gives up what is late. `expired` gets those whose first fragment had come, as that came, for an ICMP
   * Time Exceeded (RFC 1122 section 3.3.2, RFC 8200 section 4.5).
   */
  advance(nowMs: number, expired: (first: Slab, ipv6: boolean) => void): void {
    if (nowMs < this.#nextMs) return;
    let nextMs = Infinity;
    for (const partial of [...this.#partials.values()]) {
      if (partial.deadlineMs > nowMs) {
        nextMs = Math.min(nextMs, partial.deadlineMs);
        continue;
      }
      this.#forget(partial);
      this.counters.timeouts++;
      const first = partial.pieces[0];
      if (first === undefined || first.start !== 0) continue;
      expired(new Slab(joined(partial.header, [first])), partial.ipv6);
    }
    this.#nextMs = nextMs;
  }

  #begin(key: string, ipv6: boolean, nowMs: number): Partial {
    if (this.#partials.size >= this.#datagramsMax) this.#evict();
    const deadlineMs = nowMs + (ipv6 ? REASSEMBLY_IPV6_MS : REASSEMBLY_IPV4_MS);
    const partial: Partial = {
      key,
      ipv6,
      deadlineMs,
      pieces: [],
      received: 0,
      end: 0,
      ended: false,
      ecnSeen: 0,
      header: NO_BYTES,
      lengthMax: 0,
      cost: DATAGRAM_OVERHEAD_BYTES,
    };
    this.#partials.set(key, partial);
    this.#bytes += partial.cost;
    this.#nextMs = Math.min(this.#nextMs, deadlineMs);
    return partial;
  }

  #insert(partial: Partial, fragment: Fragment, slab: Slab): Drop {
    const { offset, more, ipv6 } = fragment;
    let end = offset + fragment.dataEnd - fragment.dataStart;
    if (more) end -= (end - offset) & 7; // all but the last end on a multiple of eight; Linux cuts them to it
    const beyond = more ? partial.ended && end > partial.end : end < partial.end;
    const otherEnd = !more && partial.ended && end !== partial.end;
    if (end <= offset || end > fragment.lengthMax || beyond || otherEnd) return this.#refuse(partial);
    const { pieces } = partial;
    let at = pieces.length;
    if (at > 0 && pieces[at - 1]!.end > offset) at = firstEndingAfter(pieces, offset); // else in order, as usual
    const next = pieces[at];
    if (next !== undefined && next.start < end) {
      const same = next.start === offset && next.end === end;
      if (same || (!ipv6 && covers(pieces, at, offset, end))) {
        this.counters.duplicates++;
        return Drop.Ipv4Fragment;
      }
      this.counters.overlaps++;
      this.#forget(partial);
      return Drop.Ipv4Fragment;
    }
    if (pieces.length >= this.#fragmentsMax) return this.#refuse(partial);
    const bytes = slab.bytes.slice(fragment.dataStart, fragment.dataStart + end - offset);
    pieces.splice(at, 0, { start: offset, end, bytes });
    partial.received += bytes.length;
    partial.ecnSeen |= 1 << fragment.ecn;
    partial.end = Math.max(partial.end, end);
    partial.ended ||= !more;
    if (offset === 0) {
      partial.header = slab.bytes.slice(fragment.headerStart, fragment.headerEnd);
      partial.lengthMax = fragment.lengthMax;
    }
    const cost = bytes.length + FRAGMENT_OVERHEAD_BYTES;
    partial.cost += cost;
    this.#bytes += cost;
    return Drop.None;
  }

  #finish(partial: Partial): Drop {
    const { ecnSeen } = partial;
    const mixed = (ecnSeen & 1) !== 0 && ecnSeen !== 1; // capable and not: no sender does that
    // The headers of the first are the whole's: a later one's may have been shorter.
    if (partial.end > partial.lengthMax || mixed) return this.#refuse(partial);
    this.#forget(partial);
    this.counters.whole++;
    this.whole = new Slab(joined(partial.header, partial.pieces));
    this.wholeHeaderLength = partial.header.length;
    this.longestPiece = 0;
    for (const { bytes } of partial.pieces) this.longestPiece = Math.max(this.longestPiece, bytes.length);
    this.congestionExperienced = (ecnSeen & 8) !== 0;
    return Drop.None;
  }

  /** No datagram can come of this. */
  #refuse(partial: Partial): Drop {
    this.counters.malformed++;
    this.#forget(partial);
    return Drop.Ipv4Fragment;
  }

  #evict(): void {
    for (const oldest of this.#partials.values()) {
      this.#forget(oldest);
      this.counters.evicted++;
      return;
    }
  }

  #forget(partial: Partial): void {
    this.#partials.delete(partial.key);
    this.#bytes -= partial.cost;
    if (this.#partials.size === 0) this.#nextMs = Infinity;
  }
}

const NO_BYTES = new Uint8Array(0);

/** The first piece that ends behind `offset`. */
function firstEndingAfter(pieces: readonly Piece[], offset: number): number {
  let low = 0;
  let high = pieces.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (pieces[middle]!.end > offset) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Whether the pieces from `at` on hold all of `[start, end)`, without a gap. */
function covers(pieces: readonly Piece[], at: number, start: number, end: number): boolean {
  if (pieces[at]!.start > start) return false;
  let reach = pieces[at]!.end;
  while (reach < end && pieces[at + 1]?.start === reach) reach = pieces[++at]!.end;
  return reach >= end;
}

function joined(header: Uint8Array, pieces: readonly Piece[]): Uint8Array<ArrayBuffer> {
  const last = pieces[pieces.length - 1]!;
  const bytes = new Uint8Array(header.length + last.end);
  bytes.set(header);
  for (const piece of pieces) bytes.set(piece.bytes, header.length + piece.start);
  return bytes;
}
