import { isIpv6Handle, maskOf } from "../wire/address.ts";
import type { AddressTable } from "./address_table.ts";
import { addressKey, intervalOf } from "./intervals.ts";
import { type Ipv4Entry, type OwnIpv4, readIpv4Config } from "./ipv4_route_config.ts";
import { Ipv6Routes } from "./ipv6_routes.ts";
import { checkShape, type RouteConfig } from "./route_config.ts";
import { AddressKind, INTERFACE_LOCAL, type RouteRecord, UNREACHABLE } from "./route_record.ts";

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
  readonly #own: readonly OwnIpv4[];
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
    checkShape(config);
    const { own, entries } = readIpv4Config(config, interfaceCount);
    const intervals = flatten(entries);
    const column = (of: (entry: Ipv4Entry) => number): number[] => intervals.map(({ entry }) => of(entry));
    this.#own = own;
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

  /** The first IPv4 address of all, 0 when there is none. */
  anyAddress(): number {
    return this.#own[0]?.address ?? 0;
  }

  /** The interface that has one of our addresses, -1 for every other address. */
  interfaceOf(address: number): number {
    if (isIpv6Handle(address)) return this.ipv6.interfaceOf(address);
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

/**
 * The longest prefix that holds for each interval of the line. Prefixes lie inside each other or
 * apart; 0.0.0.0/0 is among them, and so is 255.255.255.255/32, which ends with the line.
 */
function flatten(entries: readonly Ipv4Entry[]): { start: number; entry: Ipv4Entry }[] {
  // Stable: of equal prefixes the first stays first, and all but it are passed over.
  const sorted = [...entries].sort((a, b) => a.low - b.low || a.prefixLength - b.prefixLength);
  const intervals: { start: number; entry: Ipv4Entry }[] = [];
  const begin = (start: number, entry: Ipv4Entry): void => {
    if (intervals.at(-1)?.start === start) intervals.pop(); // an interval of no length
    intervals.push({ start, entry });
  };
  const open: Ipv4Entry[] = []; // from the widest to the narrowest around the present place
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

function highOf({ low, prefixLength }: Ipv4Entry): number {
  return (low | ~maskOf(prefixLength)) >>> 0;
}
