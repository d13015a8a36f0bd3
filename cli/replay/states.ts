import { Slab } from "../../base/slab.ts";
import { Field, RecordState } from "../../net/connections/connection_map.ts";
import { formatTuple } from "../../net/connections/tuple.ts";
import type { Medium } from "../../net/link/link.ts";
import type { Stack } from "../../net/stack.ts";
import { type Tcb, tcpStateNames } from "../../net/tcp/tcb.ts";
import { isIpv6Handle } from "../../net/wire/address.ts";
import { Drop } from "../../net/wire/drop.ts";
import { ETHERNET_HEADER_LENGTH } from "../../net/wire/ethernet.ts";
import { Ipv4Record, PROTOCOL_TCP, readIpv4 } from "../../net/wire/ipv4.ts";
import { IPV6_HEADER_LENGTH } from "../../net/wire/ipv6.ts";

interface Ends {
  readonly local: number;
  readonly localPort: number;
  readonly remote: number;
  readonly remotePort: number;
}

/** Follows the states of the connections that something happens to. */
export class StateWatch {
  readonly #stack: Stack;
  readonly #known = new Map<string, string>();
  readonly #touched = new Map<string, Ends>();
  /** Of this step: their addresses may be known only when it is over. */
  readonly #frames: (() => Ends | undefined)[] = [];

  constructor(stack: Stack) {
    this.#stack = stack;
  }

  /** Of the step before nobody need be watched any more. */
  newStep(): void {
    this.#touched.clear();
    this.#frames.length = 0;
  }

  touchTcb({ localAddress, localPort, remoteAddress, remotePort }: Tcb): void {
    this.#touch({ local: localAddress, localPort, remote: remoteAddress, remotePort });
  }

  touchRecord(record: number): void {
    const { connections } = this.#stack;
    const state = connections.state(record);
    if (state === RecordState.free) return;
    const ports = connections.get(record, Field.ports);
    if (state === RecordState.awake) return this.touchTcb(this.#stack.awakeTcb(record));
    // A sleeper's IPv6 peer is in an image that is not here: it is known when it speaks or is awake.
    if (isIpv6Handle(connections.get(record, Field.localAddress))) return;
    this.#touch({
      local: connections.get(record, Field.localAddress),
      localPort: ports >>> 16,
      remote: connections.get(record, Field.remoteAddress),
      remotePort: ports & 0xffff,
    });
  }

  touchFrame(frame: Uint8Array, medium: Medium, incoming: boolean, zone: number): void {
    const slab = new Slab(frame.slice());
    const start = medium === "ethernet" ? ETHERNET_HEADER_LENGTH : 0;
    this.#frames.push(() => {
      const ends = endsOf(slab, start, this.#stack, zone);
      if (ends === undefined || !incoming) return ends;
      const { local: source, localPort: sourcePort, remote: target, remotePort: targetPort } = ends;
      return { local: target, localPort: targetPort, remote: source, remotePort: sourcePort };
    });
  }

  #touch(ends: Ends): void {
    const { local, localPort, remote, remotePort } = ends;
    this.#touched.set(formatTuple(local, localPort, remote, remotePort, this.#stack.addresses), ends);
  }

  /** What has changed since the last look. */
  *changes(): Generator<{ connection: string; from: string; to: string }> {
    for (const frame of this.#frames.splice(0)) {
      const ends = frame();
      if (ends !== undefined) this.#touch(ends);
    }
    for (const [connection, ends] of this.#touched) {
      const from = this.#known.get(connection) ?? "none";
      const to = this.#stateOf(ends);
      if (from === to) continue;
      if (to === "none") this.#known.delete(connection);
      else this.#known.set(connection, to);
      yield { connection, from, to };
    }
  }

  #stateOf({ local, localPort, remote, remotePort }: Ends): string {
    const { connections } = this.#stack;
    const record = connections.find(local, remote, localPort, remotePort);
    if (record < 0) return "none";
    const state = connections.state(record);
    if (state === RecordState.asleep) return "asleep";
    if (state === RecordState.waking) return "waking";
    const tcb = this.#stack.awakeTcb(record);
    return tcb.saving ? `${tcpStateNames[tcb.state]}, being saved` : tcpStateNames[tcb.state]!;
  }
}

/** Both ends of a TCP segment, the sender's as the local one; addresses that the stack does not know are nobody's. */
function endsOf(slab: Slab, start: number, { addresses }: Stack, zone: number): Ends | undefined {
  const { bytes, view } = slab;
  if (bytes.length < start + 1) return undefined;
  const ends = (local: number, remote: number, at: number): Ends | undefined => {
    if (at + 4 > bytes.length || local === 0 || remote === 0) return undefined;
    return { local, localPort: view.getUint16(at), remote, remotePort: view.getUint16(at + 2) };
  };
  if (bytes[start]! >>> 4 === 4) {
    const ip = new Ipv4Record();
    if (readIpv4(slab, start, bytes.length, ip) !== Drop.None) return undefined;
    if (ip.protocol !== PROTOCOL_TCP || ip.fragmentOffset > 0) return undefined;
    return ends(ip.source, ip.destination, ip.dataStart);
  }
  const data = start + IPV6_HEADER_LENGTH;
  if (bytes[start]! >>> 4 !== 6 || bytes.length < data || bytes[start + 6] !== PROTOCOL_TCP) return undefined;
  return ends(addresses.lookup(slab, start + 8, zone), addresses.lookup(slab, start + 24, zone), data);
}
