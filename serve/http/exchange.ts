import { setImmediate } from "node:timers";
import { BrokenPipe, Interrupted } from "../../net/socket/errors.ts";
import type { Reach, Wire } from "../hibernation/wire.ts";
import { BodyReader } from "./body.ts";
import type { RequestHead } from "./head.ts";
import { chunk, hasNoBody, httpDate, LAST_CHUNK, responseHead, together } from "./response.ts";

/** Bytes written at a time: a connection takes 16 MiB, and a response may be longer. */
const WRITE_BYTES = 1 << 20;
/** Bytes of a request's body that wait for their reader before the client is held back. */
const BODY_AHEAD_BYTES = 256 * 1024;
/** Bytes of a body that nobody has read, which are worth reading so that the connection can be used again. */
const DISCARD_BYTES_MAX = 1 << 20;

const CONTINUE = new TextEncoder().encode("HTTP/1.1 100 Continue\r\n\r\n");

/** A later turn of the event loop. */
const later = (): Promise<"later"> => new Promise((resolve) => void setImmediate(() => resolve("later")));

/** One request and its response. It is in memory: where its process ends, it is over. */
export class Exchange {
  readonly head: RequestHead;
  /** Whose signal the request has. */
  readonly abort: AbortController = new AbortController();
  /** What came behind the request, of the next ones. */
  readonly rest: Uint8Array[] = [];
  readonly completed: Promise<void>;
  readonly body: ReadableStream<Uint8Array<ArrayBuffer>> | undefined;
  /** Whether the connection can be used again after this. */
  keepAlive: boolean;
  /** The response has begun: no other one may take its place. */
  begun = false;
  answered = false;
  readonly #id: string;
  readonly #reach: Reach;
  readonly #reader: BodyReader;
  #controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>> | undefined;
  #continued: boolean;
  #paused = false;
  #discarded = 0;
  #gone: Error | undefined;
  #drained: { resolve: () => void; reject: (error: Error) => void } | undefined;
  readonly #settle: { resolve: () => void; reject: (error: unknown) => void };

  constructor(id: string, reach: Reach, head: RequestHead) {
    this.#id = id;
    this.#reach = reach;
    this.head = head;
    this.keepAlive = head.keepAlive;
    this.#reader = new BodyReader(head.body);
    this.#continued = !head.expectsContinue;
    const { promise, resolve, reject } = withResolvers();
    this.completed = promise;
    promise.catch(() => {}); // whoever wants to know asks
    this.#settle = { resolve, reject };
    const bodiless = this.#reader.done || head.method === "GET" || head.method === "HEAD";
    this.body = bodiless ? undefined : new ReadableStream<Uint8Array<ArrayBuffer>>({
      start: (controller) => void (this.#controller = controller),
      pull: () => this.#pull(),
      cancel: () => this.#letGoOfBody(),
    }, { highWaterMark: BODY_AHEAD_BYTES, size: ({ byteLength }) => byteLength });
  }

  /** Whether all of the request is there. */
  get requestDone(): boolean {
    return this.#reader.done;
  }

  /**
   * Takes what has come of the body.
   * @returns How many bytes are the body's.
   * @throws {RequestError}
   */
  take(wire: Wire, bytes: Uint8Array): number {
    const used = this.#reader.read(bytes, (piece) => {
      if (this.#controller === undefined) this.#discarded += piece.length;
      else this.#controller.enqueue(piece.slice());
    });
    if (this.#reader.done) {
      this.#controller?.close();
      this.#controller = undefined;
    } else if (this.#controller !== undefined && this.#controller.desiredSize! <= 0) {
      this.#paused = true;
      wire.pause();
    } else if (this.#discarded > DISCARD_BYTES_MAX) {
      wire.abort();
    }
    return used;
  }

  /** Room again for what was written. */
  drained(): void {
    this.#drained?.resolve();
    this.#drained = undefined;
  }

  /** The connection is over. */
  lost(error: Error | undefined): void {
    this.#gone = error ?? new Interrupted("The client has closed the connection");
    this.#drained?.reject(this.#gone);
    this.#controller?.error(this.#gone);
    this.#controller = undefined;
    this.#settle.reject(this.#gone);
    this.abort.abort(this.#gone);
  }

  /**
   * Writes a response.
   * @throws What its body throws, or what became of the connection; then it is not whole.
   */
  async answer(response: Response, nowMs: number): Promise<void> {
    const { head } = this;
    const reader = hasNoBody(response.status) ? undefined : response.body?.getReader();
    try {
      if (response.headers.get("connection")?.toLowerCase().includes("close")) this.keepAlive = false;
      // A client that still waits for "100 Continue" may send the body or not: nobody knows where the next one begins.
      if (!this.#continued) this.keepAlive = false;
      const announced = response.headers.get("content-length");
      const first = await reader?.read();
      let second = first?.done === false && announced === null ? reader!.read() : undefined;
      second?.catch(() => {});
      const ended = second !== undefined && await Promise.race([second, later()]);
      const length = announced !== null || hasNoBody(response.status)
        ? undefined
        : first === undefined || first.done
        ? 0
        : ended !== "later" && ended !== false && ended.done
        ? first.value.length
        : -1;
      const chunked = length === -1 && head.minor === 1 && head.method !== "HEAD";
      if (length === -1 && head.minor === 0) this.keepAlive = false; // the end of the connection is the body's
      const own: [string, string][] = [];
      if (chunked) own.push(["transfer-encoding", "chunked"]);
      if (length !== undefined && length >= 0) own.push(["content-length", `${length}`]);
      if (!response.headers.has("date")) own.push(["date", httpDate(nowMs)]);
      if (!this.keepAlive && head.minor === 1) own.push(["connection", "close"]);
      if (this.keepAlive && head.minor === 0) own.push(["connection", "keep-alive"]);
      const start = responseHead(head.minor, response, own);
      this.begun = true;
      if (head.method === "HEAD" || first === undefined || first.done) {
        await this.write(start);
        return;
      }
      const framed = (piece: Uint8Array): Uint8Array => chunked ? chunk(piece) : piece;
      let sent = first.value.length;
      await this.write(together(start, framed(first.value)));
      if (length !== sent) { // there is more
        for (;;) {
          const { done, value } = await (second ?? reader!.read());
          second = undefined;
          if (done) break;
          sent += value.length;
          if (value.length > 0) await this.write(framed(value));
        }
      }
      if (chunked) await this.write(LAST_CHUNK);
      if (announced !== null && Number(announced) !== sent) {
        throw new TypeError(`The body has ${sent} bytes, and its content-length says ${announced}`);
      }
    } finally {
      reader?.cancel().catch(() => {});
    }
  }

  /** Writes, and waits until there is room again. @throws When the connection is over. */
  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += WRITE_BYTES) {
      const piece = bytes.subarray(at, at + WRITE_BYTES);
      if (this.#gone !== undefined) throw this.#gone;
      await new Promise<void>((resolve, reject) => {
        const there = this.#reach(this.#id, (wire) => {
          try {
            if (wire.write(piece)) resolve();
            else this.#drained = { resolve, reject };
          } catch (error) {
            reject(error);
          }
        });
        if (!there) reject(new BrokenPipe("The connection is gone"));
      });
    }
  }

  /**
   * The response has been written. What is left of the request is read as far as that is worth it.
   * @returns False when it is not: the connection must end.
   */
  finish(): boolean {
    this.answered = true;
    this.#settle.resolve();
    this.#letGoOfBody();
    return this.#reader.done || (this.keepAlive && this.#reader.left <= DISCARD_BYTES_MAX);
  }

  fail(error: unknown): void {
    this.#settle.reject(error);
  }

  #pull(): void {
    if (!this.#continued) {
      this.#continued = true;
      this.#reach(this.#id, (wire) => void wire.write(CONTINUE));
    }
    this.#resume();
  }

  #letGoOfBody(): void {
    const controller = this.#controller;
    this.#controller = undefined;
    if (controller !== undefined && this.answered) {
      controller.error(new TypeError("The request has been answered, and its body is not there any more"));
    }
    this.#resume();
  }

  #resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#reach(this.#id, (wire) => wire.resume());
  }
}

function withResolvers(): { promise: Promise<void>; resolve: () => void; reject: (reason: unknown) => void } {
  let resolve!: () => void, reject!: (reason: unknown) => void;
  const promise = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
