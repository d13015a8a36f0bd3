import { decode } from "cborg";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { ApplianceError } from "../../../checkpoint/appliances/appliance_error.ts";
import { compareTrees } from "../../../checkpoint/appliances/compare.ts";
import { applyDiff } from "../../../checkpoint/appliances/diff/apply_diff.ts";
import { ChunkIndex, chunksOf } from "../../../checkpoint/appliances/diff/chunk_index.ts";
import { CHUNK_MAX, CHUNK_MIN } from "../../../checkpoint/appliances/diff/chunker.ts";
import { DiffImage } from "../../../checkpoint/appliances/diff/diff_image.ts";
import { sha256Of } from "../../../checkpoint/appliances/disk/contents.ts";
import { Tree } from "../../../checkpoint/appliances/tree.ts";
import { contentBytes, loadZstd } from "../../../checkpoint/appliances/zstd.ts";
import { scanCbor } from "../../../checkpoint/image/cbor_scan.ts";
import { explainImage, ImageError, readImage, verifyImage } from "../../../checkpoint/image/mod.ts";
import { drawSeed } from "../../support/seed.ts";
import { schema } from "../image/cddl.ts";
import { changed, diffOf, goldenPair, sourceOf } from "./opened.ts";
import { bytesIn, contentOf, fileOf, folder, randomBytes, randomTree } from "./trees.ts";

const zstd = await loadZstd();

function same(left: Tree, right: Tree, what: string): void {
  expect([...compareTrees(left, right)].map(({ path, how }) => `${path}: ${how}`), what).toEqual([]);
  for (const { path, node } of right.entries()) {
    if (node.content === undefined) continue;
    expect(sha256Of(bytesIn(node.content)), `${what}: ${path}`).toBe(left.get(path)!.content!.sha256);
  }
}

test("what a differential makes of its base is the appliance, whatever the trees, and the same bytes each time", async () => {
  const seed = drawSeed("DIFF_SEED", 1_000_000);
  for (let run = 0; run < 12; run++) {
    const what = `seed ${seed + run}`;
    const prng = new Prng(seed + run);
    const base = randomTree(prng, 40);
    const target = changed(base, prng);
    const bytes = await diffOf(base, target);
    same(target, applyDiff(base, new DiffImage(sourceOf(bytes), zstd), zstd), what);
    if (run === 0) expect(Buffer.compare(await diffOf(base, target), bytes), what).toBe(0);
    const none = new DiffImage(sourceOf(await diffOf(target, target)), zstd);
    expect(none.changes, what).toEqual([]);
  }
});

test("a large file that has changed costs what is new in it; a file that has moved costs nothing", async () => {
  const prng = new Prng(5);
  const large = randomBytes(prng, 3_000_000);
  const base = new Tree(), target = new Tree();
  base.put("usr/lib/large", fileOf(large));
  const edited = Buffer.concat([
    large.subarray(0, 1_000_000),
    randomBytes(prng, 5_000),
    large.subarray(1_000_100),
  ]);
  target.put("usr/lib/large", fileOf(edited));
  target.put("opt/copy", fileOf(large));
  target.put("opt/parts", fileOf(Buffer.concat([large.subarray(2_000_000), large.subarray(0, 500_000)])));
  const bytes = await diffOf(base, target);
  expect(bytes.length).toBeLessThan(120_000); // 5,000 new bytes, and the chunks at three borders
  same(target, applyDiff(base, new DiffImage(sourceOf(bytes), zstd), zstd), "edited");
});

test("a small file that has changed is compressed against its old version, a new library against its last", async () => {
  const prng = new Prng(6);
  const old = randomBytes(prng, 50_000);
  const base = new Tree(), target = new Tree();
  base.put("lib/libx.so.1.2.3", fileOf(old));
  base.put("etc/conf", fileOf(old.subarray(0, 20_000)));
  const edit = (bytes: Uint8Array): Uint8Array => bytes.map((byte, at) => at % 5_000 === 0 ? byte ^ 1 : byte);
  target.put("lib/libx.so.1.2.4", fileOf(edit(old)));
  target.put("etc/conf", fileOf(edit(old.subarray(0, 20_000))));
  const bytes = await diffOf(base, target);
  expect(bytes.length).toBeLessThan(2_000);
  same(target, applyDiff(base, new DiffImage(sourceOf(bytes), zstd), zstd), "edited");
});

test("borders of chunks follow the content, and lie within their bounds", async () => {
  const prng = new Prng(3);
  const bytes = randomBytes(prng, 2_000_000);
  const chunks = [...chunksOf(contentOf(bytes))].map(({ offset, bytes: { length } }) => ({ offset, length }));
  expect(chunks.reduce((sum, { length }) => sum + length, 0)).toBe(bytes.length);
  for (const { length } of chunks.slice(0, -1)) {
    expect(length).toBeGreaterThanOrEqual(CHUNK_MIN);
    expect(length).toBeLessThanOrEqual(CHUNK_MAX);
  }
  const index = new ChunkIndex();
  await index.add("a", contentOf(bytes), () => undefined);
  let found = 0;
  const moved = Buffer.concat([randomBytes(prng, 12_345), bytes]);
  for (const { offset, bytes: chunk } of chunksOf(contentOf(moved))) {
    const there = index.find(chunk);
    if (there === undefined) continue;
    expect(there).toEqual({ path: "a", offset: offset - 12_345 });
    found += chunk.length;
  }
  expect(found).toBeGreaterThan(1_900_000);
});

test("another base is refused, with the beginnings of both fingerprints", async () => {
  const { base, target } = goldenPair();
  const diff = new DiffImage(sourceOf(await diffOf(base, target)), zstd);
  const other = new Tree();
  other.put("etc", folder());
  expect(() => applyDiff(other, diff, zstd)).toThrow(/it is for the base [0-9a-f]{12}, this is [0-9a-f]{12}/);
});

const GOLDEN = new URL("../../golden/image-v1-diff.img", import.meta.url);

test("the golden differential stays readable, and is written the same on every runtime", async () => {
  const { base, target } = goldenPair();
  const golden = new Uint8Array(readFileSync(GOLDEN));
  expect(Buffer.compare(await diffOf(base, target, SERVICES), golden)).toBe(0);
  const diff = new DiffImage(sourceOf(golden), zstd);
  same(target, applyDiff(base, diff, zstd), "golden");
  expect(diff.about.services).toEqual(SERVICES);
});

const SERVICES = [{
  name: "redis",
  entrypoint: ["/usr/bin/redis-server"],
  cmd: ["--port", "6379"],
  env: ["PATH=/usr/bin"],
  ports: ["6379/tcp"],
  user: "redis",
  workingDir: "/",
}];

test("the schema covers differentials and all that is in their chunks", () => {
  const cddl = schema(readFileSync(new URL("../../../checkpoint/image/image.cddl", import.meta.url), "utf8"));
  const image = readImage(new Uint8Array(readFileSync(GOLDEN)));
  const diff = new DiffImage(sourceOf(new Uint8Array(readFileSync(GOLDEN))), zstd);
  const body = image.body as unknown[];
  cddl.check("diff-body", body);
  const frame = image.chunks[0]!;
  const items = zstd.decompress(frame, new Uint8Array(0), contentBytes(frame)!);
  let count = 0;
  for (let at = 0; at < items.length; count++) {
    const { end } = scanCbor(items, at);
    cddl.check("diff-item", decode(items.subarray(at, end), { useMaps: true }));
    at = end;
  }
  expect(count).toBe(diff.changes.length + diff.packs.length);
  expect(new Set(diff.changes.map(({ kind }) => kind))).toEqual(
    new Set(["removed", "file", "node", "meta", "link"]),
  );
});

test("each flipped bit of a differential is found and its part named, when it is opened or when it is read", () => {
  const { base } = goldenPair();
  const golden = new Uint8Array(readFileSync(GOLDEN));
  expect(verifyImage(golden).ok).toBe(true);
  expect(explainImage(golden)).toContain("diff image, version 1");
  for (let byte = 0; byte < golden.length; byte += byte < 400 ? 1 : 23) {
    const flipped = golden.slice();
    flipped[byte]! ^= 1 << (byte % 8);
    const named = verifyImage(flipped).parts.find(({ ok }) => !ok)!.part;
    let error: unknown;
    try {
      const tree = applyDiff(base, new DiffImage(sourceOf(flipped), zstd), zstd);
      for (const { node } of tree.entries()) if (node.content !== undefined) bytesIn(node.content);
    } catch (thrown) {
      error = thrown;
    }
    expect(error, `byte ${byte}`).toBeInstanceOf(ImageError);
    expect((error as ImageError).part, `byte ${byte}`).toBe(named);
  }
});

test("what no differential says is refused: a path out of the tree, a piece beyond its pack", async () => {
  const { ChangeReader } = await import("../../../checkpoint/appliances/diff/change.ts");
  const stat = [0o644, 0, 0, 1, 0, new Map()];
  const bad: [string, ...unknown[]][] = [
    ["../etc", 0, "../etc"],
    ["absolute", 0, "/etc"],
    ["mode", 3, "a", [0o10000, 0, 0, 1, 0, new Map()]],
    ["type", 2, "a", stat, 6],
    ["pack", 1, "a", stat, 3, new Uint8Array(32), null, [[0, 0, 3]]],
    ["size", 1, "a", stat, 4, new Uint8Array(32), null, [["b", 0, 3]]],
    ["extents", 1, "a", stat, 4, new Uint8Array(32), [3, 2], [["b", 0, 2]]],
    ["kind", 7, "a"],
    ["dictionary", 5, 1, [["a", 0, 9 * 2 ** 20]]],
  ];
  for (const [what, ...item] of bad) {
    const reader = new ChangeReader();
    expect(() => {
      reader.take(item as never);
      reader.end();
    }, what).toThrow(TypeError);
  }
  expect(() =>
    zstd.decompress(zstd.compress(new Uint8Array(100), new Uint8Array(0), 3), new Uint8Array(0), 99)
  )
    .toThrow(ApplianceError);
});
