import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { type Derived, derivePatch, type PatchAbout } from "../../patching/build/derive.ts";
import { instrument } from "../../patching/build/instrument.ts";
import type { Patch } from "../../patching/image/patch.ts";
import { readPatch, writePatch } from "../../patching/image/patch_image.ts";
import type { TemporaryFolder } from "../support/folder.ts";

// The test runner rewrites what `import()` loads, and with it the scopes that patches are compiled in.
const load = createRequire(import.meta.url);

/** A module as a program loads it that is patched later. */
// deno-lint-ignore no-explicit-any
export function loadPatchable(folder: TemporaryFolder, name: string, source: string): any {
  const { code } = instrument(name, source);
  const path = folder.file(name.replace(/\.ts$/, ".mjs").replace(/\.js$/, ".mjs").replaceAll("/", "_"));
  writeFileSync(path, code);
  return load(path);
}

/** JavaScript as it is. */
// deno-lint-ignore no-explicit-any
export function loadPlain(folder: TemporaryFolder, source: string): any {
  const path = folder.file("plain.mjs");
  writeFileSync(path, source);
  return load(path);
}

/** The patch between two versions, by way of its image. */
export function patchOf(
  name: string,
  older: string,
  newer: string,
  about: Partial<PatchAbout> = {},
): Patch {
  const derived = derivePatch(name, older, newer, { name: "patch", ...about });
  if (derived.patch === undefined) throw new Error(`No patch: ${JSON.stringify(derived.findings)}`);
  return readPatch(writePatch(derived.patch));
}

/** Why there is no patch: what is refused, and why. */
export function refusals({ findings }: Derived): string[] {
  return findings.filter(({ verdict }) => verdict === "refused").map(({ what, why }) => `${what}: ${why}`);
}
