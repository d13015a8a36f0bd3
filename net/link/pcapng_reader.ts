import { BlockType, BYTE_ORDER_MAGIC, type Direction, LinkType, OptionCode } from "./pcapng.ts";

/** One packet of a capture. */
export interface CapturedPacket {
  /** Nanoseconds since the epoch; 0 for a simple packet block, which has no time. */
  timestampNs: bigint;
  /** The same in ms, as the core counts time. */
  timeMs: number;
  /** The bytes captured: a view into the file. */
  bytes: Uint8Array<ArrayBuffer>;
  /** How long the packet was on the wire. */
  originalLength: number;
  /** The type of the interface's packets: 1 Ethernet, 101 bare IP. */
  linkType: number;
  /** The number of its interface in the file. */
  interfaceIndex: number;
  /** The name of that, if it has one. */
  interfaceName: string | undefined;
  /** Which way it went, if the file says so. */
  direction: Direction | undefined;
  /** What somebody has remarked about it. */
  comment: string | undefined;
}

/** A capture that cannot be read. `offset` is the byte of the file at which reading stopped. */
export class PcapngError extends Error {
  override name = "PcapngError";
  readonly offset: number;
  /** The file ends within a packet or block; all before it is whole. */
  readonly cutShort: boolean;

  constructor(offset: number, message: string, cutShort = false) {
    super(`Cannot read capture at byte ${offset}: ${message}`);
    this.offset = offset;
    this.cutShort = cutShort;
  }
}

type Interface = { linkType: number; name: string | undefined; ticksPerSecond: bigint; offsetS: bigint };

/** Shorter than any block, longer than any that a sane writer makes: a damaged length is told from a true one. */
const BLOCK_BYTES_MAX = 1 << 28;

/**
 * The packets of a pcapng file, in its order. Both byte orders and several sections are read; blocks of
 * types that carry no packets are skipped.
 *
 * @throws {PcapngError} While iterating, at the first byte that cannot be understood.
 * @example
 * ```ts
 * import { readFile } from "node:fs/promises";
 * import { readPcapng } from "@torpor/torpor/net/link/pcapng_reader.ts";
 * const file = new Uint8Array(await readFile("a.pcapng"));
 * for (const { timeMs, bytes } of readPcapng(file)) console.log(timeMs, bytes.length);
 * ```
 */
export function* readPcapng(file: Uint8Array<ArrayBuffer>): Generator<CapturedPacket, void, undefined> {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  let little = true;
  let interfaces: Interface[] | undefined;
  for (let at = 0; at < file.length;) {
    if (file.length - at < 12) {
      throw new PcapngError(at, `${file.length - at} bytes are left, a block has 12 or more`, at > 0);
    }
    const section = view.getUint32(at, true) === BlockType.SectionHeader; // a palindrome
    if (section) {
      little = byteOrder(view, at);
      interfaces = [];
    } else if (interfaces === undefined) {
      throw new PcapngError(at, "a capture starts with a section header block");
    }
    const type = view.getUint32(at, little);
    const length = view.getUint32(at + 4, little);
    if (length < 12 || length % 4 !== 0 || length > BLOCK_BYTES_MAX) {
      throw new PcapngError(
        at,
        `its block's length is ${length}, need a multiple of 4 from 12 to ${BLOCK_BYTES_MAX}`,
      );
    }
    if (length > file.length - at) {
      throw new PcapngError(at, `its block has ${length} bytes, ${file.length - at} are left`, at > 0);
    }
    const end = at + length - 4;
    if (view.getUint32(end, little) !== length) {
      throw new PcapngError(
        at,
        `its block's lengths differ: ${length} before, ${view.getUint32(end, little)} behind`,
      );
    }
    const block: Block = { file, view, little, at, end };
    if (section) {
      need(block, 28);
      const major = view.getUint16(at + 12, little);
      if (major !== 1) throw new PcapngError(at, `its section has version ${major}, need 1`);
    } else if (type === BlockType.InterfaceDescription) interfaces!.push(readInterface(block));
    else if (type === BlockType.EnhancedPacket) yield readEnhanced(block, interfaces!);
    else if (type === BlockType.SimplePacket) yield readSimple(block, interfaces!);
    at += length;
  }
}

/** A block from `at` up to its second length at `end`. */
type Block = { file: Uint8Array<ArrayBuffer>; view: DataView; little: boolean; at: number; end: number };

function byteOrder(view: DataView, at: number): boolean {
  if (view.getUint32(at + 8, true) === BYTE_ORDER_MAGIC) return true;
  if (view.getUint32(at + 8) === BYTE_ORDER_MAGIC) return false;
  throw new PcapngError(at + 8, "its section's byte-order magic is neither 1a2b3c4d nor 4d3c2b1a");
}

function need(block: Block, bytes: number): void {
  if (block.end + 4 - block.at < bytes) {
    throw new PcapngError(
      block.at,
      `its block has ${block.end + 4 - block.at} bytes, its type needs ${bytes}`,
    );
  }
}

function readInterface(block: Block): Interface {
  need(block, 20);
  const { view, little, at, file } = block;
  const found: Interface = {
    linkType: view.getUint16(at + 8, little),
    name: undefined,
    ticksPerSecond: 1_000_000n, // when no option says otherwise
    offsetS: 0n,
  };
  options(block, at + 16, (code, start, end) => {
    if (code === OptionCode.InterfaceName) found.name = new TextDecoder().decode(file.subarray(start, end));
    else if (code === OptionCode.TimestampResolution && end > start) {
      const value = file[start]!; // a power of 10, or of 2 when the top bit is set
      found.ticksPerSecond = value & 0x80 ? 1n << BigInt(value & 0x7f) : 10n ** BigInt(value);
    } else if (code === OptionCode.TimestampOffset && end - start >= 8) {
      found.offsetS = view.getBigInt64(start, little);
    }
  });
  return found;
}

function readEnhanced(block: Block, interfaces: Interface[]): CapturedPacket {
  need(block, 32);
  const { view, little, at, file } = block;
  const interfaceIndex = view.getUint32(at + 8, little);
  const from = interfaceOf(block, interfaces, interfaceIndex);
  const captured = view.getUint32(at + 20, little);
  const start = at + 28;
  if (captured > block.end - start) {
    throw new PcapngError(at + 20, `its packet has ${captured} bytes, its block holds ${block.end - start}`);
  }
  const ticks = (BigInt(view.getUint32(at + 12, little)) << 32n) | BigInt(view.getUint32(at + 16, little));
  const timestampNs = (ticks * 1_000_000_000n) / from.ticksPerSecond + from.offsetS * 1_000_000_000n;
  const packet: CapturedPacket = {
    timestampNs,
    timeMs: Number(timestampNs) / 1e6,
    bytes: file.subarray(start, start + captured),
    originalLength: view.getUint32(at + 24, little),
    linkType: from.linkType,
    interfaceIndex,
    interfaceName: from.name,
    direction: undefined,
    comment: undefined,
  };
  options(block, start + ((captured + 3) & ~3), (code, from, to) => {
    if (code === OptionCode.Comment) packet.comment = new TextDecoder().decode(file.subarray(from, to));
    else if (code === OptionCode.PacketFlags && to - from >= 4) {
      const way = view.getUint32(from, little) & 3;
      packet.direction = way === 1 ? "in" : way === 2 ? "out" : undefined;
    }
  });
  return packet;
}

function readSimple(block: Block, interfaces: Interface[]): CapturedPacket {
  need(block, 16);
  const { view, little, at, file } = block;
  const from = interfaceOf(block, interfaces, 0);
  const originalLength = view.getUint32(at + 8, little);
  return {
    timestampNs: 0n,
    timeMs: 0,
    bytes: file.subarray(at + 12, Math.min(at + 12 + originalLength, block.end)),
    originalLength,
    linkType: from.linkType,
    interfaceIndex: 0,
    interfaceName: from.name,
    direction: undefined,
    comment: undefined,
  };
}

function interfaceOf(block: Block, interfaces: Interface[], index: number): Interface {
  const found = interfaces[index];
  if (found === undefined) {
    throw new PcapngError(
      block.at,
      `its packet is of interface ${index}, the section describes ${interfaces.length}`,
    );
  }
  return found;
}

function options(block: Block, at: number, visit: (code: number, start: number, end: number) => void): void {
  const { view, little, end } = block;
  while (end - at >= 4) {
    const code = view.getUint16(at, little);
    const length = view.getUint16(at + 2, little);
    if (code === OptionCode.End) return;
    if (length > end - at - 4) {
      throw new PcapngError(at, `its option has ${length} bytes, its block holds ${end - at - 4}`);
    }
    visit(code, at + 4, at + 4 + length);
    at += 4 + ((length + 3) & ~3);
  }
}

/** Whether packets of this capture are Ethernet frames, bare IP packets, or neither. */
export function mediumOf(linkType: number): "ethernet" | "ip" | undefined {
  return linkType === LinkType.Ethernet ? "ethernet" : linkType === LinkType.RawIp ? "ip" : undefined;
}
