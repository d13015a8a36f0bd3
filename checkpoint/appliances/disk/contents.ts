import { createHash } from "node:crypto";
import fs from "node:fs";
import { refuse } from "../appliance_error.ts";
import { type Content, contentOver, type Extent } from "../node.ts";
import { quoted } from "../path.ts";
import type { TarMember } from "../tar/tar_reader.ts";

const ZEROS = new Uint8Array(1024 * 1024);

/** Reads bytes of something at a position, all that are asked for. */
export type ReadAt = (position: number, into: Uint8Array) => void;

/** The bytes of an open file. */
export function readFileAt(file: number, name: string): ReadAt {
  return (position, into) => {
    for (let at = 0; at < into.length;) {
      const length = fs.readSync(file, into, at, into.length - at, position + at);
      if (length === 0) refuse("format", `Cannot read ${quoted(name)}: it ends at byte ${position + at}`);
      at += length;
    }
  };
}

/** Data that lies in a file from `start` on. A class: there may be a million of them, and closures take twice the memory. */
class Stored implements Content {
  readonly size: number;
  readonly sha256: string;
  readonly #readAt: ReadAt;
  readonly #start: number;

  constructor(size: number, sha256: string, readAt: ReadAt, start: number) {
    this.size = size;
    this.sha256 = sha256;
    this.#readAt = readAt;
    this.#start = start;
  }

  read(offset: number, into: Uint8Array): void {
    this.#readAt(this.#start + offset, into);
  }
}

/** The content of a member of a tar that lies in a file. */
export function storedContent(member: TarMember, sha256: string, readAt: ReadAt): Content {
  const { size, extents, dataStart } = member;
  if (extents === undefined) return new Stored(size, sha256, readAt, dataStart);
  return contentOver(size, sha256, extents, (position, into) => readAt(dataStart + position, into));
}

/** The content of a file of a folder on disk, which is opened for each read: more than some thousands cannot be open. */
export class FolderContent implements Content {
  readonly size: number;
  readonly sha256: string;
  readonly extents?: readonly Extent[];
  readonly #path: string;

  constructor(path: string, size: number, sha256: string, extents: readonly Extent[] | undefined) {
    this.size = size;
    this.sha256 = sha256;
    if (extents !== undefined) this.extents = extents;
    this.#path = path;
  }

  read(offset: number, into: Uint8Array): void {
    const file = fs.openSync(this.#path, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW);
    try {
      readFileAt(file, this.#path)(offset, into);
    } finally {
      fs.closeSync(file);
    }
  }
}

/** Takes the data of a member to its end. @returns The SHA-256 of the file, holes included. */
export async function hashMember(member: TarMember): Promise<string> {
  const hash = createHash("sha256");
  if (member.extents === undefined) {
    for await (const piece of member.data()) hash.update(piece);
    return hash.digest("hex");
  }
  let at = 0;
  let run = 0;
  let left = member.extents[0]?.length ?? 0;
  const hole = (to: number): void => {
    for (; at < to; at += Math.min(ZEROS.length, to - at)) {
      hash.update(ZEROS.subarray(0, Math.min(ZEROS.length, to - at)));
    }
  };
  for await (let piece of member.data()) {
    while (piece.length > 0) {
      const { start, length } = member.extents[run]!;
      if (left === length) hole(start);
      const some = piece.subarray(0, left);
      hash.update(some);
      at += some.length;
      left -= some.length;
      piece = piece.subarray(some.length);
      if (left === 0) left = member.extents[++run]?.length ?? 0;
    }
  }
  hole(member.size);
  return hash.digest("hex");
}

/** SHA-256 of bytes that come in pieces. */
export class Digest {
  readonly #hash = createHash("sha256");
  bytes = 0;

  update(piece: Uint8Array): void {
    this.#hash.update(piece);
    this.bytes += piece.length;
  }

  /** In hexadecimal. */
  end(): string {
    return this.#hash.digest("hex");
  }
}

/** SHA-256 of `bytes`, in hexadecimal. */
export function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
