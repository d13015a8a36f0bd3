import { Field, RecordState } from "../connections/connection_map.ts";
import { formatTuple } from "../connections/tuple.ts";
import type { TcpListener as ListenEntry } from "../tcp/listeners.ts";
import { type Tcb, TcpError, TcpEvent, TcpState } from "../tcp/tcb.ts";
import {
  canWrite,
  tcpAbort,
  tcpClose,
  tcpReceive,
  tcpSend,
  tcpSetKeepAlive,
  tcpSetNoDelay,
  tcpShutdown,
} from "../tcp/user.ts";
import { formatIpv4 } from "../wire/address.ts";
import { BrokenPipe, connectionError } from "./errors.ts";
import type { Host } from "./host.ts";
import type { Acceptor, Owner } from "./owner.ts";
import type { NetAddr } from "./types.ts";

/** What a server of handlers does with its connections. All are optional but `data`. */
export interface Handlers {
  /** A new connection. */
  open?(connection: Connection): void;
  /** Bytes have arrived; `bytes` is valid until the handler returns. */
  data(connection: Connection, bytes: Uint8Array): void;
  /** The peer has sent its last byte. Without this handler the connection is closed from our side too. */
  end?(connection: Connection): void;
  /** All that was written has been acknowledged, after `write` returned false. */
  drain?(connection: Connection): void;
  /** The connection is over; `error` says why when it did not end in peace. */
  close?(connection: Connection, error: Error | undefined): void;
}

/** Bytes handed to `data` at a time. */
const CHUNK_BYTES = 64 * 1024;
/** Bytes that a connection may hold unsent: a peer that does not read must not eat the server's memory. */
const WRITE_BYTES_MAX = 16 << 20;

/**
 * A connection as its handlers see it, while it is awake. Keep its `id`, not the object: the object
 * goes when the connection sleeps.
 */
export class Connection {
  readonly #server: HandlerServer;
  readonly #tcb: Tcb;
  readonly id: string;

  constructor(server: HandlerServer, tcb: Tcb) {
    this.#server = server;
    this.#tcb = tcb;
    this.id = formatTuple(tcb.localAddress, tcb.localPort, tcb.remoteAddress, tcb.remotePort);
  }

  get localAddr(): NetAddr {
    return { transport: "tcp", hostname: formatIpv4(this.#tcb.localAddress), port: this.#tcb.localPort };
  }
  get remoteAddr(): NetAddr {
    return { transport: "tcp", hostname: formatIpv4(this.#tcb.remoteAddress), port: this.#tcb.remotePort };
  }

  /** Data kept with the connection and, while it sleeps, in its image: anything that CBOR can hold. */
  get attachment(): unknown {
    return this.#tcb.attachment;
  }
  set attachment(value: unknown) {
    this.#tcb.attachment = value;
  }

  /** Bytes written and not yet acknowledged. */
  get bufferedBytes(): number {
    return this.#tcb.sendQueue.length;
  }

  /**
   * Takes all of `bytes`, a copy.
   * @returns False when it is time to wait for `drain`.
   * @throws {BrokenPipe} When the connection cannot send any more. {RangeError} Over 16 MiB unsent.
   */
  write(bytes: Uint8Array): boolean {
    return this.#server.write(this.#tcb, bytes);
  }

  /** FIN behind what was written; the peer may go on sending. */
  end(): void {
    this.#server.act(this.#tcb, (tcb) => tcpShutdown(this.#server.tcp, tcb));
  }

  /** Lets go: FIN behind what was written, and nothing more is read. */
  close(): void {
    this.#server.act(this.#tcb, (tcb, nowMs) => tcpClose(this.#server.tcp, tcb, nowMs));
  }

  /** Ends it with RST. */
  abort(): void {
    this.#server.act(this.#tcb, (tcb, nowMs) => tcpAbort(this.#server.tcp, tcb, nowMs));
  }

  setNoDelay(noDelay = true): void {
    this.#server.act(this.#tcb, (tcb) => tcpSetNoDelay(this.#server.tcp, tcb, noDelay));
  }

  /** Times in milliseconds; by default two hours idle, then nine probes 75 s apart. */
  setKeepAlive(on = true, idleMs?: number, intervalMs?: number, probes?: number): void {
    this.#server.act(this.#tcb, (tcb, nowMs) => {
      tcpSetKeepAlive(this.#server.tcp, tcb, on, nowMs, idleMs, intervalMs, probes);
    });
  }
}

/**
 * A listener whose connections are served by handlers. A sleeping one costs a map slot and an image;
 * `send` and `closeConnection` reach it by its id all the same.
 */
export class HandlerServer implements Acceptor, Owner {
  readonly addr: NetAddr;
  readonly #host: Host;
  readonly #entry: ListenEntry;
  readonly #handlers: Handlers;
  readonly #awake = new Map<Tcb, Connection>();
  /** What to do with sleeping connections as soon as they are awake. */
  readonly #pending = new Map<number, ((connection: Connection) => void)[]>();
  readonly #chunk = new Uint8Array(CHUNK_BYTES);
  #closed = false;

  constructor(host: Host, entry: ListenEntry, handlers: Handlers) {
    this.#host = host;
    this.#entry = entry;
    this.#handlers = handlers;
    this.addr = { transport: "tcp", hostname: formatIpv4(entry.address), port: entry.port };
  }

  /** Ids of all connections to this port, awake and asleep. */
  connections(): IterableIterator<string> {
    return this.#host.connections(this.#entry.port);
  }

  /** How many of its connections are awake: those that have objects in memory. */
  get awake(): number {
    return this.#awake.size;
  }

  /**
   * Writes to a connection by id, waking it when it sleeps.
   * @returns False when there is no such connection.
   */
  send(id: string, bytes: Uint8Array): boolean {
    return this.with(id, (connection) => void connection.write(bytes));
  }

  /** Closes a connection by id. */
  closeConnection(id: string): boolean {
    return this.with(id, (connection) => connection.close());
  }

  /**
   * Calls `action` with the connection, at once when it is awake, else as soon as it is.
   * @returns False when there is no such connection.
   */
  with(id: string, action: (connection: Connection) => void): boolean {
    const { stack } = this.#host;
    const record = this.#host.recordOf(id);
    if (record < 0) return false;
    if (stack.connections.state(record) === RecordState.awake) {
      const tcb = stack.tcp.tcbAt(stack.connections.get(record, Field.slot));
      if (!tcb.saving) {
        const connection = this.#awake.get(tcb);
        if (connection !== undefined) action(connection);
        return connection !== undefined;
      }
    }
    const waiting = this.#pending.get(record);
    if (waiting !== undefined) waiting.push(action);
    else this.#pending.set(record, [action]);
    stack.wake(record, this.#host.clock.nowMs());
    this.#host.kick();
    return true;
  }

  /** Takes no new connections. Those that there are live on. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#host.removeListener(this.#entry);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  // For Connection.

  get tcp(): Host["stack"]["tcp"] {
    return this.#host.stack.tcp;
  }

  write(tcb: Tcb, bytes: Uint8Array): boolean {
    if (tcb.state === TcpState.closed || tcb.record < 0) {
      throw new BrokenPipe("Cannot write: the connection is gone");
    }
    if (tcb.saving) {
      const copy = bytes.slice();
      this.with(this.#awake.get(tcb)!.id, (connection) => void connection.write(copy));
      return true;
    }
    if (!canWrite(tcb)) throw new BrokenPipe("Cannot write: the connection has been closed for writing");
    if (tcb.sendQueue.length + bytes.length > WRITE_BYTES_MAX) {
      throw new RangeError(
        `Cannot write: over ${WRITE_BYTES_MAX} bytes would wait for a peer that does not read`,
      );
    }
    const limit = tcb.sendBufferBytes;
    tcb.sendBufferBytes = WRITE_BYTES_MAX;
    tcpSend(this.tcp, tcb, bytes, 0, bytes.length);
    tcb.sendBufferBytes = limit;
    this.#host.kick();
    if (tcb.sendQueue.length < limit) return true;
    tcb.wantsDrained = true;
    return false;
  }

  act(tcb: Tcb, action: (tcb: Tcb, nowMs: number) => void): void {
    if (tcb.state === TcpState.closed || tcb.record < 0) return;
    if (tcb.saving) this.with(this.#awake.get(tcb)!.id, () => action(tcb, this.#host.clock.nowMs()));
    else action(tcb, this.#host.clock.nowMs());
    this.#host.kick();
  }

  // Acceptor

  accepted(tcb: Tcb): void {
    const connection = this.#adopt(tcb);
    this.#handlers.open?.(connection);
  }

  // Acceptor and Owner

  restored(tcb: Tcb): void {
    this.#adopt(tcb);
    this.#runPending(tcb);
  }

  // Owner

  tcpEvents(tcb: Tcb, events: number): void {
    const connection = this.#awake.get(tcb);
    if (connection === undefined) return;
    if (this.#pending.size > 0) this.#runPending(tcb);
    if ((events & (TcpEvent.readable | TcpEvent.closed)) !== 0) this.#deliver(tcb, connection);
    if ((events & TcpEvent.drained) !== 0) this.#handlers.drain?.(connection);
    if ((events & TcpEvent.closed) === 0) return;
    this.#awake.delete(tcb);
    const error = tcb.error === TcpError.none || tcb.orphan
      ? undefined
      : connectionError(tcb.error, "Connection lost");
    this.#handlers.close?.(connection, error);
  }

  suspended(tcb: Tcb): boolean {
    this.#awake.delete(tcb);
    return false;
  }

  #adopt(tcb: Tcb): Connection {
    const connection = new Connection(this, tcb);
    this.#awake.set(tcb, connection);
    this.#host.setOwner(tcb, this);
    return connection;
  }

  #runPending(tcb: Tcb): void {
    const actions = this.#pending.get(tcb.record);
    if (actions === undefined || tcb.saving) return;
    this.#pending.delete(tcb.record);
    const connection = this.#awake.get(tcb)!;
    for (const action of actions) {
      if (canWrite(tcb)) action(connection);
    }
  }

  #deliver(tcb: Tcb, connection: Connection): void {
    while (tcb.receiveQueue.length > 0 && !tcb.orphan) {
      const count = Math.min(tcb.receiveQueue.length, CHUNK_BYTES);
      if (tcb.state === TcpState.closed) {
        tcb.receiveQueue.copyTo(0, count, this.#chunk, 0);
        tcb.receiveQueue.drop(count);
      } else {
        tcpReceive(this.tcp, tcb, this.#chunk, 0, count);
      }
      this.#handlers.data(connection, this.#chunk.subarray(0, count));
    }
    if (!tcb.finReceived || tcb.orphan || tcb.state === TcpState.closed) return;
    if (this.#handlers.end !== undefined) this.#handlers.end(connection);
    else this.act(tcb, (each) => tcpShutdown(this.tcp, each));
  }
}
