/**
 * Numbers of the pcapng capture format (draft-ietf-opsawg-pcapng), which Wireshark and tcpdump read.
 * A file is a row of blocks: type, total length, body padded to 4 bytes, total length again.
 */
export const BlockType = {
  SectionHeader: 0x0a0d0d0a,
  InterfaceDescription: 1,
  SimplePacket: 3,
  EnhancedPacket: 6,
} as const;

/** Stands in a section header; read backward it tells that the writer's byte order was the other one. */
export const BYTE_ORDER_MAGIC = 0x1a2b3c4d;

/** Codes of the options that we write or read. */
export const OptionCode = {
  End: 0,
  Comment: 1,
  InterfaceName: 2,
  PacketFlags: 2,
  UserApplication: 4,
  TimestampResolution: 9,
  TimestampOffset: 14,
} as const;

/** What the packets of an interface start with (tcpdump's registry of link types). */
export const LinkType = { Ethernet: 1, RawIp: 101 } as const;

/** Which way a packet went, seen from the interface that was captured on. */
export type Direction = "in" | "out";

/** Bits 0 and 1 of an enhanced packet block's flags. */
export const DIRECTION_FLAG: Record<Direction, number> = { in: 1, out: 2 };
