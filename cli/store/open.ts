import { ImageError } from "../../checkpoint/image/image_error.ts";
import { describeSocketImage, parseLocation } from "../../checkpoint/sockets/stored.ts";
import { stretchesOf } from "../../checkpoint/sockets/stretch.ts";
import { FileStore } from "../../checkpoint/store/file_store.ts";
import { holderOf } from "../../checkpoint/store/lock.ts";
import { SnapshotDisk } from "../../checkpoint/store/snapshot_disk.ts";
import { type Location, StoreError } from "../../checkpoint/store/store.ts";
import { InputError, type Terminal, UsageError } from "../command.ts";

/** The one folder of a command line. */
export function oneFolder(positionals: readonly string[]): string {
  const [folder, more] = positionals;
  if (folder === undefined) throw new UsageError("which folder?");
  if (more !== undefined) throw new UsageError(`one folder, not "${more}" as well`);
  return folder;
}

/** A store as it is now, which is not changed. Says on standard error when a process has it open. */
export async function snapshotOf(
  folder: string,
  command: string,
  terminal: Terminal,
): Promise<{ disk: SnapshotDisk; store: FileStore }> {
  const disk = new SnapshotDisk(folder);
  try {
    if (!disk.list().some((name) => name.endsWith(".seg"))) {
      throw new InputError(`"${folder}" is no store: no segment (00000001.seg) is in it`);
    }
    const holder = holderOf(folder);
    if (holder !== undefined) {
      terminal.err(
        `torpor ${command}: process ${holder} has the store open: this is how it is at this moment\n`,
      );
    }
    return { disk, store: await FileStore.open(disk) };
  } catch (error) {
    disk.close();
    throw error;
  }
}

/** What of a store is damaged; not what a crash leaves, which was never promised. */
export function damagedIn({ stats: { damaged, torn } }: FileStore): number {
  return damaged - torn;
}

/** For a command that changes the store: a folder with one in it, or an error that says so. */
export function mustBeStore(folder: string): void {
  using disk = new SnapshotDisk(folder);
  if (disk.list().some((name) => name.endsWith(".seg"))) return;
  throw new StoreError(`"${folder}" is no store: no segment (00000001.seg) is in it`);
}

/**
 * The connection at a location or of a name, in a store that `folder` is called.
 * @throws {InputError} When it is not there.
 */
export function findConnection(
  store: FileStore,
  folder: string,
  which: string,
): { location: Location; bytes: Uint8Array } {
  const location = parseLocation(which);
  if (location !== undefined) return { location, bytes: store.read(location) };
  const stretchOf = stretchesOf(store);
  for (const { location, bytes } of store.live()) {
    try {
      if (describeSocketImage(bytes, location, stretchOf).id === which) {
        return { location, bytes: bytes.slice() };
      }
    } catch (error) {
      if (!(error instanceof ImageError)) throw error; // damaged: perhaps the one, and check says so
    }
  }
  throw new InputError(`no connection "${which}" sleeps in "${folder}"`);
}

/** `1 connection`, `2,000 connections`. */
export function counted(count: number, what: string, many = `${what}s`): string {
  return `${count.toLocaleString("en")} ${count === 1 ? what : many}`;
}
