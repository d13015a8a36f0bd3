import { EventEmitter } from "node:events";
import type { Endpoint } from "../../net/socket/endpoint.ts";
import type { Host } from "../../net/socket/host.ts";
import type { ConnListener } from "../../net/socket/listener.ts";
import { nodeError } from "../../net/socket/node_error.ts";
import { type StackAddress, StackSocket } from "../../net/socket/stack_socket.ts";
import type { ListenOptions } from "../../net/socket/types.ts";

/** `net.ServerOpts`. */
export interface StackServerOptions {
  /** Whether our side of a connection stays open when the peer has sent its last byte. Default false. */
  allowHalfOpen?: boolean;
  /** Nothing is read of a connection before it is resumed. */
  pauseOnConnect?: boolean;
  /** As `setNoDelay`, of every connection. */
  noDelay?: boolean;
  /** As `setKeepAlive`, of every connection. */
  keepAlive?: boolean;
  /** As `setKeepAlive`: milliseconds. */
  keepAliveInitialDelay?: number;
}

/** Where to listen: as `net.ListenOptions`, and what `Host.listen` takes besides. */
export interface StackListenOptions extends Omit<ListenOptions, "hostname" | "tcpBacklog"> {
  /** One of the addresses; default all of them. */
  host?: string;
  /** Connections that may wait. */
  backlog?: number;
  /** Closes the server. */
  signal?: AbortSignal;
}

/** What `drop` is told of a connection beyond `maxConnections`. */
export interface DroppedConnection {
  localAddress: string;
  localPort: number;
  remoteAddress: string;
  remotePort: number;
}

/**
 * `net.Server` over a host: the same calls, events and errors. Its sockets are {@linkcode StackSocket}s. Never in a
 * cluster, and no unix sockets.
 *
 * @example
 * ```ts
 * import { Host, pipe } from "@torpor/torpor";
 * import { createStackServer } from "@torpor/torpor/serve/node/server.ts";
 * const [link] = pipe();
 * using host = new Host({ interfaces: [{ link }], addresses: [{ address: "10.0.0.1/24" }] });
 * const server = createStackServer(host, (socket) => void socket.end("hello"));
 * server.listen(7, () => server.close());
 * ```
 */
export class StackServer extends EventEmitter {
  /** Connections above this are reset, and told by `drop`. */
  maxConnections: number = Infinity;
  readonly #host: Host;
  readonly #options: StackServerOptions;
  readonly #sockets = new Set<StackSocket>();
  #listener: ConnListener | undefined;
  #closing = false;
  #alive = true;

  /** As `net.createServer` takes them. */
  constructor(
    host: Host,
    options: StackServerOptions | ((socket: StackSocket) => void) = {},
    connectionListener?: (socket: StackSocket) => void,
  ) {
    super();
    this.#host = host;
    this.#options = typeof options === "function" ? {} : options;
    const listener = typeof options === "function" ? options : connectionListener;
    if (listener !== undefined) this.on("connection", listener);
  }

  /** Whether it listens. */
  get listening(): boolean {
    return this.#listener !== undefined;
  }

  /**
   * Listens, as in `net.Server`: `listening` follows, or `error`.
   * @throws {Error} `ERR_SERVER_ALREADY_LISTEN`. {RangeError} When the port is none.
   */
  listen(port?: number, host?: string, backlog?: number, callback?: () => void): this;
  /** As `net.Server.listen`. */
  listen(port?: number, host?: string, callback?: () => void): this;
  /** As `net.Server.listen`. */
  listen(port?: number, callback?: () => void): this;
  /** As `net.Server.listen`. */
  listen(options: StackListenOptions, callback?: () => void): this;
  listen(...given: unknown[]): this {
    const callback = given.find((each) => typeof each === "function") as (() => void) | undefined;
    const [first, host, backlog] = given.filter((each) => typeof each !== "function");
    if (this.#listener !== undefined) {
      throw coded(
        "ERR_SERVER_ALREADY_LISTEN",
        "Listen method has been called more than once without closing.",
      );
    }
    const options: StackListenOptions = typeof first === "object" && first !== null ? first : {
      ...(first === undefined ? {} : { port: Number(first) }),
      ...(typeof host === "string" ? { host } : {}),
      ...(typeof (backlog ?? host) === "number" ? { backlog: (backlog ?? host) as number } : {}),
    };
    if ("path" in options) throw new TypeError("Cannot listen on a path: a host has no files");
    if (callback !== undefined) this.once("listening", callback);
    const { host: hostname, backlog: tcpBacklog, signal, ...rest } = options;
    this.#closing = false;
    try {
      this.#listener = this.#host.listen({
        ...rest,
        ...(hostname === undefined ? {} : { hostname }),
        ...(tcpBacklog === undefined ? {} : { tcpBacklog }),
      });
    } catch (error) {
      if (error instanceof RangeError || error instanceof TypeError) throw error;
      setTimeout(() => this.emit("error", nodeError(error, "listen")), 0);
      return this;
    }
    if (signal?.aborted) this.close();
    signal?.addEventListener("abort", () => void this.close(), { once: true });
    const listener = this.#listener;
    if (!this.#alive) listener.unref();
    setTimeout(() => {
      if (this.#listener === listener) this.emit("listening");
    }, 0);
    void this.#accept(listener);
    return this;
  }

  /** Where it listens; `null` when it does not. */
  address(): StackAddress | null {
    if (this.#listener === undefined) return null;
    const { hostname, port } = this.#listener.addr;
    return { address: hostname, family: hostname.includes(":") ? "IPv6" : "IPv4", port };
  }

  /** How many connections it has. */
  getConnections(callback: (error: Error | null, count: number) => void): this {
    const count = this.#sockets.size;
    setTimeout(() => callback(null, count), 0);
    return this;
  }

  /** Takes no new connections; `close` follows when the last of those that there are has ended. */
  close(callback?: (error?: Error) => void): this {
    if (this.#listener === undefined) {
      const error = coded("ERR_SERVER_NOT_RUNNING", "Server is not running.");
      if (callback !== undefined) setTimeout(() => callback(error), 0);
      return this;
    }
    if (callback !== undefined) this.once("close", callback);
    const listener = this.#listener;
    this.#listener = undefined;
    this.#closing = true;
    listener[Symbol.dispose]();
    this.#closeWhenEmpty();
    return this;
  }

  /** It keeps the process alive, as it does by default. */
  ref(): this {
    this.#alive = true;
    this.#listener?.ref();
    return this;
  }
  /** It is no reason to keep the process alive: that ends when nothing else is. */
  unref(): this {
    this.#alive = false;
    this.#listener?.unref();
    return this;
  }

  /** As `close`; resolves with it. */
  [Symbol.asyncDispose](): Promise<void> {
    if (this.#listener === undefined) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.close((error) => error === undefined ? resolve() : reject(error));
    });
  }

  async #accept(listener: ConnListener): Promise<void> {
    for await (const { endpoint } of listener) this.#take(endpoint);
    if (this.#listener !== listener) return;
    this.#listener = undefined; // its host has been closed
    this.#closing = true;
    this.#closeWhenEmpty();
  }

  #take(endpoint: Endpoint): void {
    const { allowHalfOpen = false, noDelay, keepAlive, keepAliveInitialDelay, pauseOnConnect } =
      this.#options;
    if (this.#sockets.size >= this.maxConnections) {
      const { localAddr, remoteAddr } = endpoint;
      const dropped: DroppedConnection = {
        localAddress: localAddr.hostname,
        localPort: localAddr.port,
        remoteAddress: remoteAddr.hostname,
        remotePort: remoteAddr.port,
      };
      endpoint.abort();
      this.emit("drop", dropped);
      return;
    }
    const socket = new StackSocket(this.#host, endpoint, { allowHalfOpen });
    socket.server = this;
    if (noDelay) socket.setNoDelay();
    if (keepAlive) socket.setKeepAlive(true, keepAliveInitialDelay);
    if (pauseOnConnect) socket.pause();
    this.#sockets.add(socket);
    socket.once("close", () => {
      this.#sockets.delete(socket);
      this.#closeWhenEmpty();
    });
    this.emit("connection", socket);
  }

  #closeWhenEmpty(): void {
    if (!this.#closing || this.#sockets.size > 0) return;
    this.#closing = false;
    setTimeout(() => this.emit("close"), 0);
  }
}

/** As `net.createServer`. */
export function createStackServer(
  host: Host,
  options: StackServerOptions | ((socket: StackSocket) => void) = {},
  connectionListener?: (socket: StackSocket) => void,
): StackServer {
  return new StackServer(host, options, connectionListener);
}

function coded(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
