import type { TcpInfo } from "../tcp/info.ts";
import type { TcpOptions } from "../tcp/options.ts";
import type { Endpoint } from "./endpoint.ts";
import { BadResource, Busy } from "./errors.ts";
import type { NetAddr, TcpConn, Trouble } from "./types.ts";

/** Bytes asked for at a time by the readable stream when its reader brings no buffer. */
const CHUNK_BYTES = 64 * 1024;

/** `Deno.TcpConn` over an endpoint. */
export class TcpConnection implements TcpConn {
  /** @internal */
  readonly endpoint: Endpoint;
  #taken = false;
  #readable: ReadableStream<Uint8Array<ArrayBuffer>> | undefined;
  #writable: WritableStream<Uint8Array<ArrayBufferLike>> | undefined;

  /** @internal */
  constructor(endpoint: Endpoint) {
    this.endpoint = endpoint;
  }

  /** Our end. */
  get localAddr(): NetAddr {
    return this.endpoint.localAddr;
  }
  /** The peer's end. */
  get remoteAddr(): NetAddr {
    return this.endpoint.remoteAddr;
  }

  /** The connection's stable name, through sleep and restart. */
  get id(): string {
    return this.endpoint.id;
  }

  /** Data kept with the connection and its image. */
  get attachment(): unknown {
    return this.endpoint.attachment;
  }
  set attachment(value: unknown) {
    this.endpoint.attachment = value;
  }

  /** As `Deno.Conn.read`: how many bytes were read into `p`, `null` at the end. */
  read(p: Uint8Array): Promise<number | null> {
    return this.#taken ? Promise.reject(usedUp()) : this.endpoint.read(p);
  }
  /** As `Deno.Conn.write`: how many bytes of `p` were taken, at least one. */
  write(p: Uint8Array): Promise<number> {
    return this.#taken ? Promise.reject(usedUp()) : this.endpoint.write(p);
  }
  /** Says that nothing more comes from here; reading goes on. */
  closeWrite(): Promise<void> {
    return this.#taken ? Promise.reject(usedUp()) : this.endpoint.closeWrite();
  }
  /** Closes both directions; what was written still arrives. */
  close(): void {
    if (this.#taken) throw usedUp();
    this.endpoint.close();
  }
  /** As `close()`. */
  [Symbol.dispose](): void {
    if (!this.#taken && !this.endpoint.closed) this.endpoint.close();
  }

  /**
   * @internal Uses the connection up, as `Deno.startTls` does: whoever has its endpoint goes on with it.
   * @throws {BadResource} When it is closed or has been used up. {Busy} When one of its streams is in use.
   */
  takeEndpoint(): Endpoint {
    if (this.#taken || this.endpoint.closed) throw usedUp();
    if (this.#readable?.locked || this.#writable?.locked) throw new Busy("TCP stream is currently in use");
    this.#taken = true;
    return this.endpoint;
  }

  /** Sends what is written at once, or waits for more (Nagle's algorithm). */
  setNoDelay(noDelay?: boolean): void {
    this.endpoint.setNoDelay(noDelay);
  }
  /** Probes a silent peer, or does not (RFC 1122 section 4.2.3.6). */
  setKeepAlive(keepAlive?: boolean): void {
    this.endpoint.setKeepAlive(keepAlive);
  }

  /**
   * Sets what Deno has no call for: see `TcpOptions`. What is left out stays as it is.
   * @throws {RangeError} Naming the option that makes no sense.
   */
  setOptions(options: TcpOptions): void {
    this.endpoint.setOptions(options);
  }
  /** What holds for the connection. A sleeping one wakes for it. */
  options(): Promise<Required<TcpOptions>> {
    return this.endpoint.options();
  }
  /** The connection in numbers: Linux's `tcp_info`. A sleeping one wakes for it. */
  info(): Promise<TcpInfo> {
    return this.endpoint.info();
  }
  /** Writes all of `p` and puts the urgent mark behind it; the data stays in line (RFC 6093). Not for new protocols. */
  sendUrgent(p: Uint8Array): Promise<void> {
    return this.endpoint.sendUrgent(p);
  }
  /**
   * Writes all of `p` and ends a record with it (MSG_EOR): what is written next begins a segment of its own, also when
   * it is sent again. The peer sees one stream of bytes all the same.
   */
  sendRecord(p: Uint8Array): Promise<void> {
    return this.endpoint.sendRecord(p);
  }
  /** Unread bytes up to the peer's urgent mark; 0 when nothing is urgent. */
  get urgentBytes(): number {
    return this.endpoint.urgentBytes;
  }
  /** Called when urgent data is on its way: how many unread bytes there are up to its end. */
  set onUrgent(callback: ((bytes: number) => void) | undefined) {
    this.endpoint.onUrgent = callback;
  }
  /** Called when delivery has become doubtful: retransmissions, or soft ICMP errors. The connection goes on. */
  set onTrouble(callback: ((trouble: Trouble) => void) | undefined) {
    this.endpoint.onTrouble = callback;
  }

  /** It keeps the process alive, as it does by default. */
  ref(): void {
    this.endpoint.hold.ref();
  }
  /** It is no reason to keep the process alive: that ends when nothing else is. */
  unref(): void {
    this.endpoint.hold.unref();
  }

  /** What the peer says. */
  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    const endpoint = this.endpoint;
    return this.#readable ??= new ReadableStream({
      type: "bytes",
      autoAllocateChunkSize: CHUNK_BYTES,
      async pull(controller: ReadableByteStreamController) {
        const request = controller.byobRequest!;
        const view = request.view as Uint8Array;
        const count = await endpoint.read(view);
        if (count !== null) return request.respond(count);
        controller.close();
        request.respond(0);
        if (!endpoint.closed) endpoint.close(); // as Deno does at the end of the stream
      },
      cancel() {
        if (!endpoint.closed) endpoint.close();
      },
    }) as ReadableStream<Uint8Array<ArrayBuffer>>;
  }

  /** What is said to the peer. */
  get writable(): WritableStream<Uint8Array<ArrayBufferLike>> {
    const endpoint = this.endpoint;
    return this.#writable ??= new WritableStream<Uint8Array<ArrayBufferLike>>({
      write: (chunk) => endpoint.writeAll(chunk),
      close() {
        if (!endpoint.closed) endpoint.close();
      },
      abort() {
        endpoint.abort();
      },
    });
  }
}

function usedUp(): Error {
  return new BadResource("Bad resource ID");
}
