import { refuse } from "../appliance_error.ts";
import { type Extent, NO_XATTRS } from "../node.ts";
import { quoted } from "../path.ts";
import { ByteStream } from "./byte_stream.ts";
import {
  BLOCK_BYTES,
  EXTENDED_BYTES_MAX,
  FILE_BYTES_MAX,
  number,
  readHeader,
  readRecords,
  type TarHeader,
  textOf,
} from "./tar_header.ts";
import { checkedExtents, oldSparse, sparseMap } from "./tar_sparse.ts";

/** What a tar says of one name. */
export interface TarMember {
  /** As it stands there. */
  readonly path: string;
  readonly kind: "file" | "link" | "symlink" | "character" | "block" | "directory" | "fifo";
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSeconds: number;
  readonly mtimeNanoseconds: number;
  /** Of a link or symlink. */
  readonly target: string;
  readonly major: number;
  readonly minor: number;
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
  /** Of a file: its bytes, holes included. */
  readonly size: number;
  /** Of a sparse file: where its data belongs. */
  readonly extents?: readonly Extent[];
  /** The byte of the tar at which its data begins: runs of a sparse file lie one behind the other. */
  readonly dataStart: number;
  /** Bytes of data in the tar. */
  readonly dataBytes: number;
  /** The data, once; what is not taken before the next member is skipped. Pieces are valid until the next. */
  data(): AsyncGenerator<Uint8Array, void, void>;
}

const KINDS: Readonly<Record<string, TarMember["kind"]>> = {
  0: "file",
  7: "file",
  S: "file",
  1: "link",
  2: "symlink",
  3: "character",
  4: "block",
  5: "directory",
  6: "fifo",
};
/** How GNU tar and others write the attributes of a file. */
const XATTR_PREFIX = "SCHILY.xattr.";
/** The most attributes of one file. */
const XATTRS_MAX = 1024;

interface Extended {
  records: [string, Uint8Array][];
  name?: string;
  linkname?: string;
}

/**
 * Reads a tar as it comes: ustar, pax with extended attributes, GNU's long names and numbers, and all four ways in which
 * sparse files are written. In the memory of one piece and one extended header.
 *
 * @throws {ApplianceError} When it is damaged, cut off, or holds what is not understood: nothing is left out silently.
 */
export async function* readTar(
  source: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): AsyncGenerator<TarMember, void, void> {
  const stream = new ByteStream(source);
  let global: [string, Uint8Array][] = [];
  let extended: Extended = { records: [] };
  for (;;) {
    const at = stream.offset;
    const block = await stream.take(BLOCK_BYTES);
    if (block === undefined) {
      if (at === 0 || stream.left > 0) cut(at);
      return; // some leave out the blocks at the end
    }
    const header = readHeader(block, at);
    if (header === undefined) return await stream.drain();
    switch (header.type) {
      case "g":
        global = [...global, ...readRecords(await extension(stream, header, at), at)].slice(-XATTRS_MAX);
        continue;
      case "x":
        extended.records = readRecords(await extension(stream, header, at), at);
        continue;
      case "L":
        extended.name = untilZero(await extension(stream, header, at), at);
        continue;
      case "K":
        extended.linkname = untilZero(await extension(stream, header, at), at);
        continue;
    }
    extended.records = [...global, ...extended.records];
    // `block` is gone with the next one: GNU's sparse map is read from a copy.
    const member = await memberOf(header, header.type === "S" ? block.slice() : block, extended, stream, at);
    extended = { records: [] };
    let left = member.dataBytes;
    yield {
      ...member,
      async *data() {
        while (left > 0) {
          const piece = await stream.some(left) ?? cut(stream.offset);
          left -= piece.length;
          yield piece;
        }
      },
    };
    while (left > 0) left -= (await stream.some(left) ?? cut(stream.offset)).length;
    await pad(stream, member.dataStart + member.dataBytes);
  }
}

async function memberOf(
  header: TarHeader,
  block: Uint8Array,
  extended: Extended,
  stream: ByteStream,
  at: number,
): Promise<Omit<TarMember, "data">> {
  const kind = KINDS[header.type] ??
    refuse("format", `Cannot read tar: header at byte ${at}: type ${quoted(header.type)} is not known`);
  const xattrs = new Map<string, Uint8Array>();
  const told = new Map<string, string>();
  for (const [key, value] of extended.records) {
    if (key.startsWith(XATTR_PREFIX)) xattrs.set(key.slice(XATTR_PREFIX.length), value);
    else if (KEYS.has(key)) told.set(key, textOf(value, at));
  }
  if (xattrs.size > XATTRS_MAX) {
    refuse("limit", `Cannot read tar: header at byte ${at}: ${xattrs.size} attributes`);
  }
  const whole = (key: string, otherwise: number): number => decimal(told.get(key), otherwise, at, key);
  const [mtimeSeconds, mtimeNanoseconds] = timeOf(told.get("mtime"), header.mtime, at);
  const path = told.get("GNU.sparse.name") ?? extended.name ?? told.get("path") ?? header.name;
  const isFile = kind === "file";
  const stored = isFile ? whole("size", header.size) : 0;
  let size = stored;
  let dataBytes = stored;
  let extents: Extent[] | undefined;
  if (header.type === "S") {
    extents = await oldSparse(stream, block, at);
    size = number(block, [483, 495], at, "size");
  } else if (isFile) {
    const before = stream.offset;
    extents = await sparseMap(stream, extended.records, stored, at);
    if (extents !== undefined) {
      size = whole("GNU.sparse.realsize", whole("GNU.sparse.size", size));
      dataBytes -= stream.offset - before; // version 1.0 has the map in front of the data
    }
  } else if (header.size > 0 && header.type !== "1" && header.type !== "2" && header.type !== "5") {
    refuse("format", `Cannot read tar: header at byte ${at}: a ${kind} with data`);
  }
  if (size > FILE_BYTES_MAX || dataBytes > FILE_BYTES_MAX) {
    refuse("limit", `Cannot read tar: header at byte ${at}: a file of ${Math.max(size, dataBytes)} bytes`);
  }
  if (extents !== undefined) extents = checkedExtents(extents, size, dataBytes, at);
  return {
    path,
    // Before POSIX had a type for them, folders were files whose name ends in a slash.
    kind: isFile && header.name.endsWith("/") && size === 0 ? "directory" : kind,
    mode: header.mode,
    uid: whole("uid", header.uid),
    gid: whole("gid", header.gid),
    mtimeSeconds,
    mtimeNanoseconds,
    target: extended.linkname ?? told.get("linkpath") ?? header.linkname,
    major: header.major,
    minor: header.minor,
    xattrs: xattrs.size === 0 ? NO_XATTRS : xattrs, // an empty map for each of a million names is 200 MB
    size,
    ...extents === undefined ? {} : { extents },
    dataStart: stream.offset,
    dataBytes,
  };
}

const KEYS: ReadonlySet<string> = new Set(
  [
    "path",
    "linkpath",
    "size",
    "uid",
    "gid",
    "mtime",
    "GNU.sparse.name",
    "GNU.sparse.size",
    "GNU.sparse.realsize",
  ],
);

/** The data of an extended header, with its padding. */
async function extension(stream: ByteStream, header: TarHeader, at: number): Promise<Uint8Array> {
  if (header.size > EXTENDED_BYTES_MAX) {
    refuse("limit", `Cannot read tar: header at byte ${at}: an extended header of ${header.size} bytes`);
  }
  const start = stream.offset;
  const bytes = (await stream.take(header.size) ?? cut(stream.offset)).slice();
  await pad(stream, start + header.size);
  return bytes;
}

/** Skips to the next block after `end`; the last one may be missing. */
async function pad(stream: ByteStream, end: number): Promise<void> {
  const bytes = (BLOCK_BYTES - end % BLOCK_BYTES) % BLOCK_BYTES;
  if (bytes > 0) await stream.take(bytes);
}

function cut(at: number): never {
  return refuse("format", `Cannot read tar: it ends at byte ${at}, within a member`);
}

function untilZero(bytes: Uint8Array, at: number): string {
  const zero = bytes.indexOf(0);
  return textOf(zero < 0 ? bytes : bytes.subarray(0, zero), at);
}

function decimal(text: string | undefined, otherwise: number, at: number, key: string): number {
  if (text === undefined) return otherwise;
  const value = /^\d{1,16}$/.test(text) ? Number(text) : NaN;
  if (Number.isSafeInteger(value)) return value;
  return refuse("format", `Cannot read tar: header at byte ${at}: its ${key} is ${quoted(text)}`);
}

/** Seconds, rounded down, and nanoseconds: pax writes `1700000000.123456789`, and before 1970 `-1.5`. */
function timeOf(text: string | undefined, otherwise: number, at: number): [number, number] {
  if (text === undefined) return [otherwise, 0];
  const match = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(text);
  if (match === null) {
    return refuse("format", `Cannot read tar: header at byte ${at}: its mtime is ${quoted(text)}`);
  }
  const seconds = Number(match[2]);
  const nanoseconds = Number((match[3] ?? "").slice(0, 9).padEnd(9, "0"));
  if (match[1] === "") return [seconds, nanoseconds];
  return nanoseconds === 0 ? [0 - seconds, 0] : [-seconds - 1, 1_000_000_000 - nanoseconds];
}
