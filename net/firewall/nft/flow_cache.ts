import { PROTOCOL_TCP, PROTOCOL_UDP } from "../../wire/ipv4.ts";
import { Nfproto, type NftPacket } from "./packet.ts";

/** Entries; a flow that finds its place taken takes it. */
const ENTRIES = 4_096;
/** Counters that one decision may count. */
const COUNTERS_MAX = 6;
/** Words of an entry: the key, then verdict, number of the rejection, how many counters, and which. */
const AT = { key: 0, verdict: 13, reject: 14, counters: 15, counter: 16 } as const;
const STRIDE = 24;

/**
 * Decisions that hold for all packets of a flow: on the same way, at the same place among the hooks, with the same state
 * and mark. So a packet of a flow that has been judged costs the same with any number of rules.
 */
export class FlowCache {
  /** Whether the decision at hand is being written down. */
  recording = false;
  readonly #table = new Int32Array(ENTRIES * STRIDE);
  readonly #key = new Int32Array(AT.verdict);
  readonly #counted = new Int32Array(COUNTERS_MAX);
  #counters = 0;
  readonly #seed: number;
  #slot = 0;

  constructor(seed: number) {
    this.#seed = seed | 1;
  }

  /**
   * Looks a packet up at the place `run` (1 to 127).
   * @returns Where its entry is, or -1: the decision has to be found, and `keep` may write it down.
   */
  find(packet: NftPacket, run: number): number {
    const key = this.#key;
    const { slab: { view }, start, transport, protocol, nfproto, track } = packet;
    key[0] = run | (protocol << 7) | (track.state << 15) | (track.direction << 22) |
      (packet.packetType << 23);
    key[1] = (packet.iif << 16) | (packet.oif & 0xffff);
    key[2] = packet.mark;
    key[3] = view.getInt32(transport); // the ports
    if (nfproto === Nfproto.Ipv6) {
      key[4] = 1;
      for (let word = 0; word < 8; word++) key[5 + word] = view.getInt32(start + 8 + word * 4);
    } else {
      key[4] = 0;
      key[5] = view.getInt32(start + 12);
      key[6] = view.getInt32(start + 16);
      key[7] =
        key[8] =
        key[9] =
        key[10] =
        key[11] =
        key[12] =
          0;
    }
    const words = nfproto === Nfproto.Ipv6 ? 13 : 7;
    let hash = this.#seed;
    for (let word = 0; word < words; word++) hash = Math.imul(hash ^ key[word]!, 0x85eb_ca6b) ^ (hash >>> 15);
    hash = Math.imul(hash ^ (hash >>> 16), 0xc2b2_ae35);
    const at = this.#slot = ((hash >>> 15) & (ENTRIES - 1)) * STRIDE;
    const table = this.#table;
    for (let word = 0; word < words; word++) if (table[at + word] !== key[word]) return -1;
    return at;
  }

  /** Whether packets like this one are remembered at all: those whose ports are there. */
  takes({ protocol, transport, end }: NftPacket): boolean {
    return (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP) && transport >= 0 && transport + 4 <= end;
  }

  /** A decision is being found for the packet that `find` did not find. */
  begin(): void {
    this.recording = true;
    this.#counters = 0;
  }

  /** A counter has counted. */
  count(counter: number): void {
    if (this.#counters < COUNTERS_MAX) this.#counted[this.#counters] = counter;
    this.#counters++;
  }

  /** The decision holds for the flow. */
  keep(verdict: number, reject: number): void {
    this.recording = false;
    if (this.#counters > COUNTERS_MAX) return;
    const table = this.#table;
    const at = this.#slot;
    table.set(this.#key, at);
    table[at + AT.verdict] = verdict;
    table[at + AT.reject] = reject;
    table[at + AT.counters] = this.#counters;
    for (let each = 0; each < this.#counters; each++) table[at + AT.counter + each] = this.#counted[each]!;
  }

  verdict(entry: number): number {
    return this.#table[entry + AT.verdict]!;
  }

  reject(entry: number): number {
    return this.#table[entry + AT.reject]!;
  }

  counters(entry: number): number {
    return this.#table[entry + AT.counters]!;
  }

  counter(entry: number, at: number): number {
    return this.#table[entry + AT.counter + at]!;
  }
}
