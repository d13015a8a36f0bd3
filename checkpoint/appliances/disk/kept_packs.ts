import { createHash } from "node:crypto";
import fs from "node:fs";
import { hash64 } from "../../image/hash.ts";
import type { Zstd } from "../zstd.ts";
import { readFileAt } from "./contents.ts";
import { writeAll } from "./spool.ts";

/** Of a pack in the file: what it was made of, a hash of what was made, and how long that is; then the bytes themselves. */
const AT = { key: 0, hash: 32, length: 40, bytes: 44 } as const;

/** Where a pack lies in the file. */
export interface KeptPack {
  readonly offset: number;
  readonly length: number;
}

/**
 * Packs on their way into a differential, compressed, in a file beside it. Whoever begins the same work anew after a kill
 * compresses none of them again: compressing is most of the work, and the same bytes are compressed to the same.
 */
export class KeptPacks implements Disposable {
  readonly #path: string;
  readonly #zstd: Zstd;
  readonly #file: number;
  readonly #known = new Map<string, KeptPack>();
  #end = 0;
  /** How many packs an earlier run had compressed. */
  resumed = 0;

  constructor(path: string, zstd: Zstd) {
    this.#path = path;
    this.#zstd = zstd;
    this.#file = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600);
    this.#find();
  }

  /** Compresses a pack, or finds it. */
  compressed(raw: Uint8Array, dictionary: Uint8Array, level: number): KeptPack {
    const key = createHash("sha256").update(`${level} ${dictionary.length} `).update(dictionary).update(raw)
      .digest();
    const known = this.#known.get(key.toString("hex"));
    if (known !== undefined) {
      this.resumed++;
      return known;
    }
    const bytes = this.#zstd.compress(raw, dictionary, level);
    const record = new Uint8Array(AT.bytes + bytes.length);
    const view = new DataView(record.buffer);
    record.set(key, AT.key);
    view.setBigUint64(AT.hash, hash64(bytes));
    view.setUint32(AT.length, bytes.length);
    record.set(bytes, AT.bytes);
    writeAll(this.#file, record, this.#end);
    const pack = { offset: this.#end + AT.bytes, length: bytes.length };
    this.#end += record.length;
    return pack;
  }

  /** The bytes of a pack. */
  read({ offset, length }: KeptPack): Uint8Array {
    const bytes = new Uint8Array(length);
    readFileAt(this.#file, this.#path)(offset, bytes);
    return bytes;
  }

  /** Deletes them: what they were for is written. */
  remove(): void {
    fs.rmSync(this.#path, { force: true });
  }

  [Symbol.dispose](): void {
    fs.closeSync(this.#file);
    if (this.#end === 0) this.remove();
  }

  /** Finds those that are whole; what is behind them a kill or a power failure has torn. */
  #find(): void {
    const { size } = fs.fstatSync(this.#file);
    const readAt = readFileAt(this.#file, this.#path);
    const head = new Uint8Array(AT.bytes);
    const view = new DataView(head.buffer);
    while (this.#end + AT.bytes <= size) {
      readAt(this.#end, head);
      const pack = { offset: this.#end + AT.bytes, length: view.getUint32(AT.length) };
      if (pack.length === 0 || pack.offset + pack.length > size) break;
      if (hash64(this.read(pack)) !== view.getBigUint64(AT.hash)) break;
      this.#known.set(Buffer.from(head.subarray(AT.key, AT.hash)).toString("hex"), pack);
      this.#end = pack.offset + pack.length;
    }
    fs.ftruncateSync(this.#file, this.#end);
  }
}
