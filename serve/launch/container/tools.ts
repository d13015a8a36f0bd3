import { execFileSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { basename, join } from "node:path";
import process from "node:process";
import { LaunchError } from "../launched.ts";

/** Where the tools lie in a container: in its /dev, which is ours, so that the tree has no name more. */
export const TOOLS = "/dev/.torpor";

/** Programs of the machine that a container needs when its root is the tree. */
export interface Tools {
  /** Files of the machine to be copied into `TOOLS`. */
  readonly files: readonly string[];
  /** How each is called there: by the machine's own loader, since the tree's libraries may be others. */
  readonly call: Readonly<Record<string, readonly string[]>>;
}

/**
 * Finds programs on PATH and the libraries that `ldd` says they need.
 * @throws {LaunchError} When one is missing.
 */
export function findTools(names: readonly string[]): Tools {
  const files = new Set<string>();
  const call: Record<string, readonly string[]> = {};
  for (const name of names) {
    const path = findProgram(name);
    const libraries = librariesOf(path);
    for (const file of [path, ...libraries]) files.add(file);
    const loader = libraries.find((file) => /^ld[-.]/.test(basename(file)));
    const program = `${TOOLS}/${basename(path)}`;
    call[name] = loader === undefined
      ? [program]
      : [`${TOOLS}/${basename(loader)}`, "--library-path", TOOLS, program];
  }
  return { files: [...files], call };
}

/** @throws {LaunchError} When it is not on PATH. */
export function findProgram(name: string): string {
  for (const folder of `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin:/usr/bin:/bin`.split(":")) {
    if (folder === "") continue;
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // not here
    }
  }
  throw new LaunchError(
    `Cannot make a container: "${name}" is not installed (util-linux, iproute2, coreutils)`,
  );
}

/** What a program is linked with, its loader among it; nothing for a static one. */
function librariesOf(path: string): string[] {
  let text: string;
  try {
    text = execFileSync("ldd", [path], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  } catch {
    return []; // "not a dynamic executable"
  }
  return [...text.matchAll(/(\/\S+) \(0x/g)].map(([, file]) => file!);
}
