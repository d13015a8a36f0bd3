import { type CapturedPacket, PcapngError, readPcapng } from "./pcapng_reader.ts";

/** Numbers of the classic capture format (draft-ietf-opsawg-pcap), read in the file's byte order. */
const MAGIC_MICROSECONDS = 0xa1b2c3d4;
const MAGIC_NANOSECONDS = 0xa1b23c4d;
const HEADER_BYTES = 24;
const RECORD_BYTES = 16;
/** libpcap's own limit of what one packet may claim. */
const PACKET_BYTES_MAX = 1 << 18;

/** Whether a file begins as a classic capture does, in either byte order. */
export function isPcap(file: Uint8Array<ArrayBuffer>): boolean {
  return file.length >= 4 &&
    orderOf(new DataView(file.buffer, file.byteOffset, file.byteLength)) !== undefined;
}

/** Whether a file begins as a pcapng capture does. */
export function isPcapng(file: Uint8Array): boolean {
  return file[0] === 0x0a && file[1] === 0x0d && file[2] === 0x0d && file[3] === 0x0a;
}

/**
 * The packets of a classic pcap file, in its order: either byte order, micro- or nanoseconds.
 * @throws {PcapngError} While iterating, at the first byte that cannot be understood.
 */
export function* readPcap(file: Uint8Array<ArrayBuffer>): Generator<CapturedPacket, void, undefined> {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const order = file.length < HEADER_BYTES ? undefined : orderOf(view);
  if (order === undefined) throw new PcapngError(0, "this is no pcap file");
  const { little, nanoseconds } = order;
  const linkType = view.getUint32(20, little) & 0xffff;
  for (let at = HEADER_BYTES; at < file.length;) {
    if (file.length - at < RECORD_BYTES) {
      const left = file.length - at;
      throw new PcapngError(at, `${left} bytes are left, a packet's header has ${RECORD_BYTES}`, true);
    }
    const captured = view.getUint32(at + 8, little);
    if (captured > PACKET_BYTES_MAX) throw new PcapngError(at + 8, `its packet has ${captured} bytes`);
    const start = at + RECORD_BYTES;
    if (captured > file.length - start) {
      throw new PcapngError(at, `its packet has ${captured} bytes, ${file.length - start} are left`, true);
    }
    const fraction = view.getUint32(at + 4, little) * (nanoseconds ? 1 : 1000);
    const timestampNs = BigInt(view.getUint32(at, little)) * 1_000_000_000n + BigInt(fraction);
    yield {
      timestampNs,
      timeMs: Number(timestampNs) / 1e6,
      bytes: file.subarray(start, start + captured),
      originalLength: view.getUint32(at + 12, little),
      linkType,
      interfaceIndex: 0,
      interfaceName: undefined,
      direction: undefined,
      comment: undefined,
    };
    at = start + captured;
  }
}

/** The packets of a capture of either format. */
export function readCapture(file: Uint8Array<ArrayBuffer>): Generator<CapturedPacket, void, undefined> {
  return isPcapng(file) ? readPcapng(file) : readPcap(file);
}

function orderOf(view: DataView): { little: boolean; nanoseconds: boolean } | undefined {
  for (const little of [true, false]) {
    const magic = view.getUint32(0, little);
    if (magic === MAGIC_MICROSECONDS || magic === MAGIC_NANOSECONDS) {
      return { little, nanoseconds: magic === MAGIC_NANOSECONDS };
    }
  }
  return undefined;
}
