/** Addresses, own subnets and routes, each: a host, not a backbone router. Subnets hold the masses. */
export const ROUTES_MAX = 4_096;

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

/** A table that cannot be. `path` is the place of the mistake, as in `routes[2].gateway`. */
export class RouteError extends Error {
  override name = "RouteError";
  readonly path: string;

  constructor(path: string, message: string, options?: ErrorOptions) {
    super(`Cannot make routes: ${path}: ${message}`, options);
    this.path = path;
  }
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
