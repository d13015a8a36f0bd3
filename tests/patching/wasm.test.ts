import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { afterEach, expect, test } from "vitest";
import { APPLY_STEPS } from "../../patching/apply/apply_options.ts";
import { livePatches } from "../../patching/apply/live_patches.ts";
import type { Patch } from "../../patching/image/patch.ts";
import { readPatch, writePatch } from "../../patching/image/patch_image.ts";
import { PatchError } from "../../patching/patch_error.ts";
import { instrumentWasm } from "../../patching/wasm/instrument.ts";
import { readWasm } from "../../patching/wasm/module.ts";
import { buildWasmPatch } from "../../patching/wasm/side_module.ts";
import { instantiatePatchable } from "../../patching/wasm/wasm_state.ts";
import { torpor } from "../cli/run.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";

const NEEDS = ["clang", "wasm-ld"];

afterEach(async () => {
  while (livePatches.applied.length > 0) await livePatches.rollback();
});

const TARGET = `
int counter = 5;
static int hidden[4] = {1, 2, 3, 4};
typedef int (*op)(int);
static int twice(int x) { return 2 * x; }
op current = twice;
__attribute__((noinline)) int scale(int x) { return current(x) + hidden[x & 3]; }
__attribute__((noinline)) int step(int by) { counter += by; return scale(counter); }
int run(int by) { return step(by); }
long long wide(long long a, double b) { return a + (long long)b; }
int points_to_scale(op f) { return f == scale; }
op the_scale(void) { return scale; }
int get(void) { return counter; }
`;

const PATCH = `
extern int counter;
typedef int (*op)(int);
extern op current;
int scale(int x);
int points_to_scale(op f);
static int calls = 7;
int table[2] = {100, 200};
static int thrice(int x) { return 3 * x; }
int own(int x) { return x; }
op own_pointer = own;
int step(int by) { calls++; table[1]++; counter += 10 * by; return scale(counter) + calls * 1000; }
int same(void) { return points_to_scale(scale) + 2 * own_pointer(5); }
long long wide(long long a, double b) { return same() + table[1]; }
int more(int x) { return x + calls; }
int onPatchApply(void) { current = thrice; return 1; }
int onPatchRollback(void) { current = 0; return 1; }
`;

/** The target as a program of its own. */
function compileTarget(folder: TemporaryFolder, code = TARGET): Uint8Array {
  writeFileSync(folder.file("target.c"), code);
  const flags = ["--target=wasm32", "-O2", "-nostdlib", "-Wl,--no-entry", "-Wl,--export-all"];
  execFileSync("clang", [...flags, "-o", folder.file("target.wasm"), folder.file("target.c")]);
  return new Uint8Array(readFileSync(folder.file("target.wasm")));
}

/** A shared object: a side module with a section dylink.0. */
function compileShared(folder: TemporaryFolder, code: string, name = "patch"): Uint8Array {
  writeFileSync(folder.file(`${name}.c`), code);
  const flags = [
    "--target=wasm32-unknown-emscripten",
    "-O2",
    "-fPIC",
    "-fvisibility=default",
    "-nostdlib",
    "-c",
  ];
  execFileSync("clang", [...flags, "-o", folder.file(`${name}.o`), folder.file(`${name}.c`)]);
  const link = ["--experimental-pic", "-shared", "--export-dynamic"];
  execFileSync("wasm-ld", [...link, "-o", folder.file(`${name}.wasm`), folder.file(`${name}.o`)]);
  return new Uint8Array(readFileSync(folder.file(`${name}.wasm`)));
}

type Exports = Record<string, (...values: never[]) => number>;
let modules = 0;

/** The target, running under a name of its own. */
async function running(bytes: Uint8Array): Promise<{ name: string; it: Exports }> {
  const name = `target${modules++}.wasm`;
  return { name, it: (await instantiatePatchable(name, bytes)).exports as unknown as Exports };
}

async function reason(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof PatchError) return { reason: error.reason, function: error.function };
    throw error;
  }
  return "not refused";
}

judge(
  "a patch that clang has built is bound to a running module's functions and variables, and taken back",
  NEEDS,
  async () => {
    using folder = new TemporaryFolder();
    const target = compileTarget(folder);
    const { name, it } = await running(target);
    expect([it.run!(1 as never), it.get!()]).toEqual([15, 6]);
    const shared = compileShared(folder, PATCH);
    const patch = readPatch(writePatch(await buildWasmPatch(name, target, shared, { name: "tens" })));
    expect(patch.wasm[0]!.functions.map(({ name, type }) => `${name} ${type}`)).toEqual([
      "step (i32) -> i32",
      "wide (i64, f64) -> i64",
    ]);
    expect(patch.wasm[0]!.symbols.map(({ kind, name }) => `${kind} ${name}`).sort()).toEqual([
      ...["data counter", "data current", "function points_to_scale", "function scale", "pointer scale"],
    ]);
    await livePatches.apply(patch);
    expect(it.run!(1 as never)).toBe(3 * 16 + 1 + 8_000); // 16 & 3 = 0, hidden[0] = 1
    expect(it.get!()).toBe(16);
    expect(it.wide!(0n as never, 0 as never)).toBe(BigInt(1 + 2 * 5 + 201));
    await livePatches.rollback();
    expect(it.get!()).toBe(16);
    expect(it.wide!(3n as never, 4.5 as never)).toBe(7n);
    await livePatches.apply(patch);
    expect(it.run!(0 as never)).toBe(3 * 16 + 1 + 8_000); // the shared object is a new one
  },
);

judge("patches of WebAssembly stack: what one has added, the next may call", NEEDS, async () => {
  using folder = new TemporaryFolder();
  const target = compileTarget(folder);
  const { name, it } = await running(target);
  const first = await buildWasmPatch(name, target, compileShared(folder, PATCH), { name: "first" });
  const code = "int more(int x); extern int table[2]; int step(int by) { return more(by) + table[1]; }\n";
  const shared = compileShared(folder, code, "second");
  expect(await reason(buildWasmPatch(name, target, shared, { name: "second" }))).toMatchObject({
    reason: "symbol",
  });
  const second = await buildWasmPatch(name, target, shared, { name: "second", on: [first] });
  expect(await reason(livePatches.apply(second))).toMatchObject({ reason: "base" });
  await livePatches.apply(first);
  await livePatches.apply(second);
  expect(it.run!(1 as never)).toBe(1 + 7 + 200);
  await livePatches.rollback();
  expect(it.run!(0 as never)).toBe(3 * 5 + 2 + 8_000);
});

judge(
  "what does not fit a running WebAssembly module is refused by name, and nothing is applied",
  NEEDS,
  async () => {
    using folder = new TemporaryFolder();
    const target = compileTarget(folder);
    const { name, it } = await running(target);
    const build = (code: string, bad = "bad"): Promise<Patch> =>
      buildWasmPatch(name, target, compileShared(folder, code, bad), { name: bad });
    expect(await reason(build("extern int nowhere; int step(int by) { return nowhere; }"))).toEqual({
      reason: "symbol",
      function: "nowhere",
    });
    expect(await reason(build("int nobody(void); int step(int by) { return nobody(); }"))).toEqual({
      reason: "symbol",
      function: "nobody",
    });
    expect(await reason(build("int scale(int, int); int step(int by) { return scale(by, 1); }"))).toEqual({
      reason: "symbol",
      function: "scale",
    });
    expect(await reason(build("long long step(int by) { return by; }"))).toEqual({
      reason: "arity",
      function: "step",
    });
    expect(await reason(build("int other(int by) { return by; }"))).toMatchObject({ reason: "function" });
    expect(await reason(buildWasmPatch(name, target, target, { name: "no" }))).toMatchObject({
      reason: "source",
    });
    const patch = await build(PATCH, "good");
    const unit = patch.wasm[0]!;
    const changed = (change: Partial<typeof unit>): Patch => ({ ...patch, wasm: [{ ...unit, ...change }] });
    const without = unit.symbols.filter((symbol) => symbol.name !== "counter");
    expect(await reason(livePatches.apply(changed({ symbols: without })))).toEqual({
      reason: "symbol",
      function: "counter",
    });
    const other = unit.functions.map((each) => ({ ...each, oldHash: "00".repeat(32) }));
    expect(await reason(livePatches.apply(changed({ functions: other })))).toEqual({
      reason: "function",
      function: "step",
    });
    const typed = unit.functions.map((each) => ({ ...each, type: "() -> ()" }));
    expect(await reason(livePatches.apply(changed({ functions: typed })))).toEqual({
      reason: "arity",
      function: "step",
    });
    expect(await reason(livePatches.apply(changed({ module: "none.wasm" })))).toMatchObject({
      reason: "module",
    });
    expect(await reason(livePatches.apply(changed({ result: unit.base })))).toMatchObject({ reason: "base" });
    expect(await reason(livePatches.apply(changed({ code: target })))).toMatchObject({ reason: "signature" });
    const before = [it.run!(0 as never), it.get!(), it.wide!(3n as never, 4.5 as never)];
    for (const failing of APPLY_STEPS) {
      const onStep = (step: string): void => {
        if (step === failing) throw new PatchError("busy", "No");
      };
      expect(await reason(livePatches.apply(patch, { onStep })), failing).toMatchObject({ reason: "busy" });
      expect([it.get!(), it.wide!(3n as never, 4.5 as never)], failing).toEqual(before.slice(1));
    }
  },
);

judge("torpor patch build --wasm makes an image that explain prints", NEEDS, async () => {
  using folder = new TemporaryFolder();
  compileTarget(folder);
  compileShared(folder, PATCH);
  const out = folder.file("tens.patch");
  const built = await torpor([
    "patch",
    "build",
    "--wasm",
    folder.file("patch.wasm"),
    folder.file("target.wasm"),
    "--out",
    out,
  ]);
  expect(built).toMatchObject({ code: 0, err: "" });
  expect(built.out).toContain("replaced target.wasm: step: (i32) -> i32");
  const { out: text } = await torpor(["explain", out]);
  expect(text).toContain('patch "tens" 1, for wasm');
  expect(text).toContain("  symbol counter: data\n");
  expect(text).toContain("  replaces wide: (i64, f64) -> i64\n");
  compileShared(folder, "extern int nowhere; int step(int by) { return nowhere; }");
  const refused = await torpor([
    "patch",
    "build",
    "--wasm",
    folder.file("patch.wasm"),
    folder.file("target.wasm"),
    "--out",
    out,
  ]);
  expect(refused).toMatchObject({ code: 1 });
  expect(refused.out).toContain('"nowhere" is no variable that the target exports');
});

/** `(module (func (export "f") (param i32) (result i32) local.get 0 i32.const 1 i32.add))` */
const SMALL = Uint8Array.from([
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 6, 1, 96, 1, 127, 1, 127, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0],
  ...[10, 9, 1, 7, 0, 32, 0, 65, 1, 106, 11],
]);

test("an instrumented module does what it did, and every cut of one is refused", async () => {
  const { instance } = await WebAssembly.instantiate(instrumentWasm(readWasm(SMALL)), {});
  expect((instance.exports as unknown as Exports)["f"]!(41 as never)).toBe(42);
  for (let end = 0; end < SMALL.length; end++) {
    const cut = SMALL.subarray(0, end);
    if (WebAssembly.validate(new Uint8Array(cut))) readWasm(cut);
    else {
      try {
        readWasm(cut);
      } catch (error) {
        expect(error, `${end}`).toBeInstanceOf(PatchError);
      }
    }
  }
});
