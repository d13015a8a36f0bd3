import { Slab } from "../../base/slab.ts";
import { Firewall } from "../../net/firewall/firewall.ts";
import type { FirewallRules } from "../../net/firewall/rule.ts";
import type { Stack } from "../../net/stack.ts";
import type { TcpListener } from "../../net/tcp/listeners.ts";
import type { Tcb } from "../../net/tcp/tcb.ts";
import type { UdpSocket } from "../../net/udp/udp.ts";
import { formatTuple } from "../../net/connections/tuple.ts";
import type { CborValue } from "../image/cbor.ts";
import { hash64, HASH_BYTES, putHash } from "../image/hash.ts";

/** One side of the boundary: a stack, recorded or replayed, and what the outside knows of it by number. */
export class Core {
  readonly stack: Stack;
  readonly sockets: Map<number, UdpSocket> = new Map();
  /** The time of the latest call. */
  nowMs: number;

  constructor(stack: Stack, nowMs: number) {
    this.stack = stack;
    this.nowMs = nowMs;
  }
}

/**
 * How a value that crosses the boundary is written. Objects of the stack cross by their numbers, which are the same
 * in the replay: everything that gives them out is replayed.
 */
export interface Codec {
  /** `undefined` for something that the stack has let go of: what is asked of that has no effect. */
  encode(value: unknown, core: Core): CborValue | undefined;
  /** Never called for what is encoded as `implied`. */
  decode(value: CborValue, core: Core): unknown;
  /** Known on both sides, and so not written. */
  readonly implied?: (core: Core) => unknown;
  /** What a listing says of it; by default its diagnostic notation. Empty: nothing. */
  show?(value: CborValue, core: Core): string;
}

const never = (): never => {
  throw new TypeError("A value that is implied is not written");
};

export const tcp: Codec = { encode: never, decode: never, implied: ({ stack }) => stack.tcp };
export const addresses: Codec = { encode: never, decode: never, implied: ({ stack }) => stack.addresses };

/** Nothing, or something that makes no difference to the stack. */
export const nothing: Codec = { encode: () => null, decode: () => undefined, show: () => "" };

/** A number, flag, text or `undefined`. */
export const scalar: Codec = {
  encode: (value) => (value ?? null) as CborValue,
  decode: (value) => value ?? undefined,
};

/** Milliseconds since the epoch, at which something is due; null for never, false for long ago (-Infinity). */
export const deadline: Codec = {
  encode: (value) => value === Infinity ? null : value === -Infinity ? false : value as number,
  decode: (value) => value === false ? -Infinity : value ?? Infinity,
};

/** Milliseconds since the epoch, now. */
export const now: Codec = {
  encode: (value, core) => core.nowMs = value as number,
  decode: (value, core) => core.nowMs = value as number,
  show: () => "", // each line of a listing has its time
};

/** An address: a handle is worth nothing outside its process. */
export const address: Codec = {
  encode: (value, { stack }) => value === undefined ? null : stack.addresses.freeze(value as number),
  decode: (value, { stack }) =>
    value === null ? undefined : stack.addresses.thaw(value as number | Uint8Array),
  show: (value, { stack }) => {
    if (value === null) return "none";
    return stack.addresses.format(stack.addresses.thaw(value as number | Uint8Array));
  },
};

export const bytes: Codec = {
  encode: (value) => (value ?? null) as CborValue,
  decode: (value) => value ?? undefined,
  show: (value) => value === null ? "" : `${(value as Uint8Array).length} bytes`,
};

export const tcb: Codec = {
  encode: (value, { stack }) => {
    if (value === undefined) return null;
    const { slot } = value as Tcb;
    return stack.tcp.tcbIn(slot) === value ? slot : undefined;
  },
  decode: (value, { stack }) => stack.tcp.tcbIn(value as number),
  show: (value, { stack }) => {
    const found = stack.tcp.tcbIn(value as number);
    return found === undefined ? "none" : connectionOf(found, stack);
  },
};

/** The public name of a connection, also of one that has no record any more. */
export function connectionOf(of: Tcb, { addresses }: Stack): string {
  return formatTuple(of.localAddress, of.localPort, of.remoteAddress, of.remotePort, addresses);
}

export const listener: Codec = {
  encode: (value, { stack }) => {
    if (value === undefined) return null;
    const { id } = value as TcpListener;
    return stack.tcp.listeners.byId(id) === value ? id : undefined;
  },
  decode: (value, { stack }) => stack.tcp.listeners.byId(value as number),
  show: (value, { stack }) => {
    const found = stack.tcp.listeners.byId(value as number);
    return found === undefined ? "none" : place(found, stack);
  },
};

function place(
  { address, port }: { readonly address: number; readonly port: number },
  { addresses }: Stack,
): string {
  return `${addresses.format(address)} port ${port}`;
}

export const socket: Codec = {
  encode: (value, { sockets }) => {
    if (value === undefined) return null;
    const { id } = value as UdpSocket;
    return sockets.get(id) === value ? id : undefined;
  },
  decode: (value, { sockets }) => value === null ? undefined : sockets.get(value as number),
  show: (value, { sockets, stack }) => {
    const found = sockets.get(value as number);
    return found === undefined ? "" : place(found, stack);
  },
};

/** A socket that is bound by this call. */
export const newSocket: Codec = {
  encode: (value, { sockets }) => {
    if (value === undefined) return null;
    const bound = value as UdpSocket;
    sockets.set(bound.id, bound);
    return bound.id;
  },
  decode: never,
};

/** Plain data: options, routes, a frozen TCB. */
export const plain: Codec = {
  encode: (value) => written(value),
  decode: (value) => read(value),
};

const INFINITE = "Infinity";

/** Options and the like as a recording holds them. */
export function plainData(value: unknown): CborValue {
  return written(value);
}
/** And back. */
export function fromPlainData(value: CborValue): unknown {
  return read(value);
}

function written(value: unknown): CborValue {
  if (value === undefined || value === null) return null;
  if (value === Infinity) return INFINITE;
  if (Array.isArray(value)) return value.map(written);
  if (typeof value !== "object" || value instanceof Uint8Array) return value as CborValue;
  const members = Object.entries(value).filter(([, each]) => each !== undefined);
  return new Map(members.map(([name, each]) => [name, written(each)]));
}

function read(value: CborValue): unknown {
  if (value === INFINITE) return Infinity;
  if (Array.isArray(value)) return value.map(read);
  if (value instanceof Map) return Object.fromEntries([...value].map(([name, each]) => [name, read(each)]));
  return value;
}

/** As `plain`, where absence is `undefined`. */
export const optional: Codec = { encode: plain.encode, decode: (value) => read(value) ?? undefined };

/** A compiled rule set, as the rules that it is made of. */
export const firewall: Codec = {
  encode: (value) => {
    if (value === undefined) return null;
    const { policy, rules } = (value as Firewall).rules();
    return written({
      policy: {
        input: policy.input.action,
        output: policy.output.action,
        forward: policy.forward.action,
      },
      rules: rules.map(({ rule }) => rule),
    });
  },
  decode: (value, { stack }) => {
    if (value === null) return undefined;
    return new Firewall(read(value) as FirewallRules, stack.output.interfaces.map(({ name }) => name));
  },
};

/** The digest of something long that need only be the same. */
export function digest(value: Uint8Array): Uint8Array {
  const hash = new Uint8Array(HASH_BYTES);
  putHash(hash, 0, hash64(value));
  return hash;
}

/** A frame that arrives, as bytes of its own. */
export function slabOf(value: CborValue): Slab {
  return new Slab((value as Uint8Array).slice());
}
