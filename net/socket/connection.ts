import { type TcpInfo, tcpInfo } from "../tcp/info.ts";
import { checkTcpOptions, tcpGetOptions, type TcpOptions } from "../tcp/options.ts";
import { Tcb, TcpState } from "../tcp/tcb.ts";
import { BadResource } from "./errors.ts";
import type { HandlerServer } from "./handlers.ts";
import type { NetAddr } from "./types.ts";

/** Stands for the TCB of whatever sleeps: that itself is another connection's by then. */
const ASLEEP = new Tcb(-1);
ASLEEP.state = TcpState.established;

/** What an object that is stale still tells. */
interface Left {
  /** IPv6 addresses as their bytes: their handles may be others' by the time that somebody asks. */
  readonly localAddress: number | Uint8Array;
  readonly localPort: number;
  readonly remoteAddress: number | Uint8Array;
  readonly remotePort: number;
  readonly attachment: unknown;
}

/**
 * A connection as its handlers see it, while it is awake. Keep its `id`, not the object: the object
 * goes when the connection sleeps.
 */
export class Connection {
  readonly #server: HandlerServer;
  #tcb: Tcb;
  #left: Left | undefined;
  #id: string | undefined;

  /** @internal */
  constructor(server: HandlerServer, tcb: Tcb) {
    this.#server = server;
    this.#tcb = tcb;
  }

  /** @internal It sleeps, and this object goes, unless somebody keeps it. */
  sleeps(): void {
    const { localPort, remotePort, attachment } = this.#tcb;
    const localAddress = this.#server.lasting(this.#tcb.localAddress);
    const remoteAddress = this.#server.lasting(this.#tcb.remoteAddress);
    this.#left = { localAddress, localPort, remoteAddress, remotePort, attachment };
    this.#tcb = ASLEEP;
  }

  /** Its name, the same through sleep and restart. */
  get id(): string {
    return this.#id ??= this.#server.idOf(this.#left ?? this.#tcb); // most that wake are never asked
  }

  /** Our end. */
  get localAddr(): NetAddr {
    const { localAddress, localPort } = this.#left ?? this.#tcb;
    return this.#server.netAddr(localAddress, localPort);
  }
  /** The peer's end. */
  get remoteAddr(): NetAddr {
    const { remoteAddress, remotePort } = this.#left ?? this.#tcb;
    return this.#server.netAddr(remoteAddress, remotePort);
  }

  /**
   * Data kept with the connection and, while it sleeps, in its image: anything that CBOR can hold.
   * @throws {BadResource} When it is set while the connection sleeps: `server.with` wakes it.
   */
  get attachment(): unknown {
    return (this.#left ?? this.#tcb).attachment;
  }
  set attachment(value: unknown) {
    if (this.#tcb.record < 0 && this.#tcb.state !== TcpState.closed) {
      throw new BadResource("Cannot attach: the connection sleeps and this object is stale");
    }
    this.#tcb.attachment = value;
    if (this.#tcb.durable !== undefined) this.#server.attached(this.#tcb);
  }

  /** Bytes written and not yet acknowledged. */
  get bufferedBytes(): number {
    return this.#server.bufferedBytes(this.#tcb);
  }

  /**
   * Takes all of `bytes`, a copy.
   * @returns False when it is time to wait for `drain`.
   * @throws {BrokenPipe} When the connection cannot send any more, or sleeps: `server.send` wakes it.
   * @throws {RangeError} When more than 16 MiB would be unsent, or the memory of all connections is used up
   * (`memoryMaxBytes`).
   */
  write(bytes: Uint8Array): boolean {
    return this.#server.write(this.#tcb, bytes);
  }

  /**
   * Has `data` called no more, after the bytes at hand: what comes waits in TCP's queue, and when that is full the peer
   * waits. It may sleep so. Not after a restart, and not for `end` when nothing else waits.
   */
  pause(): void {
    this.#server.pause(this.#tcb, this);
  }

  /** Has `data` called again, soon; a connection that sleeps wakes for it. */
  resume(): void {
    this.#server.resume(this.#tcb, this);
  }

  /** FIN behind what was written; the peer may go on sending. */
  end(): void {
    this.#server.act(this.#tcb, (tcb) => this.#server.calls.shutdown(this.#server.tcp, tcb));
  }

  /** Lets go: FIN behind what was written, and nothing more is read. */
  close(): void {
    this.#server.act(this.#tcb, (tcb, nowMs) => this.#server.calls.close(this.#server.tcp, tcb, nowMs));
  }

  /** Ends it with RST. */
  abort(): void {
    this.#server.act(this.#tcb, (tcb, nowMs) => this.#server.calls.abort(this.#server.tcp, tcb, nowMs));
  }

  /**
   * As `write`, with the urgent mark behind `bytes`; they stay in line (RFC 6093).
   * @throws {BrokenPipe} {RangeError} As `write`.
   */
  sendUrgent(bytes: Uint8Array): boolean {
    return this.#server.write(this.#tcb, bytes, true);
  }

  /**
   * What holds from here on; what is left out stays as it is. A sleep that is under way is called off.
   * @throws {RangeError} Naming the option that makes no sense.
   */
  setOptions(options: TcpOptions): void {
    checkTcpOptions(options);
    this.#server.act(
      this.#tcb,
      (tcb, nowMs) => this.#server.calls.setOptions(this.#server.tcp, tcb, options, nowMs),
    );
  }
  /**
   * What holds for the connection.
   * @throws {BadResource} When it sleeps.
   */
  options(): Required<TcpOptions> {
    this.#checkFresh("options");
    return tcpGetOptions(this.#tcb);
  }
  /**
   * The connection in numbers: Linux's `tcp_info`.
   * @throws {BadResource} When it sleeps.
   */
  info(): TcpInfo {
    this.#checkFresh("numbers");
    return tcpInfo(this.#server.tcp, this.#tcb, this.#server.nowMs());
  }

  #checkFresh(what: string): void {
    if (this.#left === undefined) return;
    throw new BadResource(`Cannot read the connection's ${what}: it sleeps and this object is stale`);
  }

  /** Sends what is written at once, or waits for more (Nagle's algorithm). */
  setNoDelay(noDelay = true): void {
    this.#server.act(this.#tcb, (tcb) => this.#server.calls.setNoDelay(this.#server.tcp, tcb, noDelay));
  }

  /** Times in milliseconds; by default two hours idle, then nine probes 75 s apart. */
  setKeepAlive(on = true, idleMs?: number, intervalMs?: number, probes?: number): void {
    this.#server.act(this.#tcb, (tcb, nowMs) => {
      this.#server.calls.setKeepAlive(this.#server.tcp, tcb, on, nowMs, idleMs, intervalMs, probes);
    });
  }
}
