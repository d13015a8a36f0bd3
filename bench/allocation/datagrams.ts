import { assert } from "../../base/assert.ts";
import { HANDED_ON } from "../../base/handed_on.ts";
import { Prng } from "../../base/random.ts";
import { Slab } from "../../base/slab.ts";
import { Stack } from "../../net/stack.ts";
import type { UdpSocket } from "../../net/udp/udp.ts";
import { parseIpv4 } from "../../net/wire/address.ts";
import { Drop } from "../../net/wire/drop.ts";
import { Ipv4Record, PROTOCOL_UDP, writeIpv4 } from "../../net/wire/ipv4.ts";
import { finishUdpChecksum, UdpRecord, writeUdp } from "../../net/wire/udp.ts";

const START_MS = 1_700_000_000_000;
const US = parseIpv4("10.0.0.1")!;
const PEER = parseIpv4("10.0.0.2")!;
const PORT = 4_000;
const IP_BYTES = 20;
const DATA = new Uint8Array(36);
/** Datagrams in a turn. */
const BATCH = 16;

/** A stack with one UDP socket, and a peer who sends the same datagram again and again. */
export class OneSidedDatagrams {
  readonly #stack: Stack;
  readonly #socket: UdpSocket;
  readonly #datagram = Slab.forPackets(128);
  readonly #end: number;
  #nowMs: number = HANDED_ON;
  #sent = 0;
  #received = 0;

  constructor() {
    this.#nowMs = START_MS;
    const stack = this.#stack = new Stack({ nowMs: START_MS, entropy: new Prng(1) });
    stack.addInterface({
      name: "net0",
      link: {
        medium: "ip",
        mtu: 1500,
        send: () => {
          this.#sent++;
          return true;
        },
        flush: () => {},
      },
    });
    stack.setRoutes({ addresses: [{ address: "10.0.0.1/24" }] });
    stack.upcalls = {
      tcpEvents() {},
      udpReadable: (socket) => {
        while (socket.shift() !== undefined) this.#received++;
      },
      tcpSuspended() {},
      tcpRestored() {},
    };
    this.#socket = stack.udp.bind(0, PORT)!;
    this.#end = this.#write();
  }

  /** A turn takes no time. */
  prepare(): void {}

  /** Takes in `count` datagrams, each read at once. Returns packets. */
  datagramsIn(count: number): number {
    const before = this.#received;
    for (let at = 0; at < count; at++) {
      const reason = this.#stack.receive(0, this.#datagram, 0, this.#end, this.#nowMs);
      assert(reason === Drop.None, "The stack takes the datagram");
      if (at % BATCH === BATCH - 1) this.#stack.poll(this.#nowMs);
    }
    this.#stack.poll(this.#nowMs);
    return this.#received - before;
  }

  /** Sends `count` datagrams. Returns packets. */
  datagramsOut(count: number): number {
    const before = this.#sent;
    for (let at = 0; at < count; at++) {
      this.#stack.udp.send(US, PORT, PEER, PORT, DATA, this.#nowMs, this.#socket);
      if (at % BATCH === BATCH - 1) this.#stack.poll(this.#nowMs);
    }
    this.#stack.poll(this.#nowMs);
    return this.#sent - before;
  }

  #write(): number {
    const record = new UdpRecord(), ip = new Ipv4Record();
    record.sourcePort = record.destinationPort = PORT;
    ip.source = PEER;
    ip.destination = US;
    ip.protocol = PROTOCOL_UDP;
    ip.timeToLive = 64;
    const end = writeUdp(record, this.#datagram, IP_BYTES, DATA.length) + DATA.length;
    finishUdpChecksum(this.#datagram, IP_BYTES, end, PEER, US);
    writeIpv4(ip, this.#datagram, 0, end - IP_BYTES);
    return end;
  }
}
