import {
  formatIpv4,
  IPV4_BROADCAST,
  isInPrefix,
  isLoopback,
  maskOf,
  parseIpv4,
  parsePrefix,
} from "../wire/address.ts";
import {
  type AddressSpec,
  isIpv6Text,
  readInterface,
  type RouteConfig,
  RouteError,
  type RouteSpec,
} from "./route_config.ts";
import { AddressKind, INTERFACE_LOCAL, UNREACHABLE } from "./route_record.ts";

/** A prefix and what holds for it. Kept in order of weight: of two equal prefixes, the first wins. */
export interface Ipv4Entry {
  readonly low: number; // unsigned
  readonly prefixLength: number;
  readonly kind: AddressKind;
  readonly interfaceIndex: number;
  readonly gateway: number; // 0 for none
  readonly source: number;
}

/** An address of ours, with the length of its network. */
export interface OwnIpv4 {
  readonly address: number;
  readonly prefixLength: number;
  readonly interfaceIndex: number;
}

const NOWHERE = { interfaceIndex: UNREACHABLE, gateway: 0, source: 0 };
const LOCAL = { kind: AddressKind.Ours, interfaceIndex: INTERFACE_LOCAL, gateway: 0, source: 0 };

/**
 * The IPv4 half of a configuration: own addresses in their order, and the prefixes that a table is made of.
 * @throws {RouteError} At the first mistake.
 */
export function readIpv4Config(
  config: RouteConfig,
  interfaceCount: number,
): { own: OwnIpv4[]; entries: Ipv4Entry[] } {
  const { addresses = [], subnets = [], routes = [] } = config;
  const ownPaths: string[] = [];
  const own: OwnIpv4[] = [];
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
  const hosts = own.map(({ address }): Ipv4Entry => ({ ...LOCAL, low: address >>> 0, prefixLength: 32 }));
  const broadcasts = own.filter(hasBroadcast).map(({ address, prefixLength, interfaceIndex }): Ipv4Entry => ({
    low: (address | ~maskOf(prefixLength)) >>> 0,
    prefixLength: 32,
    kind: AddressKind.Broadcast,
    interfaceIndex,
    gateway: 0,
    source: address,
  }));
  const subnetPaths: string[] = [];
  const ours: Ipv4Entry[] = [];
  for (const [index, text] of subnets.entries()) {
    if (isIpv6Text(text)) continue;
    subnetPaths.push(`subnets[${index}]`);
    ours.push({ ...LOCAL, ...readPrefix(text, `subnets[${index}]`) });
  }
  refuseRepeats(ours, subnetPaths);
  const connected = own.filter(({ address, prefixLength }) => prefixLength < 32 && !isLoopback(address))
    .map(({ address, prefixLength, interfaceIndex }): Ipv4Entry => ({
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
    const reaches = ({ low, prefixLength, interfaceIndex }: Ipv4Entry): boolean =>
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
  const entries: Ipv4Entry[] = [
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
  return { own, entries };
}

function hasBroadcast({ address, prefixLength }: OwnIpv4): boolean {
  return prefixLength <= 30 && !isLoopback(address); // RFC 3021: two hosts on a wire need none
}

function readAddress(spec: AddressSpec, path: string, interfaceCount: number): OwnIpv4 {
  const prefix = parsePrefix(spec.address);
  if (prefix === undefined) {
    throw new RouteError(
      `${path}.address`,
      `Found "${spec.address}", expected an address like "10.7.0.1/24"`,
    );
  }
  if (spec.dad) throw new RouteError(`${path}.dad`, `"${spec.address}" is no IPv6 address`);
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
  own: readonly OwnIpv4[],
  subnets: readonly Ipv4Entry[],
): Ipv4Entry {
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

function refuseRepeats(
  prefixes: readonly Pick<Ipv4Entry, "low" | "prefixLength">[],
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
