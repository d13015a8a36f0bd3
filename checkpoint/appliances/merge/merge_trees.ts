import { sha256Of } from "../disk/contents.ts";
import { type Content, contentOver, type Difference, differences, type Node } from "../node.ts";
import { Tree, type TreeEntry } from "../tree.ts";
import { aligned, type State } from "./aligned.ts";
import { type DriverName, runDriver } from "./drivers.ts";
import { differs, FIELDS, latest, taken } from "./fields.ts";
import { mergeServices } from "./merge_services.ts";
import type { Conflict, MergedTrees, MergeSide, Resolution } from "./merged.ts";
import { fits, type Policy } from "./policy.ts";

/** Files beyond this are not given to drivers, which hold them in memory. */
const DRIVER_BYTES_MAX = 256 * 1024 * 1024;

/** Makes one appliance of several that have one base. What two of them made differently is a conflict, or told. */
export function mergeTrees(base: Tree, sides: readonly MergeSide[], policy: Policy): MergedTrees {
  return new Merge(base, sides, policy).run();
}

class Merge {
  readonly #base: Tree;
  readonly #sides: readonly MergeSide[];
  readonly #policy: Policy;
  readonly #tree = new Tree();
  readonly #conflicts: Conflict[] = [];
  readonly #resolved: Resolution[] = [];
  /** Nodes of hard links by the side and first path of their inode, so that names that share one go on to. */
  readonly #inodes = new Map<string, Node>();

  constructor(base: Tree, sides: readonly MergeSide[], policy: Policy) {
    this.#base = base;
    this.#sides = sides;
    this.#policy = policy;
  }

  run(): MergedTrees {
    for (const { path, base, states } of aligned(this.#base, this.#sides)) this.#path(path, base, states);
    const { services, conflicts } = mergeServices(this.#sides, this.#policy.ports);
    return {
      tree: this.#tree,
      services,
      conflicts: [...this.#conflicts, ...conflicts],
      resolved: this.#resolved,
    };
  }

  #path(path: string, base: TreeEntry | undefined, states: readonly State[]): void {
    const changed = states.filter(({ entry }) => !same(base, entry));
    const [first, ...others] = changed;
    if (first === undefined) return this.#put(path, base, "");
    if (others.every(({ entry }) => same(first.entry, entry))) {
      return this.#put(path, first.entry, first.name);
    }
    const rule = this.#policy.resolve.find((each) => fits(each.path, path));
    if (rule !== undefined) return this.#ruled(path, base, states, rule.take);
    const driver = this.#policy.drivers.find((each) => fits(each.path, path))?.driver;
    if (driver === "drop") {
      this.#resolved.push({ path, how: "left out: whoever needs it makes it anew" });
      return;
    }
    if (changed.some(({ entry }) => entry === undefined)) {
      // A folder that one side took away, and of which the other only changed when it was written to.
      const rest = changed.filter(({ entry }) => entry !== undefined);
      const onlyTime = base?.node.type === "directory" &&
        rest.every(({ entry }) => differences(base.node, entry!.node).every((how) => how === "mtime"));
      if (onlyTime) return;
      return this.#conflict("removed", path, base, changed);
    }
    const entries = changed as { name: string; entry: TreeEntry }[];
    if (new Set(entries.map(({ entry }) => entry.node.type)).size > 1) {
      return this.#conflict("type", path, base, changed);
    }
    if (new Set(entries.map(({ entry }) => entry.links ?? "")).size > 1) {
      return this.#conflict("links", path, base, changed);
    }
    this.#fields(path, base, entries, driver);
  }

  /** Field by field: what one side alone changed is as it made it. */
  #fields(
    path: string,
    base: TreeEntry | undefined,
    changed: readonly { readonly name: string; readonly entry: TreeEntry }[],
    driver: DriverName | undefined,
  ): void {
    const before = base?.node.type === changed[0]!.entry.node.type ? base.node : undefined;
    let node: Node = changed[0]!.entry.node;
    const how: string[] = [];
    const clash: Difference[] = [];
    for (const field of FIELDS) {
      const differing = changed.filter(({ entry }) =>
        before === undefined || differs(field, before, entry.node)
      );
      const distinct = differing.filter(({ entry }, at) =>
        differing.findIndex((other) => !differs(field, other.entry.node, entry.node)) === at
      );
      if (distinct.length === 0) node = taken(field, node, before!);
      else if (distinct.length === 1) node = taken(field, node, distinct[0]!.entry.node);
      else if (field === "mtime" && this.#policy.mtime === "latest") {
        node = taken(field, node, latest(distinct.map(({ entry }) => entry.node)));
        if (node.type !== "directory") how.push("the later time");
      } else if (field === "content" && driver !== undefined) {
        const merged = this.#drive(path, before, distinct, driver);
        if (merged === undefined) return;
        node = { ...node, content: merged };
        how.push(`merged as ${driver}`);
      } else clash.push(field);
    }
    if (clash.length === 0) {
      if (how.length > 0) this.#resolved.push({ path, how: how.join(", ") });
      return this.#put(path, { path, node }, "merged");
    }
    const kind = clash.includes("content") || clash.includes("target") || clash.includes("device")
      ? "content"
      : "attributes";
    this.#conflict(kind, path, base, changed, clash);
  }

  #drive(
    path: string,
    before: Node | undefined,
    sides: readonly { readonly name: string; readonly entry: TreeEntry }[],
    driver: DriverName,
  ): Content | undefined {
    if (sides.some(({ entry }) => entry.node.content!.size > DRIVER_BYTES_MAX)) {
      this.#conflict("content", path, undefined, sides, [`more than ${DRIVER_BYTES_MAX} bytes`]);
      return undefined;
    }
    const merged = runDriver(
      driver,
      before?.content && bytesOf(before.content),
      sides.map(({ name, entry }) => ({ name, bytes: bytesOf(entry.node.content!) })),
    );
    if ("bytes" in merged) {
      const { bytes } = merged;
      return contentOver(bytes.length, sha256Of(bytes), undefined, (position, into) => {
        into.set(bytes.subarray(position, position + into.length));
      });
    }
    const why = "conflicts" in merged ? merged.conflicts : [];
    this.#conflict("database", path, before === undefined ? undefined : { path, node: before }, sides, why);
    return undefined;
  }

  #ruled(path: string, base: TreeEntry | undefined, states: readonly State[], take: string): void {
    this.#resolved.push({ path, how: `by policy: ${take}` });
    if (take === "remove") return;
    if (take === "base") return this.#put(path, base, "");
    const state = states.find(({ name }) => name === take);
    if (state !== undefined) return this.#put(path, state.entry, state.name);
    this.#resolved.pop();
    this.#conflict("content", path, base, states, [`the policy takes ${take}, which is none of them`]);
  }

  #put(path: string, entry: TreeEntry | undefined, from: string): void {
    if (entry === undefined) return;
    const parent = path.slice(0, Math.max(0, path.lastIndexOf("/")));
    if (path !== "" && this.#tree.get(parent)?.type !== "directory" && !this.#hasFolder(path, parent, from)) {
      return;
    }
    const { node } = entry;
    if (node.type !== "file" && node.type !== "symlink") return this.#tree.put(path, node);
    const key = `${from} ${entry.links ?? path}`;
    const shared = this.#inodes.get(key);
    const fits = shared !== undefined && differences(shared, node).length === 0;
    if (!fits) this.#inodes.set(key, node);
    this.#tree.put(path, fits ? shared : node);
  }

  /** A folder that something is in was taken away by one side, or is none: the policy may keep it. */
  #hasFolder(path: string, parent: string, from: string): boolean {
    const told = this.#conflicts.some((each) => each.path === parent || parent.startsWith(`${each.path}/`));
    if (told) return false;
    const taken = this.#policy.resolve.find((each) => fits(each.path, parent))?.take;
    const keeper = this.#sides.find(({ name }) => name === taken);
    if (keeper?.tree.get(parent)?.type === "directory") {
      const names = parent.split("/");
      for (let depth = 1; depth <= names.length; depth++) {
        const above = names.slice(0, depth).join("/");
        if (this.#tree.get(above)?.type === "directory") continue;
        this.#tree.put(above, keeper.tree.get(above)!);
        this.#resolved.push({ path: above, how: `by policy: ${taken}` });
      }
      return true;
    }
    const sides = this.#sides.flatMap(({ name, tree }) => {
      const there = tree.get(parent);
      if (name === from) return [{ name, what: `has ${path} in it` }];
      return there?.type === "directory"
        ? []
        : [{ name, what: there === undefined ? "removed it" : `has a ${there.type}` }];
    });
    this.#conflicts.push({ kind: "folder", path: parent, sides, why: [] });
    return false;
  }

  #conflict(
    kind: Conflict["kind"],
    path: string,
    base: TreeEntry | undefined,
    sides: readonly State[],
    why: readonly string[] = [],
  ): void {
    this.#conflicts.push({
      kind,
      path,
      sides: sides.map(({ name, entry }) => ({ name, what: told(entry) })),
      why,
    });
    this.#put(path, base, "");
  }
}

function same(left: TreeEntry | undefined, right: TreeEntry | undefined): boolean {
  if (left === undefined || right === undefined) return left === right;
  return left.links === right.links && differences(left.node, right.node).length === 0;
}

function told(entry: TreeEntry | undefined): string {
  if (entry === undefined) return "removed it";
  const { type, mode, uid, gid, content, target } = entry.node;
  const what = content === undefined
    ? target === undefined ? "" : ` -> ${target}`
    : ` of ${content.size} bytes, ${content.sha256.slice(0, 12)}`;
  return `${type}${what}, ${mode.toString(8).padStart(4, "0")} ${uid}:${gid}${
    entry.links === undefined ? "" : `, another name of ${entry.links}`
  }`;
}

function bytesOf(content: Content): Uint8Array {
  const bytes = new Uint8Array(content.size);
  content.read(0, bytes);
  return bytes;
}
