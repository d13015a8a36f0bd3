import { Prng } from "../../base/random.ts";
import { Slab } from "../../base/slab.ts";
import { RecordState } from "../../net/connections/connection_map.ts";
import { Stack } from "../../net/stack.ts";
import type { TcpConfig } from "../../net/tcp/config.ts";
import type { TcpListener } from "../../net/tcp/listeners.ts";
import { type Tcb, TcpError, TcpEvent, TcpState } from "../../net/tcp/tcb.ts";
import {
  canWrite,
  tcpAbort,
  tcpClose,
  tcpConnect,
  tcpReceive,
  tcpSend,
  tcpShutdown,
} from "../../net/tcp/user.ts";
import { peekWindow } from "../../net/tcp/output.ts";
import { Keeper } from "../packetdrill/keeper.ts";
import { streamBytes } from "./answer.ts";
import { HOST_ADDRESS, type HostState, type HostUnderTest, keyOf, LISTEN_PORT, type Peer } from "./host.ts";
import type { CallStep } from "./plan.ts";

const BACKLOG = 60_000;
const CONNECTIONS_MAX = 200_000;
const LOCAL_PORT_FIRST = 20_000;
const LOCAL_PORTS = 40_000;

const STATES: Readonly<Record<number, string>> = {
  [TcpState.closed]: "CLOSE",
  [TcpState.synSent]: "SYN_SENT",
  [TcpState.synReceived]: "SYN_RECV",
  [TcpState.established]: "ESTABLISHED",
  [TcpState.finWait1]: "FIN_WAIT1",
  [TcpState.finWait2]: "FIN_WAIT2",
  [TcpState.closeWait]: "CLOSE_WAIT",
  [TcpState.closing]: "CLOSING",
  [TcpState.lastAck]: "LAST_ACK",
  [TcpState.timeWait]: "TIME_WAIT",
};

const ERRORS: Readonly<Record<number, string>> = {
  [TcpError.none]: "0",
  [TcpError.reset]: "ECONNRESET",
  [TcpError.refused]: "ECONNREFUSED",
  [TcpError.timedOut]: "ETIMEDOUT",
  [TcpError.aborted]: "ECONNRESET", // by ourselves: disconnected
  [TcpError.unreachable]: "EHOSTUNREACH",
};

/** The kernel's settings of this comparison (kernel_host.ts), as ours. */
const SETTINGS: Partial<TcpConfig> = {
  challengeAckMs: 0,
  synCookies: 0,
  synBacklogMax: BACKLOG,
  tolerateMissingTimestamps: true,
  timeWaitsMax: CONNECTIONS_MAX,
};

/** A connection of ours just before a step. */
export interface Moment {
  readonly state: string;
  /** The application has closed it. */
  readonly closed: boolean;
  readonly rcvNxt: number;
  readonly rcvEdge: number;
  /** The window that the next segment would tell. */
  readonly nextWindow: number;
  readonly lastAckSent: number;
  readonly sndUna: number;
  readonly sndMax: number;
  readonly sndWnd: number;
  readonly sndWndMax: number;
  readonly timestamps: boolean;
  readonly tsRecent: number;
  readonly finReceived: boolean;
  readonly finPending: boolean;
  readonly finAhead: number;
  readonly holes: boolean;
  readonly unread: number;
  readonly passive: boolean;
}

const NO_MOMENT: Moment = {
  state: "CLOSE",
  closed: false,
  rcvNxt: 0,
  rcvEdge: 0,
  nextWindow: 0,
  lastAckSent: 0,
  sndUna: 0,
  sndMax: 0,
  sndWnd: 0,
  sndWndMax: 0,
  timestamps: false,
  tsRecent: 0,
  finReceived: false,
  finPending: false,
  finAhead: 0,
  holes: false,
  unread: 0,
  passive: false,
};

/** What an application would know of its socket. */
interface Socket {
  record: number;
  localPort: number;
  ended: boolean;
  error: string | undefined;
  /** Unread when the connection ended. */
  leftover: number;
  finReceived: boolean;
  /** The application has read the end of the stream. */
  endRead: boolean;
  /** By shutdown() before there was a connection. */
  disconnected: boolean;
  written: number;
}

/** A stack of ours on a wire of bare packets; `nowMs` is what the runner's clock says. */
export class StackHost implements HostUnderTest {
  readonly name: string;
  /** Its connections do, whenever they can. */
  readonly sleeps: boolean;
  readonly stack: Stack;
  nowMs: number;
  readonly #listener: TcpListener;
  readonly #keeper: Keeper | undefined;
  readonly #sockets = new Map<number, Socket>();
  readonly #left: Uint8Array<ArrayBuffer>[] = [];
  readonly #local: number;
  readonly #reads = new Uint8Array(1 << 18);
  #ports = 0;

  /** With `asleep` every connection goes to sleep as often as it can, and wakes when it must. */
  constructor(nowMs: number, seed: number, asleep = false) {
    this.name = asleep ? "asleep" : "stack";
    this.sleeps = asleep;
    this.nowMs = nowMs;
    this.stack = new Stack({
      nowMs,
      entropy: new Prng(seed),
      tcp: SETTINGS,
      connectionsMax: CONNECTIONS_MAX,
    });
    this.stack.addInterface({
      name: "net0",
      link: {
        medium: "ip",
        mtu: 1500,
        send: (slab, start, end) => {
          this.#left.push(slab.bytes.slice(start, end));
          return true;
        },
        flush: () => {},
      },
    });
    this.stack.setRoutes({ addresses: [{ address: `${HOST_ADDRESS}/8` }] });
    this.#local = this.stack.addresses.parse(HOST_ADDRESS)!;
    this.#listener = this.stack.tcp.listeners.add(this.#local, LISTEN_PORT, BACKLOG)!;
    this.stack.upcalls = {
      tcpEvents: (tcb, events) => this.#events(tcb, events),
      udpReadable: () => {},
      tcpSuspended: () => {},
      tcpRestored: () => {},
    };
    if (asleep) this.#keeper = new Keeper(this.stack, nowMs);
  }

  #events(tcb: Tcb, events: number): void {
    const key = keyOf({ address: addressBytes(tcb.remoteAddress), port: tcb.remotePort });
    let socket = this.#sockets.get(key);
    if ((events & TcpEvent.established) !== 0 && tcb.listener >= 0) {
      this.#listener.waiting--;
      socket = newSocket(tcb.localPort);
      this.#sockets.set(key, socket);
      socket.record = tcb.record;
    }
    if (socket === undefined || socket.ended || (events & TcpEvent.closed) === 0) return;
    if (socket.record >= 0 && socket.localPort !== tcb.localPort) return;
    socket.ended = true;
    socket.record = -1;
    socket.leftover = tcb.receiveQueue.length;
    socket.finReceived = tcb.finReceived;
    // An RST behind the peer's FIN is a broken pipe on Linux, while our side is still open.
    const broken = tcb.error === TcpError.reset && tcb.finReceived && !tcb.finQueued;
    socket.error = broken ? "EPIPE" : tcb.error === TcpError.none ? undefined : ERRORS[tcb.error];
  }

  connect(peer: Peer): string {
    const socket = newSocket(LOCAL_PORT_FIRST + this.#ports++ % LOCAL_PORTS);
    const key = keyOf(peer);
    this.#sockets.set(key, socket);
    const remote = this.#number(peer);
    const tcb = tcpConnect(
      this.stack.tcp,
      this.#local,
      socket.localPort,
      remote,
      peer.port,
      this.nowMs,
    );
    socket.record = tcb!.record;
    this.turn();
    return "EINPROGRESS";
  }

  #number({ address }: Peer): number {
    return (address[0]! << 24) | (address[1]! << 16) | (address[2]! << 8) | address[3]!;
  }

  inject(packet: Uint8Array<ArrayBuffer>): void {
    this.stack.receive(0, new Slab(packet), 0, packet.length, this.nowMs);
    this.turn();
  }

  /** Ends a turn: what is due leaves. Then who can sleep does. */
  turn(): void {
    this.stack.poll(this.nowMs);
    this.#keeper?.sleepAll(this.nowMs);
  }

  call(peer: Peer, step: CallStep): string {
    const key = keyOf(peer);
    const socket = this.#sockets.get(key);
    if (socket === undefined) return "no socket";
    const result = this.#call(socket, step);
    if (step.call === "close" || step.call === "abort") this.#sockets.delete(key);
    this.turn();
    return result;
  }

  #call(socket: Socket, { call, bytes }: CallStep): string {
    const { tcp } = this.stack;
    if (socket.ended) return callEnded(socket, call);
    const tcb = this.#awake(socket.record);
    switch (call) {
      case "write":
        if (tcb.finQueued) return "EPIPE";
        if (!canWrite(tcb)) return "EAGAIN";
        socket.written += bytes;
        return `${tcpSend(tcp, tcb, streamBytes(socket.written - bytes + 1, bytes), 0, bytes)}`;
      case "read": {
        const count = tcpReceive(tcp, tcb, this.#reads, 0, this.#reads.length);
        if (tcb.finReceived) socket.endRead = true;
        return count > 0 ? `${count}` : tcb.finReceived ? "0" : "EAGAIN";
      }
      case "shutdown":
        if (tcb.state === TcpState.timeWait) return "ENOTCONN"; // Linux's socket has let go of it
        socket.disconnected = tcb.state === TcpState.synSent;
        tcpShutdown(tcp, tcb);
        return "0";
      case "close":
        tcpClose(tcp, tcb, this.nowMs);
        return "0";
      case "abort":
        tcpAbort(tcp, tcb, this.nowMs);
        return "0";
    }
  }

  #awake(record: number): Tcb {
    if (this.stack.connections.state(record) !== RecordState.awake) {
      this.stack.sleepers.wake(record, this.nowMs);
      this.#keeper!.turn(this.nowMs);
    }
    return this.stack.awakeTcb(record);
  }

  /** Where a connection stands, for those who explain what it does next. */
  moment(peer: Peer, hostPort: number): Moment {
    const record = this.stack.connections.find(this.#local, this.#number(peer), hostPort, peer.port);
    if (record < 0) return { ...NO_MOMENT, closed: !this.#sockets.has(keyOf(peer)) };
    const tcb = this.#awake(record);
    return {
      state: STATES[tcb.state]!,
      closed: tcb.orphan,
      rcvNxt: tcb.rcvNxt,
      rcvEdge: tcb.rcvAdv,
      nextWindow: peekWindow(tcb) << Math.max(tcb.rcvShift, 0),
      lastAckSent: tcb.lastAckSent,
      sndUna: tcb.sndUna,
      sndMax: tcb.sndMax,
      sndWnd: tcb.sndWnd,
      sndWndMax: tcb.sndWndMax,
      timestamps: tcb.timestamps,
      tsRecent: tcb.tsRecent,
      finReceived: tcb.finReceived,
      finPending: tcb.finPending,
      finAhead: tcb.finAhead,
      holes: tcb.ahead.length > 0,
      unread: tcb.receiveQueue.length,
      passive: tcb.listener >= 0,
    };
  }

  drain(take: (packet: Uint8Array<ArrayBuffer>) => void): void {
    for (const packet of this.#left.splice(0)) take(packet);
  }

  accept(): void {}

  states(): Map<number, HostState> {
    const found = new Map<number, HostState>();
    for (const tcb of this.stack.tcp.tcbs()) {
      if (tcb.record < 0) continue;
      const key = keyOf({ address: addressBytes(tcb.remoteAddress), port: tcb.remotePort });
      found.set(key, this.#state(tcb, this.#sockets.get(key)));
    }
    return found;
  }

  #state(tcb: Tcb, socket: Socket | undefined): HostState {
    const end = tcb.finReceived && socket?.endRead !== true ? 1 : 0;
    return {
      state: STATES[tcb.state]!,
      unread: socket === undefined ? -1 : tcb.receiveQueue.length + end,
      unacked: tcb.sendQueue.length + (finUnacknowledged(tcb) ? 1 : 0),
    };
  }

  /** As `states`, of one connection, which is woken. */
  stateOf(peer: Peer, hostPort: number): HostState | undefined {
    const record = this.stack.connections.find(this.#local, this.#number(peer), hostPort, peer.port);
    return record < 0 ? undefined : this.#state(this.#awake(record), this.#sockets.get(keyOf(peer)));
  }

  forget(peer: Peer, hostPort: number): void {
    this.#sockets.delete(keyOf(peer));
    const record = this.stack.connections.find(this.#local, this.#number(peer), hostPort, peer.port);
    if (record < 0) return;
    const tcb = this.#awake(record);
    this.stack.tcp.destroy(tcb, TcpError.none);
    this.turn();
  }

  close(): void {}
}

function finUnacknowledged(tcb: Tcb): boolean {
  return tcb.finQueued && tcb.state !== TcpState.finWait2 && tcb.state !== TcpState.timeWait;
}

function newSocket(localPort: number): Socket {
  return {
    record: -1,
    localPort,
    ended: false,
    error: undefined,
    leftover: 0,
    finReceived: false,
    endRead: false,
    disconnected: false,
    written: 0,
  };
}

/** Calls on a socket whose connection is over, as the kernel answers them. */
function callEnded(socket: Socket, call: string): string {
  if (call === "close" || call === "abort") return "0";
  if (call === "shutdown") return "ENOTCONN";
  const { error, leftover } = socket;
  if (call === "read" && leftover > 0) {
    socket.leftover = 0;
    return `${leftover}`;
  }
  if (call === "read" && socket.finReceived) return "0";
  socket.error = undefined;
  if (error !== undefined) return error;
  if (call === "write") return "EPIPE";
  return socket.disconnected ? "ENOTCONN" : "0";
}

function addressBytes(address: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.of(address >>> 24, (address >>> 16) & 0xff, (address >>> 8) & 0xff, address & 0xff);
}
