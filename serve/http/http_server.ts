import type { AsleepProtocol } from "../../net/socket/asleep/protocol.ts";
import type { HandlerServer } from "../../net/socket/handlers.ts";
import { webSocketPings } from "../../net/socket/asleep/web_socket_pings.ts";
import type { Host } from "../../net/socket/host.ts";
import type { ListenOptions, NetAddr } from "../../net/socket/types.ts";
import { attachments, KeptBy } from "../hibernation/kept.ts";
import { type EventClient, WebSocketClient } from "./clients.ts";
import type { ServerEvent } from "./event_stream.ts";
import { HttpEngine, type HttpHandlers } from "./http_engine.ts";

/** How to serve HTTP: what to do, where to listen, what to answer asleep. */
export interface HttpServerOptions<A> extends HttpHandlers<A>, ListenOptions {
  /** What is answered without waking the application. Default: pings, where there are `webSocket` handlers. */
  asleep?: AsleepProtocol;
}

/**
 * Serves HTTP/1.1, WebSockets and event streams by handlers: while such a connection sleeps nothing of it is left in
 * memory but its map slot, and what it keeps (`attachment`) is in its image.
 *
 * @throws {AddrInUse} {AddrNotAvailable} {TypeError} {RangeError} As `Host.serve`.
 * @example A chat
 * ```ts
 * import { MemoryStore, pipe, SleepyHost } from "@torpor/torpor";
 * import { serveHttp } from "@torpor/torpor/serve/http/http_server.ts";
 * const [link] = pipe();
 * using host = new SleepyHost({
 *   interfaces: [{ link }],
 *   addresses: [{ address: "10.0.0.1/24" }],
 *   store: new MemoryStore(),
 * });
 * const server = serveHttp<{ name: string }>(host, {
 *   port: 80,
 *   fetch(request, client) {
 *     const { pathname, searchParams } = new URL(request.url);
 *     if (pathname !== "/chat") return new Response("Nothing here", { status: 404 });
 *     client.attachment = { name: searchParams.get("name") ?? "somebody" };
 *     return client.upgrade();
 *   },
 *   webSocket: {
 *     message(client, text) {
 *       for (const id of server.connections()) server.send(id, `${client.attachment.name}: ${text}`);
 *     },
 *   },
 * });
 * ```
 */
export function serveHttp<A = unknown>(host: Host, options: HttpServerOptions<A>): HttpService<A> {
  return new HttpService(host, options);
}

/** A server of HTTP by handlers; its connections are reached by their ids, asleep or awake. */
export class HttpService<A> {
  readonly #host: Host;
  readonly #options: HttpServerOptions<A>;
  readonly #server: HandlerServer;
  readonly #engine: HttpEngine<A>;

  /** As {@linkcode serveHttp}. */
  constructor(host: Host, options: HttpServerOptions<A>) {
    this.#host = host;
    this.#options = options;
    const engine = this.#engine = new HttpEngine<A>(
      options,
      (id, action) => this.#server.with(id, action),
      host.clock,
    );
    const { asleep = options.webSocket === undefined ? undefined : webSocketPings() } = options;
    this.#server = host.serve({
      ...listenOptions(options),
      ...(asleep === undefined ? {} : { asleep }),
      data: (connection, bytes) => engine.data(connection, bytes),
      drain: (connection) => engine.drain(connection),
      end: (connection) => engine.end(connection),
      close: (connection, error) => engine.close(connection, error),
    });
    host.drains.add((signal) => engine.drained(this.#server, signal));
  }

  /** Where it listens. */
  get addr(): NetAddr {
    return this.#server.addr;
  }

  /** Ids of all connections, awake and asleep, whatever they speak. */
  connections(): IterableIterator<string> {
    return this.#server.connections();
  }

  /** How many connections are awake. */
  get awake(): number {
    return this.#server.awake;
  }

  /** Requests that are being answered. */
  get busy(): number {
    return this.#engine.busy.size;
  }

  /** How often a ping was answered, and the application left alone. */
  get answers(): number {
    return this.#server.answers;
  }

  /**
   * Sends a message to a WebSocket, or an event to an `EventSource`, by id; wakes it when it sleeps.
   * @returns False when there is no such connection. One that is neither gets nothing.
   */
  send(id: string, message: string | Uint8Array | ServerEvent): boolean {
    return this.with(id, (client) => {
      if (client instanceof WebSocketClient) {
        client.send(typeof message === "string" || message instanceof Uint8Array ? message : message.data);
      } else if (!(message instanceof Uint8Array)) {
        client.send(message);
      }
    });
  }

  /**
   * Calls `action` with a WebSocket or an `EventSource` by id, at once when it is awake, else as soon as it is.
   * @returns False when there is no such connection.
   */
  with(id: string, action: (client: WebSocketClient<A> | EventClient<A>) => void): boolean {
    return this.#server.with(id, (connection) => {
      const client = this.#engine.clientOf(connection);
      if (client !== undefined) action(client);
    });
  }

  /**
   * What is attached to each WebSocket and event stream, without waking anybody: who is in which room, after a restart.
   * @throws {TypeError} When the host's connections do not sleep, or an attachment is of a version that nothing migrates.
   */
  attachments(): IterableIterator<[id: string, attachment: A]> {
    return attachments(this.#host, this.connections(), [KeptBy.webSocket, KeptBy.events], this.#options);
  }

  /** Takes no new connections, and resolves when all requests under way have been answered. Sleepers sleep on. */
  async shutdown(): Promise<void> {
    this.#engine.closing = true;
    this.#server.close();
    await Promise.allSettled([...this.#engine.busy.values()].map(({ completed }) => completed));
  }

  /** Takes no new connections. Those that there are live on, and sleeping ones come back to these handlers. */
  close(): void {
    this.#server.close();
  }
  /** As `close()`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** What of a server's options is the listener's. */
export function listenOptions(options: ListenOptions): ListenOptions {
  const { port, hostname, tcpBacklog, reusePort, durable, tcpOptions, fastOpen, wake } = options;
  const all = { port, hostname, tcpBacklog, reusePort, durable, tcpOptions, fastOpen, wake };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as ListenOptions;
}
