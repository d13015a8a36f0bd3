import {
  formatIpv4,
  IPV4_BROADCAST,
  isInPrefix,
  isIpv6Handle,
  isLoopback,
  maskOf,
  parseIpv4,
  parsePrefix,
} from "../wire/address.ts";
import type { AddressTable } from "./address_table.ts";
import { addressKey, intervalOf } from "./intervals.ts";
import { isIpv6Text } from "./ipv6_route_config.ts";
import { Ipv6Routes } from "./ipv6_routes.ts";

/** Addresses, own subnets and routes, each: a host, not a backbone router. Subnets hold the masses. */
export const ROUTES_MAX = 4_096;

/** `RouteRecord.interfaceIndex` of a destination inside the stack. */
export const INTERFACE_LOCAL: number = -1;

/** An address that the stack owns on an interface, and the network that it reaches there directly. */
export interface AddressSpec {
  /** `"10.7.0.1/24"`, `"2001:db8::1/64"`: an address with the length of its network; a bare one has no network. */
  readonly address: string;
  /** Default 0. */
  readonly interface?: number;
  /** Makes this interface the way to everywhere else: short for a route to `0.0.0.0/0` or `::/0`. */
  readonly gateway?: string;
}

/** Where packets to a network leave. */
export interface RouteSpec {
  /** `"192.168.0.0/16"`, `"2001:db8:7::/48"`. */
  readonly destination: string;
  /** Default 0. */
  readonly interface?: number;
  /** A neighbour on that interface; without one, the destinations are neighbours themselves. */
  readonly gateway?: string;
  /** One of our addresses; default the interface's address that shares a network with the gateway. */
  readonly source?: string;
}

/** Everything a table is made of: plain data. */
export interface RouteConfig {
  readonly addresses?: readonly AddressSpec[];
  /** Networks whose every address is the stack's own, as in `"10.8.0.0/16"`. */
  readonly subnets?: readonly string[];
  readonly routes?: readonly RouteSpec[];
}

/** What an address is to us. */
export const AddressKind = {
  /** Somebody else's. */
  Other: 0,
  Ours: 1,
  /** 255.255.255.255, or the last address of a network that we are in. */
  Broadcast: 2,
  Multicast: 3,
  /** Never on the wire as a host: 0.0.0.0/8, 127.0.0.0/8, 240.0.0.0/4 (RFC 1122 section 3.2.1.3). */
  Martian: 4,
} as const;
export type AddressKind = (typeof AddressKind)[keyof typeof AddressKind];

/** How to reach a destination. Make one and let `route` fill it. */
export interface RouteRecord {
  /** `INTERFACE_LOCAL` for one of our own addresses. */
  interfaceIndex: number;
  /** The address to resolve on that interface: the gateway's or the destination's. */
  nextHop: number;
  /** The address to speak from, 0 when the interface has none, or IPv6 is to choose one. */
  source: number;
}

/** A table that cannot be. `path` is the place of the mistake, as in `routes[2].gateway`. */
export class RouteError extends Error {
  override name = "RouteError";
  readonly path: string;

  constructor(path: string, message: string, options?: ErrorOptions) {
    super(`Cannot make routes: ${path}: ${message}`, options);
    this.path = path;
  }
}

/** A prefix and what holds for it. Kept in order of weight: of two equal prefixes, the first wins. */
interface Entry {
  readonly low: number; // unsigned
  readonly prefixLength: number;
  readonly kind: AddressKind;
  readonly interfaceIndex: number;
  readonly gateway: number; // 0 for none
  readonly source: number;
}

/**
 * Which addresses are the stack's own, and how to reach the others.
 *
 * One table answers both, by the longest prefix: an address lies in a network that is ours, in one
 * that an interface reaches directly, or behind a gateway. An own subnet may so contain a smaller
 * network of neighbours, and the reverse; where both are equal the subnet is ours. A lookup is one
 * binary search.
 *
 * @example
 * ```ts
 * import { RouteTable } from "@torpor/torpor/net/ip/routes.ts";
 * import { parseIpv4 } from "@torpor/torpor/net/wire/address.ts";
 * const table = new RouteTable({ addresses: [{ address: "10.7.0.2/24", gateway: "10.7.0.1" }], subnets: ["10.8.0.0/16"] });
 * console.log(table.isOurs(parseIpv4("10.8.77.1")!)); // true
 * const found = { interfaceIndex: 0, nextHop: 0, source: 0 };
 * table.route(parseIpv4("9.9.9.9")!, found); // via 10.7.0.1, from 10.7.0.2
 * ```
 */
export class RouteTable {
  /** The same for IPv6 addresses. */
  readonly ipv6: Ipv6Routes;
  readonly #starts: Int32Array;
  readonly #own: readonly OwnAddress[];
  // By interval.
  readonly #kind: Uint8Array;
  readonly #reachable: Uint8Array;
  readonly #interfaceIndex: Int32Array;
  readonly #gateway: Int32Array;
  readonly #source: Int32Array;

  /**
   * @param interfaceCount Interfaces are numbered from 0 to one less.
   * @param addresses Where the IPv6 addresses in `config` get their handles.
   * @throws {RouteError} At the first mistake.
   */
  constructor(config: RouteConfig, interfaceCount = 1, addresses?: AddressTable) {
    const intervals = flatten(entriesOf(config, interfaceCount));
    const column = (of: (entry: Entry) => number): number[] => intervals.map(({ entry }) => of(entry));
    this.#own = (config.addresses ?? []).filter(({ address }) => !isIpv6Text(address))
      .map((spec) => readAddress(spec, "addresses", interfaceCount));
    this.#starts = Int32Array.from(intervals, ({ start }) => addressKey(start));
    this.#kind = Uint8Array.from(column(({ kind }) => kind));
    this.#reachable = Uint8Array.from(column(({ interfaceIndex }) => Number(interfaceIndex !== UNREACHABLE)));
    this.#interfaceIndex = Int32Array.from(column(({ interfaceIndex }) => interfaceIndex));
    this.#gateway = Int32Array.from(column(({ gateway }) => gateway));
    this.#source = Int32Array.from(column(({ source }) => source));
    this.ipv6 = new Ipv6Routes(config, interfaceCount, addresses);
  }

  classify(address: number): AddressKind {
    if (isIpv6Handle(address)) return this.ipv6.classify(address);
    return this.#kind[intervalOf(this.#starts, addressKey(address))] as AddressKind;
  }

  isOurs(address: number): boolean {
    return this.classify(address) === AddressKind.Ours;
  }

  /** The first IPv4 address of an interface, 0 when it has none. */
  addressOn(interfaceIndex: number): number {
    return this.#own.find((own) => own.interfaceIndex === interfaceIndex)?.address ?? 0;
  }

  /** The interface that has one of our IPv4 addresses, -1 for every other address. */
  interfaceOf(address: number): number {
    return this.#own.find((own) => own.address === address)?.interfaceIndex ?? -1;
  }

  /** Fills `into`, or returns false when there is no way to `destination` and leaves it alone. */
  route(destination: number, into: RouteRecord): boolean {
    if (isIpv6Handle(destination)) return this.ipv6.route(destination, into);
    const at = intervalOf(this.#starts, addressKey(destination));
    if (this.#reachable[at] === 0) return false;
    const gateway = this.#gateway[at]!;
    into.interfaceIndex = this.#interfaceIndex[at]!;
    into.nextHop = gateway === 0 ? destination | 0 : gateway;
    into.source = into.interfaceIndex === INTERFACE_LOCAL ? destination | 0 : this.#source[at]!;
    return true;
  }
}

const UNREACHABLE = -2;
const NOWHERE = { interfaceIndex: UNREACHABLE, gateway: 0, source: 0 };
const LOCAL = { kind: AddressKind.Ours, interfaceIndex: INTERFACE_LOCAL, gateway: 0, source: 0 };

interface OwnAddress {
  readonly address: number;
  readonly prefixLength: number;
  readonly interfaceIndex: number;
}

function entriesOf(config: RouteConfig, interfaceCount: number): Entry[] {
  const { addresses = [], subnets = [], routes = [] } = config;
  for (const [name, list] of Object.entries({ addresses, subnets, routes })) {
    if (list.length > ROUTES_MAX) {
      throw new RouteError(name, `${list.length}, expected at most ${ROUTES_MAX}`);
    }
  }
  const ownPaths: string[] = [];
  const own: OwnAddress[] = [];
  const specs: [path: string, spec: RouteSpec][] = [];
  for (const [index, spec] of addresses.entries()) {
    if (isIpv6Text(spec.address)) continue;
    const path = `addresses[${index}]`;
    ownPaths.push(path);
    own.push(readAddress(spec, path, interfaceCount));
    const { gateway, interface: interfaceIndex = 0 } = spec;
    if (gateway === undefined) continue;
    specs.push([path, { destination: "0.0.0.0/0", interface: interfaceIndex, gateway }]);
  }
  refuseRepeats(own.map(({ address }) => ({ low: address, prefixLength: 32 })), ownPaths);
  const hosts = own.map(({ address }): Entry => ({ ...LOCAL, low: address >>> 0, prefixLength: 32 }));
  const broadcasts = own.filter(hasBroadcast).map(({ address, prefixLength, interfaceIndex }): Entry => ({
    low: (address | ~maskOf(prefixLength)) >>> 0,
    prefixLength: 32,
    kind: AddressKind.Broadcast,
    interfaceIndex,
    gateway: 0,
    source: address,
  }));
  const subnetPaths: string[] = [];
  const ours: Entry[] = [];
  for (const [index, text] of subnets.entries()) {
    if (isIpv6Text(text)) continue;
    subnetPaths.push(`subnets[${index}]`);
    ours.push({ ...LOCAL, ...readPrefix(text, `subnets[${index}]`) });
  }
  refuseRepeats(ours, subnetPaths);
  const connected = own.filter(({ address, prefixLength }) => prefixLength < 32 && !isLoopback(address))
    .map(({ address, prefixLength, interfaceIndex }): Entry => ({
      low: (address & maskOf(prefixLength)) >>> 0,
      prefixLength,
      kind: AddressKind.Other,
      interfaceIndex,
      gateway: 0,
      source: address,
    }));

  for (const [index, spec] of routes.entries()) {
    if (!isIpv6Text(spec.destination)) specs.push([`routes[${index}]`, spec]);
  }
  const read = specs.map(([path, spec]) => readRoute(spec, path, interfaceCount, own, ours));
  refuseRepeats(read, specs.map(([path]) => path));
  const direct = [...connected, ...read.filter(({ gateway }) => gateway === 0)];
  read.forEach((route, index) => {
    if (route.gateway === 0) return;
    const reaches = ({ low, prefixLength, interfaceIndex }: Entry): boolean =>
      interfaceIndex === route.interfaceIndex && isInPrefix(route.gateway, low, prefixLength);
    if (direct.some(reaches)) return;
    throw new RouteError(
      `${specs[index]![0]}.gateway`,
      `${
        formatIpv4(route.gateway)
      } is no neighbour on interface ${route.interfaceIndex}, expected one in a network of its addresses`,
    );
  });

  const anywhere = read.find(({ prefixLength }) => prefixLength === 0) ?? connected[0] ?? read[0];
  const groups = anywhere ? { ...anywhere, gateway: 0 } : NOWHERE; // a group has no gateway
  return [
    ...hosts,
    ...broadcasts,
    ...ours,
    ...read,
    ...connected,
    { ...groups, low: IPV4_BROADCAST >>> 0, prefixLength: 32, kind: AddressKind.Broadcast },
    { ...groups, low: 0xe000_0000, prefixLength: 4, kind: AddressKind.Multicast },
    { ...NOWHERE, low: 0, prefixLength: 8, kind: AddressKind.Martian },
    { ...NOWHERE, low: 0x7f00_0000, prefixLength: 8, kind: AddressKind.Martian },
    { ...NOWHERE, low: 0xf000_0000, prefixLength: 4, kind: AddressKind.Martian },
    { ...NOWHERE, low: 0, prefixLength: 0, kind: AddressKind.Other },
  ];
}

/**
 * The longest prefix that holds for each interval of the line. Prefixes lie inside each other or
 * apart; 0.0.0.0/0 is among them, and so is 255.255.255.255/32, which ends with the line.
 */
function flatten(entries: readonly Entry[]): { start: number; entry: Entry }[] {
  // Stable: of equal prefixes the first stays first, and all but it are passed over.
  const sorted = [...entries].sort((a, b) => a.low - b.low || a.prefixLength - b.prefixLength);
  const intervals: { start: number; entry: Entry }[] = [];
  const begin = (start: number, entry: Entry): void => {
    if (intervals.at(-1)?.start === start) intervals.pop(); // an interval of no length
    intervals.push({ start, entry });
  };
  const open: Entry[] = []; // from the widest to the narrowest around the present place
  for (const entry of sorted) {
    while (open.length > 0 && highOf(open.at(-1)!) < entry.low) {
      const ended = open.pop()!;
      begin(highOf(ended) + 1, open.at(-1)!);
    }
    const around = open.at(-1);
    if (around?.low === entry.low && around.prefixLength === entry.prefixLength) continue;
    begin(entry.low, entry);
    open.push(entry);
  }
  return intervals;
}

function highOf({ low, prefixLength }: Entry): number {
  return (low | ~maskOf(prefixLength)) >>> 0;
}

function hasBroadcast({ address, prefixLength }: OwnAddress): boolean {
  return prefixLength <= 30 && !isLoopback(address); // RFC 3021: two hosts on a wire need none
}

function readAddress(spec: AddressSpec, path: string, interfaceCount: number): OwnAddress {
  const prefix = parsePrefix(spec.address);
  if (prefix === undefined) {
    throw new RouteError(
      `${path}.address`,
      `Found "${spec.address}", expected an address like "10.7.0.1/24"`,
    );
  }
  const { address, prefixLength } = prefix;
  if (address >>> 24 === 0 || address >>> 28 >= 14) {
    throw new RouteError(`${path}.address`, `"${spec.address}" is no host's address`);
  }
  const own = { address, prefixLength, interfaceIndex: readInterface(spec.interface, path, interfaceCount) };
  const host = address & ~maskOf(prefixLength);
  if (hasBroadcast(own) && (host === 0 || host === ~maskOf(prefixLength))) {
    const what = host === 0 ? "the network" : "everyone in the network";
    throw new RouteError(`${path}.address`, `"${spec.address}" names ${what}, expected a host in it`);
  }
  return own;
}

function readRoute(
  spec: RouteSpec,
  path: string,
  interfaceCount: number,
  own: readonly OwnAddress[],
  subnets: readonly Entry[],
): Entry {
  const interfaceIndex = readInterface(spec.interface, path, interfaceCount);
  const gateway = spec.gateway === undefined ? 0 : readHost(spec.gateway, `${path}.gateway`);
  if (own.some(({ address }) => address === gateway)) {
    throw new RouteError(`${path}.gateway`, `"${spec.gateway}" is our own address, expected a neighbour's`);
  }
  const here = own.filter((address) => address.interfaceIndex === interfaceIndex);
  const near = here.find(({ address, prefixLength }) => isInPrefix(gateway, address, prefixLength)) ??
    here[0];
  let source = near?.address ?? 0;
  if (spec.source !== undefined) {
    source = readHost(spec.source, `${path}.source`);
    const isOurs = own.some(({ address }) => address === source) ||
      subnets.some(({ low, prefixLength }) => isInPrefix(source, low, prefixLength));
    if (!isOurs) throw new RouteError(`${path}.source`, `"${spec.source}" is not ours, expected one that is`);
  }
  const destination = readPrefix(spec.destination, `${path}.destination`);
  return { ...destination, kind: AddressKind.Other, interfaceIndex, gateway, source };
}

function readPrefix(text: string, path: string): { low: number; prefixLength: number } {
  const prefix = parsePrefix(text);
  if (prefix === undefined) {
    throw new RouteError(path, `Found "${text}", expected a network like "192.168.0.0/16"`);
  }
  const { address, prefixLength } = prefix;
  const network = address & maskOf(prefixLength);
  if (network !== address) {
    const meant = `"${formatIpv4(network)}/${prefixLength}" or "${formatIpv4(address)}"`;
    throw new RouteError(path, `"${text}" has bits beyond its length, expected ${meant}`);
  }
  if (prefixLength >= 4 && address >>> 28 >= 14) throw new RouteError(path, `"${text}" holds no hosts`);
  return { low: address >>> 0, prefixLength };
}

function readHost(text: string, path: string): number {
  const address = parseIpv4(text);
  if (address !== undefined && address >>> 24 !== 0 && address >>> 28 < 14) return address;
  throw new RouteError(path, `Found "${text}", expected a host's address like "10.7.0.1"`);
}

function readInterface(index: number | undefined, path: string, interfaceCount: number): number {
  if (index === undefined) return 0;
  if (Number.isInteger(index) && index >= 0 && index < interfaceCount) return index;
  throw new RouteError(`${path}.interface`, `No interface ${index}, expected 0 to ${interfaceCount - 1}`);
}

function refuseRepeats(
  prefixes: readonly Pick<Entry, "low" | "prefixLength">[],
  paths: readonly string[],
): void {
  const seen = new Map<string, string>();
  prefixes.forEach(({ low, prefixLength }, index) => {
    const key = `${formatIpv4(low)}/${prefixLength}`;
    const path = paths[index]!;
    const first = seen.get(key);
    if (first !== undefined) throw new RouteError(path, `${key} again, first in ${first}`);
    seen.set(key, path);
  });
}
