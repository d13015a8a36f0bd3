import { Slab } from "../../base/slab.ts";

/** A restore takes well under a millisecond; this is an initial window of segments and some more. */
export const HELD_PACKETS_MAX = 64;
/** All connections together, so that a storm of wakes has a bound. */
export const HELD_BYTES_MAX: number = 64 << 20;

/** A copy of a whole IP packet, and where it came in: the firewall judges it again when it is delivered. */
export interface HeldPacket {
  slab: Slab;
  interfaceIndex: number;
}

const NO_PACKET = Slab.of(0);

/** How much may be held for some connections, and how much is. */
export class HeldShare {
  /** Packets of one connection. */
  readonly packetsMax: number;
  /** Bytes of all of them together, in whole blocks. */
  readonly bytesMax: number;
  blocks = 0;

  constructor(packetsMax: number, bytesMax: number) {
    this.packetsMax = packetsMax;
    this.bytesMax = bytesMax;
  }
}

/** A small packet and its headers fit into two: an object for each would take four times as much. */
const BLOCK_BYTES = 128;
const CHUNK_BLOCKS = 4_096;
/**
 * What is known of a block: the next one of its packet, of a packet's first one also what follows, and of a connection's
 * first packet where its last one is, and how many they are.
 */
const WORDS = 8;
const NEXT_BLOCK = 0;
const NEXT_PACKET = 1;
const LENGTH = 2;
const INTERFACE = 3;
const SEQUENCE = 4;
const SHARE = 5;
const LAST_PACKET = 6;
const PACKETS = 7;
const NONE = -1;
/** Of packets up to this length one slab each is used again: most who wake are woken by a short one. */
const SPARE_LENGTH_MAX = 2_048;

/**
 * Packets for connections that are waking, in their order of arrival. They lie in blocks of one size, which are used
 * again and never given back: what a storm of wakes may take is what it does take.
 */
export class HeldPackets {
  /** Of connections that have no share of their own. */
  readonly share: HeldShare;
  readonly #chains = new Map<number, number>(); // by record: its first packet
  readonly #chunks: Slab[] = [];
  readonly #shares: HeldShare[] = [];
  #words = new Int32Array(0);
  readonly #spares = new Array<Slab | undefined>(SPARE_LENGTH_MAX + 1).fill(undefined); // by length
  readonly #opened: HeldPacket = { slab: NO_PACKET, interfaceIndex: -1 };
  #free = NONE;
  #blocks = 0;
  #bytes = 0;

  /** @throws {RangeError} When a limit makes no sense. */
  constructor(packetsMax: number = HELD_PACKETS_MAX, bytesMax: number = HELD_BYTES_MAX) {
    checkHeldLimits(packetsMax, bytesMax, "Cannot hold packets with ");
    this.share = new HeldShare(packetsMax, bytesMax);
  }

  /** Bytes held for all connections. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Keeps a copy of the IP packet in `[start, end)`; false when there is no room: in `share`, if the connection has one,
   * or in what all may hold.
   * @param sequence The sequence number of its segment, for `has`.
   */
  hold(
    record: number,
    interfaceIndex: number,
    slab: Slab,
    start: number,
    end: number,
    sequence: number = 0,
    share: HeldShare = this.share,
  ): boolean {
    const length = end - start;
    const count = Math.ceil(length / BLOCK_BYTES);
    if ((this.#blocks + count) * BLOCK_BYTES > this.share.bytesMax) return false;
    if ((share.blocks + count) * BLOCK_BYTES > share.bytesMax) return false;
    const before = this.#chains.get(record) ?? NONE;
    const packets = before === NONE ? 0 : this.#words[before * WORDS + PACKETS]!;
    if (packets >= share.packetsMax) return false;
    let first = NONE;
    for (let at = (count - 1) * BLOCK_BYTES; at >= 0; at -= BLOCK_BYTES) {
      const block = this.#take();
      const from = start + at;
      copyWords(slab, from, this.#chunkOf(block), offsetOf(block), Math.min(end - from, BLOCK_BYTES));
      this.#words[block * WORDS + NEXT_BLOCK] = first;
      first = block;
    }
    const word = first * WORDS;
    this.#words[word + NEXT_PACKET] = NONE;
    this.#words[word + LENGTH] = length;
    this.#words[word + INTERFACE] = interfaceIndex;
    this.#words[word + SEQUENCE] = sequence;
    this.#words[word + SHARE] = this.#numberOf(share);
    const chain = before === NONE ? first : before;
    if (before === NONE) this.#chains.set(record, first);
    else this.#words[this.#words[before * WORDS + LAST_PACKET]! * WORDS + NEXT_PACKET] = first;
    this.#words[chain * WORDS + LAST_PACKET] = first;
    this.#words[chain * WORDS + PACKETS] = packets + 1;
    this.#bytes += length;
    this.#blocks += count;
    if (share !== this.share) share.blocks += count;
    return true;
  }

  /** Whether anything is held for `record`. */
  holdsFor(record: number): boolean {
    return this.#chains.has(record);
  }

  /** Whether a packet of this length whose segment begins there is held for `record`: it has been sent again. */
  has(record: number, sequence: number, length: number): boolean {
    const words = this.#words;
    for (let packet = this.#chains.get(record) ?? NONE; packet !== NONE;) {
      const word = packet * WORDS;
      if (words[word + SEQUENCE] === sequence && words[word + LENGTH] === length) return true;
      packet = words[word + NEXT_PACKET]!;
    }
    return false;
  }

  /** The beginning of the first packet that is held for `record`, its IP header at least. */
  peek(record: number): HeldPacket | undefined {
    const first = this.#chains.get(record);
    if (first === undefined) return undefined;
    const slab = Slab.of(Math.min(BLOCK_BYTES, this.#words[first * WORDS + LENGTH]!));
    copyWords(this.#chunkOf(first), offsetOf(first), slab, 0, slab.bytes.length);
    return { slab, interfaceIndex: this.#words[first * WORDS + INTERFACE]! };
  }

  /**
   * Begins to hand out what is held for `record`, which is forgotten: each packet is `open`ed, which gives a copy, and
   * `free`d, which says what comes next.
   *
   * @returns The first packet, or -1.
   */
  begin(record: number): number {
    const first = this.#chains.get(record);
    if (first === undefined) return NONE;
    this.#chains.delete(record);
    return first;
  }

  /** A copy of a packet. The object is valid until the next call. */
  open(packet: number): Readonly<HeldPacket> {
    const length = this.#words[packet * WORDS + LENGTH]!;
    const slab = this.#spares[length] ?? Slab.of(length);
    if (length <= SPARE_LENGTH_MAX) this.#spares[length] = undefined;
    for (let block = packet, at = 0; block !== NONE; at += BLOCK_BYTES) {
      copyWords(this.#chunkOf(block), offsetOf(block), slab, at, Math.min(BLOCK_BYTES, length - at));
      block = this.#words[block * WORDS + NEXT_BLOCK]!;
    }
    this.#opened.slab = slab;
    this.#opened.interfaceIndex = this.#words[packet * WORDS + INTERFACE]!;
    return this.#opened;
  }

  /** Takes back a slab that `open` gave, and that nobody refers to any more. */
  giveBack(slab: Slab): void {
    if (slab.bytes.length <= SPARE_LENGTH_MAX) this.#spares[slab.bytes.length] = slab;
  }

  /** Frees a packet's blocks. @returns The packet behind it, or -1. */
  free(packet: number): number {
    const words = this.#words;
    const next = words[packet * WORDS + NEXT_PACKET]!;
    const share = this.#shares[words[packet * WORDS + SHARE]!]!;
    this.#bytes -= words[packet * WORDS + LENGTH]!;
    for (let block = packet; block !== NONE;) {
      const behind = words[block * WORDS + NEXT_BLOCK]!;
      words[block * WORDS + NEXT_BLOCK] = this.#free;
      this.#free = block;
      this.#blocks--;
      if (share !== this.share) share.blocks--;
      block = behind;
    }
    return next;
  }

  /** A block that nobody uses; there is room, as the limit has been looked at. */
  #take(): number {
    if (this.#free === NONE) {
      const first = this.#chunks.length * CHUNK_BLOCKS;
      this.#chunks.push(Slab.of(CHUNK_BLOCKS * BLOCK_BYTES));
      const needed = this.#chunks.length * CHUNK_BLOCKS * WORDS;
      if (needed > this.#words.length) {
        const words = new Int32Array(Math.max(needed, 2 * this.#words.length));
        words.set(this.#words);
        this.#words = words;
      }
      for (let block = first + CHUNK_BLOCKS - 1; block >= first; block--) {
        this.#words[block * WORDS + NEXT_BLOCK] = this.#free;
        this.#free = block;
      }
    }
    const block = this.#free;
    this.#free = this.#words[block * WORDS + NEXT_BLOCK]!;
    return block;
  }

  #chunkOf(block: number): Slab {
    return this.#chunks[Math.floor(block / CHUNK_BLOCKS)]!;
  }

  #numberOf(share: HeldShare): number {
    const known = this.#shares.indexOf(share);
    return known >= 0 ? known : this.#shares.push(share) - 1;
  }
}

function offsetOf(block: number): number {
  return (block % CHUNK_BLOCKS) * BLOCK_BYTES;
}

/** A block's worth: a view of it would cost more. */
function copyWords(from: Slab, start: number, to: Slab, at: number, count: number): void {
  const source = from.view, target = to.view;
  const end = start + count;
  for (; start + 4 <= end; start += 4, at += 4) target.setInt32(at, source.getInt32(start));
  for (; start < end; start++, at++) target.setUint8(at, source.getUint8(start));
}

/** One packet always fits. */
const HELD_BYTES_MIN = 65_536;
/** More than a window of small segments is no queue but a leak. */
const PACKETS_LIMIT = 65_536;

/**
 * Refuses limits that make no sense.
 * @param what Begins the message.
 * @throws {RangeError}
 */
export function checkHeldLimits(packetsMax: number, bytesMax: number, what: string): void {
  if (!(Number.isInteger(packetsMax) && packetsMax >= 1 && packetsMax <= PACKETS_LIMIT)) {
    throw new RangeError(`${what}heldPacketsMax ${packetsMax}: it must be from 1 to ${PACKETS_LIMIT}`);
  }
  if (!(bytesMax >= HELD_BYTES_MIN && bytesMax <= 2 ** 37)) {
    throw new RangeError(`${what}heldBytesMax ${bytesMax}: it must be from ${HELD_BYTES_MIN} to 2^37`);
  }
}
