import { canWrite } from "../tcp/user.ts";
import type { TcpCalls } from "../tcp/calls.ts";
import type { CongestionControlName } from "../tcp/congestion/congestion.ts";
import { type TcpInfo, tcpInfo } from "../tcp/info.ts";
import { checkTcpOptions, tcpGetOptions, type TcpOptions } from "../tcp/options.ts";
import { DIRECT_BYTES_MIN, ReadOffer } from "../tcp/offer.ts";
import { urgentBytes } from "../tcp/urgent.ts";
import { type Tcb, TcpError, TcpEvent, TcpState } from "../tcp/tcb.ts";
import { formatTuple } from "../connections/tuple.ts";
import { netAddr } from "./address.ts";
import { connectionError } from "./connection_error.ts";
import { BadResource, BrokenPipe, Interrupted } from "./errors.ts";
import type { Host } from "./host.ts";
import type { Hold } from "./liveness.ts";
import type { Owner } from "./owner.ts";
import type { NetAddr, Trouble } from "./types.ts";

/** @param count What has been put into a reader's buffer; without, it looks again. */
type Waiter = { resolve: (count?: number) => void; reject: (error: Error) => void };

/**
 * One connection as the application holds it, whatever API it likes: reads and writes that wait, the
 * connection's sleep hidden behind them. While it sleeps this object is all that is left of it.
 *
 * Calls take effect at once where they can: `write` then `close` without an `await` sends both.
 */
export class Endpoint implements Owner {
  /** The connection's stable name. */
  readonly id: string;
  readonly localAddr: NetAddr;
  readonly remoteAddr: NetAddr;
  /** Whether the process lives for it. */
  readonly hold: Hold;
  readonly #host: Host;
  #tcb: Tcb | undefined;
  #record: number;
  #closed = false; // by the application, or with its host
  #error: TcpError | undefined; // why the connection ended, once it has
  #leftover: Uint8Array | undefined; // unread when the connection ended
  #leftAttached: unknown; // what was attached then: who reads the rest has to know whose it is
  /** What the connection took to sleep: unread data, the peer's FIN, data of ours not yet acknowledged. */
  #asleepUnread = false;
  #asleepUrgent = 0;
  #asleepEnd = false;
  #asleepUnsent = false;
  #readers: Waiter[] = [];
  /** The buffer of the first of them, and when it is offered to TCP that one. */
  #offer: ReadOffer | undefined;
  #offerer: Waiter | undefined;
  /** A buffer that others offer as well, and who gets what is in it. */
  #shared: ReadOffer | undefined;
  #take: ((count: number) => void) | undefined;
  #writers: Waiter[] = [];
  #drainers: Waiter[] = [];
  #sleepers: Waiter[] = [];
  /** What to do as soon as it is awake: options and the close of a sleeping connection. */
  #errands: ((tcb: Tcb) => void)[] = [];
  #opened: ((error: TcpError | undefined) => void) | undefined;
  /** Called when there may be something to read: data, the end, or an error. */
  onReadable: (() => void) | undefined;
  /** Called when delivery has become doubtful (SHLD-9); without it nothing is reported (SHLD-20). */
  onTrouble: ((trouble: Trouble) => void) | undefined;
  /** Called when urgent data is on its way (MUST-32): how many unread bytes there are up to its end. */
  onUrgent: ((bytes: number) => void) | undefined;
  /** Called when the connection has ended by itself, not by `close`. */
  onClosed: ((error: Error | undefined) => void) | undefined;

  /** @param through The address of the socket that it came through; by default its listener's, or its own. */
  constructor(host: Host, tcb: Tcb, through?: number) {
    this.#host = host;
    this.hold = host.liveness.open();
    this.#tcb = tcb;
    this.#record = tcb.record;
    const { addresses, tcp } = host.stack;
    const { localAddress, localPort, remoteAddress, remotePort } = tcb;
    const bound = through ?? tcp.listeners.byId(tcb.listener)?.address ?? localAddress;
    if (tcb.durable !== undefined) this.#calls.keepReads(tcb);
    this.id = formatTuple(localAddress, localPort, remoteAddress, remotePort, addresses);
    this.localAddr = netAddr("tcp", localAddress, localPort, bound, addresses);
    this.remoteAddr = netAddr("tcp", remoteAddress, remotePort, bound, addresses);
  }

  /** Whether it has no TCB at present. */
  get asleep(): boolean {
    return this.#tcb === undefined && this.#error === undefined && !this.#closed;
  }

  get closed(): boolean {
    return this.#closed;
  }

  get host(): Host {
    return this.#host;
  }

  /** Data kept with the connection and its image, anything that CBOR can hold. While it sleeps: `undefined`. */
  get attachment(): unknown {
    return this.#tcb === undefined ? this.#leftAttached : this.#tcb.attachment;
  }
  set attachment(value: unknown) {
    if (this.#tcb === undefined) { // a sleep under way is called off when its image has grown old
      throw new BadResource("An attachment can only be set while the connection is awake");
    }
    this.#tcb.attachment = value;
    if (this.#tcb.durable === undefined) return;
    this.#calls.remember(this.#host.stack.tcp, this.#tcb);
    this.#host.kick();
  }

  /** Calls back once: when the handshake has ended well (`undefined`) or badly. */
  onOpen(callback: (error: TcpError | undefined) => void): void {
    this.#opened = callback;
  }

  async read(p: Uint8Array): Promise<number | null> {
    if (p.byteLength === 0) return 0; // closed or not: as Deno does
    for (;;) {
      this.#checkOpen();
      const count = this.tryRead(p);
      if (count !== undefined) return count;
      const waiting = this.#wait(this.#tcb === undefined ? this.#sleepers : this.#readers);
      this.#offerTo(p);
      const offered = await waiting;
      if (offered !== undefined) return offered;
    }
  }

  /**
   * Reads without waiting: the count, `null` at the end, `undefined` when there is nothing yet.
   * @throws {ConnectionReset} {TimedOut} and the like when the connection has ended badly.
   */
  tryRead(p: Uint8Array): number | null | undefined {
    const tcb = this.#tcb;
    if (tcb === undefined) {
      if (this.#leftover !== undefined) return this.#readLeftover(p);
      if (this.#error === TcpError.none) return null;
      if (this.#error !== undefined) throw connectionError(this.#error, "Cannot read");
      if (this.#asleepUnread) this.#wake();
      else if (this.#asleepEnd) return null;
      return undefined;
    }
    if (tcb.saving && tcb.receiveQueue.length > 0) {
      this.#wake();
      return undefined;
    }
    const count = this.#calls.receive(this.#host.stack.tcp, tcb, p, 0, p.byteLength);
    if (tcb.durable !== undefined) this.#host.kick(); // what was read before is done with
    if (count > 0) {
      this.#host.kick();
      return count;
    }
    return tcb.finReceived ? null : undefined;
  }

  /** What comes next goes into `p` at once: its reader is the only one who waits. */
  #offerTo(p: Uint8Array): void {
    const tcb = this.#tcb;
    if (
      tcb === undefined || this.#shared !== undefined || this.#readers.length !== 1 ||
      p.byteLength < DIRECT_BYTES_MIN
    ) return;
    this.#offer ??= new ReadOffer(p);
    this.#offer.bytes = p;
    this.#offerer = this.#readers[0];
    this.#calls.offer(tcb, this.#offer);
  }

  /**
   * What comes next may go into the front of a buffer that others offer as well, whose data is in it one at a time:
   * `take` is told how much, once, within the turn.
   */
  offerShared(offer: ReadOffer, take: (count: number) => void): void {
    const tcb = this.#tcb;
    if (tcb === undefined || this.#shared !== undefined || this.#readers.length > 0 || this.#host.recorded) {
      return;
    }
    this.#shared = offer;
    this.#take = take;
    this.#calls.offer(tcb, offer);
  }

  #takeShared(tcb: Tcb, offer: ReadOffer): void {
    const count = this.#calls.takeOffered(this.#host.stack.tcp, tcb, offer);
    this.#calls.offer(tcb, undefined);
    this.#shared = undefined;
    if (count > 0) this.#take!(count);
  }

  /** Gives the first reader what its buffer has got; the buffer is its own again. */
  #takeOffered(tcb: Tcb): void {
    if (this.#shared !== undefined) return this.#takeShared(tcb, this.#shared);
    const reader = this.#offerer;
    if (reader === undefined) return;
    this.#offerer = undefined;
    const offer = this.#offer!;
    const count = this.#calls.takeOffered(this.#host.stack.tcp, tcb, offer);
    this.#calls.offer(tcb, undefined);
    offer.bytes = NOTHING;
    if (count === 0) return; // it looks again with the others
    this.#readers.shift();
    reader.resolve(count);
  }

  write(p: Uint8Array): Promise<number> {
    return this.#write(p, "send");
  }

  async #write(p: Uint8Array, how: "send" | "sendUrgent" | "sendRecord"): Promise<number> {
    for (;;) {
      const tcb = this.#ready() ?? await this.#awake();
      if (tcb === undefined || !canWrite(tcb)) throw this.#writeError();
      if (p.byteLength === 0) return 0;
      const { calls, tcp } = this.#host.stack;
      const count = calls[how](tcp, tcb, p, 0, p.byteLength);
      this.#host.kick();
      if (count > 0) return count;
      await this.#wait(this.#writers);
    }
  }

  /** Writes all of `p`. */
  async writeAll(p: Uint8Array): Promise<void> {
    for (let at = 0; at < p.byteLength;) at += await this.write(at === 0 ? p : p.subarray(at));
  }

  /** Writes all of `p` and puts the urgent mark behind it (RFC 6093: it stays in line). */
  async sendUrgent(p: Uint8Array): Promise<void> {
    for (let at = 0; at < p.byteLength;) at += await this.#write(p.subarray(at), "sendUrgent");
  }

  /** Writes all of `p` and ends a record with it (MSG_EOR): what is written next begins a segment of its own. */
  async sendRecord(p: Uint8Array): Promise<void> {
    for (let at = 0; at < p.byteLength;) at += await this.#write(p.subarray(at), "sendRecord");
  }

  /** Unread bytes up to the peer's urgent mark; 0 when nothing is urgent (MUST-33). */
  get urgentBytes(): number {
    return this.#tcb === undefined ? this.#asleepUrgent : urgentBytes(this.#tcb);
  }

  /** Sends FIN behind what was written. */
  async closeWrite(): Promise<void> {
    const tcb = this.#ready() ?? await this.#awake();
    if (tcb === undefined) return;
    this.#calls.shutdown(this.#host.stack.tcp, tcb);
    this.#host.kick();
  }

  /**
   * Resolves when the peer has acknowledged all that was written.
   * @throws {ConnectionReset} {TimedOut} and the like when it never will.
   */
  async drained(): Promise<void> {
    for (;;) {
      this.#checkOpen();
      const tcb = this.#tcb;
      if (this.#error === TcpError.none) return;
      if (this.#error !== undefined) throw connectionError(this.#error, "Cannot deliver what was written");
      if (tcb === undefined) {
        if (!this.#asleepUnsent) return;
        await this.#wait(this.#sleepers);
      } else {
        if (tcb.state !== TcpState.closed && tcb.sendQueue.length === 0) return;
        this.#calls.wantDrained(tcb);
        await this.#wait(this.#drainers);
      }
    }
  }

  /** Lets go: FIN behind what was written, or RST when unread data is thrown away. */
  close(): void {
    this.#checkOpen();
    this.#letGo((tcb) => this.#calls.close(this.#host.stack.tcp, tcb, this.#host.clock.nowMs()));
  }

  /** Ends the connection with RST. Idempotent. */
  abort(): void {
    if (this.#closed) return;
    this.#letGo((tcb) => this.#calls.abort(this.#host.stack.tcp, tcb, this.#host.clock.nowMs()));
  }

  setNoDelay(noDelay = true): void {
    this.#option((tcb) => this.#calls.setNoDelay(this.#host.stack.tcp, tcb, noDelay));
  }

  /** Times in milliseconds; by default two hours idle, then nine probes 75 s apart. */
  setKeepAlive(on = true, idleMs?: number, intervalMs?: number, probes?: number): void {
    this.#option((tcb) => {
      this.#calls.setKeepAlive(
        this.#host.stack.tcp,
        tcb,
        on,
        this.#host.clock.nowMs(),
        idleMs,
        intervalMs,
        probes,
      );
    });
  }

  /** `cubic` or `newreno`; by default the stack's `congestionControl`. */
  setCongestionControl(name: CongestionControlName): void {
    this.#option((tcb) => this.#calls.setCongestionControl(tcb, name));
  }

  /** Bytes that may be unread; by default the stack finds out what is needed. */
  setReceiveBuffer(bytes: number): void {
    this.#option((tcb) => this.#calls.setReceiveBuffer(this.#host.stack.tcp, tcb, bytes));
  }

  /** Bytes that may be unacknowledged; by default the stack finds out what is needed. */
  setSendBuffer(bytes: number): void {
    this.#option((tcb) => this.#calls.setSendBuffer(this.#host.stack.tcp, tcb, bytes));
  }

  /**
   * Takes over what is named and leaves the rest; a sleeping connection wakes for it.
   * @throws {RangeError} Naming the option that makes no sense.
   */
  setOptions(options: TcpOptions): void {
    checkTcpOptions(options);
    this.#option((tcb) =>
      this.#calls.setOptions(this.#host.stack.tcp, tcb, options, this.#host.clock.nowMs())
    );
  }

  /** What holds for the connection; wakes it when it sleeps. Rejects once it has ended. */
  async options(): Promise<Required<TcpOptions>> {
    return tcpGetOptions(await this.#awakeOrEnded("options"));
  }

  /** The connection in numbers, Linux's `tcp_info`; wakes it when it sleeps. Rejects once it has ended. */
  async info(): Promise<TcpInfo> {
    const tcb = await this.#awakeOrEnded("numbers");
    return tcpInfo(this.#host.stack.tcp, tcb, this.#host.clock.nowMs());
  }

  // Owner

  tcpEvents(tcb: Tcb, events: number): void {
    if ((events & TcpEvent.established) !== 0) this.#tellOpened(undefined);
    if ((events & (TcpEvent.readable | TcpEvent.closed)) !== 0) this.#takeOffered(tcb);
    if ((events & TcpEvent.closed) !== 0) return this.#ended(tcb);
    if ((events & TcpEvent.trouble) !== 0) this.onTrouble?.(troubleOf(tcb));
    if ((events & TcpEvent.urgent) !== 0) this.onUrgent?.(urgentBytes(tcb));
    if ((events & TcpEvent.readable) !== 0) {
      release(this.#readers);
      this.onReadable?.();
    }
    if ((events & TcpEvent.writable) !== 0) release(this.#writers);
    if ((events & TcpEvent.drained) !== 0) release(this.#drainers);
  }

  suspended(tcb: Tcb, record: number): boolean {
    this.#offerer = this.#shared = undefined; // nothing has come
    this.#tcb = undefined;
    this.#record = record;
    this.#asleepUrgent = urgentBytes(tcb);
    this.#asleepUnread = tcb.receiveQueue.length > 0;
    this.#asleepEnd = tcb.finReceived;
    this.#asleepUnsent = tcb.sendQueue.length > 0;
    this.#sleepers.push(...this.#readers.splice(0)); // they wait for the same news
    return true;
  }

  restored(tcb: Tcb): void {
    this.#tcb = tcb;
    if (tcb.durable !== undefined) this.#calls.keepReads(tcb);
    for (const errand of this.#errands.splice(0)) errand(tcb);
    this.#releaseAll(); // each looks again at what it waits for
    this.onReadable?.();
  }

  hostClosed(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.hold.close();
    this.#rejectAll();
    this.#errands.length = 0;
    this.#tellOpened(TcpError.aborted);
    this.onClosed?.(new Interrupted("The host has been closed"));
  }

  #ended(tcb: Tcb): void {
    this.#give(tcb);
    this.#tcb = undefined;
    this.hold.close();
    this.#error = tcb.error;
    this.#leftAttached = tcb.attachment;
    if (tcb.receiveQueue.length > 0) { // also before an error is told, as Linux does
      this.#leftover = tcb.receiveQueue.toBytes();
    }
    this.#errands.length = 0;
    this.#tellOpened(tcb.error);
    this.#releaseAll();
    if (this.#closed) return;
    this.onReadable?.();
    this.onClosed?.(tcb.error === TcpError.none ? undefined : connectionError(tcb.error, "Connection lost"));
  }

  /** We let go of it. Others do not: who puts connections to sleep, and a recorder. */
  #give(tcb: Tcb): void {
    const { stack } = this.#host;
    tcb.given = stack.sleepers.owner === undefined && !this.#host.recorded;
  }

  #tellOpened(error: TcpError | undefined): void {
    const opened = this.#opened;
    this.#opened = undefined;
    opened?.(error);
  }

  #readLeftover(p: Uint8Array): number {
    const bytes = this.#leftover!;
    const count = Math.min(bytes.length, p.byteLength);
    p.set(bytes.subarray(0, count));
    this.#leftover = count < bytes.length ? bytes.subarray(count) : undefined;
    return count;
  }

  /** The TCB when it can be used at this very moment. */
  #ready(): Tcb | undefined {
    this.#checkOpen();
    return this.#tcb?.saving ? undefined : this.#tcb;
  }

  /** The TCB once nothing of its sleep is left, or `undefined` when the connection has ended. */
  async #awake(): Promise<Tcb | undefined> {
    for (;;) {
      const tcb = this.#ready();
      if (tcb !== undefined || this.#error !== undefined) return tcb;
      this.#wake();
      await this.#wait(this.#sleepers);
    }
  }

  async #awakeOrEnded(what: string): Promise<Tcb> {
    const tcb = this.#ready() ?? await this.#awake();
    if (tcb === undefined || tcb.state === TcpState.closed) {
      throw connectionError(this.#error || TcpError.aborted, `Cannot read the connection's ${what}`);
    }
    return tcb;
  }

  get #calls(): TcpCalls {
    return this.#host.stack.calls;
  }

  #wake(): void {
    this.#host.wake(this.#record);
  }

  #option(apply: (tcb: Tcb) => void): void {
    const tcb = this.#ready();
    if (tcb !== undefined) apply(tcb);
    else if (this.#error === undefined) this.#whenAwake(apply);
    this.#host.kick();
  }

  #whenAwake(errand: (tcb: Tcb) => void): void {
    this.#errands.push(errand);
    this.#wake();
  }

  #letGo(end: (tcb: Tcb) => void): void {
    const tcb = this.#ready();
    this.#closed = true;
    this.hold.close();
    this.#rejectAll();
    const finish = (awake: Tcb): void => {
      if (this.#offerer !== undefined || this.#shared !== undefined) this.#calls.offer(awake, undefined);
      this.#offerer = this.#shared = undefined;
      end(awake);
      this.#give(awake);
      if (awake.record >= 0) this.#host.setOwner(awake, undefined);
      this.#tcb = undefined;
      this.#host.kick();
    };
    if (tcb !== undefined) finish(tcb);
    else if (this.#error === undefined) this.#whenAwake(finish);
  }

  #checkOpen(): void {
    if (this.#closed) throw new BadResource("Bad resource ID");
  }

  #writeError(): Error {
    const error = this.#error ?? (this.#tcb?.state === TcpState.closed ? this.#tcb.error : TcpError.none);
    if (error === TcpError.none) return new BrokenPipe("Broken pipe (os error 32)");
    return connectionError(error, "Cannot write");
  }

  #wait(waiters: Waiter[]): Promise<number | undefined> {
    return new Promise((resolve, reject) => void waiters.push({ resolve, reject }));
  }

  #releaseAll(): void {
    for (const waiters of [this.#readers, this.#writers, this.#drainers, this.#sleepers]) {
      for (const waiter of waiters.splice(0)) waiter.resolve();
    }
  }

  #rejectAll(): void {
    for (const waiters of [this.#readers, this.#writers, this.#drainers, this.#sleepers]) {
      for (const waiter of waiters.splice(0)) waiter.reject(new Interrupted("operation canceled"));
    }
  }
}

/** What the TCB knows of the trouble that delivery is in. */
export function troubleOf(tcb: Tcb): Trouble {
  const { softError, retransmits } = tcb;
  return {
    retransmits,
    icmp: softError === 0 ? undefined : { type: softError >>> 8, code: softError & 0xff },
  };
}

const NOTHING = new Uint8Array(0);

function release(waiters: Waiter[]): void {
  if (waiters.length === 0) return;
  for (const waiter of waiters.splice(0)) waiter.resolve();
}
