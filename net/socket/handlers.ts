import { Field, RecordState } from "../connections/connection_map.ts";
import { joinEnds } from "../connections/tuple.ts";
import type { TcpListener as ListenEntry } from "../tcp/listeners.ts";
import { urgentBytes } from "../tcp/urgent.ts";
import { type Tcb, TcpError, TcpEvent, TcpState } from "../tcp/tcb.ts";
import { QUEUE_BYTES_MIN } from "../tcp/memory.ts";
import { ReadOffer } from "../tcp/offer.ts";
import { canWrite } from "../tcp/user.ts";
import { isIpv6Handle } from "../wire/address.ts";
import type { TcpCalls } from "../tcp/calls.ts";
import { netAddr } from "./address.ts";
import { type AsleepProtocol, PROTOCOL_STATE_MAX, type ProtocolReading } from "./asleep/protocol.ts";
import { Connection } from "./connection.ts";
import { connectionError } from "./connection_error.ts";
import { BrokenPipe, ConnectionAborted } from "./errors.ts";
import { type Errand, WaitingErrands } from "./errands.ts";
import type { Host } from "./host.ts";
import type { Hold } from "./liveness.ts";
import type { Acceptor, Owner } from "./owner.ts";
import { throwLater } from "./throw_later.ts";
import { troubleOf } from "./endpoint.ts";
import type { NetAddr, Trouble } from "./types.ts";

/** Both ends of a connection, whose IPv6 addresses may be bytes. */
interface Ends {
  readonly localAddress: number | Uint8Array;
  readonly localPort: number;
  readonly remoteAddress: number | Uint8Array;
  readonly remotePort: number;
}

/**
 * What a server of handlers does with its connections. All are optional but `data`.
 *
 * A handler that throws has a bug: its connection is aborted, the error is thrown again where nothing
 * catches it, and the other connections go on if the program does.
 */
export interface Handlers {
  /** A new connection. */
  open?(connection: Connection): void;
  /** Bytes have arrived; `bytes` is valid until the handler returns. */
  data(connection: Connection, bytes: Uint8Array): void;
  /** The peer has sent its last byte. Without this handler the connection is closed from our side too. */
  end?(connection: Connection): void;
  /** All that was written has been acknowledged, after `write` returned false. */
  drain?(connection: Connection): void;
  /** Urgent data is on its way: `bytes` from here on reach up to the mark. */
  urgent?(connection: Connection, bytes: number): void;
  /** Delivery has become doubtful: retransmissions, or soft ICMP errors. The connection goes on. */
  trouble?(connection: Connection, trouble: Trouble): void;
  /**
   * Answers what its protocol can answer alone, such as pings, while the connection sleeps: `webSocketPings()`,
   * `mqttPings()`. The connection wakes for it, its application does not: no handler is called, and it sleeps again as
   * soon as it is quiet. Whatever is not answered whole comes to `data`, all of it and in order.
   */
  asleep?: AsleepProtocol;
  /** The connection is over in both directions; `error` says why when it did not end in peace. Called once. */
  close?(connection: Connection, error: Error | undefined): void;
}

const NOTHING = new Uint8Array(0);
/** Bytes handed to `data` at a time, */
const CHUNK_BYTES = 64 * 1024;
/** and of those that come first in a turn: some trains of packets. */
const OFFER_BYTES = 256 * 1024;
/** Bytes that a connection may hold unsent: a peer that does not read must not eat the server's memory. */
const WRITE_BYTES_MAX = 16 << 20;

/**
 * A listener whose connections are served by handlers. A sleeping one costs a map slot and an image;
 * `send` and `closeConnection` reach it by its id all the same.
 */
export class HandlerServer implements Acceptor, Owner {
  /** Where it listens. */
  readonly addr: NetAddr;
  readonly #host: Host;
  readonly #entry: ListenEntry;
  readonly #handlers: Handlers;
  readonly #awake = new Map<Tcb, Connection>();
  readonly #errands = new WaitingErrands();
  readonly #chunk = new Uint8Array(CHUNK_BYTES);
  /** Its front, as long as what came last. */
  #front = this.#chunk;
  /** Whose data comes first in a batch has it here at once (net/tcp/offer.ts); handed over before the turn is over. */
  readonly #offer = new ReadOffer(NOTHING);
  #offerFront: Uint8Array = NOTHING;
  /** Ids of those whose bytes wait in TCP's queue because the application has enough for now. */
  readonly #paused = new Set<string>();
  readonly #endTold = new WeakSet<Connection>();
  #holds: ((connection: Connection) => boolean) | undefined;
  readonly #hold: Hold;
  #answers = 0;
  #closed = false;

  /** @internal */
  constructor(host: Host, entry: ListenEntry, handlers: Handlers) {
    this.#host = host;
    this.#entry = entry;
    this.#handlers = handlers;
    this.#hold = host.liveness.open();
    this.addr = netAddr("tcp", entry.address, entry.port, entry.address, host.stack.addresses);
  }

  /** Ids of all connections to this port, awake and asleep. */
  connections(): IterableIterator<string> {
    return this.#host.connections(this.#entry.port);
  }

  /** How many of its connections are awake: those that have objects in memory. */
  get awake(): number {
    return this.#awake.size;
  }

  /** Those that are. */
  awakeConnections(): Connection[] {
    return [...this.#awake.values()];
  }

  /** How often `asleep` has answered, and the application was left alone. */
  get answers(): number {
    return this.#answers;
  }

  /**
   * Writes a copy of `bytes` to a connection by id, waking it when it sleeps.
   * @returns False when there is no such connection.
   * @throws {TypeError} When `id` is not one. {BrokenPipe} {RangeError} As `Connection.write`.
   */
  send(id: string, bytes: Uint8Array): boolean {
    const record = this.#recordOf(id);
    if (record < 0) return false;
    const tcb = this.#usable(record);
    if (tcb !== undefined) {
      if (!this.#awake.has(tcb) || tcb.orphan) return false;
      this.write(tcb, bytes);
      return true;
    }
    this.#checkRoom(this.#errands.bytesFor(record, id) + bytes.length);
    this.#deferWrite(record, id, bytes, false);
    return true;
  }

  /** Closes a connection by id. */
  closeConnection(id: string): boolean {
    return this.with(id, (connection) => connection.close());
  }

  /**
   * Calls `action` with the connection, at once when it is awake, else as soon as it is.
   * @returns False when there is no such connection.
   * @throws {TypeError} When `id` is not one.
   */
  with(id: string, action: (connection: Connection) => void): boolean {
    const record = this.#recordOf(id);
    if (record < 0) return false;
    const tcb = this.#usable(record);
    if (tcb === undefined) {
      this.#defer(record, id, action);
      return true;
    }
    const connection = this.#awake.get(tcb);
    if (connection === undefined || tcb.orphan) return false;
    tcb.drowsy = false;
    this.#catchUp(tcb);
    action(connection);
    return true;
  }

  /** Takes no new connections. Those that there are live on, and sleeping ones come back to these handlers. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#hold.close();
    this.#host.removeListener(this.#entry, this);
  }

  /** As `close()`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * @internal Leaves what arrives in TCP's queue for whom `holds` says so, until the process ends: the next one reads it.
   */
  hold(holds: (connection: Connection) => boolean): void {
    this.#holds = holds;
    for (const tcb of this.#awake.keys()) this.calls.offer(tcb, undefined);
  }

  /** It keeps the process alive, as it does by default, asleep as its connections may be. */
  ref(): void {
    this.#hold.ref();
  }
  /** It is no reason to keep the process alive: that ends when nothing else is. */
  unref(): void {
    this.#hold.unref();
  }

  // For Connection.

  /** @internal */
  get tcp(): Host["stack"]["tcp"] {
    return this.#host.stack.tcp;
  }

  /** @internal */
  get calls(): TcpCalls {
    return this.#host.stack.calls;
  }

  /** @internal */
  nowMs(): number {
    return this.#host.clock.nowMs();
  }

  /** @internal */
  write(tcb: Tcb, bytes: Uint8Array, urgent = false): boolean {
    if (tcb.state === TcpState.closed) throw new BrokenPipe("Cannot write: the connection is gone");
    if (tcb.record < 0) throw new BrokenPipe("Cannot write: the connection sleeps and this object is stale");
    tcb.drowsy = false;
    if (!tcb.saving) this.#catchUp(tcb);
    if (!canWrite(tcb)) throw new BrokenPipe("Cannot write: the connection has been closed for writing");
    if (tcb.saving && !this.#awake.has(tcb)) throw new BrokenPipe("Cannot write: the host has been closed");
    const buffered = this.bufferedBytes(tcb) + bytes.length;
    this.#checkRoom(buffered);
    if (tcb.saving) {
      const full = buffered >= tcb.sendBufferBytes;
      this.#deferWrite(tcb.record, this.idOf(tcb), bytes, full, urgent);
      return !full;
    }
    const { length, capacity } = tcb.sendQueue;
    if (this.tcp.memory.full && length + bytes.length > Math.max(capacity, QUEUE_BYTES_MIN)) {
      throw new RangeError("Cannot write: the memory of all connections is used up");
    }
    this.calls.sendAll(this.tcp, tcb, bytes, WRITE_BYTES_MAX, urgent);
    this.#host.kick();
    if (tcb.sendQueue.length < tcb.sendBufferBytes && !this.tcp.memory.tight) return true;
    this.calls.wantDrained(tcb);
    return false;
  }

  /** @internal Leaves what arrives in TCP's queue, which tells the peer how much more it may send. */
  pause(tcb: Tcb, connection: Connection): void {
    this.#paused.add(connection.id);
    if (tcb.offer !== undefined) this.calls.offer(tcb, undefined);
  }

  /** @internal Takes it from there again, in a moment: never inside the call. */
  resume(tcb: Tcb, connection: Connection): void {
    if (!this.#paused.delete(connection.id)) return;
    queueMicrotask(() => {
      if (this.#awake.get(tcb) !== connection || tcb.saving) { // whoever wakes gets what has come
        this.with(connection.id, () => {});
        return;
      }
      try {
        this.#deliver(tcb, connection);
      } catch (error) {
        this.#failed(tcb, error);
      }
      this.#offerTo(tcb, connection);
      this.#host.kick();
    });
  }

  /** @internal What a durable connection keeps has changed. */
  attached(tcb: Tcb): void {
    this.calls.remember(this.tcp, tcb);
    this.#host.kick();
  }

  /** @internal */
  idOf({ localAddress, localPort, remoteAddress, remotePort }: Ends): string {
    const { addresses } = this.#host.stack;
    const local = addresses.formatLasting(localAddress), remote = addresses.formatLasting(remoteAddress);
    return joinEnds(local, localPort, remote, remotePort);
  }

  /** @internal An address as what outlasts the connection's objects may keep it. */
  lasting(address: number): number | Uint8Array {
    return isIpv6Handle(address) ? this.#host.stack.addresses.freeze(address) : address;
  }

  /** @internal */
  netAddr(address: number | Uint8Array, port: number): NetAddr {
    return netAddr("tcp", address, port, this.#entry.address, this.#host.stack.addresses);
  }

  /** @internal */
  bufferedBytes(tcb: Tcb): number {
    const { length } = tcb.sendQueue;
    if (this.#errands.size === 0 || tcb.record < 0) return length; // its name costs more than all else here
    return length + this.#errands.bytesFor(tcb.record, this.idOf(tcb));
  }

  /** @internal */
  act(tcb: Tcb, action: (tcb: Tcb, nowMs: number) => void): void {
    if (tcb.state === TcpState.closed || tcb.record < 0) return;
    tcb.drowsy = false;
    if (tcb.saving) {
      // In TIME-WAIT it is nobody's any more, and there is nothing left to ask of it.
      if (!this.#awake.has(tcb)) return;
      this.#defer(tcb.record, this.idOf(tcb), (_, awake) => action(awake, this.#host.clock.nowMs()));
    } else {
      this.#catchUp(tcb);
      action(tcb, this.#host.clock.nowMs());
      this.#host.kick();
    }
  }

  // Acceptor

  /** @internal */
  accepted(tcb: Tcb): void {
    this.#host.stack.tcp.listeners.taken(this.#entry);
    const connection = this.#adopt(tcb);
    const { asleep } = this.#handlers;
    if (asleep !== undefined) this.calls.setProtocol(tcb, [asleep.id, ...asleep.start]);
    try {
      this.#handlers.open?.(connection);
    } catch (error) {
      this.#failed(tcb, error);
    }
  }

  // Acceptor and Owner

  /** @internal */
  restored(tcb: Tcb): void {
    const known = this.#awake.get(tcb);
    if (known === undefined && tcb.state === TcpState.timeWait && tcb.receiveQueue.length === 0) {
      return; // its handlers were told before it slept that it is over
    }
    const connection = known ?? this.#adopt(tcb);
    if (tcb.saving) return this.#host.wake(tcb.record); // adopted in mid-sleep: from the beginning, please
    const { asleep } = this.#handlers;
    tcb.drowsy = known === undefined && asleep !== undefined && tcb.protocolState[0] === asleep.id &&
      tcb.state === TcpState.established && tcb.receiveQueue.length === 0;
    try {
      this.#runErrands(tcb, connection);
      if (tcb.receiveQueue.length > 0) this.#deliver(tcb, connection); // nobody owned it when that came
    } catch (error) {
      this.#failed(tcb, error);
    }
  }

  /** @internal */
  hostClosed(): void {
    this.#closed = true;
    this.#hold.close();
    this.#errands.clear();
    const connections = [...this.#awake];
    this.#awake.clear();
    for (const [tcb, connection] of connections) {
      if (tcb.saving) continue; // not over: it sleeps
      this.#tellClosed(tcb, connection, new ConnectionAborted("The host has been closed"));
    }
  }

  // Owner

  /** @internal */
  tcpEvents(tcb: Tcb, events: number): void {
    const connection = this.#awake.get(tcb);
    if (connection === undefined) return;
    if (tcb.drowsy && (events & ~TcpEvent.readable) === 0 && this.#answerAsleep(tcb)) return;
    tcb.drowsy = false; // from here on the application is told
    try {
      // What was asked while its image was written, which came to nothing: before a handler runs, and not within its calls.
      if (!tcb.saving) this.#runErrands(tcb, connection);
      if (this.#offer.holder === tcb) this.#deliverOffered(tcb, connection);
      if ((events & TcpEvent.trouble) !== 0) this.#handlers.trouble?.(connection, troubleOf(tcb));
      if ((events & TcpEvent.urgent) !== 0) this.#handlers.urgent?.(connection, urgentBytes(tcb));
      if ((events & (TcpEvent.readable | TcpEvent.closed)) !== 0) this.#deliver(tcb, connection);
      if ((events & TcpEvent.drained) !== 0 && !tcb.orphan) this.#handlers.drain?.(connection);
    } catch (error) {
      this.#failed(tcb, error);
    }
    if ((events & TcpEvent.closed) === 0 && tcb.state !== TcpState.timeWait) return;
    // TIME-WAIT is TCP's affair: both directions are over.
    this.#awake.delete(tcb);
    // Whoever has kept the object may still ask for its name, when its peer's handle has become another's.
    if (isIpv6Handle(tcb.remoteAddress)) void connection.id;
    if (this.#errands.size > 0) this.#errands.forget(connection.id);
    if (this.#paused.size > 0) this.#paused.delete(connection.id);
    if (tcb.record >= 0) this.#host.setOwner(tcb, undefined);
    const error = tcb.error === TcpError.none || tcb.orphan
      ? undefined
      : connectionError(tcb.error, "Connection lost");
    this.#tellClosed(tcb, connection, error);
  }

  /** @internal */
  suspended(tcb: Tcb): boolean {
    const connection = this.#awake.get(tcb);
    if (connection !== undefined) {
      this.#awake.delete(tcb);
      connection.sleeps();
    }
    return false;
  }

  #recordOf(id: string): number {
    const record = this.#host.recordOf(id);
    if (record < 0) return -1;
    const localPort = this.#host.stack.connections.get(record, Field.ports) >>> 16;
    return localPort === this.#entry.port ? record : -1;
  }

  /** The TCB of `record` when it can be used at this very moment. */
  #usable(record: number): Tcb | undefined {
    const { connections, tcp } = this.#host.stack;
    if (connections.state(record) !== RecordState.awake) return undefined;
    const tcb = tcp.tcbAt(connections.get(record, Field.slot));
    return tcb.saving ? undefined : tcb;
  }

  /** `promisedDrain`: the writer has been told to wait for it. */
  #deferWrite(record: number, id: string, bytes: Uint8Array, promisedDrain: boolean, urgent = false): void {
    const copy = bytes.slice(); // a handler's bytes are gone when it returns
    const errand = (connection: Connection, tcb: Tcb): void => {
      try {
        if (urgent) connection.sendUrgent(copy);
        else connection.write(copy);
        if (promisedDrain) this.calls.wantDrained(tcb); // acknowledgements may have come in between
      } catch (error) {
        // Closed in its sleep: as if on the way. It slept with its buffer full: nobody to tell but the peer.
        if (error instanceof RangeError) connection.abort();
        else if (!(error instanceof BrokenPipe)) throw error;
      }
    };
    this.#defer(record, id, errand, copy.length);
  }

  /** What was asked for while the image was being written comes before what is asked for now. */
  #catchUp(tcb: Tcb): void {
    if (this.#errands.size === 0) return;
    const connection = this.#awake.get(tcb);
    if (connection === undefined) return;
    try {
      this.#runErrands(tcb, connection);
    } catch (error) {
      this.#failed(tcb, error);
    }
  }

  #defer(record: number, id: string, errand: Errand, bytes = 0): void {
    this.#errands.add(record, id, errand, bytes);
    this.#host.wake(record);
  }

  #checkRoom(bytes: number): void {
    if (bytes <= WRITE_BYTES_MAX) return;
    throw new RangeError(
      `Cannot write: over ${WRITE_BYTES_MAX} bytes would wait for a peer that does not read`,
    );
  }

  #adopt(tcb: Tcb): Connection {
    const connection = new Connection(this, tcb);
    this.#awake.set(tcb, connection);
    this.#host.setOwner(tcb, this);
    this.#offerTo(tcb, connection);
    return connection;
  }

  /** Not of who pauses; nor where somebody else reads first, or it would have to be recorded whose buffer it is. */
  #offerTo(tcb: Tcb, connection: Connection): void {
    if (this.#handlers.asleep !== undefined || this.#holds !== undefined || this.#host.recorded) return;
    if (tcb.state === TcpState.closed || (this.#paused.size > 0 && this.#paused.has(connection.id))) return;
    if (this.#offer.bytes.length === 0) this.#offer.bytes = this.#offerFront = new Uint8Array(OFFER_BYTES);
    this.calls.offer(tcb, this.#offer);
  }

  /** Hands over what has been put into the offered buffer. */
  #deliverOffered(tcb: Tcb, connection: Connection): void {
    const count = this.calls.takeOffered(this.tcp, tcb, this.#offer);
    if (count === 0 || tcb.orphan || tcb.error === TcpError.aborted) return;
    if (this.#offerFront.length !== count) this.#offerFront = this.#offer.bytes.subarray(0, count);
    this.#handlers.data(connection, this.#offerFront);
  }

  #runErrands(tcb: Tcb, connection: Connection): void {
    if (this.#errands.size === 0) return;
    for (const action of this.#errands.take(tcb.record, connection.id)) {
      tcb.drowsy = false;
      const over = tcb.state === TcpState.closed || tcb.orphan || tcb.error !== TcpError.none; // or image lost
      if (!over) action(connection, tcb);
    }
  }

  /** Whether all that has come is answered by the protocol, and the application may sleep on. */
  #answerAsleep(tcb: Tcb): boolean {
    const protocol = this.#handlers.asleep!;
    const count = tcb.receiveQueue.length;
    if (count === 0 || count > CHUNK_BYTES || tcb.finReceived || !canWrite(tcb)) return false;
    tcb.receiveQueue.copyTo(0, count, this.#chunk, 0);
    const reading = this.#read(protocol, tcb, this.#chunk.subarray(0, count));
    if (reading?.answer === undefined) return false;
    this.calls.receive(this.tcp, tcb, this.#chunk, 0, count);
    this.calls.setProtocol(tcb, [protocol.id, ...reading.state]);
    if (reading.answer.length > 0) {
      this.calls.sendAll(this.tcp, tcb, reading.answer, WRITE_BYTES_MAX, false);
      this.#host.kick();
    }
    this.#answers++;
    return true;
  }

  /** What the protocol says of the next bytes. Its mistake costs the application nothing but its sleep. */
  #read(protocol: AsleepProtocol, tcb: Tcb, bytes: Uint8Array): ProtocolReading | undefined {
    try {
      const reading = protocol.read(tcb.protocolState.slice(1), bytes);
      if (reading.state.length < PROTOCOL_STATE_MAX) return reading;
      throw new RangeError(`The state of an asleep protocol has ${reading.state.length} numbers`);
    } catch (error) {
      this.calls.setProtocol(tcb, []);
      throwLater(error);
      return undefined;
    }
  }

  /** The application reads; the protocol looks on, to know where the next message begins. */
  #follow(tcb: Tcb, bytes: Uint8Array): void {
    const { asleep } = this.#handlers;
    if (asleep === undefined || tcb.protocolState[0] !== asleep.id) return;
    const reading = this.#read(asleep, tcb, bytes);
    if (reading !== undefined && tcb.record >= 0) this.calls.setProtocol(tcb, [asleep.id, ...reading.state]);
  }

  #tellClosed(tcb: Tcb, connection: Connection, error: Error | undefined): void {
    try {
      this.#handlers.close?.(connection, error);
    } catch (mistake) {
      this.#failed(tcb, mistake);
    }
  }

  /** A handler's mistake ends its own connection, not the turn that serves all of them. */
  #failed(tcb: Tcb, error: unknown): void {
    if (tcb.record >= 0 && !tcb.saving) this.calls.abort(this.tcp, tcb, this.#host.clock.nowMs());
    throwLater(error);
  }

  #deliver(tcb: Tcb, connection: Connection): void {
    // After its own `close` or `abort` a handler hears no more data.
    while (tcb.receiveQueue.length > 0 && !tcb.orphan && tcb.error !== TcpError.aborted) {
      if (this.#paused.size > 0 && this.#paused.has(connection.id)) return;
      if (this.#holds?.(connection)) return;
      const count = Math.min(tcb.receiveQueue.length, CHUNK_BYTES);
      if (tcb.state === TcpState.closed) {
        tcb.receiveQueue.copyTo(0, count, this.#chunk, 0);
        tcb.receiveQueue.drop(count);
      } else {
        this.calls.receive(this.tcp, tcb, this.#chunk, 0, count);
      }
      if (this.#front.length !== count) this.#front = this.#chunk.subarray(0, count);
      const bytes = this.#front; // a handler may have others read in its turn
      if (this.#handlers.asleep !== undefined) this.#follow(tcb, bytes);
      this.#handlers.data(connection, bytes);
    }
    if (!tcb.finReceived || tcb.orphan || tcb.state === TcpState.closed) return;
    if (this.#endTold.has(connection)) return;
    this.#endTold.add(connection);
    if (this.#handlers.end !== undefined) this.#handlers.end(connection);
    else this.act(tcb, (each) => this.calls.shutdown(this.tcp, each));
  }
}
