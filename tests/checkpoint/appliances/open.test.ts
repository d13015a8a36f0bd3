import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { compareTrees } from "../../../checkpoint/appliances/compare.ts";
import { openAppliance } from "../../../checkpoint/appliances/disk/open_appliance.ts";
import { TemporaryFolder } from "../../support/folder.ts";
import { judge } from "../../support/judge.ts";
import { fileOf, folder, tarOf } from "./trees.ts";
import { Tree } from "../../../checkpoint/appliances/tree.ts";

function shell(folder: string): (script: string) => void {
  return (script) =>
    void execFileSync("sh", ["-ec", script], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
}

async function same(left: string, right: string): Promise<void> {
  using one = await openAppliance(left);
  using other = await openAppliance(right);
  expect([...compareTrees(one.tree, other.tree)].map(({ path, how }) => `${path}: ${how}`), right).toEqual(
    [],
  );
}

const ROOTFS = `
  mkdir -p root/etc/init root/usr/bin root/old/deep && cd root
  echo one > etc/one; echo two > etc/init/two; ln -s usr/bin bin; ln etc/one usr/bin/hard
  printf '#!/bin/sh\n' > usr/bin/run; chmod 4755 usr/bin/run; echo gone > old/deep/gone
  touch -d '2020-01-01 00:00:00' etc/init/two etc/one usr/bin/run
`;

judge(
  "a folder is read with its attributes, devices, holes and nanoseconds",
  ["root", "tar", "setfattr"],
  async () => {
    using at = new TemporaryFolder();
    shell(at.path)(`${ROOTFS}
    setfattr -n user.color -v red etc/one
    setfattr -n trusted.overlay.x -v y etc
    setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 usr/bin/run
    mknod null c 1 3; mkfifo pipe; chown 12345:54321 etc/init/two
    truncate -s 1M sparse; printf x | dd of=sparse bs=1 seek=500000 conv=notrunc status=none
    touch -d '2020-01-01 00:00:00.000000001' pipe
  `);
    using read = await openAppliance(at.file("root"));
    expect(read.form).toBe("directory");
    expect(read.tree.get("null")).toMatchObject({ type: "character", major: 1, minor: 3 });
    expect(read.tree.get("pipe")).toMatchObject({ type: "fifo", mtimeNanoseconds: 1 });
    expect(read.tree.get("etc/init/two")).toMatchObject({ uid: 12345, gid: 54321 });
    expect([...read.tree.get("etc")!.xattrs.keys()]).toEqual(["trusted.overlay.x"]);
    expect(read.tree.get("usr/bin/run")?.xattrs.get("security.capability")?.length).toBe(20);
    expect(read.tree.get("usr/bin/hard")).toBe(read.tree.get("etc/one"));
    expect(read.tree.get("sparse")?.content).toMatchObject({ size: 1_048_576, extents: [{ length: 4096 }] });
    const byte = new Uint8Array(1);
    read.tree.get("sparse")!.content!.read(500_000, byte);
    expect(byte[0]).toBe("x".charCodeAt(0));
  },
);

judge("one tree reads the same from a folder, a tar, gzip and zstd", ["tar", "gzip", "zstd"], async () => {
  using at = new TemporaryFolder();
  shell(at.path)(
    `(${ROOTFS}); tar --format=posix -cf root.tar -C root .; gzip -k root.tar; zstd -qk root.tar`,
  );
  for (const file of ["root.tar", "root.tar.gz", "root.tar.zst"]) await same(at.file("root"), at.file(file));
  truncateSync(at.file("root.tar.gz"), 300);
  truncateSync(at.file("root.tar.zst"), 300);
  using spools = new TemporaryFolder();
  for (const file of ["root.tar.gz", "root.tar.zst"]) {
    await expect(openAppliance(at.file(file), { spoolIn: spools.path })).rejects.toThrow("Cannot read");
  }
  expect(readdirSync(spools.path), "nothing is left behind").toEqual([]);
});

judge(
  "images that umoci makes and skopeo copies read the same as a layout and as each archive",
  ["root", "umoci", "skopeo", "tar"],
  async () => {
    using at = new TemporaryFolder();
    shell(at.path)(`
      umoci init --layout img; umoci new --image img:one; umoci unpack --image img:one bundle
      (cd bundle/rootfs; ${
      ROOTFS.replace("root/etc/init root/usr/bin root/old/deep && cd root", "etc/init usr/bin old/deep")
    })
      umoci repack --image img:one bundle; rm -rf bundle; umoci unpack --image img:one bundle
      (cd bundle/rootfs; rm -r old; rm etc/init/two; echo changed > etc/one; mkdir old; echo new > old/new)
      umoci repack --image img:one bundle
      umoci config --image img:one --config.entrypoint /usr/bin/run --config.exposedports 80/tcp --config.env A=b
      skopeo --insecure-policy copy -q oci:img:one oci-archive:oci.tar:one
      skopeo --insecure-policy copy -q oci:img:one docker-archive:docker.tar:me/one:2
    `);
    using image = await openAppliance(at.file("img"));
    expect(image).toMatchObject({
      form: "oci",
      services: [{ name: "img", entrypoint: ["/usr/bin/run"], ports: ["80/tcp"] }],
      platform: { os: "linux" },
    });
    expect(image.services[0]!.env).toContain("A=b");
    expect(image.layers.length).toBe(2);
    expect(image.tree.get("old/deep")).toBeUndefined();
    expect(image.tree.get("old/new")?.type).toBe("file");
    using lower = await openAppliance(`${at.file("img")}#1`);
    expect(lower.layers).toEqual(image.layers.slice(0, 1));
    expect(lower.tree.get("old/deep/gone")?.type).toBe("file");
    shell(at.path)(`umoci unpack --image img:one whole; rm -rf extracted; mv whole/rootfs extracted`);
    using extracted = await openAppliance(at.file("extracted"));
    expect([...compareTrees(image.tree, extracted.tree)].filter(({ path }) => path !== "")).toEqual([]);
    for (const spec of ["img:one", "oci.tar", "oci.tar:one", "docker.tar", "docker.tar:docker.io/me/one:2"]) {
      await same(at.file("img"), at.file(spec));
    }
    await expect(openAppliance(at.file("img:two"))).rejects.toThrow("Cannot choose an image");
    await expect(openAppliance(at.file("img#3"))).rejects.toThrow("it has 2");
    const blobs = join(at.file("img"), "blobs/sha256");
    const layer = readdirSync(blobs).map((name) => join(blobs, name)).find((path) =>
      readFileSync(path)[0] === 0x1f
    )!;
    const bytes = readFileSync(layer);
    bytes[4]! ^= 1; // the time in gzip's header: what is in it stays whole
    writeFileSync(layer, bytes);
    await expect(openAppliance(at.file("img"))).rejects.toThrow(/Cannot read layer \d of .*hashes to/);
  },
  60_000,
);

test("an appliance that a signal stops leaves nothing behind", async () => {
  using at = new TemporaryFolder();
  const tree = new Tree();
  tree.put("etc", folder());
  tree.put("etc/a", fileOf(new Uint8Array(3_000_000)));
  writeFileSync(at.file("a.tar"), tarOf(tree));
  using spools = new TemporaryFolder();
  const controller = new AbortController();
  const reason = new Error("enough");
  const opening = openAppliance(at.file("a.tar"), {
    signal: controller.signal,
    spoolIn: spools.path,
    onProgress: () => controller.abort(reason),
  });
  await expect(opening).rejects.toBe(reason);
  expect(readdirSync(spools.path)).toEqual([]);
});
