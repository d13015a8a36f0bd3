import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../../wire/ipv4.ts";
import { PROTOCOL_ICMPV6 } from "../../wire/ipv6.ts";
import type { Conntrack } from "./conntrack.ts";
import { Word } from "./flow_table.ts";
import { FlowKey, hasPorts } from "./key.ts";
import { CtDirection, CtStatus } from "./state.ts";
import { TCP_STATE_NAMES } from "./timeouts.ts";

const NAMES: Readonly<Record<number, string>> = {
  [PROTOCOL_ICMP]: "icmp",
  [PROTOCOL_TCP]: "tcp",
  [PROTOCOL_UDP]: "udp",
  [PROTOCOL_ICMPV6]: "icmpv6",
};

/**
 * The flows as `conntrack -L` lists them, one a string: protocol, seconds left, TCP's state, both keys, what is
 * known of the flow, its mark. In no order.
 */
export function* listFlows(conntrack: Conntrack, nowMs: number): Generator<string> {
  const { table } = conntrack;
  for (let flow = 0; flow < table.end; flow++) {
    if (table.isLive(flow, nowMs)) yield formatFlow(conntrack, flow, nowMs);
  }
}

/** One flow as `conntrack -L` lists it. */
export function formatFlow(conntrack: Conntrack, flow: number, nowMs: number): string {
  const { table, tcp } = conntrack;
  const protocol = table.protocol(flow);
  const status = table.status(flow);
  const parts = [
    NAMES[protocol] ?? "unknown",
    `${protocol}`,
    `${Math.floor(table.remainingMs(flow, nowMs) / 1000)}`,
  ];
  if (protocol === PROTOCOL_TCP) parts.push(TCP_STATE_NAMES[tcp.state(flow)]!);
  parts.push(formatKey(conntrack, flow, CtDirection.original));
  if ((status & CtStatus.seenReply) === 0) parts.push("[UNREPLIED]");
  parts.push(formatKey(conntrack, flow, CtDirection.reply));
  if ((status & CtStatus.assured) !== 0) parts.push("[ASSURED]");
  parts.push(`mark=${table.get(flow, Word.mark) >>> 0}`);
  const zone = table.get(flow, Word.protocolAndZone) >>> 8;
  if (zone !== 0) parts.push(`zone=${zone}`);
  return parts.join(" ");
}

function formatKey(conntrack: Conntrack, flow: number, way: CtDirection): string {
  const key = new FlowKey();
  conntrack.table.key(flow, way, key);
  const { addresses } = conntrack;
  const { protocol, ports } = key;
  const parts = [`src=${addresses.format(key.source)}`, `dst=${addresses.format(key.destination)}`];
  if (hasPorts(protocol)) parts.push(`sport=${ports >>> 16}`, `dport=${ports & 0xffff}`);
  if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) {
    parts.push(`type=${(ports >>> 8) & 0xff}`, `code=${ports & 0xff}`, `id=${ports >>> 16}`);
  }
  return parts.join(" ");
}
