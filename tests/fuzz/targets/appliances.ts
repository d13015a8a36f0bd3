import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { assert } from "../../../base/assert.ts";
import { Prng } from "../../../base/random.ts";
import { ApplianceError } from "../../../checkpoint/appliances/appliance_error.ts";
import { compareTrees } from "../../../checkpoint/appliances/compare.ts";
import { applyChanges } from "../../../checkpoint/appliances/diff/apply_diff.ts";
import { ChangeReader, encodeChange, encodePack } from "../../../checkpoint/appliances/diff/change.ts";
import { DiffContents } from "../../../checkpoint/appliances/diff/diff_content.ts";
import { DiffImage } from "../../../checkpoint/appliances/diff/diff_image.ts";
import { explainDiff } from "../../../checkpoint/appliances/diff/explain_diff.ts";
import { Overlay } from "../../../checkpoint/appliances/layer.ts";
import { type DriverName, DRIVERS, runDriver } from "../../../checkpoint/appliances/merge/drivers.ts";
import { readLibraryCache, writeLibraryCache } from "../../../checkpoint/appliances/merge/libraries.ts";
import { fits, readPolicy } from "../../../checkpoint/appliances/merge/policy.ts";
import {
  readConfig,
  readDescriptors,
  readDocument,
  readImageList,
} from "../../../checkpoint/appliances/oci/documents.ts";
import { BLOCK_BYTES } from "../../../checkpoint/appliances/tar/tar_header.ts";
import { readTar } from "../../../checkpoint/appliances/tar/tar_reader.ts";
import { paddingOf, TAR_END, tarHeader } from "../../../checkpoint/appliances/tar/tar_writer.ts";
import { Tree } from "../../../checkpoint/appliances/tree.ts";
import { loadZstd } from "../../../checkpoint/appliances/zstd.ts";
import { CborError, decodeCbor, encodeCbor } from "../../../checkpoint/image/cbor.ts";
import { scanCbor } from "../../../checkpoint/image/cbor_scan.ts";
import { ImageError } from "../../../checkpoint/image/image_error.ts";
import { goldenPair, sourceOf } from "../../checkpoint/appliances/opened.ts";
import { fileOf, folder, randomTree, tarOf } from "../../checkpoint/appliances/trees.ts";
import { equalBytes } from "../equal.ts";
import { orRefuses } from "../refuses.ts";
import type { Target } from "../target.ts";
import { mendImage } from "./image.ts";

/** The tree in a tar, whose files have no bytes; `undefined` when it is refused. */
async function treeIn(tar: Uint8Array, isLayer: boolean): Promise<Tree | undefined> {
  const tree = new Tree();
  const overlay = new Overlay(tree, isLayer);
  const half = tar.length >> 1;
  try {
    for await (const member of readTar([tar.slice(0, half), tar.slice(half)])) {
      const { size, extents } = member;
      const content = { size, sha256: "", read: () => {}, ...extents === undefined ? {} : { extents } };
      overlay.add(member, member.kind === "file" ? content : undefined);
    }
    overlay.end();
    return tree;
  } catch (error) {
    if (error instanceof ApplianceError) return undefined;
    throw error;
  }
}

/** What is read is written so that it reads the same; data, which may be terabytes of holes, is left at zeros. */
async function tar(input: Uint8Array<ArrayBuffer>): Promise<void> {
  await treeIn(input, true);
  const tree = await treeIn(input, false);
  if (tree === undefined) return;
  const pieces: Uint8Array[] = [];
  for (const { path, node, links } of tree.entries()) {
    assert(!path.split("/").some((name) => name === ".."), "Nothing leads out of the tree");
    if ((node.major ?? 0) > 0o7777777 || (node.minor ?? 0) > 0o7777777) return;
    const { bytes, dataBytes } = tarHeader(path, node, links);
    pieces.push(bytes, new Uint8Array(dataBytes + paddingOf(dataBytes)));
  }
  pieces.push(TAR_END);
  const again = await treeIn(new Uint8Array(Buffer.concat(pieces)), false);
  assert(again !== undefined, "What we write, we read");
  const [difference] = compareTrees(tree, again);
  assert(difference === undefined, `${difference?.path}: ${difference?.how.join()}`);
}

/** Makes the checksums of all blocks right that say they are headers. */
function mendTar(input: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  for (let at = 0; at + BLOCK_BYTES <= input.length; at += BLOCK_BYTES) {
    const block = input.subarray(at, at + BLOCK_BYTES);
    if (String.fromCharCode(...block.subarray(257, 262)) !== "ustar") continue;
    block.fill(32, 148, 156);
    const sum = block.reduce((all, byte) => all + byte, 0);
    block.set(new TextEncoder().encode(sum.toString(8).padStart(6, "0")), 148);
  }
  return input;
}

function documents(input: Uint8Array<ArrayBuffer>): void {
  orRefuses(ApplianceError, () => readConfig(input, "it", "name"));
  orRefuses(ApplianceError, () => readImageList(input, "it"));
  const { value } = orRefuses(ApplianceError, () => readDocument(input, "it"));
  if (value === undefined) return;
  for (const field of ["manifests", "layers"]) {
    const { value: list } = orRefuses(ApplianceError, () => readDescriptors(value[field], "it"));
    for (const { digest } of list ?? []) assert(/^sha256:[0-9a-f]{64}$/.test(digest), "A digest is one");
  }
}

const DIGEST = `sha256:${"0".repeat(64)}`;
const DOCUMENTS = [
  {
    manifests: [{
      digest: DIGEST,
      size: 1,
      mediaType: "x",
      platform: { os: "linux", architecture: "amd64" },
    }],
  },
  { config: { digest: DIGEST, size: 1 }, layers: [{ digest: DIGEST, size: 1, annotations: {} }] },
  {
    rootfs: { diff_ids: [DIGEST] },
    config: { Entrypoint: ["a"], Cmd: null, Env: ["A=b"], ExposedPorts: { "80/tcp": {} }, Labels: {} },
  },
  { rootfs: { diff_ids: [] }, config: { Labels: { "torpor.services": '[{"name":"a","ports":["1/udp"]}]' } } },
  [{ Config: "a.json", RepoTags: ["a:b"], Layers: ["a/layer.tar"] }],
];

function* tars(): Generator<Uint8Array> {
  for (let seed = 0; seed < 12; seed++) {
    const bytes = tarOf(randomTree(new Prng(seed), 3));
    if (bytes.length <= 8_192) yield bytes;
  }
  const tree = new Tree();
  tree.put("a", folder());
  tree.put("a/.wh.b", fileOf(""));
  tree.put("a/.wh..wh..opq", fileOf(""));
  yield tarOf(tree);
}

const zstd = await loadZstd();
const { base } = goldenPair();

/** Images of differentials are refused, or make a tree whose files can be read, and which names nothing outside it. */
function diff(input: Uint8Array<ArrayBuffer>): void {
  const { value: image, error } = orRefuses(ImageError, () => new DiffImage(sourceOf(input), zstd));
  if (image === undefined) {
    assert(error.offset >= 0 && error.offset <= input.length, "The mistake lies in the image");
    return;
  }
  for (const { text } of explainDiff(image)) assert(!/NaN|undefined/.test(text), text);
  const { value: tree } = orRefuses(
    ApplianceError,
    () => applyChanges(base, image, new DiffContents(base, image, zstd)),
  );
  for (const { path, node } of tree?.entries() ?? []) {
    assert(!path.split("/").includes(".."), "Nothing leads out of the tree");
    if ((node.content?.size ?? 0) === 0 || node.content!.size > 1_000_000) continue;
    try {
      node.content!.read(0, new Uint8Array(node.content!.size));
    } catch (refusal) {
      if (!(refusal instanceof ApplianceError || refusal instanceof ImageError)) throw refusal;
    }
  }
}

/** Changes within their sequence, which is compressed: the input is taken apart, and put together again. */
function changes(input: Uint8Array<ArrayBuffer>): void {
  const reader = new ChangeReader();
  try {
    for (let at = 0; at < input.length;) {
      const { end } = scanCbor(input, at);
      reader.take(decodeCbor(input.subarray(at, end)));
      at = end;
    }
    reader.end();
  } catch (refusal) {
    if (refusal instanceof TypeError || refusal instanceof CborError) return;
    throw refusal;
  }
  const written = itemsOf(reader);
  const again = new ChangeReader();
  for (const item of written) again.take(decodeCbor(item));
  equalBytes(Buffer.concat(itemsOf(again)), Buffer.concat(written), "read again");
}

function itemsOf({ packs, changes }: Pick<ChangeReader, "packs" | "changes">): Uint8Array[] {
  return [
    ...packs.map((pack) => encodeCbor(encodePack(pack))),
    ...changes.flatMap((change) => [...encodeChange(change)].map((item) => encodeCbor(item))),
  ];
}

/** The changes of the golden differential, item by item and all together. */
function* changeSeeds(): Generator<Uint8Array> {
  const { packs, changes } = new DiffImage(sourceOf(golden), zstd);
  const items = itemsOf({ packs: [...packs], changes: [...changes] });
  yield* items;
  yield new Uint8Array(Buffer.concat(items));
}

const golden = new Uint8Array(readFileSync(join(process.cwd(), "tests/golden/image-v1-diff.img")));

/** A library cache is refused, or has the same libraries when it is written and read again. */
function libraries(input: Uint8Array<ArrayBuffer>): void {
  const { value: cache } = orRefuses(ApplianceError, () => readLibraryCache(input));
  if (cache === undefined) return;
  const written = writeLibraryCache(cache);
  const again = readLibraryCache(written);
  equalBytes(writeLibraryCache(again), written, "written again");
  assert(again.libraries.length === cache.libraries.length, "As many as there were");
}

/** Every driver merges two sides and a base, in one order as in the other, or says why not. */
function drivers(input: Uint8Array<ArrayBuffer>): void {
  const first = input.indexOf(0), second = input.indexOf(0, first + 1);
  if (first < 0 || second < 0) return;
  const base = input.subarray(0, first),
    one = input.subarray(first + 1, second),
    other = input.subarray(second + 1);
  for (const name of Object.keys(DRIVERS) as DriverName[]) {
    const sides = [{ name: "one", bytes: one }, { name: "other", bytes: other }];
    const there = runDriver(name, base, sides), back = runDriver(name, base, sides.toReversed());
    assert("bytes" in there === "bytes" in back, `${name} depends on who is first`);
    const alone = runDriver(name, base, [sides[0]!, { name: "other", bytes: base }]);
    const itself = runDriver(name, base, [sides[0]!, { name: "other", bytes: one }]);
    if ("bytes" in alone && "bytes" in itself && name !== "append") {
      equalBytes(alone.bytes, itself.bytes, `${name}: what one side alone did, and what both did`);
    }
  }
}

const SIDES = [
  ["root:x:0:\nadm:x:4:\n", "root:x:0:\nadm:x:4:a\na:x:5:\n", "root:x:0:\nadm:x:4:b\n"],
  ["Package: a\nVersion: 1\n\n", "Package: a\nVersion: 2\nX: a\n b\n\n", "Package: b\nOwners: a, b\n\n"],
  ["auto\n/x\n\n/a\n1\n\n", "auto\n/x\n\n/a\n1\n/b\n2\n\n", "auto\n/x\n\n/a\n1\n/c\n3\n\n"],
  ["r:x:0:0::/:\n", "r:x:0:0::/:\na:x:1:1::/:\n", "b:x:1:1::/:\n"],
];

export const targets: readonly Target[] = [
  {
    name: "appliances/libraries",
    about: "ld.so.cache: refused, or the same libraries when it is written and read again",
    run: libraries,
    seeds: () => [
      writeLibraryCache({ libraries: [], generator: undefined }),
      writeLibraryCache({
        libraries: [
          { name: "libz.so.1", path: "/lib/libz.so.1", flags: 0x303, osVersion: 0 },
          { name: "libz.so.1", path: "/opt/z", flags: 3, osVersion: 0 },
        ],
        generator: new TextEncoder().encode("ldconfig"),
      }),
    ],
    allocationMax: (length) => (1 << 18) + 1024 * length,
  },
  {
    name: "appliances/drivers",
    about: "each merge driver: a conflict, or a merge that does not depend on who is first",
    run: drivers,
    seeds: () => SIDES.map((texts) => new TextEncoder().encode(texts.join("\0"))),
    allocationMax: (length) => (1 << 18) + 4096 * length,
  },
  {
    name: "appliances/policy",
    about: "policies: refused, or rules that fit paths or do not",
    run: (input) => {
      const { value: policy } = orRefuses(ApplianceError, () => readPolicy(input));
      for (const { path } of policy?.drivers ?? []) fits(path, "var/lib/dpkg/status");
    },
    seeds: () => [
      new TextEncoder().encode(
        '{"mtime":"latest","drivers":[{"path":"a/**/*b","driver":"lines"}],"ports":"addresses"}',
      ),
      new TextEncoder().encode('{"resolve":[{"path":"*","take":"base"}]}'),
    ],
    allocationMax: (length) => (1 << 17) + 512 * length,
  },
  {
    name: "appliances/diff",
    about: "differentials, hashes mended: refused, or a tree of files that can be read, or are refused",
    run: diff,
    bytesMax: 1_024,
    seeds: () => [golden],
    mend: mendImage,
    allocationMax: (length) => (1 << 25) + 4096 * length,
  },
  {
    name: "appliances/changes",
    about: "what a differential changes: refused, or the same when it is written and read again",
    run: changes,
    bytesMax: 1_024,
    seeds: changeSeeds,
    allocationMax: (length) => (1 << 20) + 512 * length,
  },
  {
    name: "appliances/tar",
    about: "tars, checksums mended: refused, or a tree that is the same when it is written and read again",
    run: tar,
    bytesMax: 8_192,
    seeds: tars,
    mend: mendTar,
    dictionary: ["../", "/etc", ".wh.", ".wh..wh..opq", "GNU.sparse.map=0,1", "GNU.sparse.major=1", "path="],
    allocationMax: (length) => (1 << 22) + 4096 * length,
  },
  {
    name: "appliances/documents",
    about: "the JSON of images: refused, or digests are digests and lists are lists",
    run: documents,
    seeds: () => DOCUMENTS.map((document) => new TextEncoder().encode(JSON.stringify(document))),
    allocationMax: (length) => (1 << 17) + 512 * length,
  },
];
