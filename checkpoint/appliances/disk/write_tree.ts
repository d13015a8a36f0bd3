import { once } from "node:events";
import fs from "node:fs";
import { basename, join } from "node:path";
import process from "node:process";
import { refuse } from "../appliance_error.ts";
import { compareTrees } from "../compare.ts";
import { fingerprint } from "../fingerprint.ts";
import { quoted } from "../path.ts";
import { TAR_END } from "../tar/tar_writer.ts";
import type { Tree, TreeEntry } from "../tree.ts";
import { readFolder } from "./open_tree.ts";
import { Meter, type WorkOptions } from "./progress.ts";
import { printed, run } from "./streams.ts";
import { openFolder, tarEntry } from "./tar_stream.ts";
import { type Done, Unfinished } from "./unfinished.ts";
import { BATCH_BYTES, BATCH_STEPS, type Steps, type WriteOptions, writeSteps } from "./write_steps.ts";

/** What came of writing a tree. */
export interface WrittenTree {
  readonly entries: number;
  /** Entries that an earlier run had written, which was stopped. */
  readonly resumed: number;
  readonly bytes: number;
}

/**
 * Writes a tree as a tar file. Stopped at any instant it goes on where it was, and the file is under its name only when
 * it is whole and durable.
 * @throws {ApplianceError} When there is something of that name, or a content is not what its hash says.
 */
export async function writeTarFile(
  tree: Tree,
  path: string,
  options: WriteOptions = {},
): Promise<WrittenTree> {
  const work = new Unfinished(path, `tar ${fingerprint(tree)}`);
  if (work.finished) return resumedWhole(tree, work.done!);
  const { steps, bytes, resumed } = await writeSteps(work.path, tarSteps(tree), {
    ...options,
    meter: new Meter(`writing ${path}`, options),
    mode: 0o600, // the passwords of its users may be in it
    done: work.done,
    note: (steps, bytes) => work.note({ steps, bytes, files: [] }),
  });
  work.finish({ steps, bytes, files: [] });
  return { entries: tree.size, resumed: Math.min(resumed, tree.size), bytes };
}

function* tarSteps(tree: Tree): Steps {
  for (const entry of tree.entries()) yield tarEntry(entry);
  yield [TAR_END];
}

function resumedWhole({ size }: Tree, { bytes }: Done): WrittenTree {
  return { entries: size, resumed: size, bytes };
}

/**
 * Writes a tree as a folder, by way of GNU tar. Stopped at any instant it goes on where it was. Before the folder gets
 * its name it is read again and compared, as mtree would: owners only where we are root, since nobody else may give
 * files away.
 * @throws {ApplianceError} When there is something of that name, the file system cannot hold the tree, or what was
 * written is another.
 */
export async function writeFolder(
  tree: Tree,
  path: string,
  options: WriteOptions = {},
): Promise<WrittenTree> {
  const { batchSteps = BATCH_STEPS, batchBytes = BATCH_BYTES } = options;
  const work = new Unfinished(path, `folder ${fingerprint(tree)}`);
  if (work.finished) return resumedWhole(tree, work.done!);
  const unfinished = work.path;
  const resumed = work.done?.steps ?? 0;
  if (work.done === undefined) fs.rmSync(unfinished, { recursive: true, force: true });
  fs.mkdirSync(unfinished, { recursive: true, mode: 0o700 });
  const meter = new Meter(`writing ${path}`, options);
  let entries = resumed;
  let batch: TreeEntry[] = [];
  let bytes = work.done?.bytes ?? 0, batchedBytes = 0;
  const flush = async (): Promise<void> => {
    await extract(unfinished, batch.map((entry) => ({ ...entry, node: openFolder(entry.node) })), meter);
    entries += batch.length;
    bytes += batchedBytes;
    batch = [];
    batchedBytes = 0;
    for await (const _ of printed("sync", ["--file-system", unfinished]));
    work.note({ steps: entries, bytes, files: [] });
  };
  const folders: TreeEntry[] = [];
  let seen = 0;
  for (const entry of tree.entries()) {
    if (entry.node.type === "directory") folders.push(entry);
    if (seen++ < resumed) continue;
    batch.push(entry);
    if (entry.links === undefined) batchedBytes += entry.node.content?.size ?? 0;
    if (batch.length >= batchSteps || batchedBytes >= batchBytes) await flush();
  }
  await flush();
  await extract(unfinished, folders, meter); // with their own modes and times, now that all is in them
  await prove(tree, unfinished, options);
  for await (const _ of printed("sync", ["--file-system", unfinished]));
  work.finish({ steps: entries, bytes, files: [] });
  return { entries, resumed, bytes };
}

async function extract(folder: string, entries: readonly TreeEntry[], meter: Meter): Promise<void> {
  if (entries.length === 0) return;
  const args = ["--extract", "--preserve-permissions", "--numeric-owner", "--xattrs", "--xattrs-include=*"];
  const { child, ended } = run("tar", [...args, "--directory", folder], true);
  const input = child.stdin!;
  let broken = false;
  input.on("error", () => (broken = true)); // it has ended, and says why
  try {
    for (const entry of entries) {
      if (broken) break;
      for (const piece of tarEntry(entry)) {
        await meter.add(piece.length);
        if (broken) break;
        if (!input.write(piece)) await Promise.race([once(input, "drain"), ended]);
      }
    }
    input.end(TAR_END);
  } catch (error) {
    child.kill();
    throw error;
  }
  await ended;
}

async function prove(tree: Tree, folder: string, options: WorkOptions): Promise<void> {
  const written = await readFolder(folder, options);
  const root = process.getuid?.() === 0;
  for (const { path, how, left, right } of compareTrees(tree, written)) {
    const wrong = how.filter((each) => root || (each !== "owner" && each !== "xattrs"));
    if (left !== undefined && right !== undefined && wrong.length === 0) continue;
    const what = left === undefined
      ? "is there"
      : right === undefined
      ? "is missing"
      : `has another ${wrong.join(", ")}`;
    refuse(
      "system",
      `Cannot write ${quoted(basename(folder))}: ${quoted(join("/", path))} ${what} on this file system`,
    );
  }
}
