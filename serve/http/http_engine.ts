import type { Clock } from "../../base/clock.ts";
import type { HandlerServer } from "../../net/socket/handlers.ts";
import { throwLater } from "../../net/socket/throw_later.ts";
import { type AttachmentOptions, Keeping, KeptBy } from "../hibernation/kept.ts";
import type { Reach, Wire } from "../hibernation/wire.ts";
import {
  CloseCode,
  closeFrame,
  decodeText,
  frame,
  type FrameState,
  isBetweenMessages,
  newFrames,
  Opcode,
  readFrames,
} from "../websocket/frames.ts";
import { webSocketAccept } from "../websocket/handshake.ts";
import { EventClient, type Held, HttpClient, type Instead, instead, WebSocketClient } from "./clients.ts";
import { Exchange } from "./exchange.ts";
import { HEAD_BYTES_MAX, headEnd, readHead, RequestError, type RequestHead } from "./head.ts";
import { responseHead, together } from "./response.ts";

/** Bytes of a WebSocket message by default: it is gathered before it is given on, and kept in the image until then. */
const MESSAGE_BYTES_MAX = 1 << 20;

/** What a WebSocket's messages come to. */
export interface WebSocketHandlers<A> {
  /** It has become a WebSocket. */
  open?(client: WebSocketClient<A>): void;
  /** A message has come: text, or bytes. */
  message(client: WebSocketClient<A>, message: string | Uint8Array): void;
  /** Over: `code` and `reason` are the peer's, 1006 when it went without a word. Called once. */
  close?(client: WebSocketClient<A>, code: number, reason: string): void;
  /** Bytes of the longest message that is taken. Default 1 MiB. */
  messageBytesMax?: number;
}

/** What a server of HTTP does with its requests. */
export interface HttpHandlers<A> extends AttachmentOptions<A> {
  /** Answers a request. */
  fetch(request: Request, client: HttpClient<A>): Response | Promise<Response>;
  /** Answers in the place of `fetch` when that throws. Default: 500, and the error on the console. */
  onError?: (error: unknown) => Response | Promise<Response>;
  /** For those whose request was answered by `client.upgrade()`. */
  webSocket?: WebSocketHandlers<A>;
  /** For those whose request was answered by `client.events()`. */
  events?: { open?(client: EventClient<A>): void; close?(client: EventClient<A>): void };
}

/** In the state of an HTTP connection: a request is under way; and its response has begun. */
const UNDER_WAY = 1;
const BEGUN = 2;
/** Methods that no `Request` has (fetch, section 2.2.1). */
const UNSPOKEN = new Set(["CONNECT", "TRACE", "TRACK"]);

/**
 * HTTP/1.1 (RFC 9112), what it becomes by an upgrade (RFC 6455), and event streams, over connections that sleep.
 *
 * Between two requests, and between two messages, nothing of a connection is in memory. What has come of a request's
 * head or of a message is in its image, so it may sleep anywhere. A request that is being answered is in memory: when its
 * process ends, the next one says 503 in its place, or ends the connection when its response had begun.
 */
export class HttpEngine<A> {
  /** Requests that are being answered, by connection. */
  readonly busy: Map<string, Exchange> = new Map<string, Exchange>();
  /** Connections that end with the request that they are at. */
  closing = false;
  readonly #handlers: HttpHandlers<A>;
  readonly #reach: Reach;
  readonly #clock: Clock;
  readonly #scheme: "http" | "https";
  readonly #held = new WeakMap<Wire, Held<A>>();

  constructor(handlers: HttpHandlers<A>, reach: Reach, clock: Clock, scheme: "http" | "https" = "http") {
    this.#handlers = handlers;
    this.#reach = reach;
    this.#clock = clock;
    this.#scheme = scheme;
  }

  /**
   * Begins no request and no message any more, leaves them to the process that goes on with the connections, and resolves
   * when every request that was begun has been answered, or `signal` says that it has taken long enough.
   */
  async drained(server: HandlerServer, signal: AbortSignal): Promise<void> {
    server.hold(({ id }) => {
      const exchange = this.busy.get(id);
      return exchange === undefined || (exchange.requestDone && !exchange.answered);
    });
    const over = new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    while (this.busy.size > 0 && !signal.aborted) {
      await Promise.race([
        Promise.allSettled([...this.busy.values()].map(({ completed }) => completed)),
        over,
      ]);
      await new Promise((resolve) => void setTimeout(resolve, 0)); // what was answered is let go of then
    }
  }

  /** What handlers see of a connection. `undefined` for one that is between requests. */
  clientOf(wire: Wire): WebSocketClient<A> | EventClient<A> | undefined {
    const held = this.hold(wire);
    if (held.keeping.by === KeptBy.webSocket) return new WebSocketClient(held);
    return held.keeping.by === KeptBy.events ? new EventClient(held) : undefined;
  }

  /** @throws What `migrate` throws, or {TypeError}. */
  hold(wire: Wire): Held<A> {
    let held = this.#held.get(wire);
    if (held === undefined) {
      const keeping = new Keeping<A>(wire, this.#handlers, KeptBy.http);
      const frames = keeping.by === KeptBy.webSocket
        ? (keeping.state as FrameState | null) ?? newFrames()
        : undefined;
      held = { wire, keeping, frames };
      this.#held.set(wire, held);
    }
    return held;
  }

  data(wire: Wire, bytes: Uint8Array): void {
    const held = this.hold(wire);
    if (held.keeping.by === KeptBy.webSocket) this.#frames(held, bytes);
    else if (held.keeping.by === KeptBy.http) this.#requests(held, bytes); // an EventSource says nothing any more
  }

  drain(wire: Wire): void {
    this.busy.get(wire.id)?.drained();
  }

  /** The client sends nothing more. It may still want its answer. */
  end(wire: Wire): void {
    const exchange = this.busy.get(wire.id);
    if (exchange?.requestDone) exchange.keepAlive = false;
    else wire.close();
  }

  close(wire: Wire, error: Error | undefined): void {
    const exchange = this.busy.get(wire.id);
    this.busy.delete(wire.id);
    exchange?.lost(error);
    if (wire.attachment === undefined) return; // before it said anything
    const held = this.hold(wire);
    if (held.keeping.by === KeptBy.events) this.#handlers.events?.close?.(new EventClient(held));
    if (held.keeping.by === KeptBy.webSocket && !isOver(held)) {
      this.#webSocketClosed(held, CloseCode.abnormal, "");
    }
  }

  #requests(held: Held<A>, given: Uint8Array): void {
    let bytes = given;
    const { wire, keeping } = held;
    try {
      while (bytes.length > 0) {
        const exchange = this.busy.get(wire.id);
        if (exchange !== undefined) {
          if (exchange.requestDone && !exchange.answered) { // the next one waits until this is answered
            exchange.rest.push(bytes.slice());
            wire.pause();
            return;
          }
          bytes = bytes.subarray(exchange.take(wire, bytes));
          if (exchange.requestDone && exchange.answered) this.#next(exchange, wire);
          continue;
        }
        if (typeof keeping.state === "number") return this.#interrupted(held);
        const before = (keeping.state as Uint8Array | null) ?? undefined;
        let whole = before === undefined ? bytes : together(before, bytes);
        let from = before?.length ?? 0;
        while (whole[0] === 13 && whole[1] === 10) { // a line too many (RFC 9112 section 2.2)
          whole = whole.subarray(2);
          from = Math.max(0, from - 2);
        }
        const end = headEnd(whole, from);
        if (Math.max(end, end < 0 ? whole.length : 0) > HEAD_BYTES_MAX) {
          throw new RequestError(431, `A head has at most ${HEAD_BYTES_MAX} bytes`);
        }
        if (end < 0) {
          keeping.state = whole.length === 0 ? null : whole.slice();
          return;
        }
        const head = readHead(whole.subarray(0, end));
        keeping.state = UNDER_WAY;
        this.#begin(held, head);
        bytes = whole.subarray(end);
      }
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      this.#refuse(held, error);
    }
  }

  #begin(held: Held<A>, head: RequestHead): void {
    const { id } = held.wire;
    if (UNSPOKEN.has(head.method.toUpperCase())) {
      throw new RequestError(501, `${head.method} is not known here`);
    }
    const exchange = new Exchange(id, this.#reach, head);
    const request = requestOf(exchange, this.#scheme);
    this.busy.set(id, exchange);
    const client = new HttpClient(held, exchange.completed);
    void this.#serve(exchange, request, client, id);
  }

  async #serve(exchange: Exchange, request: Request, client: HttpClient<A>, id: string): Promise<void> {
    try {
      const response = await this.#responseTo(request, client);
      if (this.busy.get(id) !== exchange) { // the client is gone
        await response.body?.cancel();
        return;
      }
      const other = instead.get(response);
      if (other !== undefined) return this.#become(exchange, other, request.headers, id);
      if (this.closing) exchange.keepAlive = false;
      this.#reach(id, (wire) => void (this.hold(wire).keeping.state = BEGUN));
      await exchange.answer(response, this.#clock.nowMs());
      this.#reach(id, (wire) => this.#answered(exchange, wire));
    } catch (error) {
      exchange.fail(error);
      if (this.busy.get(id) !== exchange) return; // nobody to tell
      console.error(error);
      this.#reach(id, (wire) => wire.abort());
    }
  }

  async #responseTo(request: Request, client: HttpClient<A>): Promise<Response> {
    try {
      const response = await this.#handlers.fetch(request, client);
      if (response instanceof Response && !response.bodyUsed && response.status >= 200) return response;
      throw new TypeError("A handler must return a response whose body nobody has read");
    } catch (error) {
      if (this.#handlers.onError !== undefined) return await this.#handlers.onError(error);
      console.error(error);
      return new Response("Internal Server Error", { status: 500 });
    }
  }

  /** The response has been written. */
  #answered(exchange: Exchange, wire: Wire): void {
    if (this.busy.get(wire.id) !== exchange) return;
    const readOn = exchange.finish();
    if (!exchange.keepAlive || !readOn) {
      this.busy.delete(wire.id);
      return wire.close();
    }
    if (exchange.requestDone) this.#next(exchange, wire);
  }

  /** The connection is free for the next request, which may have come already. */
  #next(exchange: Exchange, wire: Wire): void {
    this.busy.delete(wire.id);
    const held = this.hold(wire);
    held.keeping.state = null;
    held.keeping.check();
    const rest = exchange.rest.reduce<Uint8Array>(together, new Uint8Array(0));
    if (rest.length > 0) this.data(wire, rest);
    wire.resume();
  }

  /** A request that may not be, or is none. */
  #refuse(held: Held<A>, error: RequestError): void {
    const { wire } = held;
    const exchange = this.busy.get(wire.id);
    this.busy.delete(wire.id);
    exchange?.lost(error);
    if (exchange?.begun) return wire.abort();
    wire.write(this.#short(error.status, { "connection": "close" }));
    wire.close();
  }

  /** Its process has ended while a request was being answered. */
  #interrupted({ wire, keeping }: Held<A>): void {
    if (keeping.state === BEGUN) return wire.abort();
    wire.write(this.#short(503, { "retry-after": "0", "connection": "close" }));
    wire.close();
  }

  #short(status: number, fields: Record<string, string>): Uint8Array {
    return responseHead(1, { status, headers: [["content-length", "0"]] }, Object.entries(fields));
  }

  /** A connection is something else from here on. */
  #become(exchange: Exchange, other: Instead, headers: Headers, id: string): void {
    this.#reach(id, (wire) => {
      if (this.busy.get(id) !== exchange) return;
      const held = this.hold(wire);
      const { minor } = exchange.head;
      if (other.kind === "events") {
        const fields: [string, string][] = [["content-type", "text/event-stream"], [
          "cache-control",
          "no-store",
        ]];
        const own: [string, string][] = minor === 1 ? [["transfer-encoding", "chunked"]] : [];
        wire.write(responseHead(minor, { status: 200, headers: fields }, own));
        this.#leaveHttp(exchange, held, KeptBy.events, minor);
        this.#handlers.events?.open?.(new EventClient(held));
        return wire.resume();
      }
      const accept = webSocketAccept(headers, other.protocol);
      if ("refusal" in accept || this.#handlers.webSocket === undefined) {
        const refusal = "refusal" in accept
          ? accept.refusal
          : new Response("No WebSocket here", { status: 501 });
        void exchange.answer(refusal, this.#clock.nowMs())
          .then(() => this.#reach(id, (again) => this.#answered(exchange, again)), throwLater);
        return;
      }
      wire.write(responseHead(1, { status: 101, headers: [] }, accept.head));
      held.frames = newFrames();
      this.#leaveHttp(exchange, held, KeptBy.webSocket, null);
      this.#handlers.webSocket.open?.(new WebSocketClient(held));
      held.keeping.check();
      const rest = exchange.rest.reduce<Uint8Array>(together, new Uint8Array(0));
      if (rest.length > 0) this.data(wire, rest);
      wire.resume();
    });
  }

  #leaveHttp(exchange: Exchange, held: Held<A>, by: KeptBy, state: unknown): void {
    this.busy.delete(held.wire.id);
    exchange.finish();
    held.keeping.become(by, state);
  }

  #frames(held: Held<A>, bytes: Uint8Array): void {
    const { wire, keeping } = held;
    const state = held.frames!;
    if (isOver(held)) return;
    const handlers = this.#handlers.webSocket;
    if (handlers === undefined) {
      throw new TypeError("A WebSocket came out of its image, and nobody serves any");
    }
    const client = new WebSocketClient(held);
    for (const event of readFrames(state, bytes, handlers.messageBytesMax ?? MESSAGE_BYTES_MAX)) {
      if (event.kind === "message") {
        if (state.closing) continue; // we have said that we are going
        handlers.message(client, event.text ? decodeText(event.data)! : event.data);
      } else if (event.kind === "ping") {
        if (!state.closing) wire.write(frame(Opcode.pong, event.data));
      } else if (event.kind === "close" || event.kind === "error") {
        if (!state.closing) wire.write(closeFrame(event.code, event.kind === "error" ? event.reason : ""));
        this.#webSocketClosed(held, event.code, event.reason);
        return wire.close(); // the server's side first (RFC 6455 section 7.1.1)
      }
    }
    keeping.check();
    const between = isBetweenMessages(state);
    if (between && keeping.state === null) keeping.save(); // the attachment may have changed in place
    else keeping.state = between ? null : state;
  }

  #webSocketClosed(held: Held<A>, code: number, reason: string): void {
    held.keeping.state = OVER;
    this.#handlers.webSocket?.close?.(new WebSocketClient(held), code, reason);
  }
}

/** The state of a WebSocket whose handler has been told that it is over. */
const OVER = 0;

function isOver<A>({ keeping }: Held<A>): boolean {
  return keeping.state === OVER;
}

/** @throws {RequestError} */
function requestOf({ head, body, abort }: Exchange, scheme: string): Request {
  const headers = new Headers();
  for (const [name, value] of head.fields) headers.append(name, value);
  const host = headers.get("host") || "localhost";
  const url = head.target.startsWith("/")
    ? `${scheme}://${host}${head.target}`
    : head.target === "*"
    ? `${scheme}://${host}/*`
    : head.target;
  if (!/^https?:\/\//.test(url) || /[/?#@\\]/.test(host)) {
    throw new RequestError(400, "The request has no URL");
  }
  const { method } = head;
  try {
    return new Request(url, {
      method,
      headers,
      signal: abort.signal,
      ...(body === undefined ? {} : { body, duplex: "half" }),
    } as RequestInit);
  } catch (error) {
    throw new RequestError(400, (error as Error).message);
  }
}
