import { refuse } from "../appliance_error.ts";
import type { Extent, Node } from "../node.ts";
import { BLOCK_BYTES } from "./tar_header.ts";

const encoder = new TextEncoder();
/** The largest number in seven, and in eleven octal digits. */
const SEVEN_MAX = 0o7777777;
const ELEVEN_MAX = 0o77777777777;
const TYPES = { file: "0", symlink: "2", character: "3", block: "4", directory: "5", fifo: "6" } as const;

/** What ends a tar: two blocks of zeros. */
export const TAR_END: Uint8Array = new Uint8Array(2 * BLOCK_BYTES);

/** The zeros behind `bytes` bytes of data. */
export function paddingOf(bytes: number): number {
  return (BLOCK_BYTES - bytes % BLOCK_BYTES) % BLOCK_BYTES;
}

/**
 * The blocks of a tar in front of the data of `node` as `path`, as GNU tar's `--format=posix` has them: an extended
 * header where ustar has no room, a sparse file's map (1.0). The same node gives the same bytes.
 * @param links The first name of the inode, where this is another.
 * @returns The blocks, and how many bytes of data follow.
 */
export function tarHeader(
  path: string,
  node: Node,
  links?: string,
): { bytes: Uint8Array; dataBytes: number } {
  const directory = node.type === "directory";
  const name = directory ? `${path === "" ? "." : path}/` : path;
  const isLink = links !== undefined;
  const content = isLink ? undefined : node.content;
  const target = links ?? node.target ?? "";
  const records: [string, Uint8Array | string][] = [];
  const size = content?.size ?? 0;
  let dataBytes = size;
  let map: Uint8Array = new Uint8Array(0);
  if (content?.extents !== undefined) {
    map = sparseMapOf(content.extents, size);
    dataBytes = content.extents.reduce((sum, { length }) => sum + length, 0);
    records.push(["GNU.sparse.major", "1"], ["GNU.sparse.minor", "0"], ["GNU.sparse.name", name]);
    records.push(["GNU.sparse.realsize", String(size)]);
  }
  const stored = map.length + dataBytes;
  const nameBytes = encoder.encode(name);
  const targetBytes = encoder.encode(target);
  if (needsRecord(nameBytes) && content?.extents === undefined) records.push(["path", nameBytes]);
  if (needsRecord(targetBytes)) records.push(["linkpath", targetBytes]);
  if (stored > ELEVEN_MAX) records.push(["size", String(stored)]);
  if (node.uid > SEVEN_MAX) records.push(["uid", String(node.uid)]);
  if (node.gid > SEVEN_MAX) records.push(["gid", String(node.gid)]);
  if (node.mtimeNanoseconds !== 0 || node.mtimeSeconds < 0 || node.mtimeSeconds > ELEVEN_MAX) {
    records.push(["mtime", timeText(node.mtimeSeconds, node.mtimeNanoseconds)]);
  }
  if (!isLink) {
    for (const key of [...node.xattrs.keys()].sort()) {
      records.push([`SCHILY.xattr.${key}`, node.xattrs.get(key)!]);
    }
  }
  const extended = records.length === 0 ? new Uint8Array(0) : extendedHeader(nameBytes, records);
  const bytes = new Uint8Array(extended.length + BLOCK_BYTES + map.length);
  bytes.set(extended);
  const header = bytes.subarray(extended.length, extended.length + BLOCK_BYTES);
  putHeader(header, nameBytes, isLink ? "1" : TYPES[node.type], isLink ? 0 : stored, {
    mode: node.mode,
    uid: node.uid,
    gid: node.gid,
    mtime: Math.max(0, node.mtimeSeconds),
    target: targetBytes,
    major: isLink ? 0 : node.major ?? 0,
    minor: isLink ? 0 : node.minor ?? 0,
  });
  bytes.set(map, extended.length + BLOCK_BYTES);
  return { bytes, dataBytes: isLink ? 0 : dataBytes };
}

function needsRecord(bytes: Uint8Array): boolean {
  return bytes.length > 100 || bytes.some((byte) => byte > 126 || byte < 32);
}

function extendedHeader(name: Uint8Array, records: readonly [string, Uint8Array | string][]): Uint8Array {
  const parts = records.map(([key, value]) => {
    const bytes = typeof value === "string" ? encoder.encode(value) : value;
    const rest = encoder.encode(key).length + bytes.length + 3; // a space, "=", a new line
    let digits = 1;
    while (String(rest + digits).length > digits) digits++;
    const part = new Uint8Array(rest + digits);
    const head = encoder.encode(`${rest + digits} ${key}=`);
    part.set(head);
    part.set(bytes, head.length);
    part[part.length - 1] = 10;
    return part;
  });
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const blocks = new Uint8Array(BLOCK_BYTES + length + paddingOf(length));
  putHeader(blocks.subarray(0, BLOCK_BYTES), name, "x", length, NOBODY);
  let at = BLOCK_BYTES;
  for (const part of parts) {
    blocks.set(part, at);
    at += part.length;
  }
  return blocks;
}

const NOBODY = { mode: 0o644, uid: 0, gid: 0, mtime: 0, target: new Uint8Array(0), major: 0, minor: 0 };

function putHeader(
  block: Uint8Array,
  name: Uint8Array,
  type: string,
  size: number,
  about: typeof NOBODY,
): void {
  block.set(name.subarray(0, 100));
  const octal = (at: number, bytes: number, value: number): void => {
    block.set(encoder.encode(value.toString(8).padStart(bytes - 1, "0")), at);
  };
  octal(100, 8, about.mode);
  octal(108, 8, about.uid > SEVEN_MAX ? 0 : about.uid);
  octal(116, 8, about.gid > SEVEN_MAX ? 0 : about.gid);
  octal(124, 12, size > ELEVEN_MAX ? 0 : size);
  octal(136, 12, about.mtime > ELEVEN_MAX ? 0 : about.mtime);
  block[156] = type.charCodeAt(0);
  block.set(about.target.subarray(0, 100), 157);
  block.set(encoder.encode("ustar\x0000"), 257);
  if (about.major > SEVEN_MAX || about.minor > SEVEN_MAX) {
    refuse("limit", `Cannot write tar: no room for device ${about.major}:${about.minor}`);
  }
  octal(329, 8, about.major);
  octal(337, 8, about.minor);
  block.fill(32, 148, 156);
  octal(148, 7, block.reduce((sum, byte) => sum + byte, 0));
}

/** The map of a sparse file (GNU 1.0): numbers on lines of their own, in whole blocks. */
function sparseMapOf(extents: readonly Extent[], size: number): Uint8Array {
  // GNU tar marks the end with an empty run, where the file does not end with data.
  const last = extents.at(-1);
  const ends = last === undefined || last.start + last.length < size;
  const runs = ends ? [...extents, { start: size, length: 0 }] : extents;
  const text = encoder.encode(
    [runs.length, ...runs.flatMap(({ start, length }) => [start, length]), ""].join("\n"),
  );
  const map = new Uint8Array(text.length + paddingOf(text.length));
  map.set(text);
  return map;
}

function timeText(seconds: number, nanoseconds: number): string {
  if (nanoseconds === 0) return String(seconds);
  const [whole, part] = seconds < 0 ? [-seconds - 1, 1_000_000_000 - nanoseconds] : [seconds, nanoseconds];
  return `${seconds < 0 ? "-" : ""}${whole}.${String(part).padStart(9, "0").replace(/0+$/, "")}`;
}
