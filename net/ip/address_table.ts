import { assert } from "../../base/assert.ts";
import { HashIndex } from "../../base/hash_index.ts";
import type { Entropy } from "../../base/random.ts";
import { SipHash } from "../../base/siphash.ts";
import type { Slab } from "../../base/slab.ts";
import { smallBytes } from "../../base/small_bytes.ts";
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
import { TurnList } from "./turn_list.ts";

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

/** By what connections are found whose peers have IPv6 addresses: see `AddressTable.digest`. */
export interface AddressDigests extends AddressHolder {
  digest(address: number): number;
  digestHigh(handle: number): number;
}

export interface AddressTableOptions {
  /** Gives the secret that chosen addresses would have to collide under. */
  readonly entropy: Entropy;
  /** IPv6 addresses at most, at most `ADDRESSES_LIMIT`. */
  readonly addressesMax?: number;
  readonly transientsMax?: number;
}

/**
 * Words of a record: the address, and who holds it: so many (> 0), nobody (~ its place among those), or it is free (0,
 * and the first word leads to the one freed before). An interface's number + 1 is the zone of a link-local
 * address, in its second half, where no such address has a bit (RFC 4291 section 2.5.6).
 */
const RECORD_WORDS = 5;
const HOLD = 4;
/** In the place of a zone: bits that no link-local address has. Such addresses are nobody's, and not told apart. */
const STRAY = 0xffff;
const CHUNK_BITS = 10;
const CHUNK_RECORDS = 1 << CHUNK_BITS;
/**
 * Addresses of which the handle, and the digest, is known without hashing them: those of some batches of packets, since
 * whoever wakes is asked for when its packet comes, when it is thawed and when the packet is delivered. 64 KB.
 */
const MEMO_MASK = 4_095;
const DIGESTS_MASK = 4_095;

/**
 * The IPv6 addresses that a stack knows, each under a handle of 32 bits that takes an IPv4 address's
 * place everywhere: in TCBs, in the connection map, in routes.
 *
 * A record is an address, its zone (interface index + 1 for link-local unicast, else 0) and its references: 20
 * bytes, and 5 to 10 of an index. Long-lived holders `retain` and `release`; what nobody holds is forgotten after
 * `transientsMax` others, the oldest first.
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
export class AddressTable implements AddressDigests {
  readonly addressesMax: number;
  readonly transientsMax: number;
  /** Interface names by index: the zones of text. */
  readonly zoneNames: string[] = [];
  readonly #frozen = new Int32Array(4);
  readonly #hash: SipHash;
  readonly #key = new Int32Array(4);
  readonly #again = new Int32Array(4); // the key of a record that is hashed once more
  readonly #memo = new Int32Array(MEMO_MASK + 1); // handles lately found, by a cheap hash
  readonly #digestOf = new Int32Array(DIGESTS_MASK + 1); // handles whose digests were lately asked for: a packet's two
  readonly #digests = new Int32Array(2 * (DIGESTS_MASK + 1)); // low word, high word
  readonly #chunks: Int32Array[] = [];
  #end = 0; // records from here on have never been used
  #freeRecord = -1;
  #retained = 0;
  readonly #transients: TurnList;
  readonly #index: HashIndex;

  constructor(options: AddressTableOptions) {
    const { addressesMax = ADDRESSES_LIMIT, transientsMax = TRANSIENTS_MAX, entropy } = options;
    assert(transientsMax >= TRANSIENTS_MIN && addressesMax > TRANSIENTS_MIN, "A packet has two addresses");
    assert(addressesMax <= ADDRESSES_LIMIT, "A handle has 24 bits");
    this.addressesMax = addressesMax;
    this.transientsMax = transientsMax;
    const key = new Uint8Array(16);
    entropy.fill(key);
    this.#hash = new SipHash(new Int32Array(key.buffer));
    this.#transients = new TurnList(transientsMax);
    this.#index = new HashIndex(addressesMax, {
      has: (record) => this.#get(record, HOLD) !== 0,
      hashOf: (record) => this.#hashOf(record),
    });
    const any = this.intern(0, 0, 0, 0, 0);
    assert(any === IPV6_ANY);
    this.retain(any);
  }

  /** Addresses in the table. */
  get size(): number {
    return this.#index.size;
  }

  /** Addresses that somebody holds; `::` always is one of them. */
  get retained(): number {
    return this.#retained;
  }

  /** Bytes of memory held. */
  get byteLength(): number {
    return this.#chunks.length * CHUNK_RECORDS * RECORD_WORDS * 4 + this.#index.byteLength +
      this.#transients.byteLength + this.#memo.byteLength + 2 * this.#digests.byteLength;
  }

  /**
   * The handle of the address at `at` in a packet that came in on the interface of `zone` (its index + 1).
   * @returns 0 when the table is full of addresses that are held.
   */
  read(slab: Slab, at: number, zone: number): number {
    const view = slab.view;
    const first = view.getInt32(at);
    const b = view.getInt32(at + 4), c = view.getInt32(at + 8), d = view.getInt32(at + 12);
    return this.intern(first, b, c, d, zone);
  }

  /** As `read`, for an address that is of interest only when it is known: 0 when it is not. */
  lookup(slab: Slab, at: number, zone: number): number {
    const view = slab.view;
    const first = view.getInt32(at);
    this.#setKey(first, view.getInt32(at + 4), view.getInt32(at + 8), view.getInt32(at + 12), zone);
    const found = this.#find(this.#hash.words(this.#key, 4));
    return found < 0 ? 0 : handleOf(found);
  }

  /** The handle of an address; 0 when the table is full. */
  intern(a: number, b: number, c: number, d: number, zone: number): number {
    const slot = (a ^ b ^ c ^ d ^ (d >>> 8)) & MEMO_MASK;
    const known = this.#memo[slot]!;
    this.#setKey(a, b, c, d, zone);
    if (known !== 0 && this.#is(known & 0xff_ffff)) return known;
    const hash = this.#hash.words(this.#key, 4);
    const high = this.#hash.hi;
    let record = this.#find(hash);
    if (record < 0) record = this.#insert(hash);
    if (record < 0) return 0;
    const handle = this.#memo[slot] = handleOf(record);
    this.#noteDigest(handle, hash, high); // whoever looks for a connection asks for it next
    return handle;
  }

  retain(address: number): void {
    if (!isIpv6Handle(address)) return;
    const record = address & 0xff_ffff;
    assert(this.#isLive(record), "Only a valid handle can be kept");
    const hold = this.#get(record, HOLD);
    this.#set(record, HOLD, Math.max(hold, 0) + 1);
    if (hold > 0) return;
    this.#retained++;
    this.#transients.remove(~hold);
  }

  release(address: number): void {
    if (!isIpv6Handle(address)) return;
    const record = address & 0xff_ffff;
    const hold = this.#get(record, HOLD);
    assert(hold > 0, "An address is released as often as it was retained");
    if (hold > 1) return this.#set(record, HOLD, hold - 1);
    this.#retained--;
    this.#link(record); // until then it counts as held: the index may be moving
  }

  /** Word 0 to 3 of an IPv6 address. */
  word(handle: number, at: number): number {
    const word = this.#get(handle & 0xff_ffff, at);
    return at === 0 ? withoutZone(word) : word;
  }

  words(handle: number): Ipv6Words {
    return [this.word(handle, 0), this.word(handle, 1), this.word(handle, 2), this.word(handle, 3)];
  }

  /** Interface index + 1 of a link-local address; 0 of every other. */
  zone(handle: number): number {
    const first = this.#get(handle & 0xff_ffff, 0);
    return isLinkLocalWord(first) && (first & STRAY) !== STRAY ? first & 0xffff : 0;
  }

  /** Writes an IPv6 address's 16 bytes. */
  write(handle: number, slab: Slab, at: number): void {
    const view = slab.view;
    const record = handle & 0xff_ffff;
    const chunk = this.#chunks[record >>> CHUNK_BITS]!;
    const from = (record & (CHUNK_RECORDS - 1)) * RECORD_WORDS;
    view.setInt32(at, withoutZone(chunk[from]!));
    view.setInt32(at + 4, chunk[from + 1]!);
    view.setInt32(at + 8, chunk[from + 2]!);
    view.setInt32(at + 12, chunk[from + 3]!);
  }

  /** What an address of either family adds to a pseudo-header's checksum. */
  sum(address: number): number {
    if (!isIpv6Handle(address)) return address;
    const record = address & 0xff_ffff;
    const chunk = this.#chunks[record >>> CHUNK_BITS]!;
    const from = (record & (CHUNK_RECORDS - 1)) * RECORD_WORDS;
    const first = withoutZone(chunk[from]!) >>> 0;
    return foldSum(first + (chunk[from + 1]! >>> 0) + (chunk[from + 2]! >>> 0) + (chunk[from + 3]! >>> 0));
  }

  /**
   * 32 bits that stand for an address of either family where a hash is keyed by it: an IPv4 address itself,
   * a keyed hash of an IPv6 address, which stays the same when its handle is forgotten and made anew.
   */
  digest(address: number): number {
    return isIpv6Handle(address) ? this.#digests[2 * this.#digested(address)]! : address;
  }

  /** 32 more bits of an IPv6 address's `digest`: with both, two addresses that differ are told apart. */
  digestHigh(handle: number): number {
    return this.#digests[2 * this.#digested(handle) + 1]!;
  }

  /**
   * The digest of the IPv6 address whose 16 bytes `freeze` wrote, as words, which takes no room in the table.
   * @param into Gets its low and its high half.
   */
  digestWords(first: number, b: number, c: number, d: number, into: Int32Array): void {
    const zone = isLinkLocalWord(first) ? first & 0xffff : 0;
    this.#setKey(zone > 0 ? first & ~0xffff : first, b, c, d, zone);
    into[0] = this.#hash.words(this.#key, 4);
    into[1] = this.#hash.hi;
  }

  /** Where the digest of an address is. */
  #digested(handle: number): number {
    const at = handle & DIGESTS_MASK;
    if (this.#digestOf[at] !== handle) {
      const low = this.#hashOf(handle & 0xff_ffff);
      this.#noteDigest(handle, low, this.#hash.hi);
    }
    return at;
  }

  #noteDigest(handle: number, low: number, high: number): void {
    const at = handle & DIGESTS_MASK;
    this.#digestOf[at] = handle;
    this.#digests[2 * at] = low;
    this.#digests[2 * at + 1] = high;
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
    return address === 0 ? this.#full() : address;
  }

  #full(): never {
    throw new RangeError(`No room for another IPv6 address: ${this.addressesMax} are in use`);
  }

  /** An address of either family as text, which `parse` reads back. */
  format(address: number): string {
    if (!isIpv6Handle(address)) return formatIpv4(address);
    const zone = this.zone(address);
    const text = formatIpv6(...this.words(address));
    return zone === 0 ? text : `${text}%${this.zoneNames[zone - 1] ?? zone - 1}`;
  }

  /** As `format`, of an address or of the bytes that `freeze` made of an IPv6 one. */
  formatLasting(address: number | Uint8Array): string {
    return typeof address === "number" ? this.format(address) : this.formatFrozen(address);
  }

  /**
   * The address as images hold it: a uint32, or 16 bytes. A link-local address's third and fourth byte,
   * zero on every wire, are its zone.
   */
  freeze(address: number): number | Uint8Array<ArrayBuffer> {
    if (!isIpv6Handle(address)) return address >>> 0;
    const bytes = smallBytes(16);
    this.freezeWords(address, this.#frozen);
    for (let at = 0; at < 4; at++) putWord(bytes, 4 * at, this.#frozen[at]!);
    return bytes;
  }

  /** As `freeze`, of an IPv6 address: the words that its 16 bytes are. */
  freezeWords(address: number, into: Int32Array): void {
    for (let at = 0; at < 4; at++) into[at] = this.word(address, at);
    const zone = this.zone(address);
    if (zone > 0) into[0] = (into[0]! & ~0xffff) | zone;
  }

  /** As `format`, of what `freeze` wrote, which takes no room in the table. */
  formatFrozen(frozen: number | Uint8Array): string {
    return formatFrozenAddress(frozen, this.zoneNames);
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
    return this.thawWords(wordAt(frozen, 0), wordAt(frozen, 4), wordAt(frozen, 8), wordAt(frozen, 12));
  }

  /** The IPv6 address whose 16 bytes `freeze` wrote, as words. */
  thawWords(first: number, b: number, c: number, d: number): number {
    const zone = isLinkLocalWord(first) ? first & 0xffff : 0;
    const address = this.intern(zone > 0 ? first & ~0xffff : first, b, c, d, zone);
    return address === 0 ? this.#full() : address;
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

  #setKey(a: number, b: number, c: number, d: number, zone: number): void {
    assert(zone < STRAY, "A host has fewer interfaces");
    const key = this.#key;
    key[0] = isLinkLocalWord(a) ? a | ((a & 0xffff) === 0 ? zone : STRAY) : a;
    key[1] = b;
    key[2] = c;
    key[3] = d;
  }

  #isLive(record: number): boolean {
    return record < this.#end && this.#get(record, HOLD) !== 0;
  }

  /** Whether the record is that of `#key`. */
  #is(record: number): boolean {
    const chunk = this.#chunks[record >>> CHUNK_BITS]!, key = this.#key;
    const at = (record & (CHUNK_RECORDS - 1)) * RECORD_WORDS;
    return chunk[at + 3] === key[3] && chunk[at + 2] === key[2] && chunk[at + 1] === key[1] &&
      chunk[at] === key[0] && chunk[at + HOLD] !== 0;
  }

  #hashOf(record: number): number {
    for (let at = 0; at < 4; at++) this.#again[at] = this.#get(record, at);
    return this.#hash.words(this.#again, 4);
  }

  /** The record of the address in `#key`, or -1. */
  #find(hash: number): number {
    const index = this.#index;
    for (let record = index.first(hash); record >= 0; record = index.next()) {
      if (this.#is(record)) return record;
    }
    return -1;
  }

  /** A record for the address in `#key`, held by nobody; -1 when there is no room. */
  #insert(hash: number): number {
    const full = this.size >= this.addressesMax;
    if (full && this.#transients.size < TRANSIENTS_MIN) return -1;
    if (full) this.#forgetOldest();
    const record = this.#takeRecord();
    for (let at = 0; at < 4; at++) this.#set(record, at, this.#key[at]!);
    this.#link(record);
    this.#index.add(record, hash);
    return record;
  }

  #takeRecord(): number {
    const freed = this.#freeRecord;
    if (freed >= 0) {
      this.#freeRecord = this.#get(freed, 0);
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
    if (this.#transients.size >= this.transientsMax) this.#forgetOldest();
    this.#set(record, HOLD, ~this.#transients.add(record));
  }

  #forgetOldest(): void {
    const record = this.#transients.takeFirst();
    this.#index.remove(record, this.#hashOf(record));
    this.#set(record, HOLD, 0);
    this.#set(record, 0, this.#freeRecord);
    this.#freeRecord = record;
    const handle = handleOf(record);
    if (this.#digestOf[handle & DIGESTS_MASK] === handle) this.#digestOf[handle & DIGESTS_MASK] = 0;
  }
}

/** The first word as it is on a wire. */
function withoutZone(first: number): number {
  return isLinkLocalWord(first) && (first & STRAY) !== STRAY ? first & ~0xffff : first;
}

// A DataView for each address would take longer than the words do.
function wordAt(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

function putWord(bytes: Uint8Array, at: number, word: number): void {
  bytes[at] = word >>> 24;
  bytes[at + 1] = word >>> 16;
  bytes[at + 2] = word >>> 8;
  bytes[at + 3] = word;
}

function handleOf(record: number): number {
  return (0xf000_0000 | record) | 0;
}

/** An address as images have it (`AddressTable.freeze`), as text; its zone by its name where there is one. */
export function formatFrozenAddress(frozen: number | Uint8Array, zoneNames: readonly string[] = []): string {
  if (typeof frozen === "number") return formatIpv4(frozen | 0);
  const view = new DataView(frozen.buffer, frozen.byteOffset, 16);
  const first = view.getInt32(0);
  const zone = isLinkLocalWord(first) ? first & 0xffff : 0;
  const words = [view.getInt32(4), view.getInt32(8), view.getInt32(12)] as const;
  const text = formatIpv6(zone > 0 ? first & ~0xffff : first, ...words);
  return zone === 0 ? text : `${text}%${zoneNames[zone - 1] ?? zone - 1}`;
}
