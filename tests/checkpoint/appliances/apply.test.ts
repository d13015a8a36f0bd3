import { execFileSync } from "node:child_process";
import {
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { compareTrees } from "../../../checkpoint/appliances/compare.ts";
import { applyDiff } from "../../../checkpoint/appliances/diff/apply_diff.ts";
import { DiffImage } from "../../../checkpoint/appliances/diff/diff_image.ts";
import { writeDiff } from "../../../checkpoint/appliances/disk/diff_file.ts";
import { openAppliance } from "../../../checkpoint/appliances/disk/open_appliance.ts";
import { Unfinished } from "../../../checkpoint/appliances/disk/unfinished.ts";
import { writeLayout } from "../../../checkpoint/appliances/disk/write_layout.ts";
import { writeFolder, writeTarFile } from "../../../checkpoint/appliances/disk/write_tree.ts";
import { mtreeLines } from "../../../checkpoint/appliances/mtree.ts";
import { Tree } from "../../../checkpoint/appliances/tree.ts";
import { loadZstd } from "../../../checkpoint/appliances/zstd.ts";
import { TemporaryFolder } from "../../support/folder.ts";
import { judge } from "../../support/judge.ts";
import { drawSeed } from "../../support/seed.ts";
import { changed, diffOf, opened, sourceOf } from "./opened.ts";
import { bytesIn, fileOf, randomBytes, randomTree, tarOf } from "./trees.ts";

async function mustBe(tree: Tree, spec: string, what = spec): Promise<void> {
  using read = await openAppliance(spec);
  expect([...compareTrees(tree, read.tree)].map(({ path, how }) => `${path}: ${how}`), what).toEqual([]);
}

/** A random tree that a disk can hold: its root is ours to name, and no attribute is the kernel's. */
function holdable(prng: Prng): Tree {
  const tree = randomTree(prng, 50);
  const next = new Tree();
  for (const { path, node } of tree.entries()) {
    if (next.get(path) !== undefined && path !== "") continue;
    const xattrs = node.type === "file" || node.type === "directory"
      ? new Map([...node.xattrs].filter(([key]) => key.startsWith("user.")))
      : new Map();
    const seen = [...tree.entries()].find((each) => each.node === node)!.path;
    const times = { mtimeSeconds: Math.abs(node.mtimeSeconds) % 2 ** 31 };
    next.put(path, seen === path ? { ...node, xattrs, ...times } : next.get(seen)!);
  }
  return next;
}

/** Lets `act` look at the signal so many times, then aborts it: it is asked at each piece. @returns What was thrown. */
async function stoppedAfter<T>(looks: number, act: (signal: AbortSignal) => Promise<T>): Promise<T | Error> {
  const { signal } = new AbortController();
  const reason = new Error("stopped");
  let left = looks;
  Object.defineProperty(signal, "throwIfAborted", {
    value: () => {
      if (left-- === 0) throw reason;
    },
  });
  try {
    return await act(signal);
  } catch (error) {
    expect(error).toBe(reason);
    return reason;
  }
}

test("a tar that is stopped again and again ends as one that was not, and has its name only then", async () => {
  const seed = drawSeed("APPLY_SEED", 1_000_000);
  const prng = new Prng(seed);
  const tree = randomTree(prng, 60);
  for (let file = 0; file < 30; file++) tree.put(`zz/${file}`, fileOf(`${file}`));
  using at = new TemporaryFolder();
  const path = at.file("out.tar");
  let stops = 0;
  for (let budget = 1;; budget += 3) {
    const written = await stoppedAfter(
      budget,
      (signal) => writeTarFile(tree, path, { signal, batchSteps: 2 }),
    );
    if (!(written instanceof Error)) {
      expect(written.resumed, `seed ${seed}`).toBeGreaterThan(0);
      break;
    }
    expect(existsSync(path)).toBe(false);
    stops++;
  }
  expect(stops).toBeGreaterThan(2);
  expect(Buffer.compare(readFileSync(path), tarOf(tree)), `seed ${seed}`).toBe(0);
  expect(readdirSync(at.path)).toEqual(["out.tar"]);
  await expect(writeTarFile(tree, path)).rejects.toThrow("it is there already");
});

test("a layout that is stopped again and again goes on, also in the midst of a layer, and ends in the same bytes", async () => {
  const seed = drawSeed("APPLY_SEED", 1_000_000);
  const prng = new Prng(seed);
  const [lower, base, tree] = [new Tree(), new Tree(), new Tree()];
  for (const each of [base, tree]) each.put("etc/gone", fileOf("gone"));
  tree.remove("etc/gone");
  for (let file = 0; file < 20; file++) {
    for (const each of [base, tree]) each.put(`a/${file}`, fileOf(randomBytes(prng, 700)));
    tree.put(`b/${file}`, fileOf(randomBytes(prng, 5)));
  }
  using at = new TemporaryFolder();
  await writeLayout({ base: opened(lower), tree: base, services: [], ref: "base" }, at.file("base"));
  using image = await openAppliance(at.file("base"));
  // Above an image, whose layer is copied, and above a folder, which becomes one.
  for (const [name, below] of [["image", image], ["folder", opened(base)]] as const) {
    const content = { base: below, tree, services: [], ref: "x" };
    await writeLayout(content, at.file(`${name}-once`));
    const path = at.file(name);
    let stops = 0, resumed = 0;
    for (let budget = 3; resumed === 0; budget += 5) {
      const written = await stoppedAfter(
        budget,
        (signal) => writeLayout(content, path, { signal, batchSteps: 2 }),
      );
      if (!(written instanceof Error)) resumed = written.resumed;
      else if (++stops === 2) {
        // What is not what the note says of it is begun anew.
        const blobs = join(`${path}.partial`, "blobs/sha256");
        for (const blob of readdirSync(blobs)) truncateSync(join(blobs, blob), 100);
      }
    }
    expect(stops, `seed ${seed}`).toBeGreaterThan(4);
    expect(resumed).toBeGreaterThan(10_000);
    const files = (folder: string): unknown =>
      readdirSync(folder, { recursive: true, withFileTypes: true }).filter((each) => each.isFile()).map((
        { name, parentPath },
      ) => [name, readFileSync(join(parentPath, name), "latin1")]).sort();
    expect(files(path), `seed ${seed}`).toEqual(files(at.file(`${name}-once`)));
    await mustBe(tree, path);
  }
  expect(readdirSync(at.path).sort()).toEqual(["base", "folder", "folder-once", "image", "image-once"]);
});

test("a note of other work, or one without its work, is nothing to go on from", async () => {
  using at = new TemporaryFolder();
  const [one, other] = [new Tree(), new Tree()];
  for (let file = 0; file < 9; file++) one.put(`${file}`, fileOf("one"));
  for (let file = 0; file < 9; file++) other.put(`${file}`, fileOf("other"));
  const path = at.file("out.tar");
  const stop = async (tree: Tree, looks: number): Promise<void> => {
    const written = await stoppedAfter(
      looks,
      (signal) => writeTarFile(tree, path, { signal, batchSteps: 2 }),
    );
    expect(written).toBeInstanceOf(Error);
  };
  await stop(one, 12);
  await stop(other, 1); // before anything of it is noted
  expect((await writeTarFile(one, path)).resumed).toBe(0);
  expect(Buffer.compare(readFileSync(path), tarOf(one))).toBe(0);
  rmSync(path);
  await stop(one, 12);
  rmSync(`${path}.partial`);
  await stop(one, 1);
  expect((await writeTarFile(one, path)).resumed).toBe(0);
  expect(Buffer.compare(readFileSync(path), tarOf(one))).toBe(0);
  expect(readdirSync(at.path)).toEqual(["out.tar"]);
});

test("work that was killed when it had its name, before its note was deleted, is done", () => {
  using at = new TemporaryFolder();
  const path = at.file("out");
  const all = { steps: 3, bytes: 5, files: ["a"] };
  const work = new Unfinished(path, "it");
  writeFileSync(work.path, "whole");
  work.note(all);
  renameSync(work.path, path);
  expect(() => new Unfinished(path, "other")).toThrow("it is there already");
  expect(new Unfinished(`${path}/`, "it")).toMatchObject({ finished: true, done: all });
  expect(readdirSync(at.path)).toEqual(["out"]);
  expect(() => new Unfinished(path, "it")).toThrow("it is there already");
});

test("a differential that is stopped, or killed in the midst of a pack, compresses no pack again, and is the same", async () => {
  const seed = drawSeed("APPLY_SEED", 1_000_000);
  const prng = new Prng(seed);
  using at = new TemporaryFolder();
  const base = new Tree(), target = new Tree();
  for (let file = 0; file < 9; file++) target.put(`${file}`, fileOf(randomBytes(prng, 1_400_000)));
  const path = at.file("a.diff"), packs = `${path}.partial.packs`;
  const once = await writeDiff(opened(base), opened(target), at.file("once.diff"), { level: 1 });
  expect(once).toMatchObject({ packs: 4, resumed: 0 });
  const make = (signal?: AbortSignal): ReturnType<typeof writeDiff> =>
    writeDiff(opened(base), opened(target), path, { level: 1, ...signal === undefined ? {} : { signal } });
  for (let looks = 100; !existsSync(packs) || statSync(packs).size < 8_000_000; looks += 100) {
    expect(await stoppedAfter(looks, make)).toBeInstanceOf(Error);
    expect(existsSync(path)).toBe(false);
  }
  const whole = readFileSync(packs);
  writeFileSync(packs, whole.subarray(0, whole.length - 1)); // killed while the last was written
  await expect(stoppedAfter(1, make)).resolves.toBeInstanceOf(Error);
  expect(statSync(packs).size).toBeLessThan(5_000_000);
  const torn = whole.slice();
  torn[5_000_000]! ^= 1; // what a power failure leaves of the second
  writeFileSync(packs, torn);
  expect(await make()).toMatchObject({ packs: 4, resumed: 1 });
  expect(Buffer.compare(readFileSync(path), readFileSync(at.file("once.diff"))), `seed ${seed}`).toBe(0);
  expect(readdirSync(at.path).sort()).toEqual(["a.diff", "once.diff"]);
});

test("who is interrupted while trees are compared hears of it, and says how far it is", async () => {
  using at = new TemporaryFolder();
  const base = new Tree(), target = new Tree();
  const large = randomBytes(new Prng(4), 1_000_000);
  // Work for minutes, of which nothing waits for a disk.
  const content = {
    ...fileOf(large).content!,
    size: 2 ** 36,
    read: (_: number, into: Uint8Array) => into.set(large.subarray(0, into.length)),
  };
  base.put("large", { ...fileOf(""), content });
  target.put("large", { ...fileOf(""), content: { ...content, sha256: "00".repeat(32) } });
  const controller = new AbortController();
  const told: number[] = [];
  const work = writeDiff(opened(base), opened(target), at.file("a.diff"), {
    signal: controller.signal,
    onProgress({ bytes }) {
      told.push(bytes);
      if (bytes > 0) setTimeout(() => controller.abort(new Error("interrupted"))); // the loop turns, so it is heard
    },
  });
  await expect(work).rejects.toThrow("interrupted");
  expect(told.at(-1)).toBeGreaterThan(0);
  expect(readdirSync(at.path)).toEqual([]);
});

judge(
  "a folder is written whole, with all that a tree has; stopped it goes on",
  ["root", "tar", "sync"],
  async () => {
    const seed = drawSeed("APPLY_SEED", 1_000_000);
    for (let run = 0; run < 3; run++) {
      using at = new TemporaryFolder();
      const prng = new Prng(seed + run);
      const base = holdable(prng);
      const zstd = await loadZstd();
      const target = changed(base, prng);
      const diff = new DiffImage(sourceOf(await diffOf(base, target)), zstd);
      const tree = holdableAgain(applyDiff(base, diff, zstd));
      for (let file = 0; file < 30; file++) tree.put(`zz/${file}`, fileOf(`${file}`));
      const path = at.file("out");
      const stop = async (looks: number): Promise<void> => {
        const act = (signal: AbortSignal): Promise<unknown> =>
          writeFolder(tree, path, { signal, batchSteps: 3 });
        expect(await stoppedAfter(looks, act)).toBeInstanceOf(Error);
        expect(existsSync(path)).toBe(false);
      };
      await stop(25);
      const { resumed } = await writeFolder(tree, path, { batchSteps: 3 });
      expect(resumed, `seed ${seed + run}`).toBeGreaterThan(0);
      await mustBe(tree, path, `seed ${seed + run}`);
      expect(readdirSync(at.path)).toEqual(["out"]);
    }
  },
);

/** What `changed` brought may have attributes and times that no disk takes. */
function holdableAgain(tree: Tree): Tree {
  const next = new Tree();
  const made = new Map<object, Parameters<Tree["put"]>[1]>();
  for (const { path, node } of tree.entries()) {
    const one = made.get(node) ?? {
      ...node,
      xattrs: new Map(),
      mtimeSeconds: Math.abs(node.mtimeSeconds) % 2 ** 31,
    };
    if (node.type !== "directory") made.set(node, one);
    next.put(path, one);
  }
  return next;
}

test("a content that is not what its hash says is never written under the final name", async () => {
  using at = new TemporaryFolder();
  const tree = new Tree();
  const node = fileOf("what it was");
  tree.put("a", { ...node, content: { ...node.content!, read: (_, into) => into.fill(1) } });
  for (const write of [writeTarFile, writeFolder]) {
    await expect(write(tree, at.file("out"))).rejects.toThrow(/Cannot write "a": it hashes to/);
    expect(existsSync(at.file("out"))).toBe(false);
  }
});

judge(
  "skopeo and umoci accept a layout that we write, and unpack the tree that it is of",
  ["root", "skopeo", "umoci", "tar", "mtree"],
  async () => {
    using at = new TemporaryFolder();
    const sh = (script: string): string =>
      execFileSync("sh", ["-ec", script], {
        cwd: at.path,
        encoding: "utf8",
        stdio: ["ignore", "pipe", "pipe"],
      });
    const prng = new Prng(21);
    const base = holdableAgain(holdable(prng));
    base.put("etc/gone/deep", fileOf("gone"));
    const tree = holdableAgain(changed(base, prng));
    tree.remove("etc");
    const services = [{
      ...{ name: "one", entrypoint: ["/bin/one"], cmd: ["-v"], env: ["A=b"], ports: ["80/tcp"] },
      ...{ user: "", workingDir: "/srv" },
    }];
    await writeLayout({ base: opened(base), tree, services, ref: "one" }, at.file("img"));
    await mustBe(tree, at.file("img"));
    using again = await openAppliance(at.file("img"));
    expect(again.services).toEqual(services);
    const { Layers, Env } = JSON.parse(sh("skopeo inspect oci:img:one"));
    expect(Layers.length).toBe(2);
    expect(Env).toEqual(["A=b"]);
    sh(
      "skopeo --insecure-policy copy -q oci:img:one docker-archive:d.tar:x:y && umoci unpack --image img:one bundle",
    );
    await mustBe(tree, at.file("d.tar"));
    const [process] = [JSON.parse(readFileSync(at.file("bundle/config.json"), "utf8")).process];
    expect(process.args).toEqual(["/bin/one", "-v"]);
    writeFileSync(at.file("spec"), `${[...mtreeLines(tree)].join("\n")}\n`);
    // umoci rounds times of symlinks and gives the root its own.
    const found = sh("mtree -f spec -p bundle/rootfs || true").split("\n").filter((line) => line !== "");
    expect(found.filter((line) => !/modification time|^\.:|^\t/.test(line) && !/^\S+:\s*$/.test(line)))
      .toEqual([]);
    // On top of an image its layers stay as they are.
    using image = await openAppliance(at.file("img#1"));
    const { layers } = await writeLayout({ base: image, tree, services, ref: "two" }, at.file("img2"));
    expect(layers).toBe(2);
    for (const blob of image.blobs) {
      expect(existsSync(at.file(`img2/blobs/sha256/${blob.digest}`))).toBe(true);
    }
    await mustBe(tree, at.file("img2"));
    for (const { node } of again.tree.entries()) if (node.content !== undefined) bytesIn(node.content);
  },
  60_000,
);
