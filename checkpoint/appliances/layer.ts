import { refuse } from "./appliance_error.ts";
import type { Content, Node } from "./node.ts";
import { namesOf, quoted } from "./path.ts";
import type { TarMember } from "./tar/tar_reader.ts";
import type { Tree } from "./tree.ts";

/** How layers take names away (OCI image specification, layer.md). */
export const WHITEOUT = ".wh.";
export const OPAQUE = ".wh..wh..opq";

/**
 * Puts what a tar holds over a tree. As a layer, its whiteouts take away what was there before it, wherever in the tar
 * they stand; otherwise names that look like whiteouts are names.
 */
export class Overlay {
  readonly #tree: Tree;
  readonly #isLayer: boolean;
  readonly #waiting: { member: TarMember; content: Content | undefined }[] = [];

  constructor(tree: Tree, isLayer: boolean) {
    this.#tree = tree;
    this.#isLayer = isLayer;
  }

  /** Takes a member; `content` is that of a file. */
  add(member: TarMember, content: Content | undefined): void {
    if (!this.#isLayer) return this.#put(member, content);
    const names = namesOf(member.path);
    const name = names.at(-1);
    if (name === undefined || !name.startsWith(WHITEOUT)) {
      this.#waiting.push({ member, content });
      return;
    }
    const folder = names.slice(0, -1).join("/");
    if (name === OPAQUE) this.#tree.empty(folder);
    else if (!name.startsWith(`${WHITEOUT}${WHITEOUT}`)) { // AUFS' own books are nobody's files
      const gone = name.slice(WHITEOUT.length);
      if (gone === "" || gone === "." || gone === "..") {
        refuse("path", `Cannot take whiteout ${quoted(member.path)}: it names nothing`);
      }
      this.#tree.remove(folder === "" ? gone : `${folder}/${gone}`);
    }
  }

  /** Takes what had to wait for the whiteouts. */
  end(): void {
    for (const { member, content } of this.#waiting) this.#put(member, content);
    this.#waiting.length = 0;
  }

  #put(member: TarMember, content: Content | undefined): void {
    if (member.kind !== "link") return this.#tree.put(member.path, nodeOf(member, content));
    const node = this.#tree.get(namesOf(member.target).join("/"));
    if (node === undefined || node.type === "directory") {
      refuse(
        "path",
        `Cannot take hard link ${quoted(member.path)}: ${quoted(member.target)} is ${
          node === undefined ? "not there" : "a folder"
        }`,
      );
    }
    this.#tree.put(member.path, node);
  }
}

function nodeOf(member: TarMember, content: Content | undefined): Node {
  const { kind, mode, uid, gid, mtimeSeconds, mtimeNanoseconds, xattrs, target, major, minor } = member;
  const about = { mode, uid, gid, mtimeSeconds, mtimeNanoseconds, xattrs };
  switch (kind) {
    case "file":
      return { type: "file", ...about, content: content! };
    case "symlink":
      // Their mode means nothing on Linux, where it is always this one.
      return { type: "symlink", ...about, mode: 0o777, target };
    case "character":
    case "block":
      return { type: kind, ...about, major, minor };
    default:
      return { type: kind as "directory" | "fifo", ...about };
  }
}
