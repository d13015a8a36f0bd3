import { Slab } from "../../base/slab.ts";

/** A restore takes well under a millisecond; this is an initial window of segments and some more. */
const PACKETS_PER_CONNECTION_MAX = 64;
/** All connections together, so that a storm of wakes has a bound. */
const BYTES_MAX = 64 << 20;

/** A copy of a whole IP packet, and where it came in: the firewall judges it again when it is delivered. */
export interface HeldPacket {
  readonly slab: Slab;
  readonly interfaceIndex: number;
}

/** Packets for connections that are waking, in their order of arrival. */
export class HeldPackets {
  readonly #packets = new Map<number, HeldPacket[]>();
  #bytes = 0;

  /** Bytes held for all connections. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Keeps a copy of the IP packet in `[start, end)`; false when there is no room. */
  hold(record: number, interfaceIndex: number, slab: Slab, start: number, end: number): boolean {
    if (this.#bytes + end - start > BYTES_MAX) return false;
    let packets = this.#packets.get(record);
    if (packets === undefined) this.#packets.set(record, packets = []);
    if (packets.length >= PACKETS_PER_CONNECTION_MAX) return false;
    packets.push({ slab: new Slab(slab.bytes.slice(start, end)), interfaceIndex });
    this.#bytes += end - start;
    return true;
  }

  /** Hands out and forgets what is held for `record`. */
  take(record: number): readonly HeldPacket[] {
    const packets = this.#packets.get(record) ?? [];
    this.#packets.delete(record);
    for (const packet of packets) this.#bytes -= packet.slab.bytes.length;
    return packets;
  }
}
