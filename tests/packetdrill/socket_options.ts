import { CONGESTION_CONTROLS, type CongestionControlName } from "../../net/tcp/congestion/congestion.ts";
import { checkTcpOptions, type TcpOptions, tcpSetOptions } from "../../net/tcp/options.ts";
import { TIMESTAMP_OPTION_BYTES } from "../../net/tcp/output.ts";
import { FastOpenMode } from "../../net/tcp/fast_open.ts";
import { type Tcb, TcpState } from "../../net/tcp/tcb.ts";
import { numberOf } from "./constants.ts";
import { errnoOfIcmp } from "./icmp.ts";
import { type Expression, Unsupported } from "./script.ts";
import { SEND_BUFFER_BYTES_MIN } from "./send_buffer.ts";
import type { ScriptSocket } from "./sockets.ts";
import type { World } from "./world.ts";

/** Set without anything to see on the wire. */
const IGNORED = new Set([
  "SO_REUSEADDR",
  "SO_REUSEPORT",
  "SO_DEBUG",
  "SO_PRIORITY",
  "SO_RCVTIMEO",
  "SO_SNDTIMEO",
  "SO_MARK",
  "IP_BIND_ADDRESS_NO_PORT",
  "IP_FREEBIND",
  "IPV6_MTU_DISCOVER",
  "IPV6_V6ONLY",
]);

/** Linux's least; what is smaller is made so. */
const BUFFER_BYTES_MIN = 2_304;

/** Linux's options as ours. */
const OPTIONS: Readonly<Record<string, (value: number) => TcpOptions>> = {
  SO_KEEPALIVE: (value) => ({ keepAlive: value !== 0 }),
  TCP_KEEPIDLE: (value) => ({ keepAliveIdleMs: value * 1000 }),
  TCP_KEEPINTVL: (value) => ({ keepAliveIntervalMs: value * 1000 }),
  TCP_KEEPCNT: (value) => ({ keepAliveProbes: value }),
  TCP_NODELAY: (value) => ({ noDelay: value !== 0 }),
  TCP_CORK: (value) => ({ cork: value !== 0 }),
  TCP_QUICKACK: (value) => ({ quickAck: value !== 0 }),
  TCP_USER_TIMEOUT: (value) => ({ userTimeoutMs: value }),
  TCP_SYNCNT: (value) => ({ synRetransmitsMax: value }),
  TCP_LINGER2: (value) => ({ finWait2Ms: value < 0 ? -1 : value * 1000 }),
  TCP_NOTSENT_LOWAT: (value) => ({ notSentLowWaterBytes: value }),
  TCP_MAXSEG: (value) => ({ mssMax: value }),
  SO_LINGER: (seconds) => ({ lingerMs: seconds === 0 ? 0 : -1 }),
  // As Linux: what is too small is made larger.
  SO_RCVBUF: (value) => ({ receiveBufferBytes: Math.max(BUFFER_BYTES_MIN, value) }),
  // As Linux: doubled, for what its own records take.
  SO_SNDBUF: (value) => ({ sendBufferBytes: Math.max(SEND_BUFFER_BYTES_MIN, 2 * value) }),
  IP_MTU_DISCOVER: (value) => ({ pathMtuDiscovery: value !== 0 }),
  IP_TOS: (value) => ({ dscp: value >>> 2 }),
  IPV6_TCLASS: (value) => ({ dscp: value >>> 2 }),
  IP_TTL: (value) => ({ timeToLive: value }),
  IPV6_UNICAST_HOPS: (value) => ({ timeToLive: value }),
};

/** @returns An error's name, when the option is refused. */
export function setOption(
  world: World,
  socket: ScriptSocket,
  name: string,
  place: Expression,
): string | undefined {
  if (IGNORED.has(name)) return undefined;
  if (name === "TCP_FASTOPEN") return void (socket.fastOpenMax = valueOf(name, place));
  if (name === "TCP_FASTOPEN_CONNECT") {
    if ((world.stack.tcp.config.fastOpen & FastOpenMode.client) === 0) return "EOPNOTSUPP";
    return void (socket.fastOpenConnect = valueOf(name, place) !== 0);
  }
  if (name === "SO_ZEROCOPY") return void (socket.errors.zeroCopy = valueOf(name, place) !== 0);
  if (name === "TCP_INQ") return void (socket.inq = valueOf(name, place) !== 0);
  if (name === "SO_TIMESTAMPING") {
    const tcb = socket.record < 0 ? undefined : world.awake(socket.record);
    if (socket.errors.setStamping(valueOf(name, place), tcb)) return undefined;
    throw new Unsupported("option SO_TIMESTAMPING with more than software timestamps of what is sent");
  }
  if (name === "IP_LOCAL_PORT_RANGE") return setPortRange(socket, valueOf(name, place));
  if (name === "TCP_FASTOPEN_KEY") return setFastOpenKey(socket, place);
  const option = name === "TCP_CONGESTION" ? congestionControl(place) : OPTIONS[name]?.(valueOf(name, place));
  if (option === undefined) throw new Unsupported(`option ${name}`);
  try {
    checkTcpOptions(option);
  } catch (error) {
    if (error instanceof RangeError) return "EINVAL";
    throw error;
  }
  Object.assign(socket.options, option);
  if (socket.listener !== undefined) socket.listener.options = socket.options;
  if (socket.record >= 0) tcpSetOptions(world.stack.tcp, world.awake(socket.record), option, world.nowMs);
  return undefined;
}

/** The first port in the low half, the last in the high one. */
function setPortRange(socket: ScriptSocket, range: number): undefined {
  socket.portRange = [range & 0xffff, range >>> 16];
}

/** Sixteen bytes: four words, the low byte first. */
function setFastOpenKey(socket: ScriptSocket, place: Expression): string | undefined {
  const text = place.kind === "string"
    ? place.value.replace(/\\x([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))
    : "";
  const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  if (bytes.length !== 16) return "EINVAL";
  const view = new DataView(bytes.buffer);
  socket.fastOpenKey = [0, 4, 8, 12].map((at) => view.getUint32(at, true).toString(16)).join("-");
  return undefined;
}

function congestionControl(place: Expression): TcpOptions {
  const item = place.kind === "list" ? place.items[0] : place;
  const name = item?.kind === "string" ? item.value : "";
  if (!CONGESTION_CONTROLS.includes(name as CongestionControlName)) {
    throw new Unsupported(`congestion control "${name}"`);
  }
  return { congestionControl: name as CongestionControlName };
}

export function getOption(world: World, socket: ScriptSocket, name: string): number {
  const tcb = socket.record < 0 ? undefined : world.awake(socket.record);
  const { options } = socket;
  const { config } = world.stack.tcp;
  switch (name) {
    case "SO_ERROR": {
      const error = socket.error ?? takeSoftError(tcb);
      socket.error = undefined;
      return error === undefined ? 0 : numberOf({ kind: "word", name: error });
    }
    case "TCP_MAXSEG":
      return segmentSize(world, socket, tcb);
    case "TCP_NODELAY":
      return Number(tcb?.noDelay ?? options.noDelay ?? false);
    case "SO_KEEPALIVE":
      return Number(tcb?.keepAlive ?? options.keepAlive ?? false);
    case "TCP_KEEPIDLE":
      return (tcb?.keepAliveIdleMs ?? options.keepAliveIdleMs ?? config.keepAliveIdleMs) / 1000;
    case "TCP_KEEPINTVL":
      return (tcb?.keepAliveIntervalMs ?? options.keepAliveIntervalMs ?? config.keepAliveIntervalMs) / 1000;
    case "TCP_KEEPCNT":
      return tcb?.keepAliveProbes ?? options.keepAliveProbes ?? config.keepAliveProbes;
    case "SO_RCVBUF":
      return 2 *
        (tcb?.receiveBufferBytes ?? options.receiveBufferBytes ?? config.receiveBufferBytes);
    case "SO_SNDBUF":
      return tcb?.sendBufferBytes ?? options.sendBufferBytes ?? config.sendBufferBytes;
    case "IP_TOS":
      return tcb?.typeOfService ?? (options.dscp ?? 0) << 2;
    case "IP_TTL":
      return tcb?.timeToLive ?? options.timeToLive ?? 64;
    case "TCP_NOTSENT_LOWAT":
      return tcb?.notSentLowWaterBytes ?? options.notSentLowWaterBytes ?? 0;
    case "TCP_USER_TIMEOUT":
      return tcb?.userTimeoutMs ?? options.userTimeoutMs ?? 0;
    default:
      throw new Unsupported(`option ${name}`);
  }
}

/** TCP_MAXSEG, as Linux tells it: before the peer has named its own, as if that were the least that it could be. */
function segmentSize({ stack }: World, socket: ScriptSocket, tcb: Tcb | undefined): number {
  const { options, used, established, lastInfo } = socket;
  if (tcb !== undefined && tcb.state >= TcpState.established) return tcb.sndMss;
  if (tcb === undefined && established) return lastInfo["tcpi_snd_mss"]!;
  const least = options.mssMax || MSS_DEFAULT;
  return used && stack.tcp.config.timestamps ? least - TIMESTAMP_OPTION_BYTES : least;
}

/** Of a peer that names none. */
const MSS_DEFAULT = 536;

/** What the network said of a connection that goes on (RFC 1122 section 4.2.3.9): it is told once. */
function takeSoftError(tcb: Tcb | undefined): string | undefined {
  if (tcb === undefined || tcb.state < TcpState.established || tcb.softError === 0) return undefined;
  const error = errnoOfIcmp(tcb.softError >>> 8, tcb.softError & 0xff);
  tcb.softError = 0;
  return error;
}

/** `[1]`, `1`, `{onoff=1, linger=5}`: for SO_LINGER the seconds, or -1 when it is switched off. */
function valueOf(name: string, place: Expression): number {
  if (place.kind === "struct" && name === "SO_LINGER") {
    const fields = new Map(
      place.items.flatMap((item) => item.kind === "field" ? [[item.name, item.value]] : []),
    );
    return numberOf(fields.get("onoff")!) === 0 ? -1 : numberOf(fields.get("linger")!);
  }
  if (place.kind === "list" && place.items.length === 1) return valueOf(name, place.items[0]!);
  return numberOf(place);
}
