import fs from "node:fs";
import { basename, join, resolve } from "node:path";
import { refuse } from "../appliance_error.ts";
import type { Appliance } from "../appliance.ts";
import { quoted } from "../path.ts";
import type { Tree } from "../tree.ts";
import { archiveFiles, folderFiles, type ImageChoice, openDockerArchive, openLayout } from "./open_oci.ts";
import { readFolder, readTarFile } from "./open_tree.ts";
import type { WorkOptions } from "./progress.ts";
import { Spool } from "./spool.ts";

/** Options of `openAppliance`. */
export interface OpenOptions extends WorkOptions {
  /** Where what is compressed is unpacked meanwhile; the system's temporary folder by default. */
  readonly spoolIn?: string;
}

/**
 * Opens an appliance: a folder, a tar file (plain, gzip or zstd), an OCI image layout, or an archive of one as skopeo
 * and `docker save` write them. What it is, it is asked itself.
 *
 * @param spec A path; `PATH:REF` is one image of several, `PATH#2` its lowest two layers.
 * @throws {ApplianceError} When it cannot be read whole, or leads out of its own tree.
 */
export async function openAppliance(spec: string, options: OpenOptions = {}): Promise<Appliance> {
  const { path, choice } = specOf(spec);
  const name = choice.ref ?? basename(resolve(path)).replace(/\.(oci|tar|tgz|gz|zst)+$/, "");
  const spool = new Spool(options.spoolIn);
  try {
    const opened = await opening(path, name, choice, spool, options);
    return { name, ...opened, [Symbol.dispose]: () => spool[Symbol.dispose]() };
  } catch (error) {
    spool[Symbol.dispose]();
    throw error;
  }
}

async function opening(
  path: string,
  name: string,
  choice: ImageChoice,
  spool: Spool,
  options: OpenOptions,
): Promise<Omit<Appliance, "name" | typeof Symbol.dispose>> {
  if (fs.statSync(path).isDirectory()) {
    if (isLayout((file) => fs.existsSync(join(path, file)))) {
      const image = await openLayout(folderFiles(path, spool), name, choice, spool, options);
      return { form: "oci", ...image };
    }
    onlyWhole(path, choice);
    return { form: "directory", tree: await readFolder(path, options), layers: [], blobs: [], services: [] };
  }
  const tree = await readTarFile(path, spool, options);
  if (isLayout((file) => tree.get(file)?.type === "file")) {
    const image = await openLayout(archiveFiles(path, tree), name, choice, spool, options);
    return { form: "oci", ...image };
  }
  if (isDockerArchive(tree)) {
    const image = await openDockerArchive(archiveFiles(path, tree), name, choice, spool, options);
    return { form: "docker", ...image };
  }
  onlyWhole(path, choice);
  return { form: "tar", tree, layers: [], blobs: [], services: [] };
}

function isLayout(has: (file: string) => boolean): boolean {
  return has("oci-layout") && has("index.json");
}

function isDockerArchive(tree: Tree): boolean {
  return tree.get("manifest.json")?.type === "file" &&
    tree.names("").every((name) => !ROOT_FOLDERS.has(name));
}

/** What a root file system has, and an archive of images has not. */
const ROOT_FOLDERS: ReadonlySet<string> = new Set(["bin", "etc", "usr", "var"]);

function onlyWhole(path: string, { ref, layers }: ImageChoice): void {
  if (ref === undefined && layers === undefined) return;
  refuse("format", `Cannot choose of ${quoted(path)}: it is no image with names and layers`);
}

function specOf(spec: string): { path: string; choice: ImageChoice } {
  let path = spec;
  let layers: number | undefined;
  const hash = /#(\d{1,3})$/.exec(path);
  if (hash !== null && !fs.existsSync(path)) {
    layers = Number(hash[1]);
    path = path.slice(0, hash.index);
  }
  let ref: string | undefined;
  if (!fs.existsSync(path)) {
    // A reference may hold colons itself: the path is the longest beginning that is there.
    for (let at = path.length; (at = path.lastIndexOf(":", at - 1)) > 0;) {
      if (!fs.existsSync(path.slice(0, at))) continue;
      ref = path.slice(at + 1);
      path = path.slice(0, at);
      break;
    }
  }
  return {
    path,
    choice: { ...ref === undefined ? {} : { ref }, ...layers === undefined ? {} : { layers } },
  };
}
