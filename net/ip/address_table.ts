import { assert } from "../../base/assert.ts";
import type { Entropy } from "../../base/random.ts";
import { SipHash } from "../../base/siphash.ts";
import type { Slab } from "../../base/slab.ts";
import { formatIpv4, IPV6_ANY, isIpv6Handle, parseIpv4 } from "../wire/address.ts";
import { foldSum } from "../wire/checksum.ts";
import {
  formatIpv6,
  type Ipv6Words,
  isLinkLocalWord,
  isMappedWords,
  isMulticastWord,
  isStrayLinkLocalWord,
  parseIpv6,
} from "../wire/ipv6_address.ts";

/** Handles have 24 bits under their mark. */
export const ADDRESSES_LIMIT = 2 ** 24;
/**
 * Addresses that nobody holds and that are remembered all the same: a packet's two, those of a burst of
 * datagrams, of a handshake whose SYN is not kept. A handle is good for at least so many new addresses.
 */
export const TRANSIENTS_MAX = 8_192;
/** When the table is full, so many of the latest stay valid: the packet at hand has two, its quote two more. */
const TRANSIENTS_MIN = 16;

/** Who keeps an address longer than the packet that brought it says so. IPv4 addresses need no keeping. */
export interface AddressHolder {
  retain(address: number): void;
  release(address: number): void;
}

export interface AddressTableOptions {
  /** Gives the secret that chosen addresses would have to collide under. */
  readonly entropy: Entropy;
  /** IPv6 addresses at most, at most `ADDRESSES_LIMIT`. */
  readonly addressesMax?: number;
  readonly transientsMax?: number;
}

/** Words of a record. */
const W = { a: 0, b: 1, c: 2, d: 3, zone: 4, references: 5, hash: 6, sum: 7, next: 8, previous: 9 } as const;
const RECORD_WORDS = 10;
const CHUNK_BITS = 10;
const CHUNK_RECORDS = 1 << CHUNK_BITS;
const INDEX_ENTRIES_MIN = 256;
const LOAD_MAX = 0.7;
/** Old entries that each insertion and removal moves while the index grows: see connection_map.ts. */
const MOVES = 8;
const MOVED = -1;
/** A zone that no lookup asks for. */
const FREE = -1;
const MEMO_MASK = 255;

/**
 * The IPv6 addresses that a stack knows, each under a handle of 32 bits that takes an IPv4 address's
 * place everywhere: in TCBs, in the connection map, in routes.
 *
 * A record is an address (four words), its zone (interface index + 1 for link-local unicast, else 0),
 * its references, its keyed hash and its checksum. Long-lived holders `retain` and `release`; what
 * nobody holds is forgotten after `transientsMax` others, the oldest first.
 *
 * @example
 * ```ts
 * import { AddressTable } from "@torpor/torpor/net/ip/address_table.ts";
 * import { Prng } from "@torpor/torpor/base/random.ts";
 * const table = new AddressTable({ entropy: new Prng(1) });
 * const address = table.parse("2001:DB8:0::1")!;
 * console.log(table.format(address), table.parse("2001:db8::1") === address); // 2001:db8::1 true
 * ```
 */
export class AddressTable implements AddressHolder {
  readonly addressesMax: number;
  readonly transientsMax: number;
  /** Interface names by index: the zones of text. */
  readonly zoneNames: string[] = [];
  readonly #hash: SipHash;
  readonly #key = new Int32Array(5);
  readonly #memo = new Int32Array(MEMO_MASK + 1); // handles lately found, by a cheap hash
  readonly #chunks: Int32Array[] = [];
  #end = 0; // records from here on have never been used
  #freeRecord = -1;
  #size = 0;
  #retained = 0;
  #transients = 0;
  #oldest = -1; // a list through next and previous
  #newest = -1;
  #index = new Int32Array(2 * INDEX_ENTRIES_MIN); // pairs: hash, record + 1
  #mask = INDEX_ENTRIES_MIN - 1;
  #old: Int32Array | undefined;
  #oldMask = 0;
  #oldNext = 0;

  constructor(options: AddressTableOptions) {
    const { addressesMax = ADDRESSES_LIMIT, transientsMax = TRANSIENTS_MAX, entropy } = options;
    assert(transientsMax >= TRANSIENTS_MIN && addressesMax > TRANSIENTS_MIN, "A packet has two addresses");
    assert(addressesMax <= ADDRESSES_LIMIT, "A handle has 24 bits");
    this.addressesMax = addressesMax;
    this.transientsMax = transientsMax;
    const key = new Uint8Array(16);
    entropy.fill(key);
    this.#hash = new SipHash(new Int32Array(key.buffer));
    const any = this.intern(0, 0, 0, 0, 0);
    assert(any === IPV6_ANY);
    this.retain(any);
  }

  /** Addresses in the table. */
  get size(): number {
    return this.#size;
  }

  /** Addresses that somebody holds; `::` always is one of them. */
  get retained(): number {
    return this.#retained;
  }

  /** Bytes of memory held. */
  get byteLength(): number {
    return this.#chunks.length * CHUNK_RECORDS * RECORD_WORDS * 4 + this.#index.byteLength +
      (this.#old?.byteLength ?? 0) + this.#memo.byteLength;
  }

  /**
   * The handle of the address at `at` in a packet that came in on the interface of `zone` (its index + 1).
   * @returns 0 when the table is full of addresses that are held.
   */
  read(slab: Slab, at: number, zone: number): number {
    const view = slab.view;
    const first = view.getInt32(at);
    const b = view.getInt32(at + 4), c = view.getInt32(at + 8), d = view.getInt32(at + 12);
    return this.intern(first, b, c, d, isLinkLocalWord(first) ? zone : 0);
  }

  /** As `read`, for an address that is of interest only when it is known: 0 when it is not. */
  lookup(slab: Slab, at: number, zone: number): number {
    const view = slab.view;
    const first = view.getInt32(at);
    const key = this.#key;
    key[0] = first;
    key[1] = view.getInt32(at + 4);
    key[2] = view.getInt32(at + 8);
    key[3] = view.getInt32(at + 12);
    key[4] = isLinkLocalWord(first) ? zone : 0;
    const found = this.#find(this.#hash.words(key, 5));
    return found < 0 ? 0 : handleOf(found);
  }

  /** The handle of an address; 0 when the table is full. */
  intern(a: number, b: number, c: number, d: number, zone: number): number {
    const slot = (a ^ b ^ c ^ d ^ (d >>> 8)) & MEMO_MASK;
    const known = this.#memo[slot]!;
    if (known !== 0 && this.#is(known & 0xff_ffff, a, b, c, d, zone)) return known;
    const key = this.#key;
    key[0] = a;
    key[1] = b;
    key[2] = c;
    key[3] = d;
    key[4] = zone;
    const hash = this.#hash.words(key, 5);
    let record = this.#find(hash);
    if (record < 0) record = this.#insert(hash);
    if (record < 0) return 0;
    return this.#memo[slot] = handleOf(record);
  }

  retain(address: number): void {
    if (!isIpv6Handle(address)) return;
    const record = address & 0xff_ffff;
    assert(this.#isLive(record), "Only a valid handle can be kept");
    if (this.#add(record, W.references, 1) > 1) return;
    this.#retained++;
    this.#unlink(record);
  }

  release(address: number): void {
    if (!isIpv6Handle(address)) return;
    const record = address & 0xff_ffff;
    const left = this.#add(record, W.references, -1);
    assert(left >= 0, "An address is released as often as it was retained");
    if (left > 0) return;
    this.#retained--;
    this.#link(record);
  }

  /** Word 0 to 3 of an IPv6 address. */
  word(handle: number, at: number): number {
    return this.#get(handle & 0xff_ffff, at);
  }

  words(handle: number): Ipv6Words {
    return [this.word(handle, 0), this.word(handle, 1), this.word(handle, 2), this.word(handle, 3)];
  }

  /** Interface index + 1 of a link-local address; 0 of every other. */
  zone(handle: number): number {
    return this.#get(handle & 0xff_ffff, W.zone);
  }

  /** Writes an IPv6 address's 16 bytes. */
  write(handle: number, slab: Slab, at: number): void {
    const view = slab.view;
    const record = handle & 0xff_ffff;
    const chunk = this.#chunks[record >>> CHUNK_BITS]!;
    const from = (record & (CHUNK_RECORDS - 1)) * RECORD_WORDS;
    view.setInt32(at, chunk[from]!);
    view.setInt32(at + 4, chunk[from + 1]!);
    view.setInt32(at + 8, chunk[from + 2]!);
    view.setInt32(at + 12, chunk[from + 3]!);
  }

  /** What an address of either family adds to a pseudo-header's checksum. */
  sum(address: number): number {
    return isIpv6Handle(address) ? this.#get(address & 0xff_ffff, W.sum) : address;
  }

  /**
   * 32 bits that stand for an address of either family where a hash is keyed by it: an IPv4 address itself,
   * a keyed hash of an IPv6 address, which stays the same when its handle is forgotten and made anew.
   */
  digest(address: number): number {
    return isIpv6Handle(address) ? this.#get(address & 0xff_ffff, W.hash) : address;
  }

  isMulticast(handle: number): boolean {
    return isMulticastWord(this.word(handle, 0));
  }

  isLinkLocal(handle: number): boolean {
    return isLinkLocalWord(this.word(handle, 0));
  }

  /**
   * The address that `text` names, of either family; `undefined` for anything else. An IPv4-mapped IPv6
   * address is the IPv4 address. `%` and an interface's name or number say where a link-local address is;
   * without it, it is on the first interface.
   *
   * @throws {RangeError} When the table is full.
   */
  parse(text: string): number | undefined {
    const quad = parseIpv4(text);
    if (quad !== undefined) return quad >>> 28 === 15 && quad !== -1 ? undefined : quad;
    const percent = text.indexOf("%");
    const words = parseIpv6(percent < 0 ? text : text.slice(0, percent));
    if (words === undefined) return undefined;
    if (isMappedWords(words)) return percent < 0 ? words[3] : undefined;
    let zone = 0;
    if (isStrayLinkLocalWord(words[0])) return undefined;
    if (isLinkLocalWord(words[0])) {
      zone = percent < 0 ? 1 : this.#zoneOf(text.slice(percent + 1));
      if (zone === 0) return undefined;
    } else if (percent >= 0) return undefined;
    return this.ofWords(words, zone);
  }

  /**
   * The handle of an address that an application or a configuration names.
   * @throws {RangeError} When the table is full.
   */
  ofWords(words: Ipv6Words, zone = 0): number {
    const address = this.intern(...words, zone);
    if (address === 0) {
      throw new RangeError(`No room for another IPv6 address: ${this.addressesMax} are in use`);
    }
    return address;
  }

  /** An address of either family as text, which `parse` reads back. */
  format(address: number): string {
    if (!isIpv6Handle(address)) return formatIpv4(address);
    const zone = this.zone(address);
    const text = formatIpv6(...this.words(address));
    return zone === 0 ? text : `${text}%${this.zoneNames[zone - 1] ?? zone - 1}`;
  }

  /**
   * The address as images hold it: a uint32, or 16 bytes. A link-local address's third and fourth byte,
   * zero on every wire, are its zone.
   */
  freeze(address: number): number | Uint8Array<ArrayBuffer> {
    if (!isIpv6Handle(address)) return address >>> 0;
    const bytes = new Uint8Array(16);
    const view = new DataView(bytes.buffer);
    this.words(address).forEach((word, at) => view.setInt32(4 * at, word));
    const zone = this.zone(address);
    if (zone > 0) view.setUint16(2, zone);
    return bytes;
  }

  /**
   * The address that `freeze` wrote.
   * @throws {RangeError} When the table is full, or this is no address.
   */
  thaw(frozen: number | Uint8Array): number {
    if (typeof frozen === "number") {
      if (isIpv6Handle(frozen)) throw new RangeError(`${formatIpv4(frozen)} is no host's address`);
      return frozen | 0;
    }
    if (frozen.length !== 16) throw new RangeError(`An IPv6 address has 16 bytes, not ${frozen.length}`);
    const view = new DataView(frozen.buffer, frozen.byteOffset, 16);
    const first = view.getInt32(0);
    const zone = isLinkLocalWord(first) ? first & 0xffff : 0;
    const rest = [view.getInt32(4), view.getInt32(8), view.getInt32(12)] as const;
    return this.ofWords([zone > 0 ? first & ~0xffff : first, ...rest], zone);
  }

  #zoneOf(name: string): number {
    const named = this.zoneNames.indexOf(name);
    if (named >= 0) return named + 1;
    return /^(0|[1-9]\d{0,4})$/.test(name) && Number(name) < this.zoneNames.length ? Number(name) + 1 : 0;
  }

  #get(record: number, field: number): number {
    return this.#chunks[record >>> CHUNK_BITS]![(record & (CHUNK_RECORDS - 1)) * RECORD_WORDS + field]!;
  }

  #set(record: number, field: number, value: number): void {
    this.#chunks[record >>> CHUNK_BITS]![(record & (CHUNK_RECORDS - 1)) * RECORD_WORDS + field] = value;
  }

  #add(record: number, field: number, value: number): number {
    return this.#chunks[record >>> CHUNK_BITS]![(record & (CHUNK_RECORDS - 1)) * RECORD_WORDS + field]! +=
      value;
  }

  #isLive(record: number): boolean {
    return record < this.#end && this.#get(record, W.zone) !== FREE;
  }

  #is(record: number, a: number, b: number, c: number, d: number, zone: number): boolean {
    const chunk = this.#chunks[record >>> CHUNK_BITS]!;
    const at = (record & (CHUNK_RECORDS - 1)) * RECORD_WORDS;
    return chunk[at + 3] === d && chunk[at + 2] === c && chunk[at + 1] === b && chunk[at] === a &&
      chunk[at + W.zone] === zone;
  }

  /** The record of the address in `#key`, or -1. */
  #find(hash: number): number {
    const found = this.#findIn(this.#index, this.#mask, hash);
    return found >= 0 || this.#old === undefined ? found : this.#findIn(this.#old, this.#oldMask, hash);
  }

  #findIn(index: Int32Array, mask: number, hash: number): number {
    const key = this.#key;
    for (let at = hash & mask;; at = (at + 1) & mask) {
      const entry = index[2 * at + 1]!;
      if (entry === 0) return -1;
      if (
        entry !== MOVED && index[2 * at] === hash &&
        this.#is(entry - 1, key[0]!, key[1]!, key[2]!, key[3]!, key[4]!)
      ) return entry - 1;
    }
  }

  /** A record for the address in `#key`, held by nobody; -1 when there is no room. */
  #insert(hash: number): number {
    const full = this.#size >= this.addressesMax;
    if (full && this.#transients < TRANSIENTS_MIN) return -1;
    if (full || this.#transients >= this.transientsMax) this.#forgetOldest();
    if (this.#old !== undefined) this.#move();
    else if (this.#size >= (this.#mask + 1) * LOAD_MAX) this.#grow();
    const record = this.#takeRecord();
    const key = this.#key;
    let sum = 0;
    for (let at = 0; at < 4; at++) {
      this.#set(record, at, key[at]!);
      sum += key[at]! >>> 0;
    }
    this.#set(record, W.zone, key[4]!);
    this.#set(record, W.references, 0);
    this.#set(record, W.hash, hash);
    this.#set(record, W.sum, foldSum(sum));
    this.#link(record);
    this.#size++;
    this.#place(hash, record + 1);
    return record;
  }

  #takeRecord(): number {
    const freed = this.#freeRecord;
    if (freed >= 0) {
      this.#freeRecord = this.#get(freed, W.next);
      return freed;
    }
    const record = this.#end++;
    if (record >>> CHUNK_BITS === this.#chunks.length) {
      this.#chunks.push(new Int32Array(CHUNK_RECORDS * RECORD_WORDS));
    }
    return record;
  }

  /** Puts a record that nobody holds behind the others, and forgets the oldest of too many. */
  #link(record: number): void {
    if (this.#transients >= this.transientsMax) this.#forgetOldest();
    this.#set(record, W.previous, this.#newest);
    this.#set(record, W.next, -1);
    if (this.#newest >= 0) this.#set(this.#newest, W.next, record);
    else this.#oldest = record;
    this.#newest = record;
    this.#transients++;
  }

  #unlink(record: number): void {
    const next = this.#get(record, W.next);
    const previous = this.#get(record, W.previous);
    if (next >= 0) this.#set(next, W.previous, previous);
    else this.#newest = previous;
    if (previous >= 0) this.#set(previous, W.next, next);
    else this.#oldest = next;
    this.#transients--;
  }

  #forgetOldest(): void {
    const record = this.#oldest;
    this.#unlink(record);
    this.#unplace(this.#get(record, W.hash), record + 1);
    this.#set(record, W.zone, FREE);
    this.#set(record, W.next, this.#freeRecord);
    this.#freeRecord = record;
    this.#size--;
  }

  #place(hash: number, entry: number): void {
    const index = this.#index, mask = this.#mask;
    let at = hash & mask;
    while (index[2 * at + 1] !== 0) at = (at + 1) & mask;
    index[2 * at] = hash;
    index[2 * at + 1] = entry;
  }

  #unplace(hash: number, entry: number): void {
    const index = this.#index, mask = this.#mask;
    let at = hash & mask;
    while (index[2 * at + 1] !== entry) {
      if (index[2 * at + 1] === 0) return this.#unplaceOld(hash, entry);
      at = (at + 1) & mask;
    }
    for (let next = (at + 1) & mask; index[2 * next + 1] !== 0; next = (next + 1) & mask) {
      const home = index[2 * next]! & mask;
      if (((next - home) & mask) < ((next - at) & mask)) continue;
      index[2 * at] = index[2 * next]!;
      index[2 * at + 1] = index[2 * next + 1]!;
      at = next;
    }
    index[2 * at + 1] = 0;
  }

  #unplaceOld(hash: number, entry: number): void {
    const old = this.#old, mask = this.#oldMask;
    assert(old, "Every address is in the index");
    let at = hash & mask;
    while (old[2 * at + 1] !== entry) {
      assert(old[2 * at + 1] !== 0, "Every address is in the index");
      at = (at + 1) & mask;
    }
    old[2 * at + 1] = MOVED;
  }

  #grow(): void {
    const entries = 2 * (this.#mask + 1);
    this.#old = this.#index;
    this.#oldMask = this.#mask;
    this.#oldNext = 0;
    this.#index = new Int32Array(2 * entries);
    this.#mask = entries - 1;
    this.#move();
  }

  #move(): void {
    const old = this.#old!;
    const end = Math.min(this.#oldNext + MOVES, this.#oldMask + 1);
    for (let at = this.#oldNext; at < end; at++) {
      const entry = old[2 * at + 1]!;
      if (entry === 0 || entry === MOVED) continue;
      this.#place(old[2 * at]!, entry);
      old[2 * at + 1] = MOVED;
    }
    this.#oldNext = end;
    if (end > this.#oldMask) this.#old = undefined;
  }
}

function handleOf(record: number): number {
  return (0xf000_0000 | record) | 0;
}
