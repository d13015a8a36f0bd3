import { isIpv6Handle } from "../wire/address.ts";
import {
  commonPrefixLength,
  type Ipv6Prefix,
  type Ipv6Words,
  isLinkLocalWord,
  isMulticastWord,
  isStrayLinkLocalWord,
  maskedWords,
} from "../wire/ipv6_address.ts";
import type { AddressTable } from "./address_table.ts";
import { addressKey } from "./intervals.ts";
import { type Ipv6Route, type OwnIpv6, readIpv6Config } from "./ipv6_route_config.ts";
import type { RouteConfig } from "./route_config.ts";
import { AddressKind, INTERFACE_LOCAL, type RouteRecord, UNREACHABLE } from "./route_record.ts";

/** What routers and neighbours have taught the stack, beside its configuration. */
export interface LearntIpv6 {
  readonly own: readonly OwnIpv6[];
  readonly routes: readonly Ipv6Route[];
}

const NOTHING_LEARNT: LearntIpv6 = { own: [], routes: [] };
const UNSPECIFIED: Ipv6Words = [0, 0, 0, 0];

interface Entry extends Ipv6Prefix {
  readonly kind: AddressKind;
  readonly interfaceIndex: number;
  readonly gateway: number;
  readonly source: number;
}

/** Never on a wire as a host: `::`, `::1`, and IPv4-mapped addresses. */
const MARTIANS: readonly Ipv6Prefix[] = [
  { words: UNSPECIFIED, prefixLength: 128 },
  { words: [0, 0, 0, 1], prefixLength: 128 },
  { words: [0, 0, 0xffff, 0], prefixLength: 96 },
];

/**
 * The IPv6 half of a `RouteTable`: which addresses are the stack's own, how to reach the others, and which
 * address to speak from. Configuration makes it; what routers advertise is laid over it with `learn`.
 */
export class Ipv6Routes {
  /** Own addresses, configured and learnt. */
  own: readonly OwnIpv6[] = [];
  /** Configured addresses that are not ours yet, or not at all: somebody else may have them. */
  unproven: readonly OwnIpv6[] = [];
  readonly configured: readonly OwnIpv6[];
  readonly #addresses: AddressTable | undefined;
  readonly #subnets: readonly Ipv6Prefix[];
  readonly #configuredRoutes: readonly Ipv6Route[];
  #learnt: LearntIpv6 = NOTHING_LEARNT;
  #withheld: ReadonlySet<number> = new Set();
  readonly #ours = new Set<number>();
  #held: number[] = [];
  // Intervals of the 128-bit line, each from its start on: four words of keys in order, and what holds there.
  #starts: Int32Array = new Int32Array(0);
  #entries: Entry[] = [];
  #group: Entry | undefined;

  /**
   * @param addresses Without it there can be no IPv6 in `config`.
   * @throws {RouteError} At the first mistake.
   */
  constructor(config: RouteConfig, interfaceCount: number, addresses?: AddressTable) {
    this.#addresses = addresses;
    const read = readIpv6Config(config, interfaceCount, addresses);
    this.configured = read.own;
    this.#subnets = read.subnets;
    this.#configuredRoutes = read.routes;
    this.#build();
  }

  get learnt(): LearntIpv6 {
    return this.#learnt;
  }

  /** Takes what is known now from routers and neighbours, in place of what was. */
  learn(learnt: LearntIpv6): void {
    this.#learnt = learnt;
    this.#build();
  }

  /** These configured addresses may not be used. */
  withhold(addresses: ReadonlySet<number>): void {
    if (addresses.size === 0 && this.#withheld.size === 0) return;
    this.#withheld = addresses;
    this.#build();
  }

  /** Lets go of its addresses: another table takes its place. */
  dispose(): void {
    for (const address of this.#held) this.#addresses!.release(address);
    this.#held = [];
  }

  classify(address: number): AddressKind {
    if (this.#ours.has(address)) return AddressKind.Ours;
    if (this.#addresses === undefined) return AddressKind.Martian; // 240.0.0.0/8, where there is no IPv6
    const first = this.#addresses.word(address, 0);
    if (isMulticastWord(first)) return AddressKind.Multicast;
    if (isLinkLocalWord(first)) return isStrayLinkLocalWord(first) ? AddressKind.Martian : AddressKind.Other;
    return this.#entryOf(address).kind;
  }

  route(destination: number, into: RouteRecord): boolean {
    if (this.#ours.has(destination)) {
      into.interfaceIndex = INTERFACE_LOCAL;
      into.nextHop = into.source = destination;
      return true;
    }
    const addresses = this.#addresses;
    if (addresses === undefined) return false;
    const first = addresses.word(destination, 0);
    into.nextHop = destination;
    into.source = 0;
    if (isLinkLocalWord(first)) {
      into.interfaceIndex = addresses.zone(destination) - 1;
      return true;
    }
    const entry = isMulticastWord(first) ? this.#group : this.#entryOf(destination);
    if (entry === undefined || entry.interfaceIndex === UNREACHABLE) return false;
    into.interfaceIndex = entry.interfaceIndex;
    if (entry.gateway !== 0) into.nextHop = entry.gateway;
    into.source = entry.interfaceIndex === INTERFACE_LOCAL ? destination : entry.source;
    return true;
  }

  /**
   * The own address to speak from towards `destination` on an interface (RFC 6724 section 5, rules 1 to 3, 5,
   * 6 and 8); 0 when there is none.
   */
  sourceTowards(destination: number, interfaceIndex: number): number {
    const words = this.#addresses!.words(destination);
    const local = isLinkLocalWord(words[0]) || isMulticastWord(words[0]);
    let best: OwnIpv6 | undefined;
    for (const each of this.own) {
      if (each.address === destination) return destination;
      if (local && each.interfaceIndex !== interfaceIndex) continue;
      if (best === undefined || isBetterSource(each, best, words, interfaceIndex)) best = each;
    }
    return best?.address ?? 0;
  }

  /** An address of an interface that is good beyond its link, or else one that is not; 0 when it has none. */
  addressOn(interfaceIndex: number): number {
    const own = this.own.filter((each) => each.interfaceIndex === interfaceIndex);
    return (own.find(({ words }) => !isLinkLocalWord(words[0])) ?? own[0])?.address ?? 0;
  }

  /** The interface that has one of our addresses, -1 for every other address. */
  interfaceOf(address: number): number {
    return this.own.find((own) => own.address === address)?.interfaceIndex ?? -1;
  }

  #entryOf(address: number): Entry {
    const addresses = this.#addresses!;
    const a = addressKey(addresses.word(address, 0)), b = addressKey(addresses.word(address, 1));
    const c = addressKey(addresses.word(address, 2)), d = addressKey(addresses.word(address, 3));
    const starts = this.#starts;
    let low = 0;
    for (let count = this.#entries.length; count > 1;) {
      const half = count >> 1;
      const at = (low + half) * 4;
      const w0 = starts[at]!, w1 = starts[at + 1]!, w2 = starts[at + 2]!;
      const notBeyond = w0 !== a ? w0 < a : w1 !== b ? w1 < b : w2 !== c ? w2 < c : starts[at + 3]! <= d;
      if (notBeyond) low += half;
      count -= half;
    }
    return this.#entries[low]!;
  }

  #build(): void {
    const { own: learntOwn, routes: learntRoutes } = this.#learnt;
    const own = [...this.configured.filter(({ address }) => !this.#withheld.has(address)), ...learntOwn];
    this.unproven = this.configured.filter(({ address }) => this.#withheld.has(address));
    const routes = [...this.#configuredRoutes, ...learntRoutes];
    this.own = own;
    const connected = this.configured.filter(({ prefixLength, words }) =>
      prefixLength < 128 && !isLinkLocalWord(words[0])
    ).map(({ words, prefixLength, interfaceIndex }): Entry => ({
      words: maskedWords(words, prefixLength),
      prefixLength,
      kind: AddressKind.Other,
      interfaceIndex,
      gateway: 0,
      source: 0,
    }));
    const nowhere = { interfaceIndex: UNREACHABLE, gateway: 0, source: 0 };
    const ours = { kind: AddressKind.Ours, interfaceIndex: INTERFACE_LOCAL, gateway: 0, source: 0 };
    const through = routes.map((route): Entry => ({ ...route, kind: AddressKind.Other }));
    const intervals = flatten([
      ...this.#subnets.map((prefix): Entry => ({ ...prefix, ...ours })),
      ...through,
      ...connected,
      ...MARTIANS.map((prefix): Entry => ({ ...prefix, ...nowhere, kind: AddressKind.Martian })),
      { words: UNSPECIFIED, prefixLength: 0, ...nowhere, kind: AddressKind.Other },
    ]);
    this.#entries = intervals.map(({ entry }) => entry);
    this.#starts = Int32Array.from(intervals.flatMap(({ start }) => wordsOf(start).map(addressKey)));
    const anywhere = through.find(({ prefixLength }) => prefixLength === 0) ?? connected[0] ?? through[0];
    const interfaceIndex = anywhere?.interfaceIndex ?? own[0]?.interfaceIndex;
    this.#group = interfaceIndex === undefined ? undefined : {
      words: UNSPECIFIED,
      prefixLength: 0,
      kind: AddressKind.Multicast,
      interfaceIndex,
      gateway: 0,
      source: 0,
    };
    this.#ours.clear();
    for (const { address } of own) this.#ours.add(address);
    this.#hold([
      ...[...own, ...this.unproven].map(({ address }) => address),
      ...routes.flatMap(({ gateway, source }) => [gateway, source]),
    ]);
  }

  /** Holds these addresses, and then lets go of those before: what is in both never falls to nobody. */
  #hold(addresses: readonly number[]): void {
    const held = addresses.filter(isIpv6Handle);
    for (const address of held) this.#addresses!.retain(address);
    for (const address of this.#held) this.#addresses!.release(address);
    this.#held = held;
  }
}

/** RFC 4291 section 2.7: how far an address means the same thing. */
function scopeOf(words: Ipv6Words): number {
  if (isMulticastWord(words[0])) return (words[0] >>> 16) & 15;
  return isLinkLocalWord(words[0]) ? 2 : 14;
}

/** The policy table of RFC 6724 section 2.1, as far as it tells own addresses apart. */
function labelOf(words: Ipv6Words): number {
  if (words[0] >>> 25 === 0x7e) return 13; // fc00::/7, unique local
  if (words[0] >>> 16 === 0x2002) return 2;
  return words[0] === 0x2001_0000 ? 5 : 1;
}

function isBetterSource(one: OwnIpv6, other: OwnIpv6, to: Ipv6Words, interfaceIndex: number): boolean {
  const scope = scopeOf(one.words), otherScope = scopeOf(other.words);
  if (scope !== otherScope) return scope < otherScope ? scope >= scopeOf(to) : otherScope < scopeOf(to);
  if (one.deprecated !== other.deprecated) return other.deprecated;
  const here = one.interfaceIndex === interfaceIndex;
  if (here !== (other.interfaceIndex === interfaceIndex)) return here;
  const fits = labelOf(one.words) === labelOf(to);
  if (fits !== (labelOf(other.words) === labelOf(to))) return fits;
  const shared = ({ words, prefixLength }: OwnIpv6): number =>
    Math.min(prefixLength, commonPrefixLength(words, to));
  return shared(one) > shared(other);
}

function bigOf(words: Ipv6Words): bigint {
  return words.reduce((sum, word) => (sum << 32n) | BigInt(word >>> 0), 0n);
}

function wordsOf(value: bigint): number[] {
  return [96n, 64n, 32n, 0n].map((shift) => Number((value >> shift) & 0xffff_ffffn) | 0);
}

/** As in routes.ts, on a longer line: the longest prefix that holds for each interval. */
function flatten(entries: readonly Entry[]): { start: bigint; entry: Entry }[] {
  const lines = entries.map((entry) => {
    const low = bigOf(entry.words);
    return { entry, low, high: low + (1n << BigInt(128 - entry.prefixLength)) - 1n };
  });
  const order = (a: bigint, b: bigint): number => a < b ? -1 : a > b ? 1 : 0;
  lines.sort((a, b) => order(a.low, b.low) || a.entry.prefixLength - b.entry.prefixLength);
  const intervals: { start: bigint; entry: Entry }[] = [];
  const begin = (start: bigint, entry: Entry): void => {
    if (intervals.at(-1)?.start === start) intervals.pop();
    intervals.push({ start, entry });
  };
  const open: typeof lines = [];
  const end = (before: bigint): void => {
    while (open.length > 1 && open.at(-1)!.high < before) {
      const ended = open.pop()!;
      if (open.at(-1)!.high > ended.high) begin(ended.high + 1n, open.at(-1)!.entry);
    }
  };
  for (const line of lines) {
    end(line.low);
    const around = open.at(-1);
    if (around?.low === line.low && around.high === line.high) continue; // the first of equals holds
    begin(line.low, line.entry);
    open.push(line);
  }
  end(1n << 128n);
  return intervals;
}
