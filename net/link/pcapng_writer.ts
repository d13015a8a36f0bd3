import { Slab } from "../../base/slab.ts";
import type { Medium } from "./link.ts";
import {
  BlockType,
  BYTE_ORDER_MAGIC,
  type Direction,
  DIRECTION_FLAG,
  LinkType,
  OptionCode,
  PduTag,
  SECRETS_TLS_KEY_LOG,
} from "./pcapng.ts";

/** Bytes gathered before they are written. */
const GATHER_BYTES = 65_536;

const SYSLOG = new TextEncoder().encode("syslog\0\0"); // padded to a multiple of 4
const SYSLOG_TAGS = Uint8Array.of(0, PduTag.DissectorName, 0, SYSLOG.length, ...SYSLOG, 0, PduTag.End, 0, 0);
/** Facility "user", severity "info" (RFC 5424 section 6.2.1). */
const SYSLOG_INFO = "<14>";

/**
 * Turns frames into a pcapng capture with nanosecond timestamps.
 *
 * Blocks are gathered and handed to `write` when 64 KB are there and at each `flush`; the bytes
 * handed over are the callback's to keep.
 *
 * @example A capture in memory
 * ```ts
 * import { Slab } from "@torpor/torpor/base/slab.ts";
 * import { PcapngWriter } from "@torpor/torpor/net/link/pcapng_writer.ts";
 * const parts: Uint8Array[] = [];
 * const writer = new PcapngWriter((bytes) => parts.push(bytes));
 * const wire = writer.addInterface("ip", "wire");
 * writer.packet(wire, "in", Date.now(), new Slab(Uint8Array.of(0x45, 0)), 0, 2, "the first packet");
 * writer.flush();
 * ```
 */
export class PcapngWriter {
  readonly #write: (bytes: Uint8Array<ArrayBuffer>) => void;
  #slab = Slab.of(GATHER_BYTES);
  #at = 0;
  #interfaces = 0;

  /** Writes the head of the file; `write` gets it with the first of the rest. */
  constructor(write: (bytes: Uint8Array<ArrayBuffer>) => void) {
    this.#write = write;
    const start = this.#begin(BlockType.SectionHeader, 64);
    this.#uint32(BYTE_ORDER_MAGIC);
    this.#uint16(1); // version 1.0
    this.#uint16(0);
    this.#uint32(0xffff_ffff); // the section's length is not known
    this.#uint32(0xffff_ffff);
    this.#option(OptionCode.UserApplication, new TextEncoder().encode("torpor"));
    this.#end(start);
  }

  /** Describes one more interface and returns its number, for `packet`. */
  addInterface(medium: Medium, name?: string): number {
    return this.#describe(medium === "ethernet" ? LinkType.Ethernet : LinkType.RawIp, name);
  }

  /** Describes an interface for `event`. */
  addEvents(name: string): number {
    return this.#describe(LinkType.UpperPdu, name);
  }

  /**
   * Adds something that happened and is no packet: to Wireshark it is a line of syslog, with the same as its comment.
   * @param eventsIndex What `addEvents` has returned.
   */
  event(eventsIndex: number, timeMs: number, text: string): void {
    const line = new TextEncoder().encode(`${SYSLOG_INFO}${text}`);
    const slab = Slab.of(SYSLOG_TAGS.length + line.length);
    slab.bytes.set(SYSLOG_TAGS);
    slab.bytes.set(line, SYSLOG_TAGS.length);
    this.packet(eventsIndex, "in", timeMs, slab, 0, slab.bytes.length, text);
  }

  /** Adds lines of a TLS key log, in NSS's format: what follows can be read with them. */
  secrets(keyLog: Uint8Array): void {
    const start = this.#begin(BlockType.DecryptionSecrets, 32 + keyLog.length);
    this.#uint32(SECRETS_TLS_KEY_LOG);
    this.#uint32(keyLog.length);
    this.#bytes(keyLog);
    this.#end(start);
  }

  #describe(linkType: number, name: string | undefined): number {
    const nameBytes = new TextEncoder().encode(name ?? "");
    const start = this.#begin(BlockType.InterfaceDescription, 64 + nameBytes.length);
    this.#uint16(linkType);
    this.#uint16(0);
    this.#uint32(0); // no limit on the bytes captured of a packet
    if (nameBytes.length > 0) this.#option(OptionCode.InterfaceName, nameBytes);
    this.#option(OptionCode.TimestampResolution, Uint8Array.of(9)); // 10^-9 s
    this.#end(start);
    return this.#interfaces++;
  }

  /**
   * Adds one frame, `[start, end)` of `slab`, copying it.
   * @throws {RangeError} When there is no such interface, or the comment has more than 65,535 bytes.
   */
  packet(
    interfaceIndex: number,
    direction: Direction,
    timeMs: number,
    slab: Slab,
    start: number,
    end: number,
    comment?: string,
  ): void {
    if (!(interfaceIndex < this.#interfaces)) {
      throw new RangeError(
        `Cannot record packet: interface ${interfaceIndex} of ${this.#interfaces} was not added`,
      );
    }
    const commentBytes = comment === undefined ? undefined : new TextEncoder().encode(comment);
    if (commentBytes !== undefined && commentBytes.length > 0xffff) {
      throw new RangeError(
        `Cannot record packet: its comment has ${commentBytes.length} bytes, the limit is 65535`,
      );
    }
    const length = end - start;
    const block = this.#begin(BlockType.EnhancedPacket, 64 + length + (commentBytes?.length ?? 0));
    this.#uint32(interfaceIndex);
    this.#timestamp(timeMs);
    this.#uint32(length); // captured
    this.#uint32(length); // original
    this.#bytes(slab.bytes.subarray(start, end));
    if (commentBytes !== undefined) this.#option(OptionCode.Comment, commentBytes);
    this.#uint16(OptionCode.PacketFlags);
    this.#uint16(4);
    this.#uint32(DIRECTION_FLAG[direction]);
    this.#end(block);
  }

  /** Hands everything gathered to `write`. */
  flush(): void {
    if (this.#at === 0) return;
    const bytes = this.#slab.bytes.slice(0, this.#at);
    this.#at = 0;
    this.#write(bytes);
  }

  #begin(type: number, bytesMax: number): number {
    if (this.#at + bytesMax > this.#slab.bytes.length) {
      this.flush();
      if (bytesMax > this.#slab.bytes.length) this.#slab = Slab.of(bytesMax);
    }
    const start = this.#at;
    this.#uint32(type);
    this.#at += 4; // the total length, known at the end
    return start;
  }

  /** Closes the options and the block. */
  #end(start: number): void {
    this.#uint32(OptionCode.End);
    this.#uint32(this.#at + 4 - start);
    this.#slab.view.setUint32(start + 4, this.#at - start, true);
  }

  #option(code: number, bytes: Uint8Array): void {
    this.#uint16(code);
    this.#uint16(bytes.length);
    this.#bytes(bytes);
  }

  /** Nanoseconds since the epoch as two 32-bit halves, without the BigInt they would need in one piece. */
  #timestamp(timeMs: number): void {
    const seconds = Math.floor(timeMs / 1000);
    const nanoseconds = Math.floor((timeMs - seconds * 1000) * 1e6);
    const low = (seconds % 0x1_0000) * 1e9 + nanoseconds; // below 2^46
    const high = Math.floor(seconds / 0x1_0000) * 1e9; // times 2^16
    const sum = (high % 0x1_0000) * 0x1_0000 + low;
    this.#uint32(Math.floor(high / 0x1_0000) + Math.floor(sum / 0x1_0000_0000));
    this.#uint32(sum % 0x1_0000_0000);
  }

  #bytes(bytes: Uint8Array): void {
    this.#slab.bytes.set(bytes, this.#at);
    this.#at += bytes.length;
    while (this.#at % 4 !== 0) this.#slab.bytes[this.#at++] = 0; // blocks start at multiples of 4
  }

  #uint16(value: number): void {
    this.#slab.view.setUint16(this.#at, value, true);
    this.#at += 2;
  }

  #uint32(value: number): void {
    this.#slab.view.setUint32(this.#at, value, true);
    this.#at += 4;
  }
}
