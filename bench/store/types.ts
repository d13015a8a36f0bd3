/** What we use of npm's `lmdb`, which need not be there. */
export interface Database {
  transaction(act: () => void): Promise<unknown>;
  readonly flushed: Promise<unknown>;
  put(key: Uint8Array, value: Uint8Array): unknown;
  get(key: Uint8Array): Uint8Array | undefined;
  remove(key: Uint8Array): unknown;
  close(): Promise<void>;
}

/** What better-sqlite3 and node:sqlite have in common. */
export interface Sqlite {
  exec(sql: string): unknown;
  prepare(sql: string): { run(...values: Uint8Array[]): unknown; get(...values: Uint8Array[]): unknown };
  close(): void;
}
