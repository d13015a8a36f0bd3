import { TcpFlag } from "../../net/wire/tcp.ts";
import { OptionKind } from "../packetdrill/parse_tcp_options.ts";
import type { TcpOptionSpec } from "../packetdrill/script.ts";
import {
  type Addresses,
  checksum,
  pseudoHeader,
  type Segment,
  writeSegment,
} from "../packetdrill/segment.ts";
import { streamBytes } from "./answer.ts";
import type { SegmentStep, Spoil } from "./plan.ts";
import type { View } from "./view.ts";

const PROTOCOL_TCP = 6;
const TCP_AT = 20; // behind an IPv4 header

/** The packet of a step for one host, whose numbers `view` knows. `clock` is the peer's for timestamps. */
export function composePacket(
  step: SegmentStep,
  view: View,
  peerPort: number,
  hostPort: number,
  clock: number,
  addresses: Addresses,
): { packet: Uint8Array<ArrayBuffer>; segment: Segment } {
  const sequence = view.sequence(step.sequence);
  const acks = (step.flags & TcpFlag.ACK) !== 0;
  const acknowledgment = acks ? view.acknowledgment(step.acknowledgment) : 0;
  const syn = (step.flags & TcpFlag.SYN) !== 0;
  if (syn && (step.flags & TcpFlag.RST) === 0) view.peerOffersScale = step.windowScale !== undefined;
  const segment: Segment = {
    sourcePort: peerPort,
    destinationPort: hostPort,
    sequence: sequence >>> 0,
    acknowledgment: acknowledgment >>> 0,
    flags: step.flags,
    ae: false,
    reserved: 0,
    window: step.window,
    urgent: step.urgent,
    options: optionsOf(step, view, clock),
    payload: streamBytes((sequence + (syn ? 1 : 0) - view.isn) | 0, step.length),
    tos: 0,
    ttl: 64,
    flowLabel: 0,
  };
  const packet = writeSegment(segment, addresses, step.spoil === "checksum");
  if (step.spoil !== undefined && step.spoil !== "checksum") spoilPacket(packet, step.spoil, addresses);
  view.sent(sequence, step.length, step.flags, acknowledgment);
  return { packet, segment };
}

function optionsOf(step: SegmentStep, view: View, clock: number): TcpOptionSpec[] {
  const options: TcpOptionSpec[] = [];
  if (step.mss !== undefined) options.push({ kind: OptionKind.mss, data: [step.mss >>> 8, step.mss & 0xff] });
  if (step.sackPermitted === true) options.push({ kind: OptionKind.sackPermitted, data: [] });
  if (step.timestamp !== undefined) {
    const { plus, echo } = step.timestamp;
    const echoed = echo === "last"
      ? view.tsLast
      : echo === "first"
      ? view.tsFirst
      : echo === "future"
      ? view.tsLast + 100_000
      : 0;
    options.push({ kind: OptionKind.timestamp, data: [...word(clock + plus), ...word(echoed)] });
  }
  if (step.windowScale !== undefined) {
    options.push({ kind: OptionKind.windowScale, data: [step.windowScale] });
  }
  if (step.sack.length > 0) {
    const data = step.sack.flatMap(([from, to]) => [
      ...word(view.acknowledgment(from)),
      ...word(view.acknowledgment(to)),
    ]);
    options.push({ kind: OptionKind.sack, data });
  }
  if (step.spoil !== undefined) { // room for what breaks them
    options.unshift({ kind: 1, data: [] }, { kind: 1, data: [] }, { kind: 1, data: [] }, {
      kind: 1,
      data: [],
    });
  }
  return options;
}

function word(value: number): number[] {
  return [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];
}

/** The first four bytes of the options are NOPs, to be overwritten. */
function spoilPacket(packet: Uint8Array<ArrayBuffer>, spoil: Spoil, { local, remote }: Addresses): void {
  const tcp = packet.subarray(TCP_AT);
  const options = tcp.subarray(20);
  if (spoil === "offset short") tcp[12] = 4 << 4;
  else if (spoil === "offset long") tcp[12] = tcp.length < 60 ? 15 << 4 : tcp[12]!;
  else if (spoil === "option length 0") options.set([250, 0]);
  else if (spoil === "option length 1") options.set([250, 1]);
  else if (spoil === "option too long") options.set([250, 44]);
  else if (spoil === "unknown option") options.set([250, 4, 1, 2]);
  else if (spoil === "end of options first") options.set([0, 250, 250, 250]);
  else if (spoil === "timestamp of 8 bytes") options.set([OptionKind.timestamp, 4, 0, 0]);
  tcp.set([0, 0], 16);
  const sum = checksum(pseudoHeader(remote, local, PROTOCOL_TCP, tcp.length), tcp);
  tcp.set([sum >>> 8, sum & 0xff], 16);
}
