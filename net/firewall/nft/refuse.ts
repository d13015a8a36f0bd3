import { TcpFlag, type TcpRecord } from "../../wire/tcp.ts";
import type { Conntrack } from "../conntrack/conntrack.ts";
import { CtDirection, NO_FLOW } from "../conntrack/state.ts";
import { refusalOf } from "../names/refusal.ts";
import type { RejectSpec } from "./linked.ts";
import type { NftPacket } from "./packet.ts";

/**
 * What goes back where rules reject a segment with a reset, and its flow has said in TLS or HTTP what it wants: the refusal
 * in the same language, in place of the server's answer, with a FIN.
 *
 * @returns Nothing to say where it has been said: the flow's later acknowledgments are not answered. Undefined for a reset.
 */
export function refusalFor(
  conntrack: Conntrack | undefined,
  { comment }: RejectSpec,
  { track: { flow, direction } }: NftPacket,
  { flags, sequence, dataStart, dataEnd }: TcpRecord,
): Uint8Array | undefined {
  if (conntrack === undefined || flow === NO_FLOW || direction === CtDirection.reply) return undefined;
  const heard = conntrack.names.get(flow);
  if (heard === undefined || (heard.kind !== "tls" && heard.kind !== "http")) return undefined;
  if ((flags & (TcpFlag.SYN | TcpFlag.FIN | TcpFlag.RST)) !== 0) return undefined;
  const length = dataEnd - dataStart;
  if (length === 0) return new Uint8Array(0);
  if (!conntrack.names.isFirst(flow, (sequence + length) | 0)) return undefined;
  conntrack.tcp.beLiberal(flow); // what the client acknowledges from now on the server has not said
  return refusalOf(heard, comment);
}

/** Makes `answer` the head of the segment that says it. */
export function answerTo(to: TcpRecord, answer: TcpRecord): void {
  answer.clear();
  answer.sourcePort = to.destinationPort;
  answer.destinationPort = to.sourcePort;
  answer.sequence = to.acknowledgment;
  answer.acknowledgment = (to.sequence + to.dataEnd - to.dataStart) | 0;
  answer.flags = TcpFlag.ACK | TcpFlag.PSH | TcpFlag.FIN;
  answer.window = 0xffff;
  answer.urgentPointer = 0;
  if (!to.hasTimestamp) return;
  answer.hasTimestamp = true;
  answer.tsVal = to.tsEcr; // the latest that the client has seen of the server's clock
  answer.tsEcr = to.tsVal;
}
