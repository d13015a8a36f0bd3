import { once } from "node:events";
import fs from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import process from "node:process";
import { refuse } from "../appliance_error.ts";
import { compareTrees } from "../compare.ts";
import { fingerprint } from "../fingerprint.ts";
import { quoted } from "../path.ts";
import { TAR_END } from "../tar/tar_writer.ts";
import type { Tree, TreeEntry } from "../tree.ts";
import { mustBeFree, syncFolder } from "./diff_file.ts";
import { Journal } from "./journal.ts";
import { readFolder } from "./open_tree.ts";
import { Meter, type WorkOptions } from "./progress.ts";
import { writeAll } from "./spool.ts";
import { printed, run } from "./streams.ts";
import { openFolder, tarEntry } from "./tar_stream.ts";

/** So many bytes, or entries, are written before they are made durable and noted. */
const BATCH_BYTES = 256 * 1024 * 1024;
const BATCH_ENTRIES = 20_000;

/** What came of writing a tree. */
export interface WrittenTree {
  readonly entries: number;
  /** Entries that an earlier run had written, which was stopped. */
  readonly resumed: number;
  readonly bytes: number;
}

/** Options of `writeFolder` and `writeTarFile`. */
export interface WriteOptions extends WorkOptions {
  /** Entries and bytes after which progress is noted; for tests. */
  readonly batchEntries?: number;
  readonly batchBytes?: number;
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
  const { batchEntries = BATCH_ENTRIES, batchBytes = BATCH_BYTES } = options;
  mustBeFree(path);
  const unfinished = `${path}.partial`;
  const journal = new Journal(`${unfinished}.json`, `tar ${fingerprint(tree)}`);
  const done = fs.existsSync(unfinished) ? journal.read() : undefined;
  const file = fs.openSync(unfinished, done === undefined ? "w" : "r+", 0o600);
  const meter = new Meter(`writing ${path}`, options);
  let written = done?.bytes ?? 0;
  let entries = 0;
  try {
    fs.ftruncateSync(file, written);
    let noted = written, notedEntries = done?.entries ?? 0;
    for (const entry of tree.entries()) {
      if (entries++ < (done?.entries ?? 0)) continue;
      for (const piece of tarEntry(entry)) {
        writeAll(file, piece, written);
        written += piece.length;
        meter.add(piece.length);
      }
      if (entries - notedEntries < batchEntries && written - noted < batchBytes) continue;
      fs.fsyncSync(file);
      journal.write(entries, written);
      noted = written;
      notedEntries = entries;
      await turn();
    }
    writeAll(file, TAR_END, written);
    fs.fsyncSync(file);
  } finally {
    fs.closeSync(file);
  }
  finish(unfinished, path, journal);
  return { entries, resumed: done?.entries ?? 0, bytes: written + TAR_END.length };
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
  const { batchEntries = BATCH_ENTRIES, batchBytes = BATCH_BYTES } = options;
  mustBeFree(path);
  const unfinished = `${path.replace(/\/+$/, "")}.partial`;
  const journal = new Journal(`${unfinished}.json`, `folder ${fingerprint(tree)}`);
  const done = fs.existsSync(unfinished) ? journal.read() : undefined;
  if (done === undefined) fs.rmSync(unfinished, { recursive: true, force: true });
  fs.mkdirSync(unfinished, { recursive: true, mode: 0o700 });
  const meter = new Meter(`writing ${path}`, options);
  let entries = done?.entries ?? 0;
  let batch: TreeEntry[] = [];
  let bytes = done?.bytes ?? 0, batchedBytes = 0;
  const flush = async (): Promise<void> => {
    await extract(unfinished, batch.map((entry) => ({ ...entry, node: openFolder(entry.node) })), meter);
    entries += batch.length;
    bytes += batchedBytes;
    batch = [];
    batchedBytes = 0;
    for await (const _ of printed("sync", ["--file-system", unfinished]));
    journal.write(entries, bytes);
  };
  const folders: TreeEntry[] = [];
  let seen = 0;
  for (const entry of tree.entries()) {
    if (entry.node.type === "directory") folders.push(entry);
    if (seen++ < (done?.entries ?? 0)) continue;
    batch.push(entry);
    if (entry.links === undefined) batchedBytes += entry.node.content?.size ?? 0;
    if (batch.length >= batchEntries || batchedBytes >= batchBytes) await flush();
  }
  await flush();
  await extract(unfinished, folders, meter); // with their own modes and times, now that all is in them
  await prove(tree, unfinished, options);
  for await (const _ of printed("sync", ["--file-system", unfinished]));
  finish(unfinished, path, journal);
  return { entries, resumed: done?.entries ?? 0, bytes };
}

/** Gives finished work its name. */
export function finish(unfinished: string, path: string, journal: Journal): void {
  fs.renameSync(unfinished, path);
  journal.remove();
  syncFolder(dirname(resolve(path)));
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
        meter.add(piece.length);
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

function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
