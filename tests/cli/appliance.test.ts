import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Tree } from "../../checkpoint/appliances/tree.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";
import { goldenPair } from "../checkpoint/appliances/opened.ts";
import { fileOf, tarOf } from "../checkpoint/appliances/trees.ts";
import { torpor } from "./run.ts";

function written(folder: TemporaryFolder): { base: string; target: string } {
  const { base, target } = goldenPair();
  writeFileSync(folder.file("base.tar"), tarOf(base));
  writeFileSync(folder.file("redis.tar"), tarOf(target));
  return { base: folder.file("base.tar"), target: folder.file("redis.tar") };
}

test("torpor appliance: a differential is written, told, applied, and refused for another base", async () => {
  using at = new TemporaryFolder();
  const { base, target } = written(at);
  const file = at.file("redis.diff");
  const made = await torpor(["appliance", "diff", base, target, file, "--json"]);
  expect(made).toMatchObject({ code: 0, err: "" });
  expect(JSON.parse(made.out)).toMatchObject({ added: 6, changed: 2, metadata: 1, removed: 1, packs: 1 });
  const told = await torpor(["appliance", "inspect", file]);
  expect(told.out).toContain("- etc/gone\n");
  expect(told.out).toContain("+ lib/moved file 0644 0:0 300000 bytes, 300000 of them the base's\n");
  expect(told.out).toContain("= lib/hard is another name of etc/passwd\n");
  expect(told.out).toMatch(/redis: \d+ changes, 1 packs; base [0-9a-f]{12}, result [0-9a-f]{12}\n$/);
  for (const command of ["inspect", "explain"]) {
    const { code, out } = await torpor([command, file]);
    expect(code).toBe(0);
    expect(out).toMatch(/diff image, version 1(.|\n)*every part is whole(.|\n)*\n {2}- etc\/gone\n/);
  }
  const lines = (await torpor(["appliance", "inspect", file, "--json"])).out.trim().split("\n");
  expect(JSON.parse(lines.at(-1)!).appliances).toMatchObject([{ name: "redis" }]);
  const applied = await torpor(["appliance", "apply", base, file, at.file("out.tar"), "--json"]);
  expect(JSON.parse(applied.out)).toMatchObject({ form: "tar", names: 12, resumed: 0 });
  expect(Buffer.compare(readFileSync(at.file("out.tar")), readFileSync(target))).toBe(0);
  const other = await torpor(["appliance", "apply", target, file, at.file("no.tar")]);
  expect(other.code).toBe(2);
  expect(other.err).toContain("it is for the base");
  expect(existsSync(at.file("no.tar"))).toBe(false);
  for (const args of [["diff", base, target, file], ["apply", base, file, at.file("out.tar")]]) {
    const again = await torpor(["appliance", ...args]);
    expect(again.code).toBe(2);
    expect(again.err).toContain("it is there already");
  }
  const flipped = readFileSync(file);
  flipped[50]! ^= 1;
  writeFileSync(file, flipped);
  const damaged = await torpor(["appliance", "apply", base, file, at.file("no.tar")]);
  expect(damaged.code).toBe(2);
  expect(damaged.err).toContain("body at byte 50");
  const explained = await torpor(["inspect", file]);
  expect(explained.code).toBe(1);
  expect(explained.out).toMatch(/BAD body .* byte 50 holds/);
});

test("torpor appliance diff --services says what a folder or a tar starts, and the merged differential starts all", async () => {
  using at = new TemporaryFolder();
  const { base, target } = written(at);
  const service = { entrypoint: ["/bin/sh"], cmd: [], env: [], ports: ["80/tcp"], user: "", workingDir: "/" };
  for (const [name, port] of [["one", "80/tcp"], ["two", "81/tcp"]] as const) {
    writeFileSync(at.file("services.json"), JSON.stringify([{ ...service, name, ports: [port] }]));
    const services = ["--services", at.file("services.json")];
    writeFileSync(at.file(`${name}.tar`), readFileSync(target));
    const made = await torpor([
      "appliance",
      "diff",
      base,
      at.file(`${name}.tar`),
      at.file(`${name}.diff`),
      ...services,
    ]);
    expect(made).toMatchObject({ code: 0, err: "" });
  }
  const both = at.file("both.diff");
  const merged = ["appliance", "merge", base, at.file("one.diff"), at.file("two.diff"), "--out", both];
  expect((await torpor(merged)).code).toBe(0);
  const { out } = await torpor(["appliance", "inspect", both, "--json"]);
  expect(JSON.parse(out.trim().split("\n").at(-1)!).services).toEqual([
    { ...service, name: "one" },
    { ...service, name: "two", ports: ["81/tcp"] },
  ]);
  writeFileSync(at.file("services.json"), "[{}]");
  const wrong = [
    "appliance",
    "diff",
    base,
    target,
    at.file("no.diff"),
    "--services",
    at.file("services.json"),
  ];
  expect((await torpor(wrong)).code).toBe(2);
  expect(existsSync(at.file("no.diff"))).toBe(false);
});

test("torpor appliance base: one that is in all others, what all have, or nothing", async () => {
  using at = new TemporaryFolder();
  const spec = (name: string, files: Record<string, string>): string => {
    const tree = new Tree();
    for (const [path, text] of Object.entries(files)) tree.put(path, fileOf(text));
    writeFileSync(at.file(name), tarOf(tree));
    return at.file(name);
  };
  const common = { "etc/os": "x".repeat(5_000), "usr/bin/sh": "y".repeat(5_000) };
  const base = spec("base.tar", common);
  const nginx = spec("nginx.tar", { ...common, "usr/bin/nginx": "n".repeat(9_000) });
  const redis = spec("redis.tar", { ...common, "usr/bin/redis": "r".repeat(9_000) });
  const stranger = spec("stranger.tar", { "usr/bin/x": "s".repeat(9_000) });
  const found = await torpor(["appliance", "base", nginx, base, redis]);
  expect(found).toMatchObject({ code: 0, err: "" });
  expect(found.out).toContain(
    "base is the base.\n100% of the bytes and 100% of the names of base are in nginx.\n",
  );
  expect(found.out).toContain(`The base: ${base}\n`);
  const both = await torpor(["appliance", "base", nginx, redis, "--json", "--out", at.file("common.tar")]);
  expect(JSON.parse(both.out)).toMatchObject({ base: null, by: "common", names: 6 });
  expect((await torpor(["appliance", "inspect", at.file("common.tar")])).out).toContain("6 names, 10.0 KB");
  const none = await torpor(["appliance", "base", nginx, stranger]);
  expect(none).toMatchObject({ code: 1, out: "" });
  expect((await torpor(["appliance", "base", nginx])).code).toBe(2);
});

judge("torpor appliance base: images that begin with the same layers", ["root", "umoci", "tar"], async () => {
  using at = new TemporaryFolder();
  execFileSync("sh", [
    "-ec",
    `
    umoci init --layout img; umoci new --image img:base; umoci unpack --image img:base b
    mkdir -p b/rootfs/etc; echo x > b/rootfs/etc/os; umoci repack --image img:base b
    for name in nginx redis; do
      rm -rf b; umoci unpack --image img:base b; echo $name > b/rootfs/etc/$name; umoci repack --image img:$name b
    done`,
  ], { cwd: at.path, stdio: "pipe" });
  const [nginx, redis] = [`${at.file("img")}:nginx`, `${at.file("img")}:redis`];
  const found = await torpor(["appliance", "base", nginx, redis, "--json", "--out", at.file("base.oci")]);
  expect(JSON.parse(found.out)).toMatchObject({ base: `${nginx}#1`, by: "layers" });
  expect((await torpor(["appliance", "diff", at.file("base.oci"), redis, at.file("r.diff")])).code).toBe(0);
  const applied = await torpor([
    "appliance",
    "apply",
    at.file("base.oci"),
    at.file("r.diff"),
    at.file("r.oci"),
    "--json",
  ]);
  expect(JSON.parse(applied.out)).toMatchObject({ form: "oci" });
  const [one, other] = [
    await torpor(["appliance", "inspect", redis, "--mtree"]),
    await torpor(["appliance", "inspect", at.file("r.oci"), "--mtree"]),
  ];
  expect(other.out).toBe(one.out);
});
