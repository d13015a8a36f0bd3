import { BUFFER_BYTES_MAX } from "./config.ts";
import { CONGESTION_CONTROLS, type CongestionControlName } from "./congestion/congestion.ts";
import { startKeepAlive } from "./handshake.ts";
import { SendMode, sendNewData } from "./output.ts";
import { tellWritable } from "./send_buffer.ts";
import { type Tcb, TcpState } from "./tcb.ts";
import type { Tcp } from "./tcp.ts";
import { announceUserTimeout, USER_TIMEOUT_MS_MAX } from "./user_timeout.ts";
import {
  tcpSetCongestionControl,
  tcpSetKeepAlive,
  tcpSetNoDelay,
  tcpSetReceiveBuffer,
  tcpSetSendBuffer,
} from "./user.ts";

/**
 * What an application may ask of one connection, or of all connections of a listener. What is left out stays as
 * it is. Linux's socket option stands beside each; times are milliseconds, sizes bytes.
 */
export interface TcpOptions {
  /** TCP_NODELAY: small segments do not wait for an ACK (MUST-17). */
  noDelay?: boolean;
  /** TCP_CORK: only full segments leave, until it is switched off, the end is written, or an RTO has passed. */
  cork?: boolean;
  /** TCP_QUICKACK: the next segments are acknowledged at once; an ACK that is delayed leaves now. Not lasting. */
  quickAck?: boolean;
  /** SO_KEEPALIVE (MUST-24). */
  keepAlive?: boolean;
  /** TCP_KEEPIDLE: silence before the first probe (MUST-27). */
  keepAliveIdleMs?: number;
  /** TCP_KEEPINTVL. */
  keepAliveIntervalMs?: number;
  /** TCP_KEEPCNT: probes without an answer until the connection is given up. */
  keepAliveProbes?: number;
  /** TCP_USER_TIMEOUT: how long data, or a probe, may stay unanswered; 0: R2 decides (MUST-21). */
  userTimeoutMs?: number;
  /**
   * RFC 5482, which Linux has not: the user timeout option is sent and heard. Unless `userTimeoutMs` is set, the longer
   * of what both sides say holds, within the stack's `userTimeoutMinMs` and `userTimeoutMaxMs`. Default false.
   */
  userTimeoutOption?: boolean;
  /** What that option says; 0: `userTimeoutMs`, and nothing where that is 0. */
  userTimeoutAdvertisedMs?: number;
  /** TCP_SYNCNT: R2 of the handshake in retransmissions; 0: the stack's `synRetransmitsMax`. Before it only. */
  synRetransmitsMax?: number;
  /** SO_LINGER: 0 makes `close` a reset; -1, the default, does not. */
  lingerMs?: 0 | -1;
  /** TCP_LINGER2: how long a closed connection waits for the peer's end; -1: not at all. */
  finWait2Ms?: number;
  /** TCP_CONGESTION. */
  congestionControl?: CongestionControlName;
  /** SO_RCVBUF, without Linux's doubling: no tuning from here on. It never takes back what was offered. */
  receiveBufferBytes?: number;
  /** SO_SNDBUF: no tuning from here on. */
  sendBufferBytes?: number;
  /** TCP_NOTSENT_LOWAT: writes wait while so much is unsent; 0: only the send buffer counts. */
  notSentLowWaterBytes?: number;
  /** TCP_MAXSEG, before the handshake only; 0: what the path allows. Read `info().sndMss` for what is in use. */
  mssMax?: number;
  /** IP_MTU_DISCOVER: whether routers are forbidden to fragment our packets and believed when they cannot forward
   * one; true as a rule. IPv6 has no other way. */
  pathMtuDiscovery?: boolean;
  /** IP_TOS without the ECN bits: the class of service of every packet (MUST-48, SHLD-21), 0-63. */
  dscp?: number;
  /** IP_TTL: hops that our packets may take (MUST-49), 1-255. */
  timeToLive?: number;
}

type Numeric = { [Name in keyof TcpOptions]-?: Required<TcpOptions>[Name] extends number ? Name : never };

/** What each number may be, and why. */
const LIMITS: { readonly [Name in NonNullable<Numeric[keyof TcpOptions]>]: readonly [number, number] } = {
  keepAliveIdleMs: [1, 32_767_000], // Linux's MAX_TCP_KEEPIDLE
  keepAliveIntervalMs: [1, 32_767_000],
  keepAliveProbes: [1, 127],
  userTimeoutMs: [0, 2 ** 31 - 1],
  userTimeoutAdvertisedMs: [0, USER_TIMEOUT_MS_MAX],
  synRetransmitsMax: [0, 127],
  lingerMs: [-1, 0],
  finWait2Ms: [-1, 120_000], // Linux's TCP_FIN_TIMEOUT_MAX
  receiveBufferBytes: [2304, BUFFER_BYTES_MAX], // Linux's floor
  sendBufferBytes: [2304, BUFFER_BYTES_MAX],
  notSentLowWaterBytes: [0, 2 ** 32 - 1],
  mssMax: [0, 32_767], // and not 1 to 87: below Linux's TCP_MIN_MSS
  dscp: [0, 63],
  timeToLive: [1, 255],
};
const MSS_MAX_MIN = 88;

/**
 * Refuses what makes no sense, so that setting never fails half-way.
 * @throws {RangeError} Naming the option.
 */
export function checkTcpOptions(options: TcpOptions): void {
  const { congestionControl } = options;
  if (congestionControl !== undefined && !CONGESTION_CONTROLS.includes(congestionControl)) {
    throw new RangeError(`Cannot set congestionControl to "${congestionControl}": no such control`);
  }
  for (const [name, [least, most]] of Object.entries(LIMITS)) {
    const value = options[name as keyof typeof LIMITS];
    if (value === undefined) continue;
    const tooSmall = name === "mssMax" && value > 0 && value < MSS_MAX_MIN;
    if (!Number.isFinite(value) || value < least || value > most || tooSmall) {
      throw new RangeError(`Cannot set ${name} to ${value}: it must be from ${least} to ${most}`);
    }
  }
}

/** Takes over what `options` names, which `checkTcpOptions` has accepted. It holds from the next packet on. */
export function tcpSetOptions(tcp: Tcp, tcb: Tcb, options: TcpOptions, nowMs: number): void {
  const { keepAlive, keepAliveIdleMs, keepAliveIntervalMs, keepAliveProbes } = options;
  if (keepAlive !== undefined) {
    tcpSetKeepAlive(tcp, tcb, keepAlive, nowMs, keepAliveIdleMs, keepAliveIntervalMs, keepAliveProbes);
  } else {
    const moved = keepAliveIdleMs !== undefined && keepAliveIdleMs !== tcb.keepAliveIdleMs;
    tcb.keepAliveIdleMs = keepAliveIdleMs ?? tcb.keepAliveIdleMs;
    tcb.keepAliveIntervalMs = keepAliveIntervalMs ?? tcb.keepAliveIntervalMs;
    tcb.keepAliveProbes = keepAliveProbes ?? tcb.keepAliveProbes;
    if (moved && tcb.keepAlive && tcb.state >= TcpState.established) startKeepAlive(tcb, nowMs);
  }
  const { userTimeoutOption, userTimeoutAdvertisedMs } = options;
  tcb.userTimeoutMs = options.userTimeoutMs ?? tcb.userTimeoutMs;
  tcb.userTimeoutOption = userTimeoutOption ?? tcb.userTimeoutOption;
  tcb.userTimeoutAdvertisedMs = userTimeoutAdvertisedMs ?? tcb.userTimeoutAdvertisedMs;
  const said = options.userTimeoutMs ?? userTimeoutOption ?? userTimeoutAdvertisedMs;
  if (said !== undefined) announceUserTimeout(tcb);
  tcb.synRetransmitsMax = options.synRetransmitsMax ?? tcb.synRetransmitsMax;
  tcb.lingerMs = options.lingerMs ?? tcb.lingerMs;
  tcb.finWait2Ms = options.finWait2Ms ?? tcb.finWait2Ms;
  if (options.receiveBufferBytes !== undefined) tcpSetReceiveBuffer(tcp, tcb, options.receiveBufferBytes);
  tcb.notSentLowWaterBytes = options.notSentLowWaterBytes ?? tcb.notSentLowWaterBytes;
  tcb.mssMax = options.mssMax ?? tcb.mssMax;
  tcb.pathMtuDiscovery = options.pathMtuDiscovery ?? tcb.pathMtuDiscovery;
  tcb.timeToLive = options.timeToLive ?? tcb.timeToLive;
  if (options.sendBufferBytes !== undefined) tcpSetSendBuffer(tcp, tcb, options.sendBufferBytes);
  if (options.congestionControl !== undefined) tcpSetCongestionControl(tcb, options.congestionControl);
  if (options.dscp !== undefined) tcb.typeOfService = options.dscp << 2;
  if (options.noDelay !== undefined) {
    tcpSetNoDelay(tcp, tcb, options.noDelay);
    // As on Linux: what a cork has kept so far leaves.
    const open = tcb.state === TcpState.established || tcb.state === TcpState.closeWait;
    if (options.noDelay && tcb.cork && open) sendNewData(tcp, tcb, nowMs, SendMode.push);
  }
  if (options.cork !== undefined) {
    tcb.cork = options.cork;
    if (!tcb.cork) tcp.queueOutput(tcb);
  }
  if (options.quickAck !== undefined) setQuickAck(tcp, tcb, options.quickAck);
  tellWritable(tcp, tcb);
  if (tcb.record >= 0) tcp.arm(tcb);
}

function setQuickAck(tcp: Tcp, tcb: Tcb, on: boolean): void {
  tcb.interactive = !on;
  if (on) tcb.quickAcks = Math.max(tcb.quickAcks, tcp.config.quickAcks);
  if (!on || tcb.delayedAckAtMs === Infinity) return;
  tcb.ackNow = true;
  tcp.queueOutput(tcb);
}

/** What holds for the connection now. */
export function tcpGetOptions(tcb: Tcb): Required<TcpOptions> {
  return {
    noDelay: tcb.noDelay,
    cork: tcb.cork,
    quickAck: !tcb.interactive,
    keepAlive: tcb.keepAlive,
    keepAliveIdleMs: tcb.keepAliveIdleMs,
    keepAliveIntervalMs: tcb.keepAliveIntervalMs,
    keepAliveProbes: tcb.keepAliveProbes,
    userTimeoutMs: tcb.userTimeoutMs,
    userTimeoutOption: tcb.userTimeoutOption,
    userTimeoutAdvertisedMs: tcb.userTimeoutAdvertisedMs,
    synRetransmitsMax: tcb.synRetransmitsMax,
    lingerMs: tcb.lingerMs === 0 ? 0 : -1,
    finWait2Ms: tcb.finWait2Ms,
    receiveBufferBytes: tcb.receiveBufferBytes,
    sendBufferBytes: tcb.sendBufferBytes,
    congestionControl: CONGESTION_CONTROLS[tcb.congestion]!,
    notSentLowWaterBytes: tcb.notSentLowWaterBytes,
    mssMax: tcb.mssMax,
    pathMtuDiscovery: tcb.pathMtuDiscovery,
    dscp: tcb.typeOfService >>> 2,
    timeToLive: tcb.timeToLive,
  };
}
