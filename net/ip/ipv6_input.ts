import type { Slab } from "../../base/slab.ts";
import { Drop } from "../wire/drop.ts";
import { IPV4_LENGTH_MAX, type Ipv4Record } from "../wire/ipv4.ts";
import {
  IPV6_HEADER_LENGTH,
  Ipv6Record,
  isHeaderBroken,
  Problem,
  readIpv6,
  wholeIpv6,
} from "../wire/ipv6.ts";
import type { AddressTable } from "./address_table.ts";
import { Fragment, type Reassembly } from "./reassembly.ts";

/** Reads IPv6 packets into the record that both families share, addresses as handles. */
export class Ipv6Input {
  /** What only IPv6 has of the packet that was read last. */
  readonly record: Ipv6Record = new Ipv6Record();
  readonly #addresses: AddressTable;
  readonly #reassembly: Reassembly;
  readonly #fragment = new Fragment();

  constructor(addresses: AddressTable, reassembly: Reassembly) {
    this.#addresses = addresses;
    this.#reassembly = reassembly;
  }

  /**
   * Fills `into` from the packet in `[start, end)`, which came in on the interface of `zone` (its index + 1).
   *
   * @returns `Drop.None`, or the reason. When that lies in extension headers, `into` is filled all the same, as far
   * as passing the packet on and telling its sender need: see `isHeaderBroken`.
   */
  read(slab: Slab, start: number, end: number, zone: number, into: Ipv4Record): Drop {
    const record = this.record;
    const reason = readIpv6(slab, start, end, record);
    if (reason !== Drop.None && isHeaderBroken(reason)) return reason;
    into.source = this.#addresses.read(slab, start + 8, zone);
    into.destination = this.#addresses.read(slab, start + 24, zone);
    if (into.source === 0 || into.destination === 0) {
      record.problem = Problem.none;
      return Drop.AddressTableFull;
    }
    into.protocol = record.protocol;
    into.typeOfService = record.trafficClass;
    into.timeToLive = record.hopLimit;
    into.identification = 0;
    into.dontFragment = true;
    into.moreFragments = false;
    into.fragmentOffset = 0;
    into.headerStart = record.headerStart;
    into.dataStart = record.dataStart;
    into.dataEnd = record.dataEnd;
    return reason;
  }

  /**
   * Puts the fragment that was read last, as `ip`, to the others of its datagram. When that is whole it lies
   * in `Reassembly.whole`, and `ip` describes it.
   */
  reassemble(slab: Slab, zone: number, ip: Ipv4Record, nowMs: number): Drop {
    const { record } = this;
    const fragment = this.#fragment;
    // Handles may be forgotten while a datagram waits for its rest; digests stay.
    fragment.source = this.#addresses.digest(ip.source);
    fragment.destination = this.#addresses.digest(ip.destination);
    fragment.protocol = record.fragmentProtocol;
    fragment.identification = record.identification;
    fragment.ipv6 = true;
    fragment.offset = record.fragmentOffset;
    fragment.more = record.moreFragments;
    fragment.ecn = record.trafficClass & 3;
    fragment.headerStart = record.headerStart;
    fragment.headerEnd = record.fragmentAt;
    fragment.dataStart = record.dataStart;
    fragment.dataEnd = record.dataEnd;
    fragment.lengthMax = IPV4_LENGTH_MAX - (record.fragmentAt - record.headerStart - IPV6_HEADER_LENGTH);
    // The whole's headers are the first fragment's without its fragment header (RFC 8200 section 4.5).
    if (record.fragmentOffset === 0) slab.bytes[record.protocolAt] = record.fragmentProtocol;
    const reason = this.#reassembly.add(fragment, slab, nowMs);
    const { whole } = this.#reassembly;
    if (whole === undefined) return reason;
    wholeIpv6(whole, 0, whole.bytes.length, this.#reassembly.congestionExperienced);
    return this.read(whole, 0, whole.bytes.length, zone, ip);
  }
}
