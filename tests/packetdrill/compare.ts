import { TcpFlag } from "../../net/wire/tcp.ts";
import { bytesOf, type WireConnection, words } from "./connection.ts";
import { OptionKind } from "./parse_tcp_options.ts";
import type { PacketAction, ScriptOptions, TcpOptionSpec } from "./script.ts";
import type { Segment } from "./segment.ts";

/**
 * Compares what a script expects with what was sent, both in the script's numbers.
 *
 * @returns What differs first, or `undefined`.
 */
export function compareSegment(
  expected: PacketAction,
  actual: Segment,
  connection: WireConnection,
  live: Segment,
  options: ScriptOptions,
): string | undefined {
  return compareHeader(expected, actual, live) ?? compareIp(expected, actual, connection) ??
    compareOptions(expected, actual, connection, options) ??
    (actual.payload.some((byte) => byte !== 0) ? "incorrect outbound data payload" : undefined);
}

function compareHeader(expected: PacketAction, actual: Segment, live: Segment): string | undefined {
  const bit = (flags: number, flag: number): number => (flags & flag) === 0 ? 0 : 1;
  const ace = (flags: number, ae: boolean): number =>
    (ae ? 4 : 0) | (bit(flags, TcpFlag.CWR) << 1) | bit(flags, TcpFlag.ECE);
  const flag = (name: string, mask: number): string | undefined =>
    field(name, bit(expected.flags, mask), bit(actual.flags, mask));
  const offset = (segment: readonly TcpOptionSpec[]): number =>
    5 + Math.ceil(segment.reduce((sum, { kind, data }) => sum + (kind <= 1 ? 1 : 2 + data.length), 0) / 4);
  return (expected.options === undefined
    ? undefined
    : field("tcp_data_offset", offset(expected.options), offset(actual.options))) ??
    flag("tcp_fin", TcpFlag.FIN) ?? flag("tcp_syn", TcpFlag.SYN) ?? flag("tcp_rst", TcpFlag.RST) ??
    flag("tcp_psh", TcpFlag.PSH) ?? flag("tcp_ack", TcpFlag.ACK) ?? flag("tcp_urg", TcpFlag.URG) ??
    (expected.ace
      ? field("tcp_ace", ace(expected.flags, expected.ae), ace(actual.flags, actual.ae))
      : flag("tcp_ece", TcpFlag.ECE) ?? flag("tcp_cwr", TcpFlag.CWR) ??
        field("tcp_ae", Number(expected.ae), Number(actual.ae))) ??
    field("tcp_reserved_bits", 0, actual.reserved) ??
    (expected.anySequence
      ? undefined
      : field("tcp_seq", expected.sequence, expected.absoluteSequence ? live.sequence : actual.sequence)) ??
    field("tcp_ack_seq", expected.acknowledgment, actual.acknowledgment) ??
    (expected.window < 0 ? undefined : field("tcp_window", expected.window, actual.window)) ??
    field("tcp_urg_ptr", expected.urgent, actual.urgent) ??
    (expected.sourcePort === 0 ? undefined : field("tcp_sport", expected.sourcePort, live.sourcePort)) ??
    (expected.destinationPort === 0
      ? undefined
      : field("tcp_dport", expected.destinationPort, live.destinationPort));
}

function compareIp({ ip }: PacketAction, actual: Segment, connection: WireConnection): string | undefined {
  const ecn = actual.tos & 3;
  if (ip.anyEct && ecn !== 1 && ecn !== 2) {
    return `live packet field ip_ecn: expected: 0x1 or 0x2 vs actual: 0x${ecn}`;
  }
  const label = ip.flowLabel;
  if (label !== undefined && label !== 0) {
    const known = connection.flowLabel;
    if (actual.flowLabel === 0) return "flowlabel unmarked in the live packet";
    if (known !== undefined && (label === known.script) !== (actual.flowLabel === known.live)) {
      return label === known.script
        ? "inconsistent flowlabels for this packet"
        : "expected a different flowlabel but got the same";
    }
    connection.flowLabel = { script: label, live: actual.flowLabel };
  }
  return (ip.ecn === undefined ? undefined : field("ip_ecn", ip.ecn, ecn)) ??
    (ip.tos === undefined ? undefined : field("tos", ip.tos, actual.tos)) ??
    (ip.ttl === undefined ? undefined : field("ttl", ip.ttl, actual.ttl));
}

/** Options come in the script's order, padding and all. Of timestamps the value is compared on demand, the echo never. */
function compareOptions(
  expected: PacketAction,
  actual: Segment,
  connection: WireConnection,
  options: ScriptOptions,
): string | undefined {
  if (expected.options === undefined) return undefined;
  const count = Math.max(expected.options.length, actual.options.length);
  for (let at = 0; at < count; at++) {
    const wanted = expected.options[at], got = actual.options[at];
    if (wanted === undefined || got === undefined || wanted.kind !== got.kind) {
      return "bad outbound TCP options";
    }
    if (wanted.kind === OptionKind.timestamp) {
      const difference = timestampDifference(wanted, got, connection);
      if (options.tsTickUs > 0 && Math.abs(difference) * options.tsTickUs > options.toleranceUs) {
        return `bad outbound TCP timestamp value, tolerance ${options.toleranceUs}`;
      }
    } else if (wanted.data.length !== got.data.length) {
      return `bad lengths for outbound TCP option ${wanted.kind}`;
    } else if (wanted.data.some((byte, index) => byte !== got.data[index])) {
      return `bad value outbound TCP option ${wanted.kind}`;
    }
  }
  return undefined;
}

/** Our timestamp less the script's, in ticks; `got` becomes the script's scale, for whoever prints it. */
function timestampDifference(wanted: TcpOptionSpec, got: TcpOptionSpec, connection: WireConnection): number {
  const script = words(wanted.data)[0]!;
  const [live, echo] = words(got.data) as [number, number];
  const ours = connection.learnTimestamp(script, live);
  (got.data as number[]).splice(0, 8, ...bytesOf([ours, echo]));
  return (ours - script) | 0;
}

function field(name: string, expected: number, actual: number): string | undefined {
  if (expected === actual) return undefined;
  const hex = (value: number): string => `${value} (0x${value.toString(16)})`;
  return `live packet field ${name}: expected: ${hex(expected)} vs actual: ${hex(actual)}`;
}

/** Why `next` cannot be the continuation of `previous` in one expected packet; both in the script's numbers. */
export function compareFragments(previous: Segment, next: Segment, isLast: boolean): string | undefined {
  const ignored = TcpFlag.FIN | TcpFlag.PSH | TcpFlag.CWR;
  return field("tcp_flags", previous.flags & ~ignored, next.flags & ~ignored) ??
    field("tcp_seq", (previous.sequence + previous.payload.length) >>> 0, next.sequence) ??
    field("tcp_ack_seq", previous.acknowledgment, next.acknowledgment) ??
    field("tcp_window", previous.window, next.window) ??
    (isLast || previous.payload.length === next.payload.length
      ? undefined
      : `fragment payload: expected ${previous.payload.length} bytes vs actual ${next.payload.length} bytes`);
}
