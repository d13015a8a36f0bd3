import { assert } from "../../base/assert.ts";
import { FileStore } from "../../checkpoint/store/mod.ts";
import type { Database as Lmdb, Sqlite } from "./types.ts";

/** Bytes of a key: two IPv6 addresses, two ports and a byte. */
const KEY_BYTES = 37;
/** Bytes of a value: about an idle connection's image. */
const VALUE_BYTES = 150;

/** Keeps values under keys, as every store here does it. Keys are told by number. */
export interface Kept {
  /** Resolves when all of them are durable. */
  put(from: number, to: number): Promise<void>;
  get(index: number): Uint8Array;
  /** Resolves when all are durably gone. */
  remove(indexes: readonly number[]): Promise<void>;
  close(): Promise<void> | void;
}

/** Opens one; `undefined` when it is not installed. */
export type Open = (folder: string, count: number) => Promise<Kept | undefined>;

/** The key of a number: as long as a connection's, in no order. */
function keyOf(index: number): Uint8Array {
  const key = new Uint8Array(KEY_BYTES);
  const view = new DataView(key.buffer);
  for (let at = 0; at < 9; at++) view.setUint32(4 * at, Math.imul(index + at, 0x9e37_79b1));
  key[36] = index;
  return key;
}

export function valueOf(index: number): Uint8Array {
  const value = new Uint8Array(VALUE_BYTES).fill(index);
  new DataView(value.buffer).setUint32(0, index);
  return value;
}

/** Ours: the owner keeps locations, as the connection map does, and learns them from summaries. */
const openOurs: Open = async (folder, count) => {
  const store = await FileStore.open(folder);
  const locations = new Float64Array(count);
  store.recall({
    summaries(count, found, [indexes]) {
      for (let at = 0; at < count; at++) locations[indexes![at]!] = found[at]!;
    },
    record({ location, bytes }) {
      const index = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
      locations[index] = location;
      return Int32Array.of(index);
    },
  });
  return {
    async put(from, to) {
      const values = Array.from({ length: to - from }, (_, at) => valueOf(from + at));
      const summaries = Int32Array.from(values, (_, at) => from + at);
      const { locations: at, durable } = store.append(values, { summaries });
      locations.set(at, from);
      await durable;
    },
    get: (index) => store.read(locations[index]!),
    remove: (indexes) => store.remove(indexes.map((index) => locations[index]!)).durable,
    close: () => store.close(),
  };
};

const openLmdb: Open = async (folder) => {
  const name = "lmdb";
  const lmdb = await import(name).catch(() => undefined) as { open(options: object): Lmdb } | undefined;
  if (lmdb === undefined) return undefined;
  const database = lmdb.open({ path: folder, keyEncoding: "binary", encoding: "binary" });
  const change = async (act: () => void): Promise<void> => {
    await database.transaction(act);
    await database.flushed;
  };
  return {
    put: (from, to) =>
      change(() => {
        for (let index = from; index < to; index++) database.put(keyOf(index), valueOf(index));
      }),
    get: (index) => database.get(keyOf(index))!,
    remove: (indexes) =>
      change(() => {
        for (const index of indexes) database.remove(keyOf(index));
      }),
    close: () => database.close(),
  };
};

/** By better-sqlite3 where somebody has installed it, else by the runtime's own. */
const openSqlite: Open = async (folder) => {
  const database = await sqlite(`${folder}/kv.sqlite`);
  if (database === undefined) return undefined;
  database.exec("PRAGMA journal_mode = WAL");
  database.exec("PRAGMA synchronous = FULL");
  database.exec("CREATE TABLE IF NOT EXISTS kv (k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID");
  const put = database.prepare("INSERT INTO kv VALUES (?, ?)");
  const get = database.prepare("SELECT v FROM kv WHERE k = ?");
  const remove = database.prepare("DELETE FROM kv WHERE k = ?");
  const change = (act: () => void): Promise<void> => {
    database.exec("BEGIN");
    act();
    database.exec("COMMIT");
    return Promise.resolve();
  };
  return {
    put: (from, to) =>
      change(() => {
        for (let index = from; index < to; index++) put.run(keyOf(index), valueOf(index));
      }),
    get: (index) => (get.get(keyOf(index)) as { v: Uint8Array }).v,
    remove: (indexes) =>
      change(() => {
        for (const index of indexes) remove.run(keyOf(index));
      }),
    close: () => database.close(),
  };
};

async function sqlite(path: string): Promise<Sqlite | undefined> {
  const [theirs, own] = ["better-sqlite3", "node:sqlite"];
  const { default: Theirs } = await import(theirs).catch(() => ({})) as {
    default?: new (path: string) => Sqlite;
  };
  if (Theirs !== undefined) return new Theirs(path);
  const { DatabaseSync } = await import(own).catch(() => ({})) as {
    DatabaseSync?: new (path: string) => Sqlite;
  };
  return DatabaseSync && new DatabaseSync(path);
}

export const KINDS: Readonly<Record<string, Open>> = {
  "FileStore": openOurs,
  "LMDB": openLmdb,
  "SQLite": openSqlite,
};

/** What is read must be what was written. */
export function checkValue(value: Uint8Array, index: number): void {
  assert(value.length === VALUE_BYTES && new DataView(value.buffer, value.byteOffset).getUint32(0) === index);
}
