import { CriuError } from "./criu_error.ts";
import { FILE_ENTRY, FILE_TYPE_INETSK, TCP_STREAM_ENTRY } from "./messages.ts";
import { type Content, decodeMessage, encodeMessage, type Message, ProtobufError } from "./protobuf.ts";

/** `IMG_COMMON_MAGIC`, `FILES_MAGIC`, `TCP_STREAM_MAGIC` of CRIU's magic.h: every image begins with the first and its own. */
const COMMON_MAGIC = 0x54564319;
const FILES_MAGIC = 0x56303138;
const TCP_STREAM_MAGIC = 0x51465506;

/** A socket as CRIU's images have it: the entry of `files.img`, and the content of `tcp-stream-<ino>.img`. */
export interface CriuSocket {
  readonly file: Content;
  readonly stream: Content;
  /** Received and not read. */
  readonly inq: Uint8Array;
  /** Written and not acknowledged. */
  readonly outq: Uint8Array;
}

/** The name of a TCP stream's image: its inode in hexadecimal. */
export function tcpStreamName(ino: number): string {
  return `tcp-stream-${ino.toString(16)}.img`;
}

/** `files.img` with the entries of sockets. */
export function encodeFiles(entries: Iterable<Content>): Uint8Array<ArrayBuffer> {
  const parts = [start(FILES_MAGIC)];
  for (const entry of entries) parts.push(...sized(FILE_ENTRY, entry));
  return joined(parts);
}

/**
 * The TCP sockets of a `files.img`; other files are left out.
 * @throws {CriuError} When it is damaged, or no such image.
 */
export function decodeFiles(bytes: Uint8Array): Content[] {
  const found: Content[] = [];
  for (let at = afterStart(bytes, FILES_MAGIC, "files.img"); at < bytes.length;) {
    const { content, end } = sizedAt(FILE_ENTRY, bytes, at, "files.img");
    if (content["type"] === FILE_TYPE_INETSK && content["isk"] !== undefined) found.push(content);
    at = end;
  }
  return found;
}

/** A `tcp-stream-<ino>.img`: the entry, then both queues as they are. */
export function encodeTcpStream({ stream, inq, outq }: CriuSocket): Uint8Array<ArrayBuffer> {
  return joined([start(TCP_STREAM_MAGIC), ...sized(TCP_STREAM_ENTRY, stream), inq, outq]);
}

/**
 * The content of a `tcp-stream-<ino>.img`.
 * @throws {CriuError} When it is damaged, cut short, or no such image.
 */
export function decodeTcpStream(bytes: Uint8Array, name = "tcp-stream.img"): Omit<CriuSocket, "file"> {
  const { content: stream, end } = sizedAt(
    TCP_STREAM_ENTRY,
    bytes,
    afterStart(bytes, TCP_STREAM_MAGIC, name),
    name,
  );
  const inqEnd = end + (stream["inq_len"] as number);
  const outqEnd = inqEnd + (stream["outq_len"] as number);
  if (bytes.length !== outqEnd) {
    throw new CriuError(
      `Cannot read "${name}": it has ${bytes.length} bytes, its queues end at byte ${outqEnd}`,
    );
  }
  return { stream, inq: bytes.slice(end, inqEnd), outq: bytes.slice(inqEnd, outqEnd) };
}

function start(magic: number): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, COMMON_MAGIC, true);
  view.setUint32(4, magic, true);
  return bytes;
}

/** Judges the magic numbers; the byte after them. */
function afterStart(bytes: Uint8Array, magic: number, name: string): number {
  const wanted = start(magic);
  const wrong = wanted.findIndex((byte, at) => bytes[at] !== byte);
  if (wrong < 0) return wanted.length;
  throw new CriuError(`Cannot read "${name}": byte ${wrong} is no magic number of such an image of CRIU's`);
}

function sized(message: Message, content: Content): Uint8Array[] {
  const payload = encodeMessage(message, content);
  const size = new Uint8Array(4);
  new DataView(size.buffer).setUint32(0, payload.length, true);
  return [size, payload];
}

function sizedAt(
  message: Message,
  bytes: Uint8Array,
  at: number,
  name: string,
): { content: Content; end: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const end = at + 4 <= bytes.length ? at + 4 + view.getUint32(at, true) : Infinity;
  if (end > bytes.length) throw new CriuError(`Cannot read "${name}": the entry at byte ${at} is cut short`);
  try {
    return { content: decodeMessage(message, bytes.subarray(at + 4, end)), end };
  } catch (error) {
    if (!(error instanceof ProtobufError)) throw error;
    throw new CriuError(`Cannot read "${name}": the entry at byte ${at}: ${error.message}`, { cause: error });
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
