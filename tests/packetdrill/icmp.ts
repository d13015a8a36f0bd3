import type { WireConnection } from "./connection.ts";
import { type IcmpAction, Unsupported } from "./script.ts";
import { type Addresses, checksum, pseudoHeader, wrapIp } from "./segment.ts";

const UNREACHABLE_CODES_4 =
  ("net_unreachable host_unreachable protocol_unreachable port_unreachable frag_needed " +
    "source_route_failed net_unknown host_unknown source_host_isolated net_prohibited host_prohibited " +
    "net_unreachable_for_tos host_unreachable_for_tos packet_filtered precedence_violation precedence_cutoff")
    .split(" ");
const UNREACHABLE_CODES_6 =
  "no_route admin_prohibited beyond_scope address_unreachable port_unreachable policy_fail reject_route"
    .split(" ");
const TIME_EXCEEDED_CODES = ["exceeded_in_transit", "exceeded_reassembly_time"];
/** Other names of codes that some scripts use. */
const OTHER_CODES: Readonly<Record<string, number>> = {
  ttl_exceeded_in_transit: 0,
  frag_reass_exceeded: 1,
  erroneous_header_field: 0,
  unknown_next_header: 1,
  unknown_option: 2,
  code_0: 0,
  code_1: 1,
  code_2: 2,
};

const TYPES_4: Readonly<Record<string, [number, readonly string[]]>> = {
  unreachable: [3, UNREACHABLE_CODES_4],
  source_quench: [4, []],
  redirect: [5, []],
  time_exceeded: [11, TIME_EXCEEDED_CODES],
  parameter_problem: [12, []],
};
const TYPES_6: Readonly<Record<string, [number, readonly string[]]>> = {
  unreachable: [1, UNREACHABLE_CODES_6],
  packet_too_big: [2, []],
  time_exceeded: [3, TIME_EXCEEDED_CODES],
  parameter_problem: [4, []],
};
const PROTOCOL_ICMP = 1, PROTOCOL_ICMPV6 = 58, PROTOCOL_TCP = 6;

/** The ICMP error of a script about a segment of ours, as a packet from the remote host. */
export function writeIcmpError(
  action: IcmpAction,
  connection: WireConnection,
  { version, local, remote }: Addresses,
): Uint8Array<ArrayBuffer> {
  // Plain "icmp" is what the run's IP version has.
  if (version === 4 && action.version === 6) {
    throw new Unsupported(`icmpv${action.version} in a run over IPv${version}`);
  }
  const [type, codes] = (version === 4 ? TYPES_4 : TYPES_6)[action.type] ?? [];
  if (type === undefined) throw new Unsupported(`ICMP type ${action.type}`);
  const code = action.code === undefined ? 0 : OTHER_CODES[action.code] ?? codes!.indexOf(action.code);
  if (code < 0) throw new Unsupported(`ICMP code ${action.code}`);
  const tcp = new Uint8Array(20 + action.length);
  const view = new DataView(tcp.buffer);
  view.setUint16(0, connection.localPort);
  view.setUint16(2, connection.remotePort);
  view.setUint32(4, (action.sequence + connection.localIsn) >>> 0);
  view.setUint8(12, 5 << 4);
  const plain = { tos: 0, ttl: 64, flowLabel: 0 };
  const quoted = wrapIp(version, PROTOCOL_TCP, local, remote, tcp, plain);
  const quote = quoted.subarray(0, (version === 4 ? 20 : 40) + 20);
  const message = new Uint8Array(8 + quote.length);
  const messageView = new DataView(message.buffer);
  message.set([type, code]);
  messageView.setUint32(4, action.mtu);
  message.set(quote, 8);
  const protocol = version === 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
  const parts = version === 4 ? [message] : [pseudoHeader(remote, local, protocol, message.length), message];
  messageView.setUint16(2, checksum(...parts));
  return wrapIp(version, protocol, remote, local, message, plain);
}

/** What Linux makes of ICMP's type and code; those of ICMPv6 have been translated. */
export function errnoOfIcmp(type: number, code: number): string {
  if (type === TYPES_4.parameter_problem![0]) return "EPROTO";
  return (type === TYPES_4.unreachable![0] ? UNREACHABLE_ERRNOS[code] : undefined) ?? "EHOSTUNREACH";
}

const UNREACHABLE_ERRNOS =
  ("ENETUNREACH EHOSTUNREACH ENOPROTOOPT ECONNREFUSED EMSGSIZE EOPNOTSUPP ENETUNREACH EHOSTDOWN ENONET ENETUNREACH " +
    "EHOSTUNREACH ENETUNREACH EHOSTUNREACH EHOSTUNREACH EHOSTUNREACH EHOSTUNREACH").split(" ");
