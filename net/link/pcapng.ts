/**
 * Numbers of the pcapng capture format (draft-ietf-opsawg-pcapng), which Wireshark and tcpdump read.
 * A file is a row of blocks: type, total length, body padded to 4 bytes, total length again.
 */
export const BlockType = {
  SectionHeader: 0x0a0d0d0a,
  InterfaceDescription: 1,
  SimplePacket: 3,
  EnhancedPacket: 6,
  DecryptionSecrets: 0x0a,
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
export const LinkType = { Ethernet: 1, RawIp: 101, UpperPdu: 252 } as const;

/** What a decryption secrets block holds: the lines of a TLS key log. */
export const SECRETS_TLS_KEY_LOG = 0x544c_534b;

/** Tags in front of an exported PDU (Wireshark's epan/exported_pdu.h): which dissector reads the rest, and the end. */
export const PduTag = { DissectorName: 12, End: 0 } as const;

/** Which way a packet went, seen from the interface that was captured on. */
export type Direction = "in" | "out";

/** Bits 0 and 1 of an enhanced packet block's flags. */
export const DIRECTION_FLAG: Record<Direction, number> = { in: 1, out: 2 };
