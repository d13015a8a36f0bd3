import type { AddressHolder } from "../ip/address_table.ts";
import { bindsClash, hears, isUnspecified } from "../wire/address.ts";
import type { TcpOptions } from "./options.ts";

/** Somebody who accepts connections. Plain data: the socket layer knows the rest by `id`. */
export interface TcpListener {
  readonly id: number;
  /** Local address (int32), 0 for every IPv4 address of the stack, `IPV6_ANY` for all of both families. */
  readonly address: number;
  readonly port: number;
  /** The SYN queue: connections in SYN-RECEIVED. */
  pending: number;
  /** The accept queue: established ones that the application has not taken. Whoever takes one says so: `taken`. */
  waiting: number;
  /** Its connections that have a TCB, whatever their state. */
  awake: number;
  readonly backlog: number;
  /** Of its connections nothing leaves that is not in the log (durable.ts). */
  readonly durable: boolean;
  /** What holds for its connections, from their SYN-ACK on. */
  options?: TcpOptions;
  /** Connections handed out on their SYN alone that may wait for the handshake's end: TCP_FASTOPEN; 0 for none. */
  fastOpenMax: number;
  fastOpenPending: number;
  /** Key of its Fast Open cookies, when it is not the stack's: TCP_FASTOPEN_KEY. */
  fastOpenKey?: string;
  /** Those of them that were reset, as the times from when on they count no more (RFC 7413 section 5.1). */
  readonly fastOpenResets: number[];
  /** Until then an ACK out of nowhere may be a SYN cookie that comes back. */
  cookiesUntilMs: number;
}

/** Whether one more handshake would be too many: what comes now is answered with a cookie, or dropped. */
export function synQueueFull(listener: TcpListener, synBacklogMax: number): boolean {
  return listener.pending >= Math.min(Math.max(1, listener.backlog), synBacklogMax);
}

/** Whether no more connections may be established: one more than the backlog waits, as on Linux. */
export function acceptQueueFull(listener: TcpListener): boolean {
  return listener.waiting > listener.backlog;
}

/** Port and address -> listener. A specific address is preferred to the wildcard. */
export class TcpListeners {
  readonly #holder: AddressHolder;
  readonly #byPort = new Map<number, TcpListener[]>();
  readonly #byId = new Map<number, TcpListener>();
  #nextId = 0;

  constructor(holder: AddressHolder) {
    this.#holder = holder;
  }

  get size(): number {
    return this.#byId.size;
  }

  /** @returns The new listener, or `undefined` when address and port are taken. */
  add(address: number, port: number, backlog: number, durable = false): TcpListener | undefined {
    const others = this.#byPort.get(port);
    if (others?.some((other) => bindsClash(other.address, address))) return undefined;
    const listener: TcpListener = {
      id: this.#nextId++,
      address,
      port,
      pending: 0,
      waiting: 0,
      awake: 0,
      backlog,
      durable,
      fastOpenMax: 0,
      fastOpenPending: 0,
      fastOpenResets: [],
      cookiesUntilMs: -Infinity,
    };
    if (others === undefined) this.#byPort.set(port, [listener]);
    else if (isUnspecified(address)) others.push(listener);
    else others.unshift(listener); // wildcards stay last
    this.#byId.set(listener.id, listener);
    this.#holder.retain(address);
    return listener;
  }

  /** What holds for its connections from the next SYN on. */
  configure(listener: TcpListener, options: TcpOptions | undefined, fastOpenMax: number): void {
    if (options !== undefined) listener.options = options;
    listener.fastOpenMax = fastOpenMax;
  }

  /** The application has taken an established connection out of the accept queue, or one stands there again. */
  taken(listener: TcpListener): void {
    listener.waiting--;
  }
  putBack(listener: TcpListener): void {
    listener.waiting++;
  }

  remove(listener: TcpListener): void {
    const others = this.#byPort.get(listener.port)?.filter((other) => other !== listener) ?? [];
    if (others.length === 0) this.#byPort.delete(listener.port);
    else this.#byPort.set(listener.port, others);
    if (this.#byId.delete(listener.id)) this.#holder.release(listener.address);
  }

  find(address: number, port: number): TcpListener | undefined {
    const candidates = this.#byPort.get(port);
    if (candidates === undefined) return undefined;
    for (const listener of candidates) {
      if (hears(listener.address, address)) return listener;
    }
    return undefined;
  }

  byId(id: number): TcpListener | undefined {
    return this.#byId.get(id);
  }
}
