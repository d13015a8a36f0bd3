import { Duplex } from "node:stream";
import type { Alarm } from "../../base/clock.ts";
import { copied, Copies } from "../../base/copies.ts";
import { ReadOffer } from "../tcp/offer.ts";
import { checkTcpOptions, type TcpOptions } from "../tcp/options.ts";
import type { Endpoint } from "./endpoint.ts";
import type { Host } from "./host.ts";
import { ConnListener } from "./listener.ts";
import { nodeError } from "./node_error.ts";
import type { SocketTalk } from "./socket_talk.ts";
import { throwLater } from "./throw_later.ts";
import type { TcpListener } from "./types.ts";

/** How a {@linkcode StackSocket} behaves, as in `node:net`. */
export interface StackSocketOptions {
  /** Whether our side stays open when the peer has sent its last byte. Default false. */
  allowHalfOpen?: boolean;
  /** Who looks on at what is said. */
  talk?: SocketTalk;
}

/** Where to connect to. */
export interface StackConnectOptions extends StackSocketOptions {
  /** 1 to 65,535. */
  port: number;
  /** An address; absent: this host's own first address. */
  host?: string;
  /** The address of this host to connect from. */
  localAddress?: string;
  /** The port to connect from. */
  localPort?: number;
  /** Gives up. */
  signal?: AbortSignal;
  /** As `setNoDelay`, `setKeepAlive` and `setTimeout`, from the beginning. */
  noDelay?: boolean;
  /** As `setKeepAlive`. */
  keepAlive?: boolean;
  /** As `setKeepAlive`: milliseconds. */
  keepAliveInitialDelay?: number;
  /** As `setTimeout`: milliseconds. */
  timeout?: number;
}

/** An address as `node:net` gives it. */
export interface StackAddress {
  /** The address. */
  address: string;
  /** "IPv4" or "IPv6". */
  family: string;
  /** 1 to 65,535. */
  port: number;
}

type WriteCallback = (error?: Error | null) => void;

/** Bytes that are read into at a time; sockets share the buffer, as Node's small buffers do. */
const POOL_BYTES = 64 * 1024;
/** With less room than this in the buffer, the next one is begun. */
const POOL_ROOM_BYTES_MIN = 8 * 1024;
/** Small writes that were gathered while corked go out as one copy, so that they share a segment. */
const GATHER_BYTES_MAX = 64 * 1024;

let pool = new Uint8Array(0);
let poolUsed = 0;

/** Some trains of packets, */
const OFFER_BYTES = 256 * 1024;
/** and room for one: else it is time for another buffer. */
const OFFER_BYTES_MIN = 128 * 1024;
/** Where long data goes as it arrives, a socket's at a time; they are given away piece by piece, as the pool is. */
const offer = new ReadOffer(new Uint8Array(0));

/** A later turn of the event loop: MQTT brokers and others stall when bytes arrive in a microtask. */
const later: (callback: () => void) => void =
  (globalThis as unknown as { setImmediate?: (callback: () => void) => void }).setImmediate ??
    ((callback) => void setTimeout(callback, 0));

/**
 * `net.Socket` over a connection of the stack, for everything that takes a duplex stream: `node:http`,
 * `node:tls`, `node:http2`, WebSockets, database clients. The connection may sleep beneath it; the
 * stream object itself stays in memory.
 *
 * Bytes arrive in a turn of the event loop of their own, callbacks are never called inside the call
 * that they belong to. Errors carry Node's `code`. A closing host destroys its sockets without error.
 *
 * @example An HTTP server of `node:http`
 * ```ts
 * import { createServer } from "node:http";
 * import { Host, nodeServer, pipe } from "@torpor/torpor";
 * const [link, _theirs] = pipe();
 * const host = new Host({ interfaces: [{ link }], addresses: [{ address: "10.0.0.1/24" }] });
 * const server = createServer((_request, response) => void response.end("hello"));
 * nodeServer(host.listen({ port: 80 }), server);
 * host.close();
 * ```
 */
export class StackSocket extends Duplex {
  /** Between `connect` and its event. */
  connecting = false;
  /** Who has accepted it, where that was a server like `net.Server`. */
  server: unknown = undefined;
  /** Milliseconds of silence until `timeout`, 0 for never. */
  timeout = 0;
  /** Bytes that have arrived. */
  bytesRead = 0;
  readonly #host: Host;
  readonly #talk: SocketTalk | undefined;
  #endpoint: Endpoint | undefined;
  #bytesWritten = 0;
  #wanted = false;
  #pumpQueued = false;
  /** What has come in the buffer that all offer, and is to be handed on in a turn of the event loop of its own. */
  #taken: Uint8Array | undefined;
  #alarm: Alarm | undefined;
  #activeAtMs = 0;
  readonly #connectAbort = new AbortController();
  /** What waits for the handshake. */
  #onceOpen: ((endpoint: Endpoint) => void)[] = [];

  /** A socket over `endpoint`, or without one a socket that is not connected yet. */
  constructor(host: Host, endpoint?: Endpoint, options: StackSocketOptions = {}) {
    super({ allowHalfOpen: options.allowHalfOpen ?? false, emitClose: false }); // which says whether it failed
    this.#host = host;
    this.#talk = options.talk;
    this.#activeAtMs = host.clock.nowMs();
    if (endpoint !== undefined) this.#attach(endpoint);
  }

  /** Our address. */
  get localAddress(): string | undefined {
    return this.#endpoint?.localAddr.hostname;
  }
  /** Our port. */
  get localPort(): number | undefined {
    return this.#endpoint?.localAddr.port;
  }
  /** "IPv4" or "IPv6". */
  get localFamily(): string | undefined {
    return familyOf(this.#endpoint?.localAddr.hostname);
  }
  /** The peer's address. */
  get remoteAddress(): string | undefined {
    return this.#endpoint?.remoteAddr.hostname;
  }
  /** The peer's port. */
  get remotePort(): number | undefined {
    return this.#endpoint?.remoteAddr.port;
  }
  /** "IPv4" or "IPv6". */
  get remoteFamily(): string | undefined {
    return familyOf(this.#endpoint?.remoteAddr.hostname);
  }
  /** Bytes written, those that wait in the stream's buffer included. */
  get bytesWritten(): number {
    return this.#bytesWritten + this.writableLength;
  }
  /** Bytes that wait in the stream's buffer. `writableLength` says the same. */
  get bufferSize(): number {
    return this.writableLength;
  }
  /** As `connecting`, under the name that Node's own libraries look at. */
  get _connecting(): boolean {
    return this.connecting;
  }
  /** Of several addresses of a name the stack tries one after the other by itself; it does not tell which. */
  get autoSelectFamilyAttemptedAddresses(): string[] {
    const { remoteAddress, remotePort } = this;
    return remoteAddress === undefined ? [] : [`${remoteAddress}:${remotePort}`];
  }
  /** Not connected yet. */
  get pending(): boolean {
    return this.#endpoint === undefined;
  }
  /** As `net.Socket.readyState`. */
  get readyState(): "opening" | "open" | "readOnly" | "writeOnly" | "closed" {
    if (this.connecting) return "opening";
    if (this.readable) return this.writable ? "open" : "readOnly";
    return this.writable ? "writeOnly" : "closed";
  }

  /** The local end, or nothing before there is one. */
  address(): StackAddress | Record<PropertyKey, never> {
    const local = this.#endpoint?.localAddr;
    if (local === undefined) return {};
    return { address: local.hostname, family: familyOf(local.hostname)!, port: local.port };
  }

  /**
   * Connects, as in `node:net`; `connect` and `ready` or `error` follow. On a socket that is connected
   * already only the events follow, for clients that insist on connecting what they are given.
   */
  connect(options: StackConnectOptions | number, host?: string | (() => void), done?: () => void): this {
    const target = typeof options === "number" ? { port: options } : options;
    const hostname = typeof host === "string" ? host : typeof options === "number" ? undefined : options.host;
    const callback = typeof host === "function" ? host : done;
    if (callback !== undefined) this.once("connect", callback);
    if (target.noDelay !== undefined) this.setNoDelay(target.noDelay);
    if (target.keepAlive !== undefined) this.setKeepAlive(target.keepAlive, target.keepAliveInitialDelay);
    if (target.timeout !== undefined) this.setTimeout(target.timeout);
    if (this.#endpoint !== undefined) {
      later(() => this.#emitConnect());
      return this;
    }
    this.connecting = true;
    const { signal } = target;
    const abort = this.#connectAbort;
    if (signal?.aborted) abort.abort(signal.reason);
    signal?.addEventListener("abort", () => abort.abort(signal.reason), { signal: abort.signal });
    this.#connect(target, hostname, abort.signal);
    return this;
  }

  /** Sends what is written at once, or waits for more (Nagle's algorithm). */
  setNoDelay(noDelay = true): this {
    return this.#option((endpoint) => endpoint.setNoDelay(noDelay));
  }

  /** Sets what `node:net` has no call for: see `TcpOptions`. */
  setOptions(options: TcpOptions): this {
    checkTcpOptions(options);
    return this.#option((endpoint) => endpoint.setOptions(options));
  }

  /** `initialDelayMs` is the silence before the first probe; 0 leaves the default. */
  setKeepAlive(enable = false, initialDelayMs = 0): this {
    return this.#option((endpoint) => endpoint.setKeepAlive(enable, initialDelayMs || undefined));
  }

  /** Emits `timeout` after so many milliseconds without a byte; what to do then is the listener's affair. */
  setTimeout(timeoutMs: number, callback?: () => void): this {
    if (!(timeoutMs >= 0)) throw new RangeError(`A timeout of ${timeoutMs} ms makes no sense`);
    this.timeout = timeoutMs;
    this.#alarm?.cancel();
    this.#alarm = undefined;
    if (callback !== undefined) {
      if (timeoutMs === 0) this.off("timeout", callback);
      else this.once("timeout", callback);
    }
    this.#touch();
    return this;
  }

  /** It keeps the process alive, as it does by default. */
  ref(): this {
    this.#whenOpen(({ hold }) => hold.ref());
    return this;
  }
  /** It is no reason to keep the process alive: that ends when nothing else is. */
  unref(): this {
    this.#whenOpen(({ hold }) => hold.unref());
    return this;
  }

  /** Destroys as soon as what was written has been handed to TCP. */
  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once("finish", () => this.destroy());
  }

  /** Ends the connection with RST. */
  resetAndDestroy(): this {
    this.#endpoint?.abort();
    return this.destroy();
  }

  /** @internal The program hears `bytes`, in a turn of their own, as if the peer had sent them. */
  hear(bytes: Uint8Array): void {
    later(() => {
      if (!this.destroyed) this.#wanted = this.push(bytes);
    });
  }

  /** @internal What `talk` held back may be read again. */
  readOn(): void {
    if (this.#wanted) this.#schedulePump();
  }

  /** @internal */
  override _read(): void {
    this.#wanted = true;
    this.#schedulePump();
  }

  /** @internal */
  override _write(chunk: Uint8Array, _encoding: string, callback: WriteCallback): void {
    this.#whenOpen((endpoint) => {
      this.#touch();
      endpoint.writeAll(this.#said(chunk)).then(() => this.#written(chunk.byteLength, callback), (error) => {
        callback(nodeError(error, "write"));
      });
    });
  }

  /** @internal */
  override _writev(chunks: { chunk: Uint8Array; encoding: string }[], callback: WriteCallback): void {
    const bytes = chunks.reduce((sum, { chunk }) => sum + chunk.byteLength, 0);
    if (bytes <= GATHER_BYTES_MAX) {
      const gathered = new Uint8Array(bytes);
      copied[Copies.out]! += bytes;
      let at = 0;
      for (const { chunk } of chunks) {
        gathered.set(chunk, at);
        at += chunk.byteLength;
      }
      return this._write(gathered, "buffer", callback);
    }
    this.#whenOpen(async (endpoint) => {
      try {
        this.#touch();
        for (const { chunk } of chunks) await endpoint.writeAll(this.#said(chunk));
      } catch (error) {
        return callback(nodeError(error, "write"));
      }
      this.#written(bytes, callback);
    });
  }

  /** @internal */
  override _final(callback: WriteCallback): void {
    this.#whenOpen((endpoint) => {
      if (endpoint.closed) return later(callback);
      endpoint.closeWrite().then(() => callback(), (error) => callback(nodeError(error, "shutdown")));
    });
  }

  /** @internal */
  override _destroy(error: Error | null, callback: WriteCallback): void {
    this.connecting = false;
    this.#alarm?.cancel();
    this.#alarm = undefined;
    this.#onceOpen.length = 0;
    this.#connectAbort.abort();
    const endpoint = this.#endpoint;
    if (endpoint !== undefined) {
      endpoint.onReadable = endpoint.onClosed = undefined;
      if (!endpoint.closed) endpoint.close();
    }
    later(() => {
      callback(error);
      later(() => this.emit("close", error !== null)); // behind the error, as `net.Socket` does
    });
  }

  async #connect(
    { port, localAddress, localPort }: StackConnectOptions,
    hostname: string | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      const target = {
        port,
        signal,
        ...(hostname === undefined ? {} : { hostname }),
        ...(localAddress === undefined ? {} : { localHostname: localAddress }),
        ...(localPort === undefined ? {} : { localPort }),
      };
      const endpoint = await this.#host.open(target);
      if (this.destroyed) return endpoint.abort();
      this.connecting = false;
      this.#connectAbort.abort(); // the signal has no say any more
      this.#attach(endpoint);
      if (hostname !== undefined && hostname !== endpoint.remoteAddr.hostname) {
        const { hostname: address } = endpoint.remoteAddr;
        later(() => this.emit("lookup", null, address, address.includes(":") ? 6 : 4, hostname));
      }
      for (const action of this.#onceOpen.splice(0)) action(endpoint);
      later(() => this.#emitConnect());
    } catch (error) {
      later(() => this.destroy(nodeError(error, "connect")));
    }
  }

  #emitConnect(): void {
    if (this.destroyed) return;
    this.emit("connect");
    this.emit("ready");
  }

  #attach(endpoint: Endpoint): void {
    this.#endpoint = endpoint;
    endpoint.onReadable = () => {
      if (this.#wanted) this.#schedulePump();
    };
    endpoint.onClosed = (error) => {
      if (endpoint.closed) later(() => this.destroy()); // with its host
      else if (error !== undefined) later(() => this.destroy(nodeError(error, "read")));
    };
    if (this.#wanted) this.#schedulePump();
  }

  #whenOpen(action: (endpoint: Endpoint) => void): void {
    if (this.#endpoint !== undefined) action(this.#endpoint);
    else this.#onceOpen.push(action);
  }

  #option(apply: (endpoint: Endpoint) => void): this {
    this.#whenOpen((endpoint) => {
      if (!endpoint.closed) apply(endpoint);
    });
    return this;
  }

  #said(bytes: Uint8Array): Uint8Array {
    return this.#talk === undefined ? bytes : this.#talk.said(bytes);
  }

  #written(bytes: number, callback: WriteCallback): void {
    this.#bytesWritten += bytes;
    this.#talk?.sent();
    this.#touch();
    callback();
  }

  #schedulePump(): void {
    if (this.#pumpQueued || this.#endpoint === undefined) return;
    this.#pumpQueued = true;
    later(() => {
      this.#pumpQueued = false;
      this.#pump();
    });
  }

  #pump(): void {
    const endpoint = this.#endpoint!;
    try {
      while (this.#wanted && !this.destroyed && !endpoint.closed && !this.#talk?.holds) {
        if (this.#taken !== undefined) {
          const taken = this.#taken;
          this.#taken = undefined;
          this.#hand(taken);
          continue;
        }
        if (pool.length - poolUsed < POOL_ROOM_BYTES_MIN) {
          pool = new Uint8Array(POOL_BYTES);
          poolUsed = 0;
        }
        const count = endpoint.tryRead(pool.subarray(poolUsed));
        if (count === undefined) return this.#offerBuffer(endpoint);
        if (count === null) {
          this.#touch();
          this.#wanted = false;
          this.push(null);
          return;
        }
        const bytes = pool.subarray(poolUsed, poolUsed + count);
        poolUsed += count;
        this.#hand(bytes);
      }
    } catch (error) {
      this.destroy(nodeError(error, "read"));
    }
  }

  #hand(bytes: Uint8Array): void {
    this.#touch();
    this.bytesRead += bytes.length;
    this.#talk?.heard(bytes);
    this.#wanted = this.push(bytes);
  }

  /** Not where somebody looks on at what is heard: what has been taken is in nobody's image. */
  #offerBuffer(endpoint: Endpoint): void {
    if (this.#talk !== undefined) return;
    if (offer.holder === undefined && offer.bytes.length < OFFER_BYTES_MIN) {
      offer.bytes = new Uint8Array(OFFER_BYTES);
    }
    endpoint.offerShared(offer, this.#takeOffered);
  }

  readonly #takeOffered = (count: number): void => {
    this.#taken = offer.bytes.subarray(0, count);
    offer.bytes = offer.bytes.subarray(count);
    if (this.#wanted) this.#schedulePump();
  };

  #touch(): void {
    if (this.timeout === 0 || this.destroyed) return;
    this.#activeAtMs = this.#host.clock.nowMs();
    if (this.#alarm === undefined) this.#watch();
  }

  /** An alarm that moves at every byte would cost more than one that looks again. */
  #watch(): void {
    this.#alarm = this.#host.clock.at(this.#activeAtMs + this.timeout, () => {
      this.#alarm = undefined;
      if (this.#host.clock.nowMs() < this.#activeAtMs + this.timeout) this.#watch();
      else this.emit("timeout");
    });
    this.#alarm.unref?.(); // as in `node:net`
  }
}

/** As `node:net` names families: an IPv4-mapped address is an IPv6 one. */
function familyOf(hostname: string | undefined): "IPv4" | "IPv6" | undefined {
  if (hostname === undefined) return undefined;
  return hostname.includes(":") ? "IPv6" : "IPv4";
}

/** Connects as `net.connect` does. */
export function connectNode(host: Host, options: StackConnectOptions): StackSocket {
  return new StackSocket(host, undefined, options).connect(options);
}

/** The part of a `net.Server`, `http.Server` or `tls.Server` that connections are given to. */
export interface NodeServer {
  /** Takes a connection. */
  emit(event: "connection", socket: StackSocket): boolean;
}

/**
 * Gives every connection of `listener` to `server`, or to a callback, until the listener is closed.
 *
 * The server's `listening` is true as long as that: `node:http` of Deno keeps no connection alive for a
 * server that does not listen. When taking a connection throws, that connection is reset, the error is
 * thrown again where nothing catches it, and the next connection is taken.
 * @throws {TypeError} When the listener is not one of a host's.
 */
export function nodeServer(
  listener: TcpListener,
  server: NodeServer | ((socket: StackSocket) => void),
  options: StackSocketOptions = {},
): void {
  if (!(listener instanceof ConnListener)) throw new TypeError("Need a listener of a host");
  const listens = (value: boolean): void => {
    if (typeof server !== "function") {
      Object.defineProperty(server, "listening", { value, configurable: true, writable: true });
    }
  };
  listens(true);
  void (async () => {
    for await (const { endpoint } of listener) {
      const socket = new StackSocket(endpoint.host, endpoint, options);
      try {
        if (typeof server === "function") server(socket);
        else server.emit("connection", socket);
      } catch (error) {
        socket.resetAndDestroy();
        throwLater(error);
      }
    }
    listens(false);
  })();
}
