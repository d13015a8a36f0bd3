import { assert } from "../../base/assert.ts";
import { HashIndex } from "../../base/hash_index.ts";
import { TupleHash } from "../../base/xxhash64.ts";
import type { AddressDigests } from "../ip/address_table.ts";
import { isIpv6Handle } from "../wire/address.ts";

/**
 * The words of a record. The map understands the first three and the low two bits of `meta`; whoever
 * owns the connection in its present state writes the rest.
 */
export const Field = {
  localAddress: 0,
  /** An IPv4 address; of an IPv6 address the low half of its digest, by which alone it is known here. */
  remoteAddress: 1,
  /** Local port << 16 | remote port. */
  ports: 2,
  /** Bits 0-1: {@linkcode RecordState}. The other 30 belong to the caller. */
  meta: 3,
  /** Awake: the slot of its TCB. Asleep: the low word of where its image lies. */
  slot: 4,
  /** Asleep: the high word of where its image lies. */
  locationHigh: 5,
  sndNxt: 6,
  rcvNxt: 7,
  windows: 8,
  tsRecent: 9,
  tsOffset: 10,
} as const;
/** One of the words of a record. */
export type Field = (typeof Field)[keyof typeof Field];

/** What has become of a record's connection: `waking` is asleep, with its restore under way. */
export const RecordState = { free: 0, awake: 1, asleep: 2, waking: 3 } as const;
/** One of the states of a record. */
export type RecordState = (typeof RecordState)[keyof typeof RecordState];

/** How a map is made. */
export interface ConnectionMapOptions {
  /** Halves of the hash's seed, from entropy: who knows them can choose tuples that collide. */
  seedHi: number;
  seedLo: number;
  /** Connections to hold at most; `insert` refuses more. By default 2^24, which fill 0.9 GB. */
  recordsMax?: number;
  /** Knows the addresses of connections, where some are handles. */
  addresses?: AddressDigests;
  /** Instead of the seeded hash, for tests of bad luck. */
  hash?: { words3(a: number, b: number, c: number): number };
}

const RECORD_WORDS = 11;
const CHUNK_BITS = 16;
const CHUNK_RECORDS = 1 << CHUNK_BITS;
const RECORDS_MAX = 2 ** 24;
const RECORDS_LIMIT = 2 ** 26;

/**
 * THE connection map: from a connection's addresses and ports to its record, awake or asleep.
 *
 * A record is a small whole number that stays the connection's while it lives, and 11 words under it (see
 * {@linkcode Field}). Records lie in chunks that never move. Over them is a {@linkcode HashIndex}, which grows a
 * little with every change, so no call takes time in proportion to the number of connections.
 *
 * At 10 million connections this is 51 bytes each, everything counted. Memory is kept for the next
 * connections, not given back.
 *
 * Addresses (IPv6 ones as handles) and words are int32 (`x | 0`; unsigned ones are accepted), ports 0-65535.
 *
 * @example
 * ```ts
 * import { ConnectionMap, Field, RecordState } from "@torpor/torpor/net/connections/connection_map.ts";
 * import assert from "node:assert/strict";
 * const map = new ConnectionMap({ seedHi: 1, seedLo: 2 });
 * const record = map.insert(0x0a070001, 0x0a090004, 80, 51312);
 * map.set(record, Field.slot, 7);
 * map.setState(record, RecordState.asleep);
 * assert.equal(map.find(0x0a070001, 0x0a090004, 80, 51312), record);
 * assert.equal(map.asleep, 1);
 * ```
 */
export class ConnectionMap {
  readonly recordsMax: number;
  readonly #hash: { words3(a: number, b: number, c: number): number };
  readonly #addresses: AddressDigests | undefined;

  readonly #chunks: Int32Array[] = [];
  /** The high halves of digests, of the same records; only where there are some. */
  readonly #highs: (Int32Array | undefined)[] = [];
  #recordsEnd = 0; // records from here on have never been used
  #last = -1; // the record that was found or added last
  // The key that was hashed last.
  #hashedLocal = 0;
  #hashedRemote = 0;
  #hashedPorts = 0;
  #lastHash: number;
  #freeRecord = -1; // the last freed one; its word 0 leads to the one freed before
  readonly #counts: Int32Array = new Int32Array(4); // records by state; [free] is not kept
  readonly #index: HashIndex;

  constructor(options: ConnectionMapOptions) {
    this.recordsMax = options.recordsMax ?? RECORDS_MAX;
    assert(
      Number.isInteger(this.recordsMax) && this.recordsMax >= 1 && this.recordsMax <= RECORDS_LIMIT,
      "A map holds 1 to 2^26 records",
    );
    this.#addresses = options.addresses;
    this.#hash = options.hash ?? new TupleHash(options.seedHi, options.seedLo);
    this.#lastHash = this.#hash.words3(0, 0, 0);
    this.#index = new HashIndex(this.recordsMax, {
      has: (record) => this.state(record) !== RecordState.free,
      hashOf: (record) => this.#hashOf(record),
    });
  }

  /** Connections in the map, in any state. */
  get size(): number {
    return this.awake + this.asleep + this.waking;
  }

  /** Records in state `awake`. */
  get awake(): number {
    return this.#counts[RecordState.awake]!;
  }

  /** Records in state `asleep`. */
  get asleep(): number {
    return this.#counts[RecordState.asleep]!;
  }

  /** Records in state `waking`. */
  get waking(): number {
    return this.#counts[RecordState.waking]!;
  }

  /** Bytes of memory held: records in use or not, and the index. */
  get byteLength(): number {
    let bytes = this.#index.byteLength + this.#counts.byteLength;
    for (const chunk of this.#chunks) bytes += chunk.byteLength;
    for (const high of this.#highs) bytes += high?.byteLength ?? 0;
    return bytes;
  }

  /** The connection's record, or -1. */
  find(localAddress: number, remoteAddress: number, localPort: number, remotePort: number): number {
    const ports = (localPort << 16) | remotePort;
    const local = localAddress | 0, remote = this.#remoteWord(localAddress, remoteAddress);
    const high = this.#remoteHigh(localAddress, remoteAddress);
    // Packets come in batches, and a batch is mostly one connection's.
    if (this.#last >= 0 && this.#matches(this.#last, local, remote, high, ports)) return this.#last;
    return this.#last = this.#find(this.#hashed(local, remote, ports), local, remote, high, ports);
  }

  /** What is looked for next is `record`, as it seems: then it is found without a look at the index. */
  expect(record: number): void {
    if (this.state(record) !== RecordState.free) this.#last = record;
  }

  /** The hash of a key; who has looked for it in vain asks once more, to insert it. */
  #hashed(local: number, remote: number, ports: number): number {
    if (local !== this.#hashedLocal || remote !== this.#hashedRemote || ports !== this.#hashedPorts) {
      this.#hashedLocal = local;
      this.#hashedRemote = remote;
      this.#hashedPorts = ports;
      this.#lastHash = this.#hash.words3(local, remote, ports);
    }
    return this.#lastHash;
  }

  /**
   * Adds a connection that is not in the map, as an `awake` record whose other words are 0. What has an IPv6 address
   * keeps the local one (`retain`) while it is there; the remote one is its owner's to keep.
   *
   * @returns The record, or -1 when the map is full.
   * @throws {AssertionError} When the connection is in the map.
   */
  insert(localAddress: number, remoteAddress: number, localPort: number, remotePort: number): number {
    assert(localPort >>> 16 === 0 && remotePort >>> 16 === 0, "A port is 0 to 65535");
    const ports = (localPort << 16) | remotePort;
    const local = localAddress | 0, remote = this.#remoteWord(localAddress, remoteAddress);
    const high = this.#remoteHigh(localAddress, remoteAddress);
    const hash = this.#hashed(local, remote, ports);
    assert(this.#find(hash, local, remote, high, ports) < 0, "A connection is inserted once");
    if (this.size >= this.recordsMax) return -1;
    const record = this.#takeRecord();
    const chunk = this.#chunks[record >>> CHUNK_BITS]!;
    const at = (record & (CHUNK_RECORDS - 1)) * RECORD_WORDS;
    for (let word = 0; word < RECORD_WORDS; word++) chunk[at + word] = 0;
    chunk[at + Field.localAddress] = local;
    chunk[at + Field.remoteAddress] = remote;
    chunk[at + Field.ports] = ports;
    chunk[at + Field.meta] = RecordState.awake;
    this.#counts[RecordState.awake]!++;
    this.#added(record, hash, local, high);
    return this.#last = record;
  }

  /** What is in the map beside the words of a new record. */
  #added(record: number, hash: number, localAddress: number, high: number): void {
    if (isIpv6Handle(localAddress)) {
      this.#addresses?.retain(localAddress);
      const highs = this.#highs[record >>> CHUNK_BITS] ??= new Int32Array(CHUNK_RECORDS);
      highs[record & (CHUNK_RECORDS - 1)] = high;
    }
    this.#index.add(record, hash); // last: as the index grows it looks at keys
  }

  /** The hash of a connection's key, for `enterMany`. */
  hash(localAddress: number, remoteAddress: number, ports: number): number {
    return this.#hash.words3(localAddress, remoteAddress, ports);
  }

  /** Fetches what `enterMany` needs, of so many hashes: all at once, where each would wait for memory. */
  prefetch(hashes: Int32Array, count: number): void {
    this.#index.touch(hashes, count);
  }

  /**
   * Adds many connections with all words of their records; `columns` has those of each word, in the order of
   * {@linkcode Field}, and none of them is `free`. Of IPv6 addresses `highs` has the high halves of their digests.
   *
   * @param skip Which of them not to add: not 0.
   * @param entered Gets their records; -1 for one that is left out, is in the map already, or finds it full.
   */
  enterMany(
    count: number,
    hashes: Int32Array,
    columns: readonly Int32Array[],
    highs: Int32Array,
    skip: Uint8Array,
    entered: Int32Array,
  ): void {
    assert(columns.length === RECORD_WORDS, "A record's words have a column each");
    const [locals, remotes, ports, metas, word4, word5, word6, word7, word8, word9, word10] =
      columns as readonly Int32Array[];
    for (let at = 0; at < count; at++) {
      entered[at] = -1;
      const hash = hashes[at]!;
      if (skip[at] !== 0 || this.size >= this.recordsMax) continue;
      if (
        this.#index.mayHave(hash) &&
        this.#find(hash, locals![at]!, remotes![at]!, highs[at]!, ports![at]!) >= 0
      ) continue;
      const record = this.#takeRecord();
      const chunk = this.#chunks[record >>> CHUNK_BITS]!;
      const to = (record & (CHUNK_RECORDS - 1)) * RECORD_WORDS;
      const local = chunk[to] = locals![at]!; // word by word: a loop over the columns takes twice as long
      chunk[to + 1] = remotes![at]!;
      chunk[to + 2] = ports![at]!;
      chunk[to + 3] = metas![at]!;
      chunk[to + 4] = word4![at]!;
      chunk[to + 5] = word5![at]!;
      chunk[to + 6] = word6![at]!;
      chunk[to + 7] = word7![at]!;
      chunk[to + 8] = word8![at]!;
      chunk[to + 9] = word9![at]!;
      chunk[to + 10] = word10![at]!;
      this.#counts[metas![at]! & 3]!++;
      this.#added(record, hash, local, highs[at]!);
      entered[at] = record;
    }
  }

  /** Makes room for so many connections at once, when it holds none yet: growing there would cost more. */
  reserve(records: number): void {
    this.#index.reserve(Math.min(records, this.recordsMax));
  }

  /** Forgets a connection. Its record may be the next one that `insert` gives. */
  remove(record: number): void {
    const state = this.state(record);
    assert(state !== RecordState.free, "A record is removed once");
    if (record === this.#last) this.#last = -1;
    const chunk = this.#chunks[record >>> CHUNK_BITS]!;
    const at = (record & (CHUNK_RECORDS - 1)) * RECORD_WORDS;
    this.#index.remove(record, this.#hashOf(record));
    this.#counts[state]!--;
    if (isIpv6Handle(chunk[at]!)) this.#addresses?.release(chunk[at]!);
    chunk[at] = this.#freeRecord;
    chunk[at + Field.meta] = RecordState.free;
    this.#freeRecord = record;
  }

  /** A word of a record, as int32. */
  get(record: number, field: Field): number {
    return this.#chunks[record >>> CHUNK_BITS]![(record & (CHUNK_RECORDS - 1)) * RECORD_WORDS + field]!;
  }

  /** Writes a word of a record. The key cannot change; the state in `meta` must be a living one. */
  set(record: number, field: Field, value: number): void {
    if (field <= Field.meta) {
      assert(field === Field.meta, "A record's key does not change");
      this.setState(record, (value & 3) as RecordState);
    }
    this.#chunks[record >>> CHUNK_BITS]![(record & (CHUNK_RECORDS - 1)) * RECORD_WORDS + field] = value;
  }

  /** The state of a record; `free` for any number that is not one. */
  state(record: number): RecordState {
    if (record < 0 || record >= this.#recordsEnd) return RecordState.free;
    return (this.get(record, Field.meta) & 3) as RecordState;
  }

  /** Changes the state of a record, and nothing else in `meta`. Records are freed by `remove` only. */
  setState(record: number, state: RecordState): void {
    const before = this.state(record);
    assert(before !== RecordState.free && state !== RecordState.free, "A record is in the map");
    this.#counts[before]!--;
    this.#counts[state]!++;
    const at = (record & (CHUNK_RECORDS - 1)) * RECORD_WORDS + Field.meta;
    this.#chunks[record >>> CHUNK_BITS]![at]! ^= before ^ state;
  }

  /**
   * Visits every record in the order of their numbers. `visit` may remove any record; one that it inserts
   * may be visited or not.
   */
  forEach(visit: (record: number) => void): void {
    for (let record = 0; record < this.#recordsEnd; record++) {
      if (this.state(record) !== RecordState.free) visit(record);
    }
  }

  /** The record's word for a remote address. */
  #remoteWord(local: number, remote: number): number {
    const addresses = this.#addresses;
    return (addresses !== undefined && isIpv6Handle(local) ? addresses.digest(remote) : remote) | 0;
  }

  /** And what is beside it in `#highs`. */
  #remoteHigh(local: number, remote: number): number {
    const addresses = this.#addresses;
    return addresses !== undefined && isIpv6Handle(local) ? addresses.digestHigh(remote) : 0;
  }

  #matches(record: number, local: number, remote: number, high: number, ports: number): boolean {
    const chunk = this.#chunks[record >>> CHUNK_BITS]!;
    const at = (record & (CHUNK_RECORDS - 1)) * RECORD_WORDS;
    return chunk[at + Field.remoteAddress] === remote && chunk[at + Field.ports] === ports &&
      chunk[at + Field.localAddress] === local &&
      (!isIpv6Handle(local) || this.#highs[record >>> CHUNK_BITS]![record & (CHUNK_RECORDS - 1)] === high);
  }

  #find(hash: number, local: number, remote: number, high: number, ports: number): number {
    const index = this.#index;
    for (let record = index.first(hash); record >= 0; record = index.next()) {
      if (this.#matches(record, local, remote, high, ports)) return record;
    }
    return -1;
  }

  #hashOf(record: number): number {
    const chunk = this.#chunks[record >>> CHUNK_BITS]!;
    const at = (record & (CHUNK_RECORDS - 1)) * RECORD_WORDS;
    return this.#hash.words3(
      chunk[at + Field.localAddress]!,
      chunk[at + Field.remoteAddress]!,
      chunk[at + Field.ports]!,
    );
  }

  #takeRecord(): number {
    const freed = this.#freeRecord;
    if (freed >= 0) {
      this.#freeRecord = this.get(freed, Field.localAddress);
      return freed;
    }
    const record = this.#recordsEnd++;
    if (record >>> CHUNK_BITS === this.#chunks.length) {
      const records = Math.min(CHUNK_RECORDS, this.recordsMax - record);
      this.#chunks.push(new Int32Array(records * RECORD_WORDS));
    }
    return record;
  }
}
