import {
  formatIpv6,
  type Ipv6Prefix,
  type Ipv6Words,
  isInIpv6Prefix,
  isLinkLocalWord,
  isMappedWords,
  isMulticastWord,
  isStrayLinkLocalWord,
  maskedWords,
  parseIpv6Prefix,
} from "../wire/ipv6_address.ts";
import type { AddressTable } from "./address_table.ts";
import {
  type AddressSpec,
  isIpv6Text,
  readInterface,
  type RouteConfig,
  RouteError,
  type RouteSpec,
} from "./route_config.ts";

/** An IPv6 address that the stack has on an interface. */
export interface OwnIpv6 {
  readonly address: number;
  readonly words: Ipv6Words;
  readonly prefixLength: number;
  readonly interfaceIndex: number;
  /** No longer for new connections (RFC 4862 section 5.5.4). */
  readonly deprecated: boolean;
  /** Configured, and to be used only when nobody else has it. */
  readonly dad?: boolean;
}

/** Where packets to a network leave: `gateway` 0 for neighbours, `source` 0 for the best there is. */
export interface Ipv6Route extends Ipv6Prefix {
  readonly interfaceIndex: number;
  readonly gateway: number;
  readonly source: number;
}

/** What a configuration says about IPv6. */
export interface ConfiguredIpv6 {
  readonly own: readonly OwnIpv6[];
  readonly subnets: readonly Ipv6Prefix[];
  readonly routes: readonly Ipv6Route[];
}

/**
 * Reads the IPv6 part of a configuration.
 * @throws {RouteError} At the first mistake.
 */
export function readIpv6Config(
  config: RouteConfig,
  interfaceCount: number,
  addresses: AddressTable | undefined,
): ConfiguredIpv6 {
  if (addresses === undefined) return { own: [], subnets: [], routes: [] };
  const own: OwnIpv6[] = [];
  const specs: [path: string, spec: RouteSpec][] = [];
  const seen = new Map<string, string>();
  const once = (key: string, path: string): void => {
    const first = seen.get(key);
    if (first !== undefined) throw new RouteError(path, `${key} again, first in ${first}`);
    seen.set(key, path);
  };
  for (const [at, spec] of (config.addresses ?? []).entries()) {
    if (!isIpv6Text(spec.address)) continue;
    const path = `addresses[${at}]`;
    const read = readOwn(spec, path, interfaceCount, addresses);
    once(`${addresses.format(read.address)}/128`, path);
    own.push(read);
    const { gateway, interface: interfaceIndex = 0 } = spec;
    if (gateway === undefined) continue;
    specs.push([path, { destination: "::/0", interface: interfaceIndex, gateway }]);
  }
  seen.clear();
  const subnets = (config.subnets ?? []).flatMap((text, at) => {
    if (!isIpv6Text(text)) return [];
    const prefix = readNetwork(text, `subnets[${at}]`);
    once(keyOf(prefix), `subnets[${at}]`);
    return [prefix];
  });
  seen.clear();
  for (const [at, spec] of (config.routes ?? []).entries()) {
    if (isIpv6Text(spec.destination)) specs.push([`routes[${at}]`, spec]);
  }
  const routes = specs.map(([path, spec]): Ipv6Route => {
    const prefix = readNetwork(spec.destination, `${path}.destination`);
    once(keyOf(prefix), path);
    const interfaceIndex = readInterface(spec.interface, path, interfaceCount);
    const gateway = spec.gateway === undefined
      ? 0
      : readHost(spec.gateway, `${path}.gateway`, interfaceIndex, addresses);
    if (own.some(({ address }) => address === gateway)) {
      throw new RouteError(`${path}.gateway`, `"${spec.gateway}" is our own address, expected a neighbour's`);
    }
    let source = 0;
    if (spec.source !== undefined) {
      source = readHost(spec.source, `${path}.source`, interfaceIndex, addresses);
      const words = addresses.words(source);
      const isOurs = own.some(({ address }) => address === source) ||
        subnets.some((subnet) => isInIpv6Prefix(words, subnet));
      if (!isOurs) {
        throw new RouteError(`${path}.source`, `"${spec.source}" is not ours, expected one that is`);
      }
    }
    return { ...prefix, interfaceIndex, gateway, source };
  });
  for (const [at, { gateway, interfaceIndex }] of routes.entries()) {
    if (gateway === 0 || addresses.isLinkLocal(gateway)) continue;
    const words = addresses.words(gateway);
    const direct = [...own, ...routes.filter((route) => route.gateway === 0)];
    const reaches = (prefix: OwnIpv6 | Ipv6Route): boolean =>
      prefix.interfaceIndex === interfaceIndex && isInIpv6Prefix(words, prefix);
    if (direct.some(reaches)) continue;
    throw new RouteError(
      `${specs[at]![0]}.gateway`,
      `${
        addresses.format(gateway)
      } is no neighbour on interface ${interfaceIndex}, expected one in a network ` +
        "of its addresses, or a link-local address",
    );
  }
  return { own, subnets, routes };
}

function keyOf({ words, prefixLength }: Ipv6Prefix): string {
  return `${formatIpv6(...words)}/${prefixLength}`;
}

function readOwn(spec: AddressSpec, path: string, interfaceCount: number, addresses: AddressTable): OwnIpv6 {
  const prefix = parseIpv6Prefix(spec.address);
  if (prefix === undefined) {
    throw new RouteError(
      `${path}.address`,
      `Found "${spec.address}", expected an address like "2001:db8::1/64"`,
    );
  }
  const { words, prefixLength } = prefix;
  if (!isHost(words)) throw new RouteError(`${path}.address`, `"${spec.address}" is no host's address`);
  const interfaceIndex = readInterface(spec.interface, path, interfaceCount);
  const address = addresses.ofWords(words, isLinkLocalWord(words[0]) ? interfaceIndex + 1 : 0);
  return { address, words, prefixLength, interfaceIndex, deprecated: false, dad: spec.dad ?? false };
}

function isHost(words: Ipv6Words): boolean {
  const low = words[0] === 0 && words[1] === 0 && words[2] === 0 && words[3] >>> 0 <= 1; // :: and ::1
  return !low && !isMulticastWord(words[0]) && !isMappedWords(words) && !isStrayLinkLocalWord(words[0]);
}

function readNetwork(text: string, path: string): Ipv6Prefix {
  const prefix = parseIpv6Prefix(text);
  if (prefix === undefined) {
    throw new RouteError(path, `Found "${text}", expected a network like "2001:db8::/32"`);
  }
  const { words, prefixLength } = prefix;
  const network = maskedWords(words, prefixLength);
  if (network.some((word, at) => word !== words[at])) {
    const meant = `"${formatIpv6(...network)}/${prefixLength}" or "${formatIpv6(...words)}"`;
    throw new RouteError(path, `"${text}" has bits beyond its length, expected ${meant}`);
  }
  if (prefixLength >= 8 && isMulticastWord(words[0])) throw new RouteError(path, `"${text}" holds no hosts`);
  if (prefixLength >= 10 && isLinkLocalWord(words[0])) {
    throw new RouteError(path, `"${text}" is on every interface, and needs no route`);
  }
  return prefix;
}

function readHost(text: string, path: string, interfaceIndex: number, addresses: AddressTable): number {
  const prefix = text.includes("/") ? undefined : parseIpv6Prefix(text.split("%")[0]!);
  if (prefix !== undefined && isHost(prefix.words)) {
    return addresses.ofWords(prefix.words, isLinkLocalWord(prefix.words[0]) ? interfaceIndex + 1 : 0);
  }
  throw new RouteError(path, `Found "${text}", expected a host's address like "2001:db8::1"`);
}
