/** Where images live: an append-only store in a folder, and one in memory. @module */
export { FileStore, type FileStoreOptions } from "./file_store.ts";
export { MemoryStore, type MemoryStoreOptions } from "./memory_store.ts";
export {
  type AppendOptions,
  type BareRecord,
  type BareRecords,
  type Commit,
  type Kept,
  type LiveRecord,
  type Location,
  type OnMoved,
  type Recall,
  RECORD_BYTES_MAX,
  type Store,
  StoreError,
  type StoreStats,
} from "./store.ts";
