import type { CborValue } from "../../image/cbor.ts";
import { ApplianceError } from "../appliance_error.ts";
import { type Extent, type Node, NODE_TYPES } from "../node.ts";
import { namesOf } from "../path.ts";
import { checkedExtents } from "../tar/tar_sparse.ts";
import { DICTIONARY_BYTES_MAX, RAW_BYTES_MAX } from "../zstd.ts";

/** A run of a file's data: out of a file of the base, or out of a pack of this differential. */
export interface Piece {
  /** The base's file, or the number of the pack. */
  readonly from: string | number;
  /** Where it begins there, in bytes. */
  readonly offset: number;
  readonly length: number;
}

/** What `stat` tells of a node, and its attributes. */
export type About = Omit<Node, "type" | "content" | "target" | "major" | "minor">;

/** A file's content, as runs. Those of a sparse file cover its data, one extent behind the other. */
export interface PiecedContent {
  readonly size: number;
  readonly sha256: string;
  readonly extents?: readonly Extent[];
  readonly pieces: readonly Piece[];
}

/** One step from the base to the appliance. They come in the order of paths. */
export type Change =
  /** What is at the path is gone, and all below it. */
  | { readonly kind: "removed"; readonly path: string }
  /** A file, with its content. */
  | { readonly kind: "file"; readonly path: string; readonly about: About; readonly content: PiecedContent }
  /** Anything else, complete. A folder keeps what is in it. */
  | { readonly kind: "node"; readonly path: string; readonly node: Node }
  /** The base's, but for what `stat` tells; or the base's hard link as a file of its own. */
  | { readonly kind: "meta"; readonly path: string; readonly about: About }
  /** Another name of what is at `target`, which comes before it. */
  | { readonly kind: "link"; readonly path: string; readonly target: string };

/** A pack: raw bytes in one chunk of the image, compressed against content of the base. */
export interface Pack {
  readonly rawBytes: number;
  readonly dictionary: readonly { readonly path: string; readonly offset: number; readonly length: number }[];
}

/** Pieces in one item; more follow in items of their own, so that no item outgrows its chunk. */
export const PIECES_MAX = 4_096;

const KINDS = { removed: 0, file: 1, node: 2, meta: 3, link: 4, pack: 5, more: 6 } as const;

/** A change as the items of its sequence. */
export function* encodeChange(change: Change): Generator<CborValue, void, void> {
  const { path } = change;
  switch (change.kind) {
    case "removed":
      return yield [KINDS.removed, path];
    case "link":
      return yield [KINDS.link, path, change.target];
    case "meta":
      return yield [KINDS.meta, path, aboutOf(change.about)];
    case "node": {
      const { node } = change;
      const more = node.type === "symlink"
        ? [node.target!]
        : node.major === undefined
        ? []
        : [node.major, node.minor!];
      return yield [KINDS.node, path, aboutOf(node), NODE_TYPES.indexOf(node.type), ...more];
    }
    case "file": {
      const { size, sha256, extents, pieces } = change.content;
      const runs = extents === undefined ? null : extents.flatMap(({ start, length }) => [start, length]);
      const list = pieces.map(({ from, offset, length }) => [from === path ? null : from, offset, length]);
      const first = list.slice(0, PIECES_MAX);
      yield [KINDS.file, path, aboutOf(change.about), size, bytesOfHex(sha256), runs, first];
      for (let at = PIECES_MAX; at < list.length; at += PIECES_MAX) {
        yield [KINDS.more, list.slice(at, at + PIECES_MAX)];
      }
    }
  }
}

/** A pack as an item of the sequence. */
export function encodePack({ rawBytes, dictionary }: Pack): CborValue {
  return [KINDS.pack, rawBytes, dictionary.map(({ path, offset, length }) => [path, offset, length])];
}

function aboutOf({ mode, uid, gid, mtimeSeconds, mtimeNanoseconds, xattrs }: About): CborValue[] {
  return [mode, uid, gid, mtimeSeconds, mtimeNanoseconds, new Map(xattrs)];
}

/** Takes the items of a sequence, and makes changes and packs of them. */
export class ChangeReader {
  readonly changes: Change[] = [];
  readonly packs: Pack[] = [];

  /** @throws {TypeError} When an item says what cannot be. */
  take(item: CborValue): void {
    if (!Array.isArray(item)) bad("a change");
    const [kind, path, ...rest] = item as CborValue[];
    if (kind === KINDS.pack) {
      const raw = whole(path, RAW_BYTES_MAX, "a pack's size");
      const dictionary = list(rest[0], "a dictionary").map((each) => {
        const [from, offset, length] = list(each, "a dictionary");
        return { path: pathIn(from), offset: whole(offset), length: whole(length, DICTIONARY_BYTES_MAX) };
      });
      const bytes = dictionary.reduce((sum, { length }) => sum + length, 0);
      if (bytes > DICTIONARY_BYTES_MAX) bad("a dictionary");
      this.packs.push({ rawBytes: raw, dictionary });
      return;
    }
    if (kind === KINDS.more) {
      const last = this.changes.at(-1);
      if (last?.kind !== "file") return bad("pieces");
      (last.content.pieces as Piece[]).push(...piecesIn(path, last.path));
      return;
    }
    const at = pathIn(path);
    if (kind === KINDS.removed) this.changes.push({ kind: "removed", path: at });
    else if (kind === KINDS.link) this.changes.push({ kind: "link", path: at, target: pathIn(rest[0]) });
    else {
      const about = aboutIn(list(rest[0], "what stat tells"));
      const [first, second, third, fourth] = rest.slice(1);
      if (kind === KINDS.meta) this.changes.push({ kind: "meta", path: at, about });
      else if (kind === KINDS.node) {
        this.changes.push({ kind: "node", path: at, node: nodeIn(about, first, second, third) });
      } else if (kind === KINDS.file) {
        const content = {
          size: whole(first),
          sha256: hexOfBytes(second),
          ...third === null ? {} : { extents: extentsIn(third) },
          pieces: piecesIn(fourth, at),
        };
        this.changes.push({ kind: "file", path: at, about, content });
      } else bad("a change");
    }
  }

  /**
   * Checks what only shows at the end: pieces cover their files, and packs hold what they are asked for.
   * @throws {TypeError}
   */
  end(): void {
    for (const change of this.changes) {
      if (change.kind !== "file") continue;
      const { size, extents, pieces } = change.content;
      let bytes = 0;
      for (const { from, offset, length } of pieces) {
        bytes += length;
        if (typeof from !== "number") continue;
        if (!(offset + length <= (this.packs[from]?.rawBytes ?? -1))) {
          bad(`a piece of ${JSON.stringify(change.path)}`);
        }
      }
      try {
        checkedExtents(extents ?? (size === 0 ? [] : [{ start: 0, length: size }]), size, bytes, 0);
      } catch (error) {
        if (error instanceof ApplianceError) bad(`the pieces of ${JSON.stringify(change.path)}`);
        throw error;
      }
    }
  }
}

function nodeIn(about: About, number: unknown, first: unknown, second: unknown): Node {
  const type = NODE_TYPES[whole(number)];
  switch (type) {
    case "symlink":
      return { type, ...about, target: text(first) };
    case "character":
    case "block":
      return { type, ...about, major: whole(first), minor: whole(second) };
    case "directory":
    case "fifo":
      return { type, ...about };
    default:
      return bad("a type");
  }
}

function aboutIn([mode, uid, gid, seconds, nanoseconds, attributes]: readonly unknown[]): About {
  if (!(attributes instanceof Map)) return bad("attributes");
  const xattrs = new Map<string, Uint8Array>();
  for (const [key, value] of attributes as Map<unknown, unknown>) {
    if (!(value instanceof Uint8Array)) return bad("an attribute");
    xattrs.set(text(key), value);
  }
  if (typeof seconds !== "number" || !Number.isSafeInteger(seconds)) return bad("a time");
  return {
    mode: whole(mode, 0o7777, "a mode"),
    uid: whole(uid),
    gid: whole(gid),
    mtimeSeconds: seconds,
    mtimeNanoseconds: whole(nanoseconds, 999_999_999, "a time"),
    xattrs,
  };
}

function piecesIn(value: unknown, path: string): Piece[] {
  return list(value, "pieces").map((each) => {
    const [from, offset, length] = list(each, "a piece");
    return {
      from: from === null ? path : typeof from === "number" ? whole(from) : pathIn(from),
      offset: whole(offset),
      length: whole(length),
    };
  });
}

function extentsIn(value: unknown): Extent[] {
  const numbers = list(value, "extents");
  if (numbers.length % 2 !== 0) bad("extents");
  return Array.from({ length: numbers.length / 2 }, (_, index) => ({
    start: whole(numbers[2 * index]),
    length: whole(numbers[2 * index + 1]),
  }));
}

function pathIn(value: unknown): string {
  const path = text(value);
  try {
    if (namesOf(path).join("/") === path) return path;
  } catch (error) {
    if (!(error instanceof ApplianceError)) throw error;
  }
  return bad(`the path ${JSON.stringify(path)}`);
}

function list(value: unknown, what: string): readonly unknown[] {
  return Array.isArray(value) ? value : bad(what);
}

function text(value: unknown): string {
  return typeof value === "string" ? value : bad("a text");
}

function whole(value: unknown, most: number = Number.MAX_SAFE_INTEGER, what = "a number"): number {
  const sound = typeof value === "number" && Number.isSafeInteger(value) && value >= 0 && value <= most;
  return sound ? value : bad(what);
}

function bad(what: string): never {
  throw new TypeError(`${what} cannot be`);
}

/** 32 bytes of 64 hexadecimal digits. */
export function bytesOfHex(hex: string): Uint8Array {
  return Uint8Array.from({ length: hex.length / 2 }, (_, at) => parseInt(hex.slice(2 * at, 2 * at + 2), 16));
}

/** And back. */
export function hexOfBytes(value: unknown): string {
  if (!(value instanceof Uint8Array) || value.length !== 32) return bad("a hash");
  return Array.from(value, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
