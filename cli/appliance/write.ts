import type { Appliance, Service } from "../../checkpoint/appliances/appliance.ts";
import type { WorkOptions } from "../../checkpoint/appliances/disk/progress.ts";
import { writeLayout } from "../../checkpoint/appliances/disk/write_layout.ts";
import { writeFolder, writeTarFile } from "../../checkpoint/appliances/disk/write_tree.ts";
import { Tree } from "../../checkpoint/appliances/tree.ts";

/** What was written, and how much of it an earlier run had: names, of a layout bytes. */
export interface Written {
  readonly form: "folder" | "tar" | "oci";
  readonly bytes: number;
  readonly resumed: number;
}

/** Writes a tree as what the end of `path` says: a tar, an OCI layout above the layers of `base`, else a folder. */
export async function writeTree(
  tree: Tree,
  path: string,
  base: Pick<Appliance, "blobs" | "platform"> & { readonly tree?: Tree },
  services: readonly Service[],
  options: WorkOptions,
): Promise<Written> {
  if (path.endsWith(".tar")) return { form: "tar", ...await writeTarFile(tree, path, options) };
  if (!path.endsWith(".oci")) return { form: "folder", ...await writeFolder(tree, path, options) };
  const below = { ...base, tree: base.tree ?? new Tree() };
  const content = { base: below, tree, services, ref: "latest" };
  const { bytes, resumed } = await writeLayout(content, path, options);
  return { form: "oci", bytes, resumed };
}
