import type { Slab } from "../../base/slab.ts";
import type { Drop } from "../wire/drop.ts";
import { IPV4_LENGTH_MAX, type Ipv4Record, readIpv4, wholeIpv4 } from "../wire/ipv4.ts";
import { Fragment, type Reassembly } from "./reassembly.ts";

/** Puts IPv4 datagrams together. */
export class Ipv4Input {
  readonly #reassembly: Reassembly;
  readonly #fragment = new Fragment();

  constructor(reassembly: Reassembly) {
    this.#reassembly = reassembly;
  }

  /**
   * Puts a fragment to the others of its datagram. When that is whole it lies in `Reassembly.whole`, and `ip`
   * describes it.
   */
  reassemble(slab: Slab, ip: Ipv4Record, nowMs: number): Drop {
    const fragment = this.#fragment;
    fragment.source = ip.source;
    fragment.destination = ip.destination;
    fragment.protocol = ip.protocol;
    fragment.identification = ip.identification;
    fragment.ipv6 = false;
    fragment.offset = ip.fragmentOffset;
    fragment.more = ip.moreFragments;
    fragment.ecn = ip.typeOfService & 3;
    fragment.headerStart = ip.headerStart;
    fragment.headerEnd = fragment.dataStart = ip.dataStart;
    fragment.dataEnd = ip.dataEnd;
    fragment.lengthMax = IPV4_LENGTH_MAX - (ip.dataStart - ip.headerStart);
    const reason = this.#reassembly.add(fragment, slab, nowMs);
    const { whole } = this.#reassembly;
    if (whole === undefined) return reason;
    wholeIpv4(whole, 0, whole.bytes.length, this.#reassembly.congestionExperienced);
    return readIpv4(whole, 0, whole.bytes.length, ip);
  }
}
