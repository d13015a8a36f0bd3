import fs from "node:fs";
import { join } from "node:path";
import { LaunchError } from "../launched.ts";

/** Names that we lay something over, which must not lead elsewhere. */
const OURS = ["proc", "dev", "etc", "etc/hosts", "tmp"] as const;

/** @throws {LaunchError} When something of ours could not be laid over the tree. */
export function checkRoot(root: string): void {
  if (!fs.statSync(root).isDirectory()) throw new LaunchError(`Cannot launch "${root}": it is no folder`);
  for (const name of OURS) {
    const found = fs.lstatSync(join(root, name), { throwIfNoEntry: false });
    if (found !== undefined && (name === "etc/hosts" ? !found.isFile() : !found.isDirectory())) {
      throw new LaunchError(`Cannot launch "${root}": its /${name} is a link or of another kind`);
    }
  }
}
