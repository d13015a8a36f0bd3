import { startCongestion } from "../../net/tcp/congestion/window.ts";
import { completeConfig } from "../../net/tcp/config.ts";
import { freezeTcb } from "../../net/tcp/freeze.ts";
import { FrozenFlag, type FrozenTcb, frozenTcbFields, UNSET_BUFFER_BYTES } from "../../net/tcp/frozen_tcb.ts";
import { Tcb, TcpState, tcpStateNames } from "../../net/tcp/tcb.ts";
import type { FrozenSocket } from "../sockets/socket_image.ts";
import { CriuError } from "./criu_error.ts";
import type { CriuSocket } from "./image_files.ts";
import { FILE_TYPE_INETSK } from "./messages.ts";
import type { Content } from "./protobuf.ts";

/** The kernel's numbers (net/tcp_states.h) of the states that a socket in TCP_REPAIR can have. */
const KERNEL_STATE: ReadonlyMap<number, number> = new Map([
  [TcpState.established, 1],
  [TcpState.finWait1, 4],
  [TcpState.finWait2, 5],
  [TcpState.closeWait, 8],
  [TcpState.lastAck, 9],
  [TcpState.closing, 11],
]);
/** `TCPI_OPT_*` of linux/tcp.h. */
const Option = { timestamps: 1, sack: 2, windowScale: 4 } as const;
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const IPPROTO_TCP = 6;
/** `O_RDWR | O_NONBLOCK`. */
const FLAGS = 0x802;
/** `SOCK_SNDBUF_LOCK` and `SOCK_RCVBUF_LOCK`: the application has chosen the size. */
const Lock = { send: 1, receive: 2 } as const;
/** Bytes that the timestamp option takes from a segment. */
const TIMESTAMP_BYTES = 12;
/** Older than RFC 7323 lets TS.Recent count (section 5.5): whatever comes first is believed. */
const TS_RECENT_FORGOTTEN_MS = 25 * 86_400_000;
/** Seconds of the kernel's keep-alive options. */
const SECOND_MS = 1_000;
/** A window is below 2^30 (RFC 7323). */
const WINDOW_MAX = 2 ** 30;

const PLACE: ReadonlyMap<string, number> = new Map(frozenTcbFields.map((name, place) => [name, place]));

/**
 * A connection as CRIU's images hold it, so that `criu restore` would give it to a process: the numbers of the
 * sequence spaces, both queues, which options were agreed on, MSS, scales, windows, the clock of our timestamps,
 * TCP_NODELAY and TCP_CORK, keep-alive, the sizes of buffers that the application has chosen.
 *
 * CRIU cannot hold, and so these are lost: the attachment; TS.Recent; data out of order (the peer sends it again)
 * and what has been SACKed; estimates of the round trip, the congestion window and the state of a loss recovery;
 * running timers, their backoff and keep-alives under way; initial sequence numbers; ECN; Fast Open; urgent data;
 * ends of records; the path MTU; user timeout; DSCP and TTL; counters. A FIN that was queued and not yet sent counts
 * as sent, since a socket in TCP_REPAIR has no other.
 *
 * @param ino What the socket is called among CRIU's images; any number from 1, but each once.
 * @throws {CriuError} For states that the kernel cannot restore: handshakes and TIME-WAIT.
 * @example
 * ```ts
 * import { toCriu } from "@torpor/torpor/checkpoint/criu/convert.ts";
 * import { encodeFiles, encodeTcpStream } from "@torpor/torpor/checkpoint/criu/image_files.ts";
 * import { readSocketImage } from "@torpor/torpor/checkpoint/sockets/socket_image.ts";
 * function exported(image: Uint8Array): { "files.img": Uint8Array; "tcp-stream-1.img": Uint8Array } {
 *   const socket = toCriu(readSocketImage(image), 1);
 *   return { "files.img": encodeFiles([socket.file]), "tcp-stream-1.img": encodeTcpStream(socket) };
 * }
 * ```
 */
export function toCriu(socket: FrozenSocket, ino: number): CriuSocket {
  const get = <T = number>(name: string): T => socket.tcb[PLACE.get(name)!] as T;
  const state = get("state");
  const kernelState = KERNEL_STATE.get(state);
  if (kernelState === undefined) {
    throw new CriuError(
      `Cannot export a connection in state ${tcpStateNames[state]}: CRIU has no image of that`,
    );
  }
  const flags = get("flags");
  const has = (flag: number): boolean => (flags & flag) !== 0;
  const [local, remote] = [
    get<number | Uint8Array>("localAddress"),
    get<number | Uint8Array>("remoteAddress"),
  ];
  const inq = get<Uint8Array>("receiveQueue");
  const outq = get<Uint8Array>("sendQueue");
  const [sndUna, rcvNxt, sndWnd] = [get("sndUna"), get("rcvNxt"), get("sndWnd")];
  const lastAckSent = rcvNxt - get("lastAckSentBehind");
  const scaled = get("rcvShift") >= 0;
  const stamped = has(FrozenFlag.timestamps);
  const finUnacked = state === TcpState.finWait1 || state === TcpState.closing || state === TcpState.lastAck;
  const [sendBuffer, receiveBuffer] = [get("sendBufferBytes"), get("receiveBufferBytes")];
  const locked = (sendBuffer === UNSET_BUFFER_BYTES ? 0 : Lock.send) |
    (receiveBuffer === UNSET_BUFFER_BYTES ? 0 : Lock.receive);
  const stream: Content = {
    inq_len: inq.length,
    inq_seq: rcvNxt,
    outq_len: outq.length,
    outq_seq: (sndUna + outq.length + (finUnacked ? 1 : 0)) >>> 0,
    opt_mask: (stamped ? Option.timestamps : 0) | (has(FrozenFlag.sackPermitted) ? Option.sack : 0) |
      (scaled ? Option.windowScale : 0),
    snd_wscale: scaled ? get("sndShift") : 0,
    mss_clamp: get("peerMss"),
    unsq_len: Math.max(0, outq.length - get("sndMaxOffset")),
    snd_wl1: (rcvNxt - get("sndWl1Behind")) >>> 0,
    snd_wnd: sndWnd,
    max_window: sndWnd + get("sndWndMaxAbove"),
    rcv_wnd: Math.max(0, get("rcvAdvOffset") + get("lastAckSentBehind")),
    rcv_wup: lastAckSent >>> 0,
  };
  if (scaled) stream["rcv_wscale"] = get("rcvShift");
  if (stamped) stream["timestamp"] = (get("frozenAtMs") + get("tsOffset")) % 2 ** 32;
  if (has(FrozenFlag.noDelay)) stream["nodelay"] = true;
  if (get<number[]>("options")[0] === 1) stream["cork"] = true;
  const isk: Content = {
    id: ino,
    ino,
    family: typeof local === "number" ? AF_INET : AF_INET6,
    type: SOCK_STREAM,
    proto: IPPROTO_TCP,
    state: kernelState,
    src_port: get("localPort"),
    dst_port: get("remotePort"),
    flags: FLAGS,
    backlog: 0,
    src_addr: addressWords(local),
    dst_addr: addressWords(remote),
    fown: { uid: 0, euid: 0, signum: 0, pid_type: 0, pid: 0 },
    opts: {
      so_sndbuf: sendBuffer,
      so_rcvbuf: receiveBuffer,
      ...{ so_snd_tmo_sec: 0, so_snd_tmo_usec: 0, so_rcv_tmo_sec: 0, so_rcv_tmo_usec: 0 },
      reuseaddr: true, // a server's: several connections have one port
      so_keepalive: has(FrozenFlag.keepAlive),
      tcp_keepcnt: get("keepAliveProbes"),
      tcp_keepidle: Math.ceil(get("keepAliveIdleMs") / SECOND_MS),
      tcp_keepintvl: Math.ceil(get("keepAliveIntervalMs") / SECOND_MS),
      so_buf_lock: locked,
    },
  };
  return { file: { type: FILE_TYPE_INETSK, id: ino, isk }, stream, inq, outq };
}

/**
 * A connection out of CRIU's images, ready to be written into a store. What CRIU does not hold is as in a
 * connection whose handshake has just ended: an unknown round trip, an initial window, no attachment. What was in
 * flight is sent again after a second, what was not sent leaves then.
 *
 * @param nowMs The time, in milliseconds since 1970: clocks run from there.
 * @throws {CriuError} When it is no TCP connection, in a state that we do not import, or contradicts itself.
 */
export function fromCriu({ file, stream, inq, outq }: CriuSocket, nowMs: number): FrozenSocket {
  const isk = file["isk"] as Content;
  const number = (of: Content, name: string, otherwise = 0): number =>
    of[name] as number | undefined ?? otherwise;
  const told = (name: string): number => number(stream, name);
  if (number(isk, "type") !== SOCK_STREAM || number(isk, "proto") !== IPPROTO_TCP) {
    throw new CriuError(`Cannot import socket ${isk["id"]}: it is no TCP connection`);
  }
  const state = [...KERNEL_STATE].find(([, kernel]) => kernel === isk["state"])?.[0];
  if (state === undefined) {
    throw new CriuError(
      `Cannot import socket ${isk["id"]}: its state ${isk["state"]} is none that is imported`,
    );
  }
  const finQueued = state !== TcpState.established && state !== TcpState.closeWait;
  const finUnacked = finQueued && state !== TcpState.finWait2;
  const config = completeConfig(undefined);
  const tcb = new Tcb(-1);
  tcb.state = state as TcpState;
  tcb.localPort = number(isk, "src_port");
  tcb.remotePort = number(isk, "dst_port");
  tcb.finQueued = finQueued;
  tcb.finReceived = state === TcpState.closeWait || state === TcpState.lastAck || state === TcpState.closing;
  const mask = told("opt_mask");
  tcb.timestamps = (mask & Option.timestamps) !== 0;
  tcb.sackPermitted = (mask & Option.sack) !== 0;
  const scaled = (mask & Option.windowScale) !== 0;
  tcb.sndShift = scaled ? told("snd_wscale") : 0;
  tcb.rcvShift = scaled ? told("rcv_wscale") : -1;
  tcb.peerMss = told("mss_clamp");
  tcb.sndMss = Math.max(1, tcb.peerMss - (tcb.timestamps ? TIMESTAMP_BYTES : 0));
  tcb.sndUna = (told("outq_seq") - outq.length - (finUnacked ? 1 : 0)) | 0;
  const unsent = Math.min(number(stream, "unsq_len"), outq.length);
  tcb.sndMax = (tcb.sndUna + outq.length - unsent + (finUnacked && unsent === 0 ? 1 : 0)) | 0;
  tcb.iss = (tcb.sndUna - 1) | 0;
  tcb.rcvNxt = told("inq_seq") | 0;
  tcb.irs = (tcb.rcvNxt - 1) | 0;
  // Without windows, which kernels before 4.8 do not tell: a segment each way, until the peer says more.
  tcb.sndWnd = Math.min(number(stream, "snd_wnd", tcb.peerMss), WINDOW_MAX);
  tcb.sndWndMax = Math.min(Math.max(number(stream, "max_window"), tcb.sndWnd), WINDOW_MAX);
  tcb.sndWl1 = number(stream, "snd_wl1", tcb.rcvNxt) | 0;
  tcb.sndWl2 = tcb.sndUna;
  tcb.lastAckSent = number(stream, "rcv_wup", tcb.rcvNxt) | 0;
  tcb.rcvAdv = (tcb.lastAckSent + number(stream, "rcv_wnd", tcb.peerMss)) | 0;
  tcb.tsOffset = tcb.timestamps ? (told("timestamp") - nowMs) % 2 ** 32 | 0 : 0;
  tcb.tsRecentAtMs = nowMs - TS_RECENT_FORGOTTEN_MS;
  tcb.noDelay = stream["nodelay"] === true;
  tcb.cork = stream["cork"] === true;
  tcb.highSeq = tcb.rttSeq = tcb.sndUna;
  tcb.rtoMs = config.rtoInitialMs;
  tcb.lastActivityMs = nowMs;
  setOptions(tcb, isk["opts"] as Content, config);
  if (tcb.keepAlive) tcb.keepAliveAtMs = nowMs + tcb.keepAliveIdleMs;
  startCongestion(tcb, config, nowMs);
  if (tcb.sndMax !== tcb.sndUna) tcb.retransmitAtMs = nowMs + tcb.rtoMs;
  else if (unsent > 0) tcb.persistAtMs = nowMs + tcb.rtoMs;
  tcb.sendQueue.append(outq, 0, outq.length);
  tcb.receiveQueue.append(inq, 0, inq.length);
  const frozen = freezeTcb(tcb, nowMs) as unknown[];
  frozen[PLACE.get("localAddress")!] = addressOf(isk, "src_addr");
  frozen[PLACE.get("remoteAddress")!] = addressOf(isk, "dst_addr");
  return { tcb: frozen as FrozenTcb, attachment: undefined };
}

function setOptions(tcb: Tcb, opts: Content, config: ReturnType<typeof completeConfig>): void {
  const number = (name: string, otherwise: number): number => opts[name] as number | undefined ?? otherwise;
  const locked = number("so_buf_lock", 0);
  tcb.sendBufferSet = (locked & Lock.send) !== 0;
  tcb.receiveBufferSet = (locked & Lock.receive) !== 0;
  tcb.sendBufferBytes = tcb.sendBufferSet ? number("so_sndbuf", 0) : config.sendBufferBytes;
  tcb.receiveBufferBytes = tcb.receiveBufferSet ? number("so_rcvbuf", 0) : config.receiveBufferBytes;
  tcb.keepAlive = opts["so_keepalive"] === true;
  tcb.keepAliveProbes = number("tcp_keepcnt", config.keepAliveProbes);
  tcb.keepAliveIdleMs = number("tcp_keepidle", config.keepAliveIdleMs / SECOND_MS) * SECOND_MS;
  tcb.keepAliveIntervalMs = number("tcp_keepintvl", config.keepAliveIntervalMs / SECOND_MS) * SECOND_MS;
}

/** CRIU keeps an address as it lies in memory: words in the order of the network, on machines with the other order. */
function addressWords(address: number | Uint8Array): number[] {
  const bytes = new Uint8Array(typeof address === "number" ? 4 : 16);
  const view = new DataView(bytes.buffer);
  if (typeof address === "number") view.setUint32(0, address);
  else {
    bytes.set(address);
    if (isLinkLocal(bytes)) view.setUint16(2, 0); // its interface
  }
  return Array.from({ length: bytes.length / 4 }, (_, word) => view.getUint32(4 * word, true));
}

function isLinkLocal(bytes: Uint8Array): boolean {
  return bytes[0] === 0xfe && (bytes[1]! & 0xc0) === 0x80;
}

function addressOf(isk: Content, name: string): number | Uint8Array {
  const words = isk[name] as number[] | undefined ?? [];
  const family = isk["family"];
  const length = family === AF_INET6 ? 4 : family === AF_INET ? 1 : 0;
  if (length === 0 || words.length < length) {
    throw new CriuError(`Cannot import socket ${isk["id"]}: ${name} is no address of family ${family}`);
  }
  const bytes = new Uint8Array(4 * length);
  const view = new DataView(bytes.buffer);
  for (let word = 0; word < length; word++) view.setUint32(4 * word, words[word]!, true);
  const mapped = length === 4 && view.getUint32(0) === 0 && view.getUint32(4) === 0 &&
    view.getUint32(8) === 0xffff;
  return length === 1 ? view.getUint32(0) : mapped ? view.getUint32(12) : bytes;
}
