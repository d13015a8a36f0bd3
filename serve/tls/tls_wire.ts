import type { NetAddr } from "../../net/socket/types.ts";
import type { Wire } from "../hibernation/wire.ts";
import type { TlsConnection } from "./tls_connection.ts";

/** Bytes read at a time. */
const CHUNK_BYTES = 64 * 1024;
/** Bytes unsent above which a writer is told to wait. */
const BUFFER_BYTES_MAX = 256 * 1024;

/** What a connection in TLS tells whoever serves it: as `Handlers` are told of one without. */
export interface WireEvents {
  data(wire: Wire, bytes: Uint8Array): void;
  drain(wire: Wire): void;
  end(wire: Wire): void;
  close(wire: Wire, error: Error | undefined): void;
}

/** A connection in TLS as a handler's connection. It stays in memory. */
export class TlsWire implements Wire {
  readonly id: string;
  attachment: unknown = undefined;
  readonly #conn: TlsConnection;
  readonly #events: WireEvents;
  #buffered = 0;
  #paused: { promise: Promise<void>; resume: () => void } | undefined;
  #writing: Promise<unknown> = Promise.resolve();
  #over = false;

  constructor(id: string, conn: TlsConnection, events: WireEvents) {
    this.id = id;
    this.#conn = conn;
    this.#events = events;
    void this.#read();
  }

  get localAddr(): NetAddr {
    return this.#conn.localAddr;
  }
  get remoteAddr(): NetAddr {
    return this.#conn.remoteAddr;
  }
  get bufferedBytes(): number {
    return this.#buffered;
  }
  get over(): boolean {
    return this.#over;
  }

  write(bytes: Uint8Array): boolean {
    const copy = bytes.slice();
    this.#buffered += copy.length;
    this.#writing = this.#writing.then(() => this.#conn.write(copy)).then(() => {
      const full = this.#buffered >= BUFFER_BYTES_MAX;
      this.#buffered -= copy.length;
      if (full && this.#buffered < BUFFER_BYTES_MAX) this.#events.drain(this);
    }).catch((error) => this.#end(error));
    return this.#buffered < BUFFER_BYTES_MAX;
  }

  /** What was written, then close_notify and FIN. */
  close(): void {
    void this.#writing.then(() => this.#end(undefined));
  }
  abort(): void {
    this.#end(undefined);
  }

  pause(): void {
    if (this.#paused !== undefined) return;
    let resume!: () => void;
    const promise = new Promise<void>((resolve) => void (resume = resolve));
    this.#paused = { promise, resume };
  }
  resume(): void {
    const paused = this.#paused;
    this.#paused = undefined;
    paused?.resume();
  }

  async #read(): Promise<void> {
    const buffer = new Uint8Array(CHUNK_BYTES);
    try {
      while (!this.#over) {
        await this.#unpaused();
        const count = await this.#conn.read(buffer);
        await this.#unpaused();
        if (this.#over) return;
        if (count === null) return this.#events.end(this);
        this.#events.data(this, buffer.subarray(0, count));
      }
    } catch (error) {
      this.#end(error instanceof Error ? error : undefined);
    }
  }

  async #unpaused(): Promise<void> {
    while (this.#paused !== undefined) await this.#paused.promise;
  }

  #end(error: Error | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.resume();
    this.#conn[Symbol.dispose]();
    this.#events.close(this, error);
  }
}
