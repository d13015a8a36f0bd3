import { SleepingHost } from "../../checkpoint/sleeping_host.ts";
import type { Endpoint } from "../../net/socket/endpoint.ts";
import type { Host } from "../../net/socket/host.ts";
import type { ConnListener } from "../../net/socket/listener.ts";
import { type NodeServer, StackSocket, type StackSocketOptions } from "../../net/socket/stack_socket.ts";
import { throwLater } from "../../net/socket/throw_later.ts";
import type { ListenOptions, NetAddr } from "../../net/socket/types.ts";
import { Conversation, OPENING_MS_MAX } from "./talk/conversation.ts";

/** How often it is looked whether a program has come to an end with what it is at. */
const LOOK_MS = 5;
/** Images that are read in one turn of the event loop. */
const LOOKED_AT_ONCE = 1_000;
/** For so long nothing may be under way: what a program answers to one client it may tell others a moment later. */
const SETTLE_MS = 20;

/** Where a program listens, and how its sockets behave. */
export interface NodeServiceOptions extends ListenOptions, Pick<StackSocketOptions, "allowHalfOpen"> {}

/**
 * Serves a program that was written for Node's sockets, and keeps its connections through restarts: an `http.Server` (of
 * express, fastify, hono, socket.io, ws), or a function that takes sockets, as MQTT brokers have.
 *
 * It listens to what is said. Where a process ends between two requests, or two messages, the next one goes on with the
 * connection: of HTTP nothing needs to be known; to a program that has WebSockets or MQTT their opening is said again (the
 * request for the WebSocket, what socket.io has joined; CONNECT and the subscriptions), and its answer is kept from the
 * client, who has heard it; they wake for that, one after the other, when the process begins. A connection that sleeps in the middle of something, or of which more would have to be known
 * (TLS, HTTP/2, compressed WebSockets, MQTT 5), is reset in the next process: its client connects again.
 *
 * `host.drain()`, which a handover does by itself, has all of them come between.
 * @throws {AddrInUse} {AddrNotAvailable} {TypeError} {RangeError} As `Host.listen`.
 * @example
 * ```ts
 * import { createServer } from "node:http";
 * import { MemoryStore, pipe, SleepyHost } from "@torpor/torpor";
 * import { serveNode } from "@torpor/torpor/serve/node/serve_node.ts";
 * const [link] = pipe();
 * using host = new SleepyHost({
 *   interfaces: [{ link }],
 *   addresses: [{ address: "10.0.0.1/24" }],
 *   store: new MemoryStore(),
 * });
 * serveNode(host, createServer((_request, response) => void response.end("hello")), { port: 80 });
 * ```
 */
export function serveNode(
  host: Host,
  program: NodeServer | ((socket: StackSocket) => void),
  options: NodeServiceOptions,
): NodeService {
  return new NodeService(host, program, options);
}

/** A program that is served. */
export class NodeService {
  readonly #host: Host;
  readonly #program: NodeServer | ((socket: StackSocket) => void);
  readonly #options: NodeServiceOptions;
  readonly #listener: ConnListener;
  readonly #conversations = new Map<StackSocket, Conversation>();
  readonly #drain = (signal: AbortSignal): Promise<void> => this.#quiet(signal);
  /** Who has to be introduced to the program yet; `undefined` when everybody has been. */
  #strangers: Set<string> | undefined;
  #holding = false;

  /** As {@linkcode serveNode}. */
  constructor(
    host: Host,
    program: NodeServer | ((socket: StackSocket) => void),
    options: NodeServiceOptions,
  ) {
    this.#host = host;
    this.#program = program;
    this.#options = options;
    this.#listener = host.listen(options);
    this.#saysListening(true);
    host.drains.add(this.#drain);
    void this.#serve();
    if (host instanceof SleepingHost) {
      this.#strangers = new Set();
      void this.#introduce(host).catch(throwLater).finally(() => this.#allKnown());
    }
  }

  /** Where it listens. */
  get addr(): NetAddr {
    return this.#listener.addr;
  }

  /** Sockets that the program has, awake and asleep. */
  get sockets(): number {
    return this.#conversations.size;
  }

  /** Takes no new connections. Those that there are live on. */
  close(): void {
    this.#listener[Symbol.dispose]();
  }
  /** As `close()`. */
  [Symbol.dispose](): void {
    this.close();
  }

  async #serve(): Promise<void> {
    for await (const { endpoint } of this.#listener) this.#take(endpoint);
    this.#saysListening(false);
  }

  /**
   * Wakes whoever sleeps here and the program has to know of: what is said to all is to reach them, too. Until they all
   * have been introduced nobody of them is heard.
   */
  async #introduce(host: SleepingHost): Promise<void> {
    let looked = 0;
    for (const id of [...host.connections(this.addr.port)]) {
      if (++looked % LOOKED_AT_ONCE === 0) await new Promise((resolve) => void setTimeout(resolve, 0));
      if (host.closed || this.#holding) return;
      const record = host.recordOf(id);
      if (record < 0 || !Conversation.wantsOpening(host.attachmentOf(id))) continue;
      this.#strangers?.add(id);
      host.wake(record);
    }
    const { clock } = host;
    const endMs = clock.nowMs() + OPENING_MS_MAX; // who wakes later than that comes as somebody new
    while (this.#strangers!.size > 0 && clock.nowMs() < endMs && !host.closed) {
      await new Promise<void>((resolve) => void clock.at(clock.nowMs() + LOOK_MS, resolve));
      for (const id of this.#strangers!) if (host.recordOf(id) < 0) this.#strangers!.delete(id); // it has ended
    }
  }

  #allKnown(): void {
    this.#strangers = undefined;
    for (const talk of this.#conversations.values()) if (talk.waits) talk.readOn();
  }

  #take(endpoint: Endpoint): void {
    const talk = Conversation.on(endpoint);
    if (talk === undefined) return endpoint.abort();
    const { id } = endpoint;
    talk.holding = this.#holding;
    const stranger = Conversation.wantsOpening(endpoint.attachment);
    talk.waits = this.#strangers !== undefined && (stranger || this.#strangers.size > 0);
    talk.onOpened = () => void this.#strangers?.delete(id);
    const { allowHalfOpen = false } = this.#options;
    const socket = new StackSocket(this.#host, endpoint, { talk, allowHalfOpen });
    this.#conversations.set(socket, talk);
    socket.once("close", () => {
      this.#conversations.delete(socket);
      this.#strangers?.delete(id);
    });
    try {
      if (typeof this.#program === "function") this.#program(socket);
      else this.#program.emit("connection", socket);
      talk.begin(socket);
    } catch (error) {
      socket.resetAndDestroy();
      throwLater(error);
    }
  }

  async #quiet(signal: AbortSignal): Promise<void> {
    this.#holding = true;
    for (const talk of this.#conversations.values()) talk.holding = true;
    for (let quietMs = 0; quietMs < SETTLE_MS && !signal.aborted && !this.#host.closed;) {
      const { clock } = this.#host;
      await new Promise<void>((resolve) => void clock.at(clock.nowMs() + LOOK_MS, resolve));
      const quiet = [...this.#conversations.values()].every((talk) => talk.quiet);
      quietMs = quiet ? quietMs + LOOK_MS : 0;
    }
  }

  /** `node:http` of Deno keeps no connection alive for a server that does not listen. */
  #saysListening(value: boolean): void {
    if (typeof this.#program === "function") return;
    Object.defineProperty(this.#program, "listening", { value, configurable: true, writable: true });
  }
}
