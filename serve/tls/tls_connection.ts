import type { TLSSocket } from "node:tls";
import { BadResource, Interrupted, NotConnected, UnexpectedEof } from "../../net/socket/errors.ts";
import type { StackSocket } from "../../net/socket/stack_socket.ts";
import type { NetAddr } from "../../net/socket/types.ts";
import type { TlsConn, TlsHandshakeInfo } from "../deno/types.ts";
import { tlsError } from "./tls_error.ts";

type Waiter = { resolve: () => void; reject: (error: Error) => void };

/** Bytes asked for at a time by the readable stream when its reader brings no buffer. */
const CHUNK_BYTES = 64 * 1024;

/**
 * `Deno.TlsConn` over a `TLSSocket` of `node:tls`, whose bytes go over a connection of ours.
 *
 * As with Deno it is there before the handshake is over; reading, writing and `handshake` wait for that. The connection
 * beneath sleeps and wakes unnoticed; the record layer with its keys stays in memory.
 */
export class TlsConnection implements TlsConn {
  readonly localAddr: NetAddr;
  readonly remoteAddr: NetAddr;
  readonly #socket: TLSSocket;
  readonly #beneath: StackSocket;
  readonly #waiting = new Set<Waiter>();
  #rest: Uint8Array = new Uint8Array(0);
  #secure = false;
  #ended = false;
  #shut = false;
  #closed = false;
  #error: Error | undefined;
  #readable: ReadableStream<Uint8Array<ArrayBuffer>> | undefined;
  #writable: WritableStream<Uint8Array<ArrayBufferLike>> | undefined;

  /**
   * @param beneath What `socket` is over.
   * @param done The event that says that the handshake is over.
   */
  constructor(
    socket: TLSSocket,
    beneath: StackSocket,
    done: "secure" | "secureConnect",
    ends: { localAddr: NetAddr; remoteAddr: NetAddr },
  ) {
    this.#socket = socket;
    this.#beneath = beneath;
    this.localAddr = ends.localAddr;
    this.remoteAddr = ends.remoteAddr;
    socket.on(done, () => {
      this.#secure = true;
      this.#release();
    });
    socket.on("readable", () => this.#release());
    socket.on("end", () => {
      this.#ended = true;
      this.#release();
    });
    socket.on("error", (error) => {
      this.#error ??= tlsError(error);
      this.#release();
    });
    socket.on("close", () => {
      this.#ended = true;
      this.#release();
    });
  }

  async handshake(): Promise<TlsHandshakeInfo> {
    if (this.#closed) throw new BadResource("Listener has been closed"); // Deno's own words
    await this.#established();
    return { alpnProtocol: this.#socket.alpnProtocol || null };
  }

  async read(p: Uint8Array): Promise<number | null> {
    if (p.byteLength === 0) return 0;
    for (;;) {
      if (this.#closed) throw new BadResource("Bad resource ID");
      if (this.#rest.length === 0) this.#rest = (this.#socket.read() as Uint8Array | null) ?? this.#rest;
      if (this.#rest.length > 0) {
        const count = Math.min(p.byteLength, this.#rest.length);
        p.set(this.#rest.subarray(0, count));
        this.#rest = this.#rest.subarray(count);
        return count;
      }
      if (this.#error !== undefined) throw this.#error;
      if (this.#ended) {
        if (!this.#secure) throw new UnexpectedEof("unexpected end of file");
        return null;
      }
      await this.#wait();
    }
  }

  async write(p: Uint8Array): Promise<number> {
    await this.#established();
    if (this.#shut) throw new NotConnected("not connected");
    if (p.byteLength === 0) return 0;
    await this.#socketCall((done) => void this.#socket.write(p, done));
    return p.byteLength;
  }

  /** Sends close_notify, then FIN. On Bun this closes the other direction, too. */
  async closeWrite(): Promise<void> {
    await this.#established();
    if (this.#shut) return;
    this.#shut = true;
    await this.#socketCall((done) => void this.#socket.end(done as () => void));
  }

  close(): void {
    if (this.#closed) throw new BadResource("Bad resource ID");
    this.#closed = true;
    for (const { reject } of this.#waiting) reject(new Interrupted("operation canceled"));
    this.#waiting.clear();
    if (!this.#secure || this.#error !== undefined) return void this.#socket.destroy();
    // What was written, close_notify and FIN have left; Bun's `destroySoon` would not wait for that.
    if (this.#beneath.writableFinished) this.#socket.destroy();
    else this.#beneath.once("finish", () => this.#socket.destroy());
    this.#socket.end();
  }

  [Symbol.dispose](): void {
    if (!this.#closed) this.close();
  }

  ref(): void {
    this.#beneath.ref();
  }
  unref(): void {
    this.#beneath.unref();
  }

  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return this.#readable ??= new ReadableStream({
      type: "bytes",
      autoAllocateChunkSize: CHUNK_BYTES,
      pull: async (controller: ReadableByteStreamController) => {
        const request = controller.byobRequest!;
        const count = await this.read(request.view as Uint8Array);
        if (count !== null) return request.respond(count);
        controller.close();
        request.respond(0);
        this[Symbol.dispose](); // as Deno does at the end of the stream
      },
      cancel: () => this[Symbol.dispose](),
    }) as ReadableStream<Uint8Array<ArrayBuffer>>;
  }

  get writable(): WritableStream<Uint8Array<ArrayBufferLike>> {
    return this.#writable ??= new WritableStream<Uint8Array<ArrayBufferLike>>({
      write: async (chunk) => void await this.write(chunk),
      close: () => this[Symbol.dispose](),
      abort: () => this[Symbol.dispose](),
    });
  }

  /** Waits until the handshake has succeeded. */
  async #established(): Promise<void> {
    for (;;) {
      if (this.#closed) throw new BadResource("Bad resource ID");
      if (this.#error !== undefined) throw this.#error;
      if (this.#secure) return;
      if (this.#ended) throw new UnexpectedEof("unexpected end of file");
      await this.#wait();
    }
  }

  #socketCall(call: (done: (error?: Error | null) => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      call((error) => {
        if (error === undefined || error === null) resolve();
        else reject(this.#error ?? tlsError(error));
      });
    });
  }

  #wait(): Promise<void> {
    return new Promise((resolve, reject) => void this.#waiting.add({ resolve, reject }));
  }

  #release(): void {
    for (const { resolve } of this.#waiting) resolve();
    this.#waiting.clear();
  }
}
