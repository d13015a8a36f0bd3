import type { Slab } from "../../base/slab.ts";
import { type Ipv4Record, PROTOCOL_TCP, PROTOCOL_UDP } from "../wire/ipv4.ts";
import { finishTcpChecksum } from "../wire/tcp.ts";
import { finishUdpChecksum } from "../wire/udp.ts";
import type { AddressTable } from "./address_table.ts";

/** A packet whose sender had left its checksum to a device: who looks at it, or keeps it, must not find it wrong. */
export function fillChecksum(addresses: AddressTable, ip: Ipv4Record, slab: Slab): void {
  const { source, destination, protocol, dataStart, dataEnd } = ip;
  const from = addresses.sum(source);
  const to = addresses.sum(destination);
  if (protocol === PROTOCOL_TCP) finishTcpChecksum(slab, dataStart, dataEnd, from, to);
  else if (protocol === PROTOCOL_UDP) finishUdpChecksum(slab, dataStart, dataEnd, from, to);
}
