import process from "node:process";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";

/** Sources that can be made patchable. */
const SOURCE = /\.(?:js|mjs|ts|mts)$/;
/** Folders of Torpor itself: its hot paths keep their speed. */
const OURS = fileURLToPath(new URL("../..", import.meta.url));
const OUR_FOLDERS = ["base", "net", "checkpoint", "patching", "serve", "cli"];

/**
 * What patches call the module at a path, when it is to be patchable: its path from the working folder. Without
 * `TORPOR_PATCHABLE` that is every module of the program's own; with it, those whose names begin with one of the words in
 * it, which commas separate.
 */
export function patchableName(path: string): string | undefined {
  if (!SOURCE.test(path) || /[\\/]node_modules[\\/]/.test(path)) return undefined;
  if (OUR_FOLDERS.some((folder) => path.startsWith(`${OURS}${folder}/`))) return undefined;
  const name = relative(process.cwd(), path).replaceAll("\\", "/");
  const which = process.env["TORPOR_PATCHABLE"];
  if (which === undefined) return name;
  return which.split(",").some((each) => name.startsWith(each.trim())) ? name : undefined;
}
