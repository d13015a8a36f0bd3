import { seqLess } from "../../../base/sequence.ts";
import type { AddressTable } from "../../ip/address_table.ts";
import { isIpv6Handle } from "../../wire/address.ts";
import { PROTOCOL_ICMP, PROTOCOL_TCP } from "../../wire/ipv4.ts";
import { PROTOCOL_ICMPV6 } from "../../wire/ipv6.ts";
import { type FlowTable, Word } from "../conntrack/flow_table.ts";
import { FlowKey, hasPorts } from "../conntrack/key.ts";
import { CtDirection, NO_FLOW } from "../conntrack/state.ts";
import type { TcpTracker } from "../conntrack/tcp.ts";
import { TcpState } from "../conntrack/timeouts.ts";
import { jhash4 } from "./jhash.ts";
import type { NatRange } from "./range.ts";
import { End } from "./rewrite.ts";
import type { FlowSources } from "./sources.ts";

/** Ports that are tried in a row, and the fewest: the kernel's bounds of the search. */
const ATTEMPTS_MAX = 128;
const ATTEMPTS_MIN = 16;
/** With so few attempts left, TCP flows in TIME-WAIT give up their ports. */
const HARDER_THRESHOLD = 32;

/**
 * Chooses what a flow's packets look like behind NAT so that its answers are nobody else's: the kernel's
 * `get_unique_tuple()`. The port stays where it can; else another one of its class is taken (1 to 511, 600 to 1023,
 * 1024 to 65535), from a drawn place on.
 */
export class NatChooser {
  readonly #table: FlowTable;
  readonly #tcp: TcpTracker;
  readonly #sources: FlowSources;
  readonly #addresses: AddressTable;
  readonly #draw: (below: number) => number;
  readonly #reply = new FlowKey();
  readonly #mapped = new FlowKey();
  readonly #words = new Int32Array(4);
  readonly #low = new Int32Array(4);
  readonly #high = new Int32Array(4);
  readonly #to = new Int32Array(4);

  constructor(
    table: FlowTable,
    tcp: TcpTracker,
    sources: FlowSources,
    addresses: AddressTable,
    draw: (below: number) => number,
  ) {
    this.#table = table;
    this.#tcp = tcp;
    this.#sources = sources;
    this.#addresses = addresses;
    this.#draw = draw;
  }

  /**
   * Fills `into` with what packets of `flow`, which look like `from` now, shall look like. Where nothing is free it is
   * not unique.
   * @returns False when the address could not be made.
   */
  choose(flow: number, from: FlowKey, range: NatRange, which: End, into: FlowKey, nowMs: number): boolean {
    if (which === End.source && !range.random) {
      if (this.#isInRange(from, range, End.source)) {
        if (!this.#isUsed(from, nowMs)) {
          into.copy(from);
          return true;
        }
      } else if (this.#asBefore(from, range, into) && !this.#isUsed(into, nowMs)) return true;
    }
    into.copy(from);
    if (range.hasAddress && !this.#chooseAddress(range, which, into)) return false;
    if (!range.random) {
      if (range.hasPort) {
        const fixed = range.portLow === range.portHigh;
        if (this.#isPortInRange(into, range, which) && (fixed || !this.#isUsed(into, nowMs))) return true;
      } else if (!this.#isUsed(into, nowMs)) return true;
    }
    this.#choosePort(flow, range, which, into, nowMs);
    return true;
  }

  /** Whether the answers to such packets would be another flow's. */
  #isUsed(key: FlowKey, nowMs: number): boolean {
    const reply = this.#reply;
    return reply.invert(key) && this.#table.find(reply, nowMs) !== NO_FLOW;
  }

  /** As `#isUsed`, but a TCP flow in TIME-WAIT goes, where the new one's numbers are behind its. */
  #isUsedAndStays(flow: number, key: FlowKey, nowMs: number): boolean {
    if (!this.#isUsed(key, nowMs)) return false;
    if (key.protocol !== PROTOCOL_TCP || this.#tcp.state(flow) !== TcpState.synSent) return true;
    const other = this.#table.find(this.#reply, nowMs) >>> 1;
    const ends = (each: number): number => this.#table.get(each, Word.tcp);
    if (this.#tcp.state(other) !== TcpState.timeWait || !seqLess(ends(other), ends(flow))) return true;
    this.#table.remove(other);
    return false;
  }

  #isInRange(key: FlowKey, range: NatRange, which: End): boolean {
    if (range.hasAddress && !this.#isAddressInRange(key.source, range)) return false;
    return !range.hasPort || this.#isPortInRange(key, range, which);
  }

  #isAddressInRange(address: number, { addressLow, addressHigh }: NatRange): boolean {
    if (!isIpv6Handle(address)) {
      return address >>> 0 >= addressLow >>> 0 && address >>> 0 <= addressHigh >>> 0;
    }
    return this.#compare(address, addressLow) >= 0 && this.#compare(address, addressHigh) <= 0;
  }

  #compare(a: number, b: number): number {
    for (let word = 0; word < 4; word++) {
      const difference = (this.#addresses.word(a, word) >>> 0) - (this.#addresses.word(b, word) >>> 0);
      if (difference !== 0) return difference;
    }
    return 0;
  }

  #isPortInRange(key: FlowKey, { portLow, portHigh }: NatRange, which: End): boolean {
    const { protocol } = key;
    if (isIcmp(protocol)) return isBetween(key.ports >>> 16, portLow, portHigh);
    if (!hasPorts(protocol)) return true;
    return isBetween(which === End.source ? key.ports >>> 16 : key.ports & 0xffff, portLow, portHigh);
  }

  /** What this source was mapped to when it spoke to somebody else. */
  #asBefore(from: FlowKey, range: NatRange, into: FlowKey): boolean {
    const sources = this.#sources;
    const mapped = this.#mapped;
    let flow = sources.first(from.source, from.ports >>> 16, from.protocolAndZone);
    for (; flow !== NO_FLOW; flow = sources.next(flow)) {
      this.#table.key(flow, CtDirection.reply, this.#reply);
      if (!mapped.invert(this.#reply)) continue;
      mapped.destination = from.destination;
      mapped.ports = (mapped.ports & ~0xffff) | (from.ports & 0xffff);
      if (!this.#isInRange(mapped, range, End.source)) continue;
      into.copy(mapped);
      return true;
    }
    return false;
  }

  /** One of the range's addresses, by who speaks to whom: the kernel's `find_best_ips_proto()`. */
  #chooseAddress(range: NatRange, which: End, into: FlowKey): boolean {
    let address = range.addressLow;
    if (range.addressLow !== range.addressHigh) {
      const ipv6 = isIpv6Handle(range.addressLow);
      const words = this.#words, to = this.#to;
      this.#read(into.source, words);
      this.#read(into.destination, to);
      this.#read(range.addressLow, this.#low);
      this.#read(range.addressHigh, this.#high);
      const last = ipv6 ? 3 : 0;
      const zone = into.protocolAndZone >>> 8;
      for (let word = 0; word <= 3; word++) words[word] = swap(words[word]!); // as a little-endian kernel sees them
      let hash = jhash4(words, range.persistent ? 0 : swap(to[last]!) ^ zone);
      let free = false; // once below the highest, what follows may be anything
      for (let word = 0; word <= last; word++) {
        const low = free ? 0 : this.#low[word]! >>> 0;
        const count = free ? 0xffff_ffff : (this.#high[word]! - low + 1) >>> 0;
        words[word] = (low + scale(hash, count)) | 0;
        if (words[word] !== this.#high[word]) free = true;
        if (!range.persistent) hash ^= swap(to[word]!);
      }
      address = ipv6 ? this.#addresses.intern(words[0]!, words[1]!, words[2]!, words[3]!, 0) : words[0]!;
      if (ipv6 && address === 0) return false;
    }
    if (which === End.source) into.source = address;
    else into.destination = address;
    return true;
  }

  #read(address: number, into: Int32Array): void {
    into.fill(0);
    if (!isIpv6Handle(address)) into[0] = address;
    else for (let word = 0; word < 4; word++) into[word] = this.#addresses.word(address, word);
  }

  #choosePort(flow: number, range: NatRange, which: End, into: FlowKey, nowMs: number): void {
    const { protocol } = into;
    const icmp = isIcmp(protocol);
    if (!icmp && !hasPorts(protocol)) return;
    const shift = which === End.source || icmp ? 16 : 0;
    const own = (into.ports >>> shift) & 0xffff;
    let low: number, count: number;
    if (range.hasPort) {
      low = Math.min(range.portLow, range.portHigh);
      count = Math.max(range.portLow, range.portHigh) - low + 1;
    } else if (icmp) {
      low = 0;
      count = 65_536;
    } else if (which === End.destination) return; // to another port would be to another server
    else if (own < 512) [low, count] = [1, 511];
    else if (own < 1024) [low, count] = [600, 424];
    else [low, count] = [1024, 64_512];
    let attempts = Math.min(count, ATTEMPTS_MAX);
    const counted = which === End.destination && !range.random; // from the first port on
    for (;;) {
      let offset = counted ? 0 : this.#draw(65_536);
      for (let left = attempts; left > 0; left--, offset = (offset + 1) & 0xffff) {
        const port = low + offset % count;
        into.ports = (into.ports & ~(0xffff << shift)) | (port << shift);
        const used = left > HARDER_THRESHOLD
          ? this.#isUsed(into, nowMs)
          : this.#isUsedAndStays(flow, into, nowMs);
        if (!used) return;
      }
      if (attempts >= count || attempts < ATTEMPTS_MIN) return;
      attempts >>>= 1;
    }
  }
}

function isIcmp(protocol: number): boolean {
  return protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6;
}

function isBetween(value: number, low: number, high: number): boolean {
  return value >= low && value <= high;
}

function swap(word: number): number {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}

/** `hash` as a number below `count`, the kernel's `reciprocal_scale()`. */
function scale(hash: number, count: number): number {
  const high = Math.floor((hash >>> 0) / 65_536) * count;
  const low = (hash & 0xffff) * count;
  return Math.floor((high + Math.floor(low / 65_536)) / 65_536);
}
