import fs from "node:fs";
import { dirname } from "node:path";
import type { Store } from "../store/store.ts";
import type { ArchiveSource } from "./archive_reader.ts";
import { type Archived, type ArchiveOptions, writeArchive } from "./archive_writer.ts";

/**
 * As `writeArchive`, into a file: durable when this resolves, and under its name only when it is whole.
 *
 * @throws {Error} When the file is there already, or the disk refuses.
 */
export async function writeArchiveFile(
  store: Store,
  path: string,
  options: ArchiveOptions = {},
): Promise<Archived> {
  if (fs.existsSync(path)) throw new Error(`Cannot write archive "${path}": it is there already`);
  const unfinished = `${path}.tmp`;
  const file = fs.openSync(unfinished, "w", 0o600); // what connections said is their application's
  let archived: Archived;
  try {
    archived = await writeArchive(store, (piece) => {
      for (let at = 0; at < piece.length;) at += fs.writeSync(file, piece, at);
      return new Promise((resolve) => setTimeout(resolve, 0)); // others have their turn
    }, options);
    await synced(file);
  } catch (error) {
    fs.unlinkSync(unfinished);
    const { code, path: named, message } = error as NodeJS.ErrnoException;
    if (code === undefined || named !== undefined) throw error;
    throw Object.assign(new Error(`Cannot write archive "${path}": ${message}`, { cause: error }), { code });
  } finally {
    fs.closeSync(file);
  }
  fs.renameSync(unfinished, path);
  const folder = fs.openSync(dirname(path), "r");
  await synced(folder).finally(() => fs.closeSync(folder));
  return archived;
}

function synced(descriptor: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fs.fsync(descriptor, (error) => error ? reject(error) : resolve());
  });
}

/** A file to read an archive from. */
export function openArchiveFile(path: string): ArchiveSource & { close(): void } {
  const file = fs.openSync(path, "r");
  return {
    size: () => fs.fstatSync(file).size,
    read: (into, position) => fs.readSync(file, into, 0, into.length, position),
    close: () => fs.closeSync(file),
  };
}
