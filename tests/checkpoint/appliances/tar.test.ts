import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { ApplianceError } from "../../../checkpoint/appliances/appliance_error.ts";
import { compareTrees } from "../../../checkpoint/appliances/compare.ts";
import { hashMember, storedContent } from "../../../checkpoint/appliances/disk/contents.ts";
import { Overlay } from "../../../checkpoint/appliances/layer.ts";
import { compareNames, comparePaths } from "../../../checkpoint/appliances/path.ts";
import { readTar } from "../../../checkpoint/appliances/tar/tar_reader.ts";
import { tarHeader } from "../../../checkpoint/appliances/tar/tar_writer.ts";
import { Tree } from "../../../checkpoint/appliances/tree.ts";
import { TemporaryFolder } from "../../support/folder.ts";
import { judge } from "../../support/judge.ts";
import { drawSeed } from "../../support/seed.ts";
import { ABOUT, bytesIn, fileOf, folder, randomTree, tarOf } from "./trees.ts";

/** The tree in a tar that is in memory, which comes in pieces of `pieceBytes`. */
async function treeIn(
  tar: Uint8Array,
  { pieceBytes = 1_000, isLayer = false, tree = new Tree() } = {},
): Promise<Tree> {
  const pieces = function* (): Generator<Uint8Array> {
    for (let at = 0; at < tar.length; at += pieceBytes) yield tar.slice(at, at + pieceBytes);
  };
  const overlay = new Overlay(tree, isLayer);
  for await (const member of readTar(pieces())) {
    overlay.add(
      member,
      member.kind === "file"
        ? storedContent(
          member,
          await hashMember(member),
          (at, into) => into.set(tar.subarray(at, at + into.length)),
        )
        : undefined,
    );
  }
  overlay.end();
  return tree;
}

function told(tree: Tree, other: Tree): string[] {
  return [...compareTrees(tree, other)].map(({ path, how }) => `${path}: ${how.join()}`);
}

test("a tree that is written as a tar and read again is the same, to the nanosecond and attribute", async () => {
  const seed = drawSeed("TREE_SEED", 1_000_000);
  for (let run = 0; run < 15; run++) {
    const prng = new Prng(seed + run);
    const tree = randomTree(prng, 60);
    const again = await treeIn(tarOf(tree), { pieceBytes: 1 + prng.below(5_000) });
    expect(told(tree, again), `seed ${seed + run}`).toEqual([]);
    for (const { path, node } of tree.entries()) {
      if (node.content === undefined) continue;
      const same = Buffer.compare(bytesIn(again.get(path)!.content!), bytesIn(node.content)) === 0;
      expect(same, `seed ${seed + run}: ${path}`).toBe(true);
      expect(again.get(path)!.content!.extents).toEqual(node.content.extents);
    }
  }
});

test("each way in which trees differ is told", () => {
  const one = new Tree(), other = new Tree();
  const make = (tree: Tree, second: boolean): void => {
    tree.put("a", second ? folder() : fileOf("x"));
    tree.put("b", fileOf(second ? "y" : "x"));
    tree.put("c", fileOf("x", { mode: second ? 0o600 : 0o644 }));
    tree.put("d", fileOf("x", { gid: second ? 1 : 0 }));
    tree.put("e", fileOf("x", { mtimeNanoseconds: second ? 1 : 0 }));
    tree.put("f", fileOf("x", { xattrs: new Map([["user.a", Uint8Array.of(second ? 1 : 0)]]) }));
    tree.put("g", { ...ABOUT, type: "symlink", target: second ? "x" : "y" });
    tree.put("h", { ...ABOUT, type: "block", major: 1, minor: second ? 1 : 0 });
    tree.put("i", second ? tree.get("b")! : fileOf("y"));
    tree.put(second ? "j" : "k", fileOf("x"));
  };
  make(one, false);
  make(other, true);
  expect(told(one, other)).toEqual([
    ...[
      "a: type,mode",
      "b: content",
      "c: mode",
      "d: owner",
      "e: mtime",
      "f: xattrs",
      "g: target",
      "h: device",
    ],
    ...["i: links", "j: ", "k: "],
  ]);
});

test("paths have the order of a walk, names that of their UTF-8", () => {
  const names = ["\u{1f642}", "\uffee", "a", "é", "ab"].sort(compareNames);
  const bytes = [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  expect(names).toEqual(bytes);
  const tree = randomTree(new Prng(7), 200);
  const paths = [...tree.entries()].map(({ path }) => path);
  expect([...paths].reverse().sort(comparePaths)).toEqual(paths);
});

/** Members of a hostile tar, of which the last is refused. */
const HOSTILE: Record<string, [path: string, node?: Parameters<Tree["put"]>[1], links?: string][]> = {
  "an absolute path": [["/etc/passwd"]],
  "a path that goes up": [["a/../../etc/passwd"]],
  "a path that is nothing but up": [[".."]],
  "a path through a symlink": [["a", { ...ABOUT, type: "symlink", target: "/etc" }], ["a/passwd"]],
  "a path through a file": [["a"], ["a/b"]],
  "a hard link out of the tree": [["a", fileOf(""), "../../etc/shadow"]],
  "a hard link through a symlink": [["a", { ...ABOUT, type: "symlink", target: "/etc" }], [
    "b",
    fileOf(""),
    "a/shadow",
  ]],
  "a hard link to nothing": [["a", fileOf(""), "b"]],
  "a hard link to a folder": [["a", folder()], ["b", fileOf(""), "a"]],
  "a name that is too long": [["x".repeat(256)]],
  "a path that is too long": [["x/".repeat(2_100)]],
};

test.each(Object.entries(HOSTILE))("a tar with %s is refused", async (_, members) => {
  const tar = Buffer.concat(
    members.map(([path, node, links]) => tarHeader(path, node ?? fileOf(""), links).bytes),
  );
  const error = await treeIn(tar).catch((thrown) => thrown);
  expect(error).toBeInstanceOf(ApplianceError);
  expect(error.reason).toBe("path");
  if (members.length > 1) await treeIn(tar.subarray(0, 512)); // it is the last one
});

test("a tar that is cut off or flipped anywhere in its headers is refused, or reads as it was", async () => {
  const tree = new Tree();
  tree.put("a", fileOf("x".repeat(600), { xattrs: new Map([["user.a", Uint8Array.of(1)]]) }));
  const tar = tarOf(tree);
  const dataStart = tar.length - 1024 - 1024;
  for (let length = 1; length < dataStart + 600; length += 37) {
    await expect(treeIn(tar.subarray(0, length)), `cut at ${length}`).rejects.toThrow(ApplianceError);
  }
  for (let at = 0; at < 512; at++) {
    const flipped = tar.slice();
    flipped[at]! ^= 4;
    const same = await treeIn(flipped).then((read) => told(tree, read).length === 0, (error) => {
      expect(error).toBeInstanceOf(ApplianceError);
      return true;
    });
    expect(same, `byte ${at}`).toBe(true);
  }
});

test("whiteouts of a layer take away what was below, wherever they stand (OCI layer.md)", async () => {
  const lower = new Tree();
  for (const path of ["etc/a", "etc/b/c", "opt/old/x", "usr/keep"]) lower.put(path, fileOf(path));
  const upper = new Tree();
  upper.put("etc/.wh.a", fileOf(""));
  upper.put("etc/.wh.b", fileOf(""));
  upper.put("opt/.new", fileOf("sorts before the whiteout"));
  upper.put("opt/.wh..wh..opq", fileOf(""));
  upper.put("opt/new", fileOf("new"));
  upper.put(".wh..wh.plnk", fileOf(""));
  const tree = await treeIn(tarOf(upper), { isLayer: true, tree: lower });
  expect([...tree.entries()].map(({ path }) => path)).toEqual([
    ...["", "etc", "opt", "opt/.new", "opt/new", "usr", "usr/keep"],
  ]);
  await expect(treeIn(tarHeader("a/.wh...", fileOf("")).bytes, { isLayer: true })).rejects.toThrow(
    "names nothing",
  );
});

test("a tree takes as many names as it may, and not one more", () => {
  const tree = new Tree(4);
  tree.put("a/b", fileOf("1")); // the root, a and b
  tree.put("a/c", fileOf("2"));
  expect(tree.size).toBe(4);
  for (const path of ["a/d", "e", "f/g"]) {
    expect(() => tree.put(path, fileOf("3"))).toThrow("more than 4 names");
  }
  expect(tree.size).toBe(4);
  tree.put("a/c", fileOf("4"));
  tree.remove("a/c");
  tree.put("e", fileOf("5"));
});

judge(
  "GNU tar writes what we read, in each of its formats, and reads what we write",
  ["tar", "setfattr"],
  async () => {
    using at = new TemporaryFolder();
    const sh = (script: string): string =>
      execFileSync("sh", ["-ec", script], {
        cwd: at.path,
        encoding: "utf8",
        stdio: ["ignore", "pipe", "pipe"],
      });
    sh(`
    mkdir -p tree/sub/${"n".repeat(120)} && cd tree
    echo hello > a; ln a sub/link; ln -s ../a sub/soft; mkfifo sub/pipe; chmod 4711 a
    echo deep > sub/${"n".repeat(120)}/${"f".repeat(200)}
    touch -d '2001-02-03 04:05:06.123456789' sub/a; touch -d '1960-01-01 00:00:00.25' sub/old
    truncate -s 12M sparse; for n in 0 1 3 5 7 9 11; do
      printf data | dd of=sparse bs=1M seek=$n conv=notrunc status=none; done
    setfattr -n user.color -v red a
  `);
    const read = async (options: string): Promise<Tree> => {
      sh(`tar ${options} --sort=name -cf out.tar -C tree .`);
      return await treeIn(execFileSync("cat", [at.file("out.tar")], { maxBuffer: 2 ** 28 }));
    };
    const posix = await read("--format=posix --xattrs --sparse");
    expect(posix.get("sub/a")).toMatchObject({ mtimeNanoseconds: 123_456_789 });
    expect(posix.get("sub/old")).toMatchObject({ mtimeSeconds: -315_619_200, mtimeNanoseconds: 250_000_000 });
    expect(posix.get("sub/link")).toBe(posix.get("a"));
    expect(posix.get("a")?.xattrs.get("user.color")).toEqual(new TextEncoder().encode("red"));
    expect(posix.get("sparse")?.content?.extents?.length).toBe(7);
    for (const options of ["--format=gnu", "--format=oldgnu", "--format=gnu --sparse"]) {
      const how = told(posix, await read(options)).filter((each) =>
        !/: (mtime|xattrs|mtime,xattrs)$/.test(each)
      );
      expect(how, options).toEqual([]); // these formats have no room for both
    }
    for (const version of ["0.0", "0.1"]) {
      expect(told(posix, await read(`--format=posix --xattrs --sparse-version=${version} --sparse`)), version)
        .toEqual([]);
    }
    writeFileSync(at.file("ours.tar"), tarOf(posix));
    sh(`rm -rf tree; mkdir tree; tar --xattrs -xpf ours.tar -C tree`);
    expect(told(posix, await read("--format=posix --xattrs --sparse"))).toEqual([]);
    expect(Number(sh("stat -c %b tree/sparse"))).toBeLessThan(1_000);
  },
);
