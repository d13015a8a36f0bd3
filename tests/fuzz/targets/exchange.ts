import { assert } from "../../../base/assert.ts";
import { Prng } from "../../../base/random.ts";
import { writeArchiveImage } from "../../../checkpoint/archive/archive_format.ts";
import { ArchiveError, ArchiveReader, archiveSource } from "../../../checkpoint/archive/archive_reader.ts";
import { fromCriu, toCriu } from "../../../checkpoint/criu/convert.ts";
import { CriuError } from "../../../checkpoint/criu/criu_error.ts";
import {
  type CriuSocket,
  decodeFiles,
  decodeTcpStream,
  encodeFiles,
  encodeTcpStream,
} from "../../../checkpoint/criu/image_files.ts";
import { hash64 } from "../../../checkpoint/image/hash.ts";
import { ImageError } from "../../../checkpoint/image/image_error.ts";
import { readSocketImage, writeSocketImage } from "../../../checkpoint/sockets/socket_image.ts";
import { writePut } from "../../../checkpoint/store/entry.ts";
import { frozenPeer } from "../../checkpoint/sockets/sleepers.ts";
import { equalBytes } from "../equal.ts";
import { orRefuses } from "../refuses.ts";
import type { Target } from "../target.ts";

const NOW_MS = 1_700_000_000_000;
const sample = (index: number): CriuSocket =>
  toCriu({ tcb: frozenPeer(index, new Prng(index)), attachment: undefined }, index + 1);

/** What is imported is a connection that can be restored, or is refused by name; exported again it is the same. */
function imported(socket: CriuSocket): void {
  const { value, error } = orRefuses(CriuError, () => fromCriu(socket, NOW_MS));
  if (error !== undefined) return;
  const { value: read } = orRefuses(
    ImageError,
    () => readSocketImage(writeSocketImage(value!.tcb, undefined)),
  );
  if (read === undefined) return;
  const again = toCriu(read, socket.file["id"] as number);
  equalBytes(again.outq, socket.outq, "what was written and not acknowledged");
  equalBytes(again.inq, socket.inq, "what was received and not read");
  for (const name of ["inq_seq", "outq_seq", "mss_clamp"]) {
    assert(again.stream[name] === socket.stream[name], `${name} stays`);
  }
}

function files(input: Uint8Array<ArrayBuffer>): void {
  const { value: entries } = orRefuses(CriuError, () => decodeFiles(input));
  if (entries === undefined) return;
  const written = encodeFiles(entries);
  equalBytes(encodeFiles(decodeFiles(written)), written, "written, read and written again");
  for (const file of entries) imported({ ...sample(1), file });
}

function stream(input: Uint8Array<ArrayBuffer>): void {
  const { value: read } = orRefuses(CriuError, () => decodeTcpStream(input));
  if (read === undefined) return;
  const socket = { ...sample(1), ...read };
  const written = encodeTcpStream(socket);
  equalBytes(
    encodeTcpStream({ ...socket, ...decodeTcpStream(written) }),
    written,
    "written, read and written again",
  );
  imported(socket);
}

const SALT = 0x1122_3344_5566_7788n;

function archive(input: Uint8Array<ArrayBuffer>): void {
  const { value: reader } = orRefuses(ArchiveError, () => new ArchiveReader(archiveSource(input)));
  if (reader === undefined) return;
  let last = 0;
  for (const { offset, image } of reader.images()) {
    assert(offset >= last && offset + image.length <= input.length, "Images lie one behind the other");
    last = offset + image.length;
  }
  for (const { offset, bytes } of reader.damage) {
    assert(offset >= 0 && bytes >= 0 && offset + bytes <= input.length, "Damage lies in the archive");
  }
}

function sampleArchive(count: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(512);
  const head = writeArchiveImage({ archivedAtMs: NOW_MS, salt: SALT });
  bytes.set(head);
  let at = head.length;
  for (let index = 0; index < count; index++) {
    at = writePut(bytes, at, new Uint8Array(10 + index).fill(index), undefined, SALT);
  }
  const content = hash64(bytes.subarray(0, at));
  const tail = writeArchiveImage({
    archivedAtMs: NOW_MS,
    salt: SALT,
    total: { connections: count, bytes: at, content },
  });
  bytes.set(tail, at);
  return bytes.slice(0, at + tail.length);
}

export const targets: readonly Target[] = [
  {
    name: "criu/files",
    about:
      "CRIU's files.img: refused, or the same when written again; sockets in it can be restored or are refused",
    run: files,
    seeds: () => [1, 2, 3].map((index) => encodeFiles([sample(index).file])),
    allocationMax: (length) => (1 << 21) + 512 * length,
  },
  {
    name: "criu/tcp-stream",
    about: "CRIU's tcp-stream.img: refused, or a connection with the same numbers and bytes",
    run: stream,
    seeds: () =>
      [1, 2, 3, 4].map((index) => encodeTcpStream(sample(index))).filter(({ length }) => length <= 512),
    allocationMax: (length) => (1 << 21) + 512 * length,
  },
  {
    name: "archive/read",
    about: "archives: refused, or images and damage that lie in it, one behind the other",
    run: archive,
    seeds: () => [0, 1, 5].map(sampleArchive),
    allocationMax: (length) => (1 << 21) + 512 * length,
    workMax: (length) => 10_000_000 + 20_000 * length,
  },
];
