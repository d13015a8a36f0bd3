import { readFileSync } from "node:fs";
import { parse } from "acorn";
import { expect, test } from "vitest";
import { livePatches } from "../../patching/apply/live_patches.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { loadPatchable, patchOf } from "./target.ts";

test("acorn parses itself to the same tree when it is patchable, when all of its functions are replaced, and afterwards", async () => {
  using folder = new TemporaryFolder();
  const source = readFileSync(new URL("../../node_modules/acorn/dist/acorn.mjs", import.meta.url), "utf8");
  const options = { ecmaVersion: "latest", sourceType: "module", locations: true } as const;
  const expected = JSON.stringify(parse(source, options));
  const acorn = loadPatchable(folder, "acorn.js", source) as { parse: typeof parse };
  const tree = (): string => JSON.stringify(acorn.parse(source, options));
  expect(tree() === expected).toBe(true);
  const patch = patchOf(
    "acorn.js",
    source,
    source.replace(/(function[^(\n]*\([^)\n]*\) \{)/g, "$1 void 'new';"),
  );
  const { functions } = patch.units[0]!;
  expect(functions.length).toBeGreaterThan(250);
  await livePatches.apply(patch);
  expect(tree() === expected).toBe(true);
  await livePatches.rollback();
  expect(tree() === expected).toBe(true);
});

test("lines in stack traces are those of the source, and patched code is named", async () => {
  using folder = new TemporaryFolder();
  const source =
    "const a: number = 1;\n\nexport function fails(\n  { x }: { x: number },\n): never {\n  throw new Error(`${x}${a}`);\n}\n";
  const module = loadPatchable(folder, "trace.ts", source);
  const stack = (): string => {
    try {
      return module.fails({ x: 1 });
    } catch (error) {
      return (error as Error).stack!;
    }
  };
  expect(stack()).toMatch(/fails.*trace\.mjs:6:/);
  await livePatches.apply(
    patchOf("trace.ts", source, source.replace("throw", "void a; throw"), { name: "louder" }),
  );
  expect(stack()).toMatch(/fails.*torpor-patch:louder\/trace\.ts#fails/);
  await livePatches.rollback();
});
