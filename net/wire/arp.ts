import type { Slab } from "../../base/slab.ts";
import { Drop } from "./drop.ts";
import { ETHER_IPV4 } from "./ethernet.ts";

/** Operations of {@linkcode ArpRecord}. */
export const ArpOperation = { Request: 1, Reply: 2 } as const;
export type ArpOperation = (typeof ArpOperation)[keyof typeof ArpOperation];

/** Bytes in a message about IPv4 over Ethernet. */
export const ARP_LENGTH = 28;

const HARDWARE_ETHERNET = 1;
const LENGTHS = 0x0604; // of a hardware and of a protocol address

const AT = {
  hardware: 0,
  protocol: 2,
  lengths: 4,
  operation: 6,
  senderHi: 8,
  senderLo: 10,
  senderIp: 14,
  targetHi: 18,
  targetLo: 20,
  targetIp: 24,
} as const;

/** A message of the Address Resolution Protocol (RFC 826) for IPv4 over Ethernet. */
export class ArpRecord {
  /** `ArpOperation.Request` or `.Reply`. */
  operation = 0;
  senderHi = 0;
  senderLo = 0;
  senderIp = 0;
  /** Meaningless in a request. */
  targetHi = 0;
  targetLo = 0;
  targetIp = 0;
}

/**
 * Fills `into` from the message in `[start, end)`, which may end in padding. Other hardware, other
 * protocols and other operations than request and reply are malformed to us.
 *
 * @returns `Drop.None`, or the reason, and then `into` is untouched.
 */
export function readArp(slab: Slab, start: number, end: number, into: ArpRecord): Drop {
  const view = slab.view;
  if (end - start < ARP_LENGTH) return Drop.ArpMalformed;
  if (
    view.getUint16(start + AT.hardware) !== HARDWARE_ETHERNET ||
    view.getUint16(start + AT.protocol) !== ETHER_IPV4 ||
    view.getUint16(start + AT.lengths) !== LENGTHS
  ) return Drop.ArpMalformed;
  const operation = view.getUint16(start + AT.operation);
  if (operation !== ArpOperation.Request && operation !== ArpOperation.Reply) return Drop.ArpMalformed;
  into.operation = operation;
  into.senderHi = view.getUint16(start + AT.senderHi);
  into.senderLo = view.getInt32(start + AT.senderLo);
  into.senderIp = view.getInt32(start + AT.senderIp);
  into.targetHi = view.getUint16(start + AT.targetHi);
  into.targetLo = view.getInt32(start + AT.targetLo);
  into.targetIp = view.getInt32(start + AT.targetIp);
  return Drop.None;
}

/** Writes the message at `at` and returns where it ends. */
export function writeArp(record: ArpRecord, slab: Slab, at: number): number {
  const view = slab.view;
  view.setUint16(at + AT.hardware, HARDWARE_ETHERNET);
  view.setUint16(at + AT.protocol, ETHER_IPV4);
  view.setUint16(at + AT.lengths, LENGTHS);
  view.setUint16(at + AT.operation, record.operation);
  view.setUint16(at + AT.senderHi, record.senderHi);
  view.setInt32(at + AT.senderLo, record.senderLo);
  view.setInt32(at + AT.senderIp, record.senderIp);
  view.setUint16(at + AT.targetHi, record.targetHi);
  view.setInt32(at + AT.targetLo, record.targetLo);
  view.setInt32(at + AT.targetIp, record.targetIp);
  return at + ARP_LENGTH;
}
