import { seqLess } from "../../../base/sequence.ts";
import { Slab } from "../../../base/slab.ts";
import { TCP_HEADER_LENGTH, TcpFlag } from "../../wire/tcp.ts";
import { TcpOption, WINDOW_SCALE_MAX } from "../../wire/tcp_options.ts";

/** What tracking takes a segment for: `enum tcp_bit_set`. */
export const TcpIndex = { syn: 0, synAck: 1, fin: 2, ack: 3, rst: 4, none: 5 } as const;
export type TcpIndex = (typeof TcpIndex)[keyof typeof TcpIndex];

const AT = { seq: 4, ack: 8, offset: 12, flags: 13, window: 14 } as const;

/** Combinations of FIN, SYN, RST, ACK and URG that mean something: the kernel's `tcp_valid_flags`. */
const { FIN, SYN, RST, ACK, URG } = TcpFlag;
const VALID: ReadonlySet<number> = new Set([
  SYN,
  SYN | URG,
  SYN | ACK,
  RST,
  RST | ACK,
  FIN | ACK,
  FIN | ACK | URG,
  ACK,
  ACK | URG,
]);
const VALID_FLAGS = Uint8Array.from({ length: 64 }, (_, flags) => Number(VALID.has(flags & ~TcpFlag.PSH)));

/** A segment as tracking reads it: no more than it needs, and of whatever the kernel would read. */
export class TcpHeader {
  seq = 0;
  ack = 0;
  /** The sequence number behind it. */
  end = 0;
  window = 0;
  flags = 0;
  index: TcpIndex = TcpIndex.none;
  /** After `readOptions`: -1 without the option, else at most 14. */
  scale = -1;
  sackPermitted = false;
  #slab: Slab = EMPTY;
  #optionsStart = 0;
  #optionsEnd = 0;

  get hasOptions(): boolean {
    return this.#optionsEnd > this.#optionsStart;
  }

  /** Reads the segment in `[start, end)`. @returns False when it is no segment, or one that means nothing. */
  read(slab: Slab, start: number, end: number): boolean {
    const { view } = slab;
    const length = end - start;
    if (length < TCP_HEADER_LENGTH) return false;
    const headerLength = (view.getUint8(start + AT.offset) >>> 4) << 2;
    if (headerLength < TCP_HEADER_LENGTH || headerLength > length) return false;
    const flags = view.getUint8(start + AT.flags);
    if (VALID_FLAGS[flags & 0x3f] === 0) return false;
    this.#slab = slab;
    this.#optionsStart = start + TCP_HEADER_LENGTH;
    this.#optionsEnd = start + headerLength;
    this.flags = flags;
    this.seq = view.getInt32(start + AT.seq);
    this.ack = view.getInt32(start + AT.ack);
    this.window = view.getUint16(start + AT.window);
    const extra = ((flags & SYN) !== 0 ? 1 : 0) + ((flags & FIN) !== 0 ? 1 : 0);
    this.end = (this.seq + length - headerLength + extra) | 0;
    this.index = (flags & RST) !== 0
      ? TcpIndex.rst
      : (flags & SYN) !== 0
      ? ((flags & ACK) !== 0 ? TcpIndex.synAck : TcpIndex.syn)
      : (flags & FIN) !== 0
      ? TcpIndex.fin
      : (flags & ACK) !== 0
      ? TcpIndex.ack
      : TcpIndex.none;
    return true;
  }

  /** Fills `scale` and `sackPermitted`. */
  readOptions(): void {
    this.scale = -1;
    this.sackPermitted = false;
    const { bytes } = this.#slab;
    for (let at = this.#optionsStart; at < this.#optionsEnd;) {
      const kind = bytes[at]!;
      if (kind === TcpOption.End) return;
      if (kind === TcpOption.Nop) {
        at++;
        continue;
      }
      if (at + 1 >= this.#optionsEnd) return;
      const size = bytes[at + 1]!;
      if (size < 2 || at + size > this.#optionsEnd) return;
      if (kind === TcpOption.SackPermitted && size === 2) this.sackPermitted = true;
      if (kind === TcpOption.WindowScale && size === 3) {
        this.scale = Math.min(bytes[at + 2]!, WINDOW_SCALE_MAX);
      }
      at += size;
    }
  }

  /** The highest sequence number that is acknowledged, selectively or not. */
  highestSack(slab: Slab): number {
    const { bytes, view } = slab;
    let highest = this.ack;
    for (let at = this.#optionsStart; at < this.#optionsEnd;) {
      const kind = bytes[at]!;
      if (kind === TcpOption.End) break;
      if (kind === TcpOption.Nop) {
        at++;
        continue;
      }
      if (at + 1 >= this.#optionsEnd) break;
      const size = bytes[at + 1]!;
      if (size < 2 || at + size > this.#optionsEnd) break;
      if (kind === TcpOption.Sack && size >= 10 && (size - 2) % 8 === 0) {
        for (let block = at + 2; block < at + size; block += 8) {
          const right = view.getInt32(block + 4);
          if (seqLess(highest, right)) highest = right;
        }
        break;
      }
      at += size;
    }
    return highest;
  }
}

const EMPTY = Slab.of(0);
