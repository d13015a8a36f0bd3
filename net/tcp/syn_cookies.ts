import { isIpv6Handle } from "../wire/address.ts";
import { TcpFlag, type TcpRecord } from "../wire/tcp.ts";
import type { Tcp } from "./tcp.ts";

/**
 * SYN cookies (RFC 4987 section 3.6): a handshake whose only memory is what the peer sends back. The ISN is a keyed
 * hash of the connection and the minute, plus the place of the peer's MSS in a table; the other options are the low
 * bits of our timestamp, which the peer echoes. Without timestamps there are no other options.
 */

/** The values of MSS that a cookie can say, Linux's: what the peer announces is rounded down. */
const MSS_TABLE: readonly number[] = [536, 1_300, 1_440, 1_460];
const MSS_TABLE_IPV6: readonly number[] = [1_220, 1_420, 1_440, 8_940];
/** How long a tick of the secret lasts; a cookie is good for this and the one before. */
const TICK_MS = 60_000;
/** A cookie younger than this may be good. */
export const COOKIE_MS_MAX: number = 2 * TICK_MS;

// The low bits of the timestamp, as Linux has them: window scale, then a bit each for SACK and ECN.
const OPTION_BITS = 6;
const OPTION_MASK = (1 << OPTION_BITS) - 1;
const SCALE_NONE = 15;
const SACK = 16;
const ECN = 32;

/** The ISN that stands for the SYN `segment`. */
export function cookieSequence(
  tcp: Tcp,
  local: number,
  remote: number,
  segment: TcpRecord,
  nowMs: number,
): number {
  const ports = (segment.destinationPort << 16) | segment.sourcePort;
  const tick = Math.floor(nowMs / TICK_MS);
  const table = isIpv6Handle(remote) ? MSS_TABLE_IPV6 : MSS_TABLE;
  let index = table.length - 1;
  while (index > 0 && table[index]! > segment.mss) index--;
  return (tcp.secrets.synCookie(local, remote, ports, segment.sequence, tick) + index) | 0;
}

/** Our timestamp in the SYN-ACK: a little in the past, the options of the SYN in its low bits. */
export function cookieTimestamp(segment: TcpRecord, sack: boolean, ecn: boolean, clock: number): number {
  const options = (segment.windowScale < 0 ? SCALE_NONE : segment.windowScale) | (sack ? SACK : 0) |
    (ecn ? ECN : 0);
  const stamp = (clock & ~OPTION_MASK) | options;
  return ((stamp - clock) | 0) > 0 ? (stamp - OPTION_MASK - 1) | 0 : stamp;
}

/**
 * Whether the ACK `segment` brings back a cookie of ours. The SYN that it was made of is written into `syn`, as far
 * as the cookie tells; `tsOffset` is that of our timestamps towards this peer.
 */
export function readCookie(
  tcp: Tcp,
  local: number,
  remote: number,
  segment: TcpRecord,
  tsOffset: number,
  nowMs: number,
  syn: TcpRecord,
): boolean {
  const ports = (segment.destinationPort << 16) | segment.sourcePort;
  const sequence = (segment.sequence - 1) | 0;
  const table = isIpv6Handle(remote) ? MSS_TABLE_IPV6 : MSS_TABLE;
  const tick = Math.floor(nowMs / TICK_MS);
  for (let age = 0; age < 2; age++) {
    const hash = tcp.secrets.synCookie(local, remote, ports, sequence, tick - age);
    const index = (segment.acknowledgment - 1 - hash) >>> 0;
    if (index >= table.length) continue;
    syn.clear();
    syn.sourcePort = segment.sourcePort;
    syn.destinationPort = segment.destinationPort;
    syn.sequence = sequence;
    syn.flags = TcpFlag.SYN;
    syn.window = segment.window;
    syn.mss = table[index]!;
    if (segment.hasTimestamp) {
      const options = (segment.tsEcr - tsOffset) & OPTION_MASK;
      const scale = options & 15;
      syn.hasTimestamp = true;
      syn.tsVal = segment.tsVal;
      syn.windowScale = scale === SCALE_NONE ? -1 : scale;
      syn.sackPermitted = (options & SACK) !== 0;
      if ((options & ECN) !== 0) syn.flags |= TcpFlag.ECE | TcpFlag.CWR;
    }
    return true;
  }
  return false;
}
