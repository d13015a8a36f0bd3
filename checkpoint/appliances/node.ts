/** What a name in a tree stands for. Sockets are left out: they mean nothing to another process. */
export type NodeType = "file" | "directory" | "symlink" | "character" | "block" | "fifo";

/** The types by their number in images. Places are for ever. */
export const NODE_TYPES: readonly NodeType[] = [
  "file",
  "directory",
  "symlink",
  "character",
  "block",
  "fifo",
];

/** A run of bytes. */
export interface Extent {
  readonly start: number;
  readonly length: number;
}

/** The bytes of a file, wherever they lie. */
export interface Content {
  /** Bytes, holes included. */
  readonly size: number;
  /** SHA-256 of them, in hexadecimal. */
  readonly sha256: string;
  /** Where there is data, in order; between are holes, which read as zeros. Absent when there is no hole. */
  readonly extents?: readonly Extent[];
  /** Fills `into` with the bytes from `offset` on, all of which must be there. */
  read(offset: number, into: Uint8Array): void;
}

/** A content whose data, extents one behind the other, is read by `readData`. */
export function contentOver(
  size: number,
  sha256: string,
  extents: readonly Extent[] | undefined,
  readData: (position: number, into: Uint8Array) => void,
): Content {
  if (extents === undefined) return { size, sha256, read: readData };
  return {
    size,
    sha256,
    extents,
    read: (offset, into) => {
      into.fill(0);
      let stored = 0;
      for (const { start, length } of extents) {
        const from = Math.max(start, offset), to = Math.min(start + length, offset + into.length);
        if (from < to) readData(stored + from - start, into.subarray(from - offset, to - offset));
        stored += length;
      }
    },
  };
}

/** An inode: what `stat` tells of it, and what is in it. Names that share one are hard links. */
export interface Node {
  readonly type: NodeType;
  /** The lower twelve bits: permissions, set-user-ID, set-group-ID, sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSeconds: number;
  /** 0 to 999,999,999. */
  readonly mtimeNanoseconds: number;
  /** Extended attributes by their full name: `security.capability`. */
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
  /** Of a symlink: where it leads, as written. */
  readonly target?: string;
  /** Of a device. */
  readonly major?: number;
  readonly minor?: number;
  /** Of a file. */
  readonly content?: Content;
}

/** No extended attributes. */
export const NO_XATTRS: ReadonlyMap<string, Uint8Array> = new Map();

/** A folder that nobody described: archives may leave out those on the way to a file. */
export const IMPLIED_DIRECTORY: Node = {
  type: "directory",
  mode: 0o755,
  uid: 0,
  gid: 0,
  mtimeSeconds: 0,
  mtimeNanoseconds: 0,
  xattrs: NO_XATTRS,
};

/** The ways in which two nodes may differ; `sparse` is none of them: holes are how a disk keeps zeros. */
export type Difference = "type" | "content" | "target" | "device" | "mode" | "owner" | "mtime" | "xattrs";

/** How `left` differs from `right`, in the order of the type's list. */
export function differences(left: Node, right: Node): Difference[] {
  if (left === right) return [];
  const found: Difference[] = [];
  if (left.type !== right.type) found.push("type");
  else {
    if (left.content?.size !== right.content?.size || left.content?.sha256 !== right.content?.sha256) {
      found.push("content");
    }
    if (left.target !== right.target) found.push("target");
    if (left.major !== right.major || left.minor !== right.minor) found.push("device");
  }
  if (left.mode !== right.mode) found.push("mode");
  if (left.uid !== right.uid || left.gid !== right.gid) found.push("owner");
  if (left.mtimeSeconds !== right.mtimeSeconds || left.mtimeNanoseconds !== right.mtimeNanoseconds) {
    found.push("mtime");
  }
  if (!equalXattrs(left.xattrs, right.xattrs)) found.push("xattrs");
  return found;
}

/** Whether both have the same extended attributes. */
export function equalXattrs(
  left: ReadonlyMap<string, Uint8Array>,
  right: ReadonlyMap<string, Uint8Array>,
): boolean {
  if (left.size !== right.size) return false;
  for (const [name, value] of left) {
    const other = right.get(name);
    if (other === undefined || other.length !== value.length) return false;
    if (value.some((byte, at) => byte !== other[at])) return false;
  }
  return true;
}
