import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert } from "../../../base/assert.ts";
import { KeptPacks } from "../../../checkpoint/appliances/disk/kept_packs.ts";
import { Unfinished } from "../../../checkpoint/appliances/disk/unfinished.ts";
import { loadZstd } from "../../../checkpoint/appliances/zstd.ts";
import { hash64 } from "../../../checkpoint/image/hash.ts";
import { userOf } from "../../../serve/launch/container/user.ts";
import { LaunchError } from "../../../serve/launch/launched.ts";
import { equalBytes } from "../equal.ts";
import { orRefuses } from "../refuses.ts";
import type { Target } from "../target.ts";

/** Where syncing takes no time, on Linux. */
const MEMORY = "/dev/shm";

/** Files as a run that was killed has left them. */
function inFolder(use: (path: (name: string) => string) => void): void {
  const folder = mkdtempSync(join(existsSync(MEMORY) ? MEMORY : tmpdir(), "fuzz-"));
  try {
    use((name) => join(folder, name));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const zstd = await loadZstd();
const HEAD_BYTES = 44;
const RAW = new TextEncoder().encode("what is packed ".repeat(20));
const NO_DICTIONARY = new Uint8Array(0);

/** Packs that are whole are found, the rest is cut off, and what is compressed meanwhile is found next time. */
function packs(input: Uint8Array<ArrayBuffer>): void {
  inFolder((path) => {
    const file = path("packs");
    writeFileSync(file, input);
    let found: Uint8Array;
    {
      using kept = new KeptPacks(file, zstd);
      found = new Uint8Array(readFileSync(file));
      equalBytes(found, input.subarray(0, found.length), "what is kept of the file");
      const pack = kept.compressed(RAW, NO_DICTIONARY, 3);
      const bytes = kept.read(pack);
      assert(bytes.length === pack.length, "A pack as long as it says");
      if (kept.resumed === 0) equalBytes(bytes, zstd.compress(RAW, NO_DICTIONARY, 3), "the pack");
    }
    using again = new KeptPacks(file, zstd);
    const all = new Uint8Array(readFileSync(file));
    equalBytes(all.subarray(0, found.length), found, "what was whole is whole");
    again.compressed(RAW, NO_DICTIONARY, 3);
    assert(again.resumed === 1, "It is compressed once");
  });
}

/** Makes the hashes of packs right, as far as their lengths lead. */
function mendPacks(input: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const view = new DataView(input.buffer);
  for (let at = 0; at + HEAD_BYTES < input.length;) {
    const length = view.getUint32(at + 40) % (input.length - at - HEAD_BYTES) + 1;
    view.setUint32(at + 40, length);
    view.setBigUint64(at + 32, hash64(input.subarray(at + HEAD_BYTES, at + HEAD_BYTES + length)));
    at += HEAD_BYTES + length;
  }
  return input;
}

function packFile(...lengths: readonly number[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(lengths.reduce((sum, length) => sum + HEAD_BYTES + length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const length of lengths) {
    bytes.fill(length, at, at + 32);
    view.setUint32(at + 40, length);
    at += HEAD_BYTES + length;
  }
  return mendPacks(bytes);
}

/** A note of how far work is: taken as it stands, or the work begins anew. */
function note(input: Uint8Array<ArrayBuffer>): void {
  inFolder((path) => {
    writeFileSync(path("a.partial"), "");
    writeFileSync(path("a.partial.json"), input);
    const { done, finished } = new Unfinished(path("a"), "id");
    assert(!finished, "Nothing has the final name");
    if (done === undefined) return;
    const { steps, bytes, files } = done;
    assert(Number.isSafeInteger(steps) && steps >= 0 && Number.isSafeInteger(bytes) && bytes >= 0, "Counts");
    assert(files.every((name) => typeof name === "string"), "Names");
    const again = new Unfinished(path("a"), "id").done;
    assert(JSON.stringify(again) === JSON.stringify(done), "Taken again as it was");
    assert(new Unfinished(path("a"), "another").done === undefined, "Other work begins anew");
  });
}

/** A user in an image's configuration, and the two files of its tree, with zero bytes between them. */
function user(input: Uint8Array<ArrayBuffer>): void {
  const [text = "", passwd = "", group = ""] = new TextDecoder().decode(input).split("\0");
  const { value: found, error } = orRefuses(LaunchError, () => userOf(text, passwd, group));
  if (found === undefined) {
    return assert(!/NaN|undefined/.test(error.message) || /NaN|undefined/.test(text), error.message);
  }
  const { uid, gid, groups, home } = found;
  for (const id of [uid, gid, ...groups]) {
    assert(Number.isInteger(id) && id >= 0 && id < 2 ** 32 - 1, `${id} is nobody`);
  }
  assert(home !== "", "Everybody is at home somewhere");
  assert(new Set(groups).size === groups.length, "Each group once");
}

const text = (...parts: readonly string[]): Uint8Array => new TextEncoder().encode(parts.join("\0"));
const PASSWD = "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33::/var/www:\n";
const GROUP = "root:x:0:\nwww:x:33:\nadm:x:4:www,root\n";

export const targets: readonly Target[] = [
  {
    name: "appliances/packs",
    about:
      "packs of a differential that was killed, hashes mended: the whole ones are found, the rest is cut off",
    run: packs,
    seeds: () => [packFile(1), packFile(5, 9, 2), packFile(3).slice(0, 20)],
    mend: mendPacks,
    allocationMax: (length) => (1 << 22) + 512 * length,
  },
  {
    name: "appliances/note",
    about: "notes of work that was killed: taken as they stand, or begun anew",
    run: note,
    seeds: () => [
      text('{"id":"id","steps":3,"bytes":4096,"files":["a"]}'),
      text('{"id":"id","steps":0,"bytes":0,"files":[]}'),
    ],
    dictionary: ['"id"', "null", "-1", "1e99", "[]", "{}", '"files"'],
  },
  {
    name: "appliances/user",
    about:
      "the user that an image names, with the passwd and group of its tree: refused, or numbers that are somebody",
    run: user,
    seeds:
      () => [text("", PASSWD, GROUP), text("www", PASSWD, GROUP), text("7:adm", PASSWD, GROUP), text("0:0")],
    dictionary: [":", "\n", "\0", "4294967295", "4294967294", "-1", ",", "x"],
  },
];
