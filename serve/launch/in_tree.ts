import fs from "node:fs";
import { join } from "node:path";

/** As many symbolic links as Linux follows. */
const LINKS_MAX = 40;

/**
 * Where a path of a tree lies on the disk, its links followed as a process whose root the tree is follows them: none leads
 * out (as RESOLVE_IN_ROOT of openat2). The last name need not be there.
 *
 * @param root The tree's folder, absolute.
 * @param path A path in it; a relative one begins at its root.
 * @throws {Error} With code ELOOP, or what `lstat` throws.
 */
export function resolveInTree(root: string, path: string): string {
  const names = path.split("/").reverse();
  const found: string[] = [];
  let links = 0;
  while (names.length > 0) {
    const name = names.pop()!;
    if (name === "" || name === ".") continue;
    if (name === "..") {
      found.pop();
      continue;
    }
    const at = join(root, ...found, name);
    if (fs.lstatSync(at, { throwIfNoEntry: false })?.isSymbolicLink() ?? false) {
      if (++links > LINKS_MAX) {
        throw Object.assign(new Error(`ELOOP: too many links in "${path}"`), { code: "ELOOP" });
      }
      const target = fs.readlinkSync(at);
      if (target.startsWith("/")) found.length = 0;
      names.push(...target.split("/").reverse());
    } else found.push(name);
  }
  return join(root, ...found);
}
