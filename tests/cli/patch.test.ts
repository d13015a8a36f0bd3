import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { offerControl } from "../../checkpoint/control/offer.ts";
import { SleepyHost } from "../../checkpoint/host.ts";
import { MemoryStore } from "../../checkpoint/store/mod.ts";
import { pipe } from "../../net/link/pipe.ts";
import { livePatches } from "../../patching/apply/live_patches.ts";
import { offerPatches } from "../../patching/apply/patch_control.ts";
import { PatchFolder } from "../../patching/apply/patch_folder.ts";
import { readPatch } from "../../patching/image/patch_image.ts";
import { keysIn } from "../../cli/patch/keys_file.ts";
import { loadPatchable } from "../patching/target.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { torpor } from "./run.ts";

const OLD = "let hits = 0;\nexport function hit(by: number): number { hits += 2 * by; return hits; }\n";
const NEW = OLD.replace("2 * by", "by");

test("patch build, check, sign, keys, explain and inspect", async () => {
  using folder = new TemporaryFolder();
  const [old, now, out, keys] = ["v1.ts", "v2.ts", "by.patch", "release.keys"].map((name) =>
    folder.file(name)
  ) as [
    string,
    string,
    string,
    string,
  ];
  writeFileSync(old, OLD);
  writeFileSync(now, NEW);
  const made = await torpor(["patch", "keys", keys]);
  expect(made).toMatchObject({ code: 0, err: "" });
  expect(statSync(keys).mode & 0o777).toBe(0o600);
  expect(await torpor(["patch", "keys", keys])).toMatchObject({ code: 2 });
  const options = ["--module", "hits.ts", "--description", "Each hit counts once"];
  const built = await torpor(["patch", "build", old, now, "--out", out, ...options]);
  expect(built).toMatchObject({ code: 0, err: "" });
  expect(built.out).toMatch(/^replaced hits\.ts: hit\n.*by\.patch: \d+ bytes\n$/);
  expect(await torpor(["patch", "build", old, old, "--out", out])).toMatchObject({
    code: 1,
    out: "nothing has changed: no patch\n",
  });
  writeFileSync(now, NEW.replace("by: number", "by: number, more: number"));
  const refused = await torpor(["patch", "build", old, now, "--out", folder.file("no"), "--json"]);
  expect(refused.code).toBe(1);
  expect(JSON.parse(refused.out)).toEqual({
    ok: false,
    findings: [{
      module: "v1.ts",
      what: "hit",
      verdict: "refused",
      why: "it takes 2 parameters and took 1: callers see its length",
    }],
  });
  const trust = ["--trust", made.out.trim()];
  expect(await torpor(["patch", "check", out, ...trust])).toMatchObject({ code: 1 });
  expect(await torpor(["patch", "sign", out, "--key", keys])).toMatchObject({ code: 0 });
  const sources = folder.file("hits.ts");
  writeFileSync(sources, OLD);
  expect(await torpor(["patch", "check", out, sources, ...trust])).toMatchObject({ code: 0, err: "" });
  writeFileSync(sources, OLD.replace("hits = 0", "hits = 1"));
  const other = await torpor(["patch", "check", out, sources, "--json"]);
  expect(JSON.parse(other.out)).toMatchObject({ ok: false, reason: "base" });
  for (const command of ["explain", "inspect"]) {
    const { code, out: text } = await torpor([command, out]);
    expect(code).toBe(0);
    expect(text).toContain("patch image, version 1");
    expect(text).toContain("  Each hit counts once\n  signed by ");
    expect(text).toContain("at 32 name hits");
  }
});

test("patch build takes a source with what changes, and folders", async () => {
  using folder = new TemporaryFolder();
  const [source, target, out] = [folder.file("fix.ts"), folder.file("hits.ts"), folder.file("fix.patch")];
  writeFileSync(target, OLD);
  writeFileSync(source, "function hit(by: number): number { return ++hits * by; }");
  const built = await torpor([
    "patch",
    "build",
    "--source",
    source,
    target,
    "--module",
    "hits.ts",
    "--out",
    out,
    "--safe",
    "hit",
  ]);
  expect(built).toMatchObject({ code: 0, err: "" });
  expect(readPatch(new Uint8Array(readFileSync(out)))).toMatchObject({
    name: "fix",
    safe: ["hit"],
    units: [{ module: "hits.ts" }],
  });
  for (const [version, by] of [["v1", 1], ["v2", 2]] as const) {
    mkdirSync(folder.file(`${version}/sub`), { recursive: true });
    writeFileSync(folder.file(`${version}/a.js`), `export const a = () => ${by};`);
    writeFileSync(folder.file(`${version}/sub/b.js`), `export const b = () => ${by};`);
    writeFileSync(folder.file(`${version}/same.js`), "export const c = 1;");
  }
  const both = await torpor(["patch", "build", folder.file("v1"), folder.file("v2"), "--out", out]);
  expect(both).toMatchObject({ code: 0, err: "" });
  expect(readPatch(new Uint8Array(readFileSync(out))).units.map(({ module }) => module)).toEqual([
    "a.js",
    "sub/b.js",
  ]);
});

test("patch instrument writes modules that can be patched, and says what cannot", async () => {
  using folder = new TemporaryFolder();
  mkdirSync(folder.file("src"));
  writeFileSync(
    folder.file("src/a.ts"),
    "export class A extends Array { constructor() { super(1 as number); } m() {} }",
  );
  writeFileSync(folder.file("src/data.txt"), "data");
  const { code, out } = await torpor([
    "patch",
    "instrument",
    folder.file("src"),
    "--out",
    folder.file("dist"),
  ]);
  expect(code).toBe(0);
  expect(out).toContain(
    "a.ts: 1 functions can be patched\n  not A.constructor (line 1): it is the constructor of a derived class",
  );
});

test("patch apply, ls and rollback change a running program, and what is applied is applied again after a restart", async () => {
  using folder = new TemporaryFolder();
  const module = loadPatchable(folder, "hits.ts", OLD);
  const [link] = pipe();
  const host = new SleepyHost({
    interfaces: [{ link }],
    addresses: [{ address: "10.7.0.1/24" }],
    store: new MemoryStore(),
  });
  const offer = await offerControl(host, folder.file("control"));
  const patches = await PatchFolder.open(folder.file("patches"));
  offerPatches(patches);
  try {
    writeFileSync(folder.file("v1.ts"), OLD);
    writeFileSync(folder.file("v2.ts"), NEW);
    const out = folder.file("by.patch");
    await torpor([
      "patch",
      "build",
      folder.file("v1.ts"),
      folder.file("v2.ts"),
      "--out",
      out,
      "--module",
      "hits.ts",
    ]);
    expect(module.hit(1)).toBe(2);
    const applied = await torpor(["patch", "apply", folder.path, out]);
    expect(applied).toMatchObject({ code: 0, err: "" });
    expect(applied.out).toMatch(/^applied "by": checked and compiled in [\d.]+ ms, switched in [\d.]+ ms\n$/);
    expect(module.hit(1)).toBe(3);
    expect(await torpor(["patch", "apply", folder.path, out])).toMatchObject({
      code: 1,
      err: expect.stringContaining("a patch of that name is applied"),
    });
    expect(await torpor(["patch", "apply", folder.path, folder.file("none")])).toMatchObject({ code: 1 });
    const listed = await torpor(["patch", "ls", folder.path]);
    expect(listed.out).toMatch(/^by 1\n {2}hit\nmodule hits\.ts [\da-f]{12}\n$/m);
    // A new process: the module as its source has it, and what is written down.
    await livePatches.rollback();
    expect(module.hit(1)).toBe(5);
    const again = await PatchFolder.open(folder.file("patches"));
    expect(again.restored).toEqual([{ name: "by", became: "applied" }]);
    expect(module.hit(1)).toBe(6);
    offerPatches(again);
    expect(await torpor(["patch", "rollback", folder.path, "other"])).toMatchObject({ code: 1 });
    expect(await torpor(["patch", "rollback", folder.path])).toMatchObject({
      code: 0,
      out: 'rolled back "by"\n',
    });
    expect(module.hit(1)).toBe(8);
    expect((await PatchFolder.open(folder.file("patches"))).restored).toEqual([]);
    expect(await torpor(["patch", "rollback", folder.path])).toMatchObject({ code: 1 });
  } finally {
    await offer.close();
    host.close();
  }
});

test("a patch that the source has by now is written down no more, and one that does not fit is an error", async () => {
  using folder = new TemporaryFolder();
  const name = "later.ts";
  loadPatchable(folder, name, OLD);
  const out = folder.file("by.patch");
  writeFileSync(folder.file("v1.ts"), OLD);
  writeFileSync(folder.file("v2.ts"), NEW);
  await torpor([
    "patch",
    "build",
    folder.file("v1.ts"),
    folder.file("v2.ts"),
    "--out",
    out,
    "--module",
    name,
  ]);
  writeFileSync(folder.file("v3.ts"), NEW.replace("return hits", "return hits + 1"));
  const last = folder.file("one.patch");
  await torpor([
    "patch",
    "build",
    folder.file("v2.ts"),
    folder.file("v3.ts"),
    "--out",
    last,
    "--module",
    name,
  ]);
  const patches = await PatchFolder.open(folder.file("patches"));
  await patches.apply(new Uint8Array(readFileSync(out)));
  await patches.apply(new Uint8Array(readFileSync(last)));
  await livePatches.rollback();
  // As after a restart with the old source, into which somebody has put something else.
  using elsewhere = new TemporaryFolder();
  loadPatchable(elsewhere, "other.ts", `${OLD}// not it\nexport let more = 1;\n`);
  const { patch } = livePatches.applied[0]!;
  const other = { ...patch, name: "other", units: [{ ...patch.units[0]!, module: "other.ts" }] };
  await expect(patches.apply(other)).rejects.toMatchObject({ reason: "base" });
  await livePatches.rollback();
  using deployed = new TemporaryFolder();
  loadPatchable(deployed, `new/${name}`, readFileSync(folder.file("v3.ts"), "utf8"));
  // Two versions are loaded here; the newest is what the last patch would make.
  expect((await PatchFolder.open(folder.file("patches"))).restored).toEqual([
    { name: "by", became: "included" },
    { name: "one", became: "included" },
  ]);
});

test("a file that holds no keys is said to hold none", () => {
  for (
    const text of ["", "null", "7", "[]", "{}", '{"privateKey":"a"}', '{"privateKey":"a","publicKey":7}']
  ) {
    expect(() => keysIn("release.keys", text), text).toThrow(/^"release\.keys" holds no keys: /);
  }
  expect(keysIn("k", '{"privateKey":"a","publicKey":"b","more":1}')).toEqual({
    privateKey: "a",
    publicKey: "b",
  });
});
