import { seqLess } from "../../base/sequence.ts";
import { TcpFlag } from "../../net/wire/tcp.ts";
import { OptionKind } from "../packetdrill/parse_tcp_options.ts";
import { showFlags } from "../packetdrill/print.ts";
import type { Segment } from "../packetdrill/segment.ts";
import type { View } from "./view.ts";

const EDGE_BYTES = 3_000;

/** A segment of a host in words that are the same for hosts that do the same. */
export interface Answer {
  readonly flags: number;
  readonly length: number;
  /** Relative to ISS and to the peer's ISN; as they are where there is none. */
  readonly sequence: number;
  readonly acknowledgment: number;
  /** An ACK and nothing else. */
  readonly plain: boolean;
  /** It says that more has arrived than the host said before. */
  readonly advances: boolean;
  readonly sack: string;
  /** A plain ACK of new data, which may come later as well: with it at most the report of a duplicate. */
  readonly mayWait: boolean;
  /** All of it was sent before, or it is a probe below SND.NXT. */
  readonly again: boolean;
  readonly text: string;
  /** As it left, from the TCP header on. */
  readonly bytes: Uint8Array;
}

/** Reads what a host has sent, as its peer sees it; then the peer's view knows of it. */
export function readAnswer(packet: Uint8Array, segment: Segment, view: View, peerClock: number): Answer {
  const { flags } = segment;
  const length = segment.payload.length;
  const priorIss = view.iss, priorNext = view.hostNext, priorAcked = view.acked;
  const rst = (flags & TcpFlag.RST) !== 0;
  view.heard(segment);
  const raw = segment.sequence | 0;
  const iss = view.iss ?? 0;
  const sequence = raw === 0 && rst ? 0 : (raw - iss) | 0;
  const acks = (flags & TcpFlag.ACK) !== 0;
  const acknowledgment = acks ? (segment.acknowledgment - view.isn) | 0 : 0;
  const spans = length + (flags & (TcpFlag.SYN | TcpFlag.FIN) ? 1 : 0);
  const end = (raw + spans) | 0;
  const known = priorIss === view.iss && priorIss !== undefined && !rst;
  const again = known && (spans > 0 ? !seqLess(priorNext, end) : seqLess(raw, priorNext));
  const sack = showBlocks(segment, view);
  const plain = flags === TcpFlag.ACK && length === 0;
  const advances = acks && seqLess(priorAcked, segment.acknowledgment | 0);
  const parts = [
    showFlags(flags),
    `${sequence}:${(sequence + length) | 0}(${length})`,
    acks ? `ack ${showPlace(acknowledgment, view)}` : "",
    rst ? "" : segment.window > 0 ? "win" : "win 0",
    segment.urgent > 0 ? `urg ${segment.urgent}` : "",
    showOptions(segment, peerClock),
    sack,
    length > 0 && !isPattern(segment.payload, sequence) ? "OTHER BYTES" : "",
  ];
  return {
    flags,
    length,
    sequence,
    acknowledgment,
    plain,
    advances,
    sack,
    mayWait: plain && advances && (sack === "" || isDuplicateOnly(segment)),
    again,
    text: parts.filter((part) => part !== "").join(" "),
    bytes: packet.subarray((packet[0]! & 15) * 4),
  };
}

function showOptions(segment: Segment, peerClock: number): string {
  const texts: string[] = [];
  for (const { kind, data } of segment.options) {
    if (kind === OptionKind.mss) texts.push(`mss ${data[0]! * 256 + data[1]!}`);
    else if (kind === OptionKind.windowScale) texts.push(`wscale ${data[0]}`);
    else if (kind === OptionKind.sackPermitted) texts.push("sackOK");
    else if (kind === OptionKind.timestamp) {
      const echo = (data[4]! << 24) | (data[5]! << 16) | (data[6]! << 8) | data[7]!;
      texts.push(`TS ecr ${echo === 0 ? "0" : (echo - peerClock) | 0}`);
    } else if (kind > 1 && kind !== OptionKind.sack) texts.push(`kind ${kind}`);
  }
  return texts.length === 0 ? "" : `<${texts.join(",")}>`;
}

function showBlocks(segment: Segment, view: View): string {
  const option = segment.options.find(({ kind }) => kind === OptionKind.sack);
  if (option === undefined) return "";
  const { data } = option;
  const at = (offset: number): string =>
    showPlace(
      (((data[offset]! << 24) | (data[offset + 1]! << 16) | (data[offset + 2]! << 8) | data[offset + 3]!) -
        view.isn) | 0,
      view,
    );
  let text = "sack";
  for (let offset = 0; offset < data.length; offset += 8) text += ` ${at(offset)}:${at(offset + 4)}`;
  return text;
}

function isDuplicateOnly(segment: Segment): boolean {
  const { data } = segment.options.find(({ kind }) => kind === OptionKind.sack)!;
  const end = (data[4]! << 24) | (data[5]! << 16) | (data[6]! << 8) | data[7]!;
  return data.length === 8 && !seqLess(segment.acknowledgment | 0, end);
}

/** Windows differ: what lies near an edge that a segment was drawn around is told from there. */
function showPlace(number: number, { anchors, isn }: View): string {
  for (let at = anchors.length - 1; at >= 0; at--) {
    const beyond = (number - ((anchors[at]! - isn) | 0)) | 0;
    if (Math.abs(beyond) <= EDGE_BYTES && number > 2 * EDGE_BYTES) {
      return `edge${at}${beyond < 0 ? "" : "+"}${beyond}`;
    }
  }
  return `${number}`;
}

/** Byte of a stream, by its place: its first byte is at sequence number 1. */
export function streamByte(at: number): number {
  return (at * 7 + (at >>> 8)) & 0xff;
}

export function streamBytes(at: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = streamByte(at + i);
  return bytes;
}

function isPattern(bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== streamByte(at + i)) return false;
  return true;
}
