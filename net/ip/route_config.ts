/** Addresses, own subnets and routes, each: a host, not a backbone router. Subnets hold the masses. */
export const ROUTES_MAX = 4_096;

/** An address that the stack owns on an interface, and the network that it reaches there directly. */
export interface AddressSpec {
  /** `"10.7.0.1/24"`, `"2001:db8::1/64"`: an address with the length of its network; a bare one has no network. */
  readonly address: string;
  /** Default 0. */
  readonly interface?: number;
  /**
   * IPv6 on an Ethernet: asks whether somebody else has the address before it is used (RFC 4862 section 5.4), which
   * takes one to two seconds; until then nothing can be bound to it. Default: the interface's `ipv6.dad`.
   */
  readonly dad?: boolean;
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
  /** Addresses of the host. */
  readonly addresses?: readonly AddressSpec[];
  /** Networks whose every address is the stack's own, as in `"10.8.0.0/16"`. */
  readonly subnets?: readonly string[];
  /** Where packets to other networks leave. */
  readonly routes?: readonly RouteSpec[];
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

/**
 * Whether all of a configuration, which may come out of a file, is of its type.
 * @throws {RouteError} At the first thing that is not.
 */
export function checkShape(config: RouteConfig): void {
  const { addresses = [], subnets = [], routes = [] } = config;
  for (const [name, list] of Object.entries({ addresses, subnets, routes })) {
    if (!Array.isArray(list)) throw new RouteError(name, `Found ${show(list)}, expected a list`);
    if (list.length > ROUTES_MAX) {
      throw new RouteError(name, `${list.length}, expected at most ${ROUTES_MAX}`);
    }
  }
  subnets.forEach((subnet, at) => checkText(subnet, `subnets[${at}]`));
  addresses.forEach((spec, at) => checkSpec(spec, `addresses[${at}]`, ["address"], ["gateway"]));
  routes.forEach((spec, at) => checkSpec(spec, `routes[${at}]`, ["destination"], ["gateway", "source"]));
}

function checkSpec(spec: unknown, path: string, needed: readonly string[], allowed: readonly string[]): void {
  if (typeof spec !== "object" || spec === null) {
    throw new RouteError(path, `Found ${show(spec)}, expected an object`);
  }
  const fields = spec as Record<string, unknown>;
  for (const field of needed) checkText(fields[field], `${path}.${field}`);
  for (const field of allowed) if (fields[field] !== undefined) checkText(fields[field], `${path}.${field}`);
}

function checkText(value: unknown, path: string): void {
  if (typeof value !== "string") throw new RouteError(path, `Found ${show(value)}, expected a string`);
}

function show(value: unknown): string {
  return JSON.stringify(value) ?? String(value);
}

/** Whether a configured address or network is IPv6: every such text has a colon, and no IPv4 one. */
export function isIpv6Text(text: string): boolean {
  return text.includes(":");
}

/** @throws {RouteError} When there is no such interface. */
export function readInterface(index: number | undefined, path: string, interfaceCount: number): number {
  if (index === undefined) return 0;
  if (Number.isInteger(index) && index >= 0 && index < interfaceCount) return index;
  throw new RouteError(`${path}.interface`, `No interface ${index}, expected 0 to ${interfaceCount - 1}`);
}
