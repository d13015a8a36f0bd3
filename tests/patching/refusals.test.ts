import { readdirSync, readFileSync } from "node:fs";
import { afterEach, expect, test } from "vitest";
import { livePatches } from "../../patching/apply/live_patches.ts";
import type { Patch, PatchFunction, PatchSymbol, PatchUnit } from "../../patching/image/patch.ts";
import { readPatch, writePatch } from "../../patching/image/patch_image.ts";
import { PatchError, type PatchReason } from "../../patching/patch_error.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { loadPatchable, patchOf } from "./target.ts";

afterEach(async () => {
  while (livePatches.applied.length > 0) await livePatches.rollback();
});

const OLD = `import { sep } from "node:path";
let n = 1;
const K = 2;
function add(a, b) { return a + b; }
export function f(x) { return add(x, n) + K; }
export function outer(p) { return () => p; }
class Base {}
export class Derived extends Base { constructor() { super(); } m() { return sep; } }
`;
const NEW = OLD.replace("+ K", "+ K + extra").replace("() => p", "() => [p]").replace("m() {", "m() { n++;") +
  "const extra = 1;\n";

/** What is changed of a good patch, why that is refused, and which function is named. */
type Case = [
  reason: PatchReason,
  named: string | undefined,
  why: string,
  change: (unit: PatchUnit) => Partial<PatchUnit>,
];

const each =
  (id: string, change: Partial<PatchFunction>) => ({ functions }: PatchUnit): Partial<PatchUnit> => ({
    functions: functions.map((one) => one.id === id ? { ...one, ...change } : one),
  });
const symbol =
  (name: string, change: Partial<PatchSymbol>) => ({ symbols }: PatchUnit): Partial<PatchUnit> => ({
    symbols: symbols.map((one) => one.name === name ? { ...one, ...change } : one),
  });
const added = (code: string) => ({ added }: PatchUnit): Partial<PatchUnit> => ({
  added: { ...added!, code, relocations: [] },
});
const ZERO = "00".repeat(32);

const CASES: readonly Case[] = [
  ["module", undefined, "no module", () => ({ module: "elsewhere.ts" })],
  ["base", undefined, "it is for 000000000000", () => ({ base: ZERO })],
  ["function", "f", "another version of it runs", each("f", { oldHash: ZERO })],
  ["function", "nobody", "there is no such function", each("f", { id: "nobody" })],
  ["function", "f", "there is no such class", each("f", { isNew: true, oldHash: "" })],
  [
    "function",
    "Derived.prototype.m",
    "it is there already",
    each("Derived.prototype.m", { isNew: true, oldHash: "" }),
  ],
  [
    "kind",
    "Derived.prototype.k",
    "only methods can be added",
    each("f", {
      ...{ id: "Derived.prototype.k", isNew: true, oldHash: "", kind: "get" },
    }),
  ],
  [
    "unpatchable",
    "Derived.constructor",
    "nothing runs before super()",
    each("f", { id: "Derived.constructor" }),
  ],
  ["kind", "f", "its kind is function, the patch's is arrow", each("f", { kind: "arrow" })],
  ["kind", "f", "it is not async", each("f", { isAsync: true })],
  ["kind", "f", "it is no generator", each("f", { isGenerator: true })],
  ["arity", "f", "it takes 1 parameters, the patch's takes 2", each("f", { arity: 2 })],
  ["symbol", "f", "is not there", symbol("add", { name: "subtract" })],
  ["symbol", "f", "takes 2 parameters, not 3", symbol("add", { arity: 3 })],
  ["symbol", "f", "is declared by const, not by let", symbol("K", { kind: "let" })],
  [
    "symbol",
    "Derived.prototype.m",
    "is imported from node:path#sep, not from node:os#sep",
    symbol("sep", {
      from: "node:os#sep",
    }),
  ],
  ["symbol", "f", "is not declared", symbol("extra", { name: "other" })],
  ["symbol", "f", "is no global name", symbol("K", { name: "noSuchGlobal", scope: "global" })],
  ["captured", "outer/(0)", 'uses "q", which the old one does not hold', symbol("p", { name: "q" })],
  ["symbol", undefined, '"n" is there already', ({ added }) => ({
    added: { ...added!, names: [...added!.names, { name: "n", kind: "let", arity: -1 }] },
  })],
  ["compile", "f", "cannot be compiled", each("f", { code: "function (x) { return ( }", relocations: [] })],
  ["compile", undefined, "what it adds to", added("const extra = ;")],
  ["initializer", undefined, "throws", added("const extra = undefined.x;")],
  ["import", undefined, "cannot be imported", ({ added }) => ({
    added: { ...added!, imports: [{ name: "lib", from: "./nowhere.mjs#lib" }] },
  })],
  ["import", undefined, 'has no export "nothing"', ({ added }) => ({
    added: { ...added!, imports: [{ name: "lib", from: "node:path#nothing" }] },
  })],
];

test("whatever does not fit is refused with its reason and the function's name, and nothing is applied", async () => {
  using folder = new TemporaryFolder();
  const name = "refusing.ts";
  const it = loadPatchable(folder, name, OLD);
  const good = patchOf(name, OLD, NEW);
  for (const [reason, named, why, change] of CASES) {
    const unit = good.units[0]!;
    const patch: Patch = readPatch(writePatch({ ...good, units: [{ ...unit, ...change(unit) }] }));
    let error: unknown;
    await livePatches.apply(patch).catch((thrown) => error = thrown);
    expect(error, why).toBeInstanceOf(PatchError);
    expect({ reason: (error as PatchError).reason, function: (error as PatchError).function }, why).toEqual({
      reason,
      function: named,
    });
    expect((error as PatchError).message).toContain(why);
    expect([it.f(1), it.outer(3)(), livePatches.applied.length], why).toEqual([4, 3, 0]);
  }
  const both = [livePatches.apply(good), livePatches.apply(good)];
  await expect(both[1]).rejects.toMatchObject({ reason: "busy" });
  await both[0];
  expect(it.f(1)).toBe(5);
});

test("what is in a function that a patch has replaced cannot be replaced by itself, and a module that is loaded twice by nobody", async () => {
  using folder = new TemporaryFolder();
  const source = "export function outer(p) { return () => p; }\n";
  const it = loadPatchable(folder, "nested.ts", source);
  const second = source.replace("return", "p++; return");
  await livePatches.apply(patchOf("nested.ts", source, second, { name: "outer" }));
  expect(it.outer(1)()).toBe(2);
  const inner = patchOf("nested.ts", second, second.replace("=> p", "=> -p"), { name: "inner" });
  await expect(livePatches.apply(inner)).rejects.toMatchObject({ reason: "function", function: "outer/(0)" });
  await livePatches.rollback();
  using again = new TemporaryFolder();
  loadPatchable(again, "nested.ts", source);
  const twice = patchOf("nested.ts", source, second);
  await expect(livePatches.apply(twice)).rejects.toMatchObject({ reason: "module" });
});

/** The compiler says when one is missing here. */
const REASONS: Record<PatchReason, true> = {
  ...{ source: true, unpatchable: true, kind: true, arity: true, symbol: true, captured: true, module: true },
  ...{ base: true, function: true, applied: true, order: true, signature: true, busy: true, active: true },
  ...{ compile: true, import: true, initializer: true, hook: true, health: true, record: true },
};

test("each reason for which a patch is refused is met by a test", () => {
  const folder = new URL(".", import.meta.url);
  const tests = readdirSync(folder).filter((name) => name.endsWith(".test.ts"));
  const text = tests.map((name) => readFileSync(new URL(name, folder), "utf8")).join("\n");
  const met = (reason: string): boolean =>
    new RegExp(`reason: "${reason}"|^ *\\[?"${reason}",`, "m").test(text);
  expect(Object.keys(REASONS).filter((reason) => !met(reason))).toEqual([]);
});
