import { refuse } from "./appliance_error.ts";
import { IMPLIED_DIRECTORY, type Node } from "./node.ts";
import { compareNames, namesOf, quoted } from "./path.ts";

/** The most names of one tree: each takes about half a kilobyte, and two trees have to fit into a runtime's heap of 2 GB. */
export const NAMES_MAX = 1_000_000;

interface Place {
  node: Node;
  /** Of a folder: what is in it, by name. */
  children: Map<string, Place> | undefined;
}

/**
 * A name of a tree. `links` is the first name of the same inode, where that is another one. Of devices and pipes it is
 * not told which names share one: GNU tar does not look, and it means nothing.
 */
export interface TreeEntry {
  /** From the root, without a slash in front; the root itself is "". */
  readonly path: string;
  readonly node: Node;
  readonly links?: string;
}

/**
 * A file system in memory, without the bytes of its files: names, and what `stat` tells of each. It is walked in one
 * order always, whatever the order in which it was made.
 */
export class Tree {
  #root: Place = { node: IMPLIED_DIRECTORY, children: new Map() };
  #size = 1;
  readonly #namesMax: number;

  /** @param namesMax More are refused. */
  constructor(namesMax: number = NAMES_MAX) {
    this.#namesMax = namesMax;
  }

  /** How many names there are, the root's with them. */
  get size(): number {
    return this.#size;
  }

  /**
   * Puts `node` at a path as an archive writes it. A folder that takes the place of a folder keeps what is in it; all
   * else that was there is gone. Folders on the way that are missing are made.
   * @throws {ApplianceError} When the way leads out of the tree, or through something that is no folder.
   */
  put(raw: string, node: Node): void {
    const names = namesOf(raw);
    const name = names.pop();
    if (name === undefined) {
      if (node.type !== "directory") refuse("path", "Cannot take the root of a tree: it is no folder");
      this.#root.node = node;
      return;
    }
    const parent = this.#folder(names, raw);
    const found = parent.get(name);
    if (found === undefined) {
      this.#grow();
      parent.set(name, { node, children: node.type === "directory" ? new Map() : undefined });
      return;
    }
    found.node = node;
    if (node.type === "directory") found.children ??= new Map();
    else if (found.children !== undefined) {
      this.#size -= countBelow(found);
      found.children = undefined;
    }
  }

  /** What is at `path`. Links on the way are not followed: what lies behind one is not there. */
  get(path: string): Node | undefined {
    return this.#find(path)?.node;
  }

  /** The names in the folder at `path`, in order; none when it is no folder. */
  names(path: string): string[] {
    return [...this.#find(path)?.children?.keys() ?? []].sort(compareNames);
  }

  /** Takes away what is at `path`, and all below it. @returns Whether there was something. */
  remove(path: string): boolean {
    const names = namesOf(path);
    const name = names.pop();
    if (name === undefined) return false;
    const parent = this.#find(names.join("/"))?.children;
    const found = parent?.get(name);
    if (found === undefined) return false;
    parent!.delete(name);
    this.#size -= 1 + countBelow(found);
    return true;
  }

  /** Takes away all in the folder at `path`. */
  empty(path: string): void {
    const found = this.#find(path);
    if (found?.children === undefined) return;
    this.#size -= countBelow(found);
    found.children = new Map();
  }

  /** Every name, in the order of `comparePaths`. The tree may not change meanwhile. */
  *entries(): Generator<TreeEntry, void, void> {
    const first = new Map<Node, string>();
    const open: { place: Place; path: string }[] = [{ place: this.#root, path: "" }];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      const { place, path } = next;
      const { node } = place;
      if (node.type !== "file" && node.type !== "symlink") yield { path, node };
      else {
        const links = first.get(node);
        if (links === undefined) first.set(node, path);
        yield links === undefined ? { path, node } : { path, node, links };
      }
      if (place.children === undefined) continue;
      const children = [...place.children].sort(([a], [b]) => compareNames(b, a));
      for (const [name, child] of children) {
        open.push({ place: child, path: path === "" ? name : `${path}/${name}` });
      }
    }
  }

  #find(path: string): Place | undefined {
    let place: Place | undefined = this.#root;
    for (const name of path.split("/")) {
      if (name !== "") place = place?.children?.get(name);
    }
    return place;
  }

  #folder(names: readonly string[], raw: string): Map<string, Place> {
    let place = this.#root;
    for (const name of names) {
      if (place.children === undefined) break;
      let next = place.children.get(name);
      if (next === undefined) {
        this.#grow();
        next = { node: IMPLIED_DIRECTORY, children: new Map() };
        place.children.set(name, next);
      }
      place = next;
    }
    if (place.children !== undefined) return place.children;
    return refuse("path", `Cannot take path ${quoted(raw)}: it leads through a ${place.node.type}`);
  }

  #grow(): void {
    if (this.#size === this.#namesMax) {
      refuse("limit", `Cannot take a tree of more than ${this.#namesMax} names`);
    }
    this.#size++;
  }
}

function countBelow(place: Place): number {
  let count = 0;
  const open = [place];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (next.children === undefined) continue;
    count += next.children.size;
    for (const child of next.children.values()) open.push(child);
  }
  return count;
}
