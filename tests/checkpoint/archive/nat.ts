import type { Slab } from "../../../base/slab.ts";
import type { Link, LinkSink } from "../../../net/link/link.ts";
import { parseIpv4 } from "../../../net/wire/address.ts";

const SOURCE = 12;
const DESTINATION = 16;

/**
 * A link of IPv4 packets behind a NAT: what is sent to `outside` goes to `inside`, and what comes from there comes from
 * `outside`. Checksums are corrected as RFC 1624 has it.
 */
export function nat(link: Link, outside: string, inside: string): Link {
  const [out, ins] = [parseIpv4(outside)!, parseIpv4(inside)!];
  return {
    medium: link.medium,
    mtu: link.mtu,
    counters: link.counters,
    open: (sink: LinkSink) =>
      link.open({
        receive: (slab, start, end) => {
          rewrite(slab, start, SOURCE, ins, out);
          sink.receive(slab, start, end);
        },
        flush: () => sink.flush(),
        closed: (error) => sink.closed(error),
      }),
    send: (slab, start, end) => {
      rewrite(slab, start, DESTINATION, out, ins);
      return link.send(slab, start, end);
    },
    flush: () => link.flush(),
    close: () => link.close(),
  };
}

function rewrite(slab: Slab, start: number, at: number, from: number, to: number): void {
  const view = new DataView(slab.bytes.buffer, slab.bytes.byteOffset + start);
  if (view.getInt32(at) !== (from | 0)) return;
  const headerBytes = (view.getUint8(0) & 15) * 4;
  const checksums = [10, headerBytes + 16]; // of IP, of TCP, which covers the addresses as well
  for (let word = at; word < at + 4; word += 2) {
    const [old, now] = [view.getUint16(word), (to >>> (word === at ? 16 : 0)) & 0xffff];
    view.setUint16(word, now);
    for (const place of checksums) {
      let sum = (~view.getUint16(place) & 0xffff) + (~old & 0xffff) + now;
      sum = (sum & 0xffff) + (sum >>> 16);
      sum = (sum & 0xffff) + (sum >>> 16);
      view.setUint16(place, ~sum & 0xffff);
    }
  }
}
