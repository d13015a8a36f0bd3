import type { StackUpcalls } from "../../net/stack.ts";
import type { TcpListener } from "../../net/tcp/listeners.ts";
import type { TcpOptions } from "../../net/tcp/options.ts";
import { ErrorQueue } from "./error_queue.ts";
import type { Pipe } from "./pipes.ts";
import { LinuxSendBuffer } from "./send_buffer.ts";
import { type Tcb, TcpError, TcpEvent } from "../../net/tcp/tcb.ts";

const ERRNO_OF_ERROR: Readonly<Record<number, string | undefined>> = {
  [TcpError.none]: undefined,
  [TcpError.reset]: "ECONNRESET",
  [TcpError.refused]: "ECONNREFUSED",
  [TcpError.timedOut]: "ETIMEDOUT",
  [TcpError.aborted]: "ECONNABORTED",
  [TcpError.unreachable]: "EHOSTUNREACH",
};

/** A socket as a script's program holds it. */
export class ScriptSocket {
  nonBlocking = false;
  boundPort = 0;
  /** IP_LOCAL_PORT_RANGE: where connect() looks for a port, both ends included. */
  portRange: readonly [first: number, last: number] = [32_768, 60_999];
  listener: TcpListener | undefined;
  /** Connections that nobody has accepted yet, the oldest first. */
  readonly queue: ScriptSocket[] = [];
  /** The connection's record while it lives, else -1. */
  record = -1;
  /** Its TCB while it is awake. */
  tcb: Tcb | undefined;
  /** It had a connection, or tried to have one. */
  used = false;
  established = false;
  /** connect() was called, and how it ended has not been told. */
  connecting = false;
  /** The connection is over. */
  ended = false;
  /** What the next call fails with, once. */
  error: string | undefined;
  lastInfo: Record<string, number> = {};
  /** Unread when the connection ended; sent and not acknowledged; and whether the peer had ended its stream. */
  leftover = 0;
  unacknowledged = 0;
  finished = false;
  /** How often something has happened to it that wakes who waits for it. */
  wakeups = 0;
  readonly sendBuffer = new LinuxSendBuffer();
  shutRead = false;
  shutWrite = false;
  /** The program has closed it. */
  closed = false;
  /** TCP_FASTOPEN and TCP_FASTOPEN_KEY of a listener; TCP_FASTOPEN_CONNECT. */
  fastOpenMax = 0;
  fastOpenKey: string | undefined;
  fastOpenConnect = false;
  /** connect() was called, and the SYN waits for the first data. */
  deferred = false;
  /** TCP_INQ: recvmsg() says how much is left. */
  inq = false;
  /** What the program is told about its writes. */
  readonly errors = new ErrorQueue();
  /** Options as they were set. */
  readonly options: TcpOptions = {};
}

/** What an epoll instance waits for: the sockets by their numbers. */
export type Epoll = Map<number, Interest>;

export interface Interest {
  readonly socket: ScriptSocket;
  /** Linux's bits; none once a EPOLLONESHOT has been told. */
  events: number;
  /** `socket.wakeups` when it was last looked at; -1 when it must be looked at in any case. */
  seen: number;
}

/** All sockets of a script, and who among them owns which connection. */
export class Sockets implements StackUpcalls {
  /** What tcp_info said of a connection that has ended. */
  lastInfo: (tcb: Tcb) => Record<string, number> = () => ({});
  readonly byFd = new Map<number, ScriptSocket>();
  readonly epolls = new Map<number, Epoll>();
  readonly pipes = new Map<number, Pipe>();
  /** Open files: their paths, and where they are read next. */
  readonly files = new Map<number, { readonly path: string; at: number }>();
  readonly #byTcb = new Map<Tcb, ScriptSocket>();
  readonly #byRecord = new Map<number, ScriptSocket>();
  readonly #listeners = new Map<number, ScriptSocket>();
  /** The connection that was heard of last, for `tcp_info`. */
  newest: ScriptSocket | undefined;

  own(socket: ScriptSocket, tcb: Tcb): void {
    socket.tcb = tcb;
    socket.record = tcb.record;
    socket.used = true;
    this.#byTcb.set(tcb, socket);
    this.newest = socket;
  }

  listen(socket: ScriptSocket, listener: TcpListener): void {
    socket.listener = listener;
    listener.options = socket.options;
    this.applyFastOpen(socket);
    this.#listeners.set(listener.id, socket);
  }

  applyFastOpen({ listener, fastOpenMax, fastOpenKey }: ScriptSocket): void {
    if (listener === undefined) return;
    listener.fastOpenMax = fastOpenMax;
    if (fastOpenKey !== undefined) listener.fastOpenKey = fastOpenKey;
  }

  tcpEvents(tcb: Tcb, events: number): void {
    const known = this.#byTcb.get(tcb);
    if (known === undefined && (events & TcpEvent.established) === 0) return; // a handshake that came to nothing
    const socket = known ?? this.#born(tcb);
    if (socket === undefined) return;
    socket.wakeups++;
    if ((events & TcpEvent.established) !== 0) socket.established = true;
    if ((events & TcpEvent.closed) === 0) return;
    socket.ended = true;
    // An RST behind the peer's FIN is a broken pipe on Linux, while our side is still open.
    const broken = tcb.error === TcpError.reset && tcb.finReceived && !tcb.finQueued;
    socket.error = broken ? "EPIPE" : ERRNO_OF_ERROR[tcb.error];
    socket.leftover = tcb.receiveQueue.length;
    socket.unacknowledged = (tcb.sndMax - tcb.sndUna) >>> 0;
    socket.finished = tcb.finReceived;
    socket.lastInfo = this.lastInfo(tcb);
    socket.errors.end();
    socket.tcb = undefined;
    socket.record = -1;
    this.#byTcb.delete(tcb);
  }

  /** A turn is over: who watches a write is told how far it has come. */
  settle(nowUs: number): void {
    for (const [tcb, socket] of this.#byTcb) {
      if (socket.errors.watch(tcb, nowUs)) socket.wakeups++;
      if (socket.sendBuffer.settle(tcb)) socket.wakeups++;
    }
  }

  udpReadable(): void {}

  tcpSuspended(tcb: Tcb, record: number): void {
    const socket = this.#byTcb.get(tcb);
    if (socket === undefined) return;
    this.#byTcb.delete(tcb);
    this.#byRecord.set(record, socket);
    socket.tcb = undefined;
  }

  tcpRestored(tcb: Tcb, record: number): void {
    const socket = this.#byRecord.get(record);
    if (socket === undefined) return;
    this.#byRecord.delete(record);
    this.#byTcb.set(tcb, socket);
    socket.tcb = tcb;
  }

  /** The first news of a connection that a listener took in. */
  #born(tcb: Tcb): ScriptSocket | undefined {
    const parent = this.#listeners.get(tcb.listener);
    if (parent?.listener === undefined || parent.closed) return undefined;
    const child = new ScriptSocket();
    Object.assign(child.options, parent.options);
    child.errors.zeroCopy = parent.errors.zeroCopy;
    child.inq = parent.inq;
    this.own(child, tcb);
    parent.queue.push(child);
    parent.wakeups++;
    return child;
  }
}
