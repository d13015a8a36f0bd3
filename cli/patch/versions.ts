import { readdirSync, readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { InputError } from "../command.ts";

/** A module in two versions. */
export interface Versions {
  /** What patches call it. */
  readonly module: string;
  readonly older: string;
  readonly newer: string;
}

const SOURCE = /\.(?:js|mjs|ts|mts)$/;

/** The modules of two files, or of two folders those that differ. */
export function versionsOf(older: string, newer: string, module: string | undefined): Versions[] {
  if (!statSync(older).isDirectory()) {
    return [{ module: module ?? basename(older), older: text(older), newer: text(newer) }];
  }
  if (module !== undefined) {
    throw new InputError("--module is for files; folders name their modules themselves");
  }
  const names = (folder: string): string[] =>
    readdirSync(folder, { recursive: true, encoding: "utf8" })
      .map((name) => name.replaceAll("\\", "/"))
      .filter((name) => SOURCE.test(name) && !name.includes("node_modules/"))
      .sort();
  const there = new Set(names(newer));
  return names(older).filter((name) => there.has(name)).map((name) => ({
    module: name,
    older: text(join(older, name)),
    newer: text(join(newer, name)),
  })).filter((each) => each.older !== each.newer);
}

/** A source. */
export function text(path: string): string {
  return readFileSync(path, "utf8");
}
