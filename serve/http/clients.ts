import type { NetAddr } from "../../net/socket/types.ts";
import type { Keeping } from "../hibernation/kept.ts";
import type { Wire } from "../hibernation/wire.ts";
import { CloseCode, closeFrame, frame, type FrameState, isCloseCode, Opcode } from "../websocket/frames.ts";
import { eventText, type ServerEvent } from "./event_stream.ts";
import { chunk, LAST_CHUNK } from "./response.ts";

/** A connection while it is awake, and what it keeps. */
export interface Held<A> {
  readonly wire: Wire;
  readonly keeping: Keeping<A>;
  /** Of a WebSocket: where its stream stands. */
  frames: FrameState | undefined;
}

/**
 * A connection as handlers see it, while it is awake. Keep its `id`, not the object: the object goes when it sleeps.
 */
export class Client<A> {
  /** @internal */
  protected readonly held: Held<A>;

  /** @internal */
  constructor(held: Held<A>) {
    this.held = held;
  }

  /** The connection's stable name, through sleep and restart. */
  get id(): string {
    return this.held.wire.id;
  }
  /** Our end. */
  get localAddr(): NetAddr {
    return this.held.wire.localAddr;
  }
  /** The peer's end. */
  get remoteAddr(): NetAddr {
    return this.held.wire.remoteAddr;
  }
  /** Bytes written and not yet acknowledged. */
  get bufferedBytes(): number {
    return this.held.wire.bufferedBytes;
  }

  /**
   * Data kept with the connection and, while it sleeps, in its image: anything that CBOR can hold.
   * @throws {RangeError} When it is longer than `attachmentBytesMax`. {BadResource} When the connection sleeps.
   */
  get attachment(): A {
    return this.held.keeping.attachment;
  }
  set attachment(value: A) {
    this.held.keeping.attachment = value;
  }
}

/** What a response stands for that is none. */
export type Instead = { kind: "webSocket"; protocol: string | undefined } | { kind: "events" };
export const instead: WeakMap<Response, Instead> = new WeakMap<Response, Instead>();

/** The connection that a request came on. What is attached to it stays for its next requests. */
export class HttpClient<A> extends Client<A> {
  /** Resolves when the response has been written whole; rejects when it never will be. */
  readonly completed: Promise<void>;

  /** @internal */
  constructor(held: Held<A>, completed: Promise<void>) {
    super(held);
    this.completed = completed;
  }

  /**
   * What to return for a request for WebSocket: the connection is one from then on, and its messages come to the
   * `webSocket` handlers. A request that asks for it wrongly gets the response that says so.
   * @param protocol One of those that the client offers.
   */
  upgrade(protocol?: string): Response {
    return mark({ kind: "webSocket", protocol });
  }

  /** What to return for a request of an `EventSource`: `send` on its `events` client, from then on. */
  events(): Response {
    return mark({ kind: "events" });
  }
}

function mark(what: Instead): Response {
  const response = new Response(null);
  instead.set(response, what);
  return response;
}

/** A WebSocket. */
export class WebSocketClient<A> extends Client<A> {
  /**
   * Sends a message: text as text, bytes as binary.
   * @returns False when it is time to wait until less is buffered.
   * @throws {BrokenPipe} When it closes, or sleeps. {RangeError} When more than 16 MiB would be unsent.
   */
  send(message: string | Uint8Array): boolean {
    if (this.held.frames?.closing) return true; // nothing may follow a close frame (RFC 6455 section 5.5.1)
    const payload = typeof message === "string" ? new TextEncoder().encode(message) : message;
    return this.held.wire.write(frame(typeof message === "string" ? Opcode.text : Opcode.binary, payload));
  }

  /**
   * Sends a ping of up to 125 bytes; pongs are taken in silence. For finding out who is gone TCP's keep-alive does, and
   * is sent asleep too.
   * @throws {RangeError} When it is longer.
   */
  ping(payload: Uint8Array = new Uint8Array(0)): void {
    if (payload.length > 125) throw new RangeError("A ping has at most 125 bytes");
    if (!this.held.frames?.closing) this.held.wire.write(frame(Opcode.ping, payload));
  }

  /**
   * Begins the closing handshake; the connection ends when the peer has answered.
   * @throws {RangeError} When `code` may not be sent.
   */
  close(code: number = CloseCode.normal, reason = ""): void {
    if (!isCloseCode(code)) throw new RangeError(`Cannot close with code ${code}`);
    if (this.held.frames === undefined || this.held.frames.closing) return;
    this.held.frames.closing = true;
    this.held.keeping.state = this.held.frames;
    this.held.wire.write(closeFrame(code, reason));
  }
}

/** An `EventSource`'s connection. */
export class EventClient<A> extends Client<A> {
  /**
   * Sends an event.
   * @returns False when it is time to wait until less is buffered.
   * @throws {TypeError} {BrokenPipe} {RangeError}
   */
  send(event: ServerEvent | string): boolean {
    const text = eventText(typeof event === "string" ? { data: event } : event);
    const bytes = new TextEncoder().encode(text);
    return this.held.wire.write(this.held.keeping.state === 1 ? chunk(bytes) : bytes);
  }

  /** Ends the stream; the browser connects again, unless it is told not to by a 204. */
  close(): void {
    if (this.held.keeping.state === 1) this.held.wire.write(LAST_CHUNK);
    this.held.wire.close();
  }
}
