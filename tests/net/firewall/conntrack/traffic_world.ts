import type { Prng } from "../../../../base/random.ts";
import { formatIpv6 } from "../../../../net/wire/ipv6_address.ts";
import { icmpMessage, ipPacket, tcpSegment, udpDatagram } from "./packets.ts";
import type { Sided, TestRouter } from "./test_router.ts";

/** Somebody on a side. */
interface Place {
  readonly side: number;
  readonly address: string;
}

/** What one end knows of a conversation: whom it speaks to, as it sees them. */
interface End extends Place {
  peer: string;
  port: number;
  peerPort: number;
  next: number;
  acked: number;
  window: number;
}

interface Conversation {
  readonly protocol: number;
  readonly ends: [End, End];
  phase: number;
  known: boolean;
}

/** Packets that errors may be about. */
const SEEN_MAX = 40;
const FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, URG = 32;

/**
 * Draws what hosts on both sides of a router say to each other: much of it a conversation, some of it out of place. Each
 * end speaks to what it has seen, so the other side's names of it are those that the router gave.
 */
export class TrafficWorld {
  readonly #prng: Prng;
  /** Who stands in the middle. */
  router: TestRouter;
  readonly #conversations: Conversation[] = [];
  readonly #targets: readonly (readonly Place[])[];
  readonly #seen: Sided[] = [];
  readonly #ipv6: boolean;
  readonly #hosts: readonly Place[];
  /** Whose first packet is under way. */
  #asked: Conversation | undefined;

  /** @param targets For each side, whom its hosts speak to: the first ones are its hosts. */
  constructor(
    prng: Prng,
    router: TestRouter,
    hosts: readonly Place[],
    targets: readonly (readonly Place[])[],
  ) {
    this.#prng = prng;
    this.router = router;
    this.#hosts = hosts;
    this.#targets = targets;
    this.#ipv6 = hosts[0]!.address.includes(":");
  }

  /** What somebody says next. */
  say(): Sided {
    const what = this.#below(100);
    if (what < 8 && this.#seen.length > 0) return this.#error();
    if (what < 11) return this.#oddity();
    if (this.#conversations.length < 4 || what < 20) this.#begin();
    return this.#speak(this.#pick(this.#conversations.slice(-12)));
  }

  /** What came out of that: the other side knows those who speak by it. */
  heard(made: Sided | undefined): void {
    if (made !== undefined) {
      this.#seen.push(made);
      if (this.#seen.length > SEEN_MAX) this.#seen.shift();
    }
    this.#learn(made);
  }

  #below(limit: number): number {
    return this.#prng.below(limit);
  }
  #pick<T>(list: readonly T[]): T {
    return list[this.#below(list.length)]!;
  }

  #begin(): void {
    const from = this.#pick(this.#hosts);
    const to = this.#pick(this.#targets[from.side]!);
    const icmp = this.#ipv6 ? 58 : 1;
    const protocol = this.#pick([6, 6, 6, 17, 17, icmp, 253]);
    const port = this.#pick([300, 700, 1024, 4000, 4001]);
    const peerPort = this.#pick([53, 80, 80, 8080]);
    const end = (place: Place, peer: string, own: number, theirs: number): End => ({
      ...place,
      peer,
      port: own,
      peerPort: theirs,
      next: this.#below(2 ** 32),
      acked: 0,
      window: this.#pick([0, 1, 500, 8000, 65535]),
    });
    const ends: [End, End] = [end(from, to.address, port, peerPort), end(to, from.address, peerPort, port)];
    this.#conversations.push({ protocol, ends, phase: 0, known: false });
  }

  #speak(talk: Conversation): Sided {
    const first = (talk.phase === 0 && this.#below(10) > 0) || this.#isRouter(talk.ends[1].address);
    const way = first ? 0 : this.#below(2);
    const from = talk.ends[way]!, to = talk.ends[1 - way]!;
    const transport = talk.protocol === 6
      ? this.#segment(talk, from, to, way)
      : talk.protocol === 17
      ? udpDatagram(from.port, from.peerPort, new Uint8Array(this.#below(20)), this.#below(3) === 0 ? 1 : 0)
      : talk.protocol === 253
      ? new Uint8Array(12)
      : this.#query(talk, way);
    const badChecksum = this.#below(40) === 0;
    const { address: source, peer: destination, side } = from;
    const said = {
      side,
      bytes: ipPacket({ source, destination, protocol: talk.protocol, transport, badChecksum }),
    };
    talk.phase++;
    this.#asked = way === 0 && !talk.known ? talk : undefined;
    return said;
  }

  #learn(made: Sided | undefined): void {
    const talk = this.#asked;
    this.#asked = undefined;
    if (talk === undefined || made === undefined) return;
    const view = new DataView(made.bytes.buffer);
    const ipv6 = made.bytes[0]! >>> 4 === 6;
    const far = talk.ends[1];
    const header = ipv6 ? 40 : 20;
    talk.known = true;
    const [peer, address] = this.#endsOf(made.bytes);
    const place = { side: made.side, address, peer };
    Object.assign(far, place);
    if (talk.protocol === 6 || talk.protocol === 17) {
      far.peerPort = view.getUint16(header);
      far.port = view.getUint16(header + 2);
    } else if (talk.protocol !== 253) far.port = view.getUint16(header + 4);
  }

  #query(talk: Conversation, way: number): Uint8Array<ArrayBuffer> {
    const pair = this.#ipv6 ? [128, 129] : this.#below(8) === 0 ? [13, 14] : [8, 0];
    const type = pair[this.#below(12) === 0 ? 1 - way : way]!;
    const id = way === 0 ? talk.ends[0].port : talk.known ? talk.ends[1].port : talk.ends[0].port;
    return icmpMessage(type, 0, (id << 16) | this.#below(5), new Uint8Array(this.#below(20)));
  }

  #isRouter(address: string): boolean {
    return this.router.networks.some((own) => own.includes(address));
  }

  #segment(talk: Conversation, from: End, to: End, way: number): Uint8Array<ArrayBuffer> {
    const noise = this.#below(100) < 30;
    let flags = ACK, length = 0, seq = from.next, ack = to.next;
    let options: Uint8Array | undefined;
    const window = noise ? this.#pick([0, 1, 1000, 65535]) : from.window;
    if (talk.phase === 0 && !noise) flags = SYN;
    else if (talk.phase === 1 && way === 1 && !noise) flags = SYN | ACK;
    else {
      const kind = this.#below(20);
      if (kind < 8) length = this.#below(1000);
      else if (kind < 10) flags = FIN | ACK;
      else if (kind < 11) flags = RST | (this.#below(2) * ACK);
      else if (kind < 12) flags = SYN;
      else if (kind < 13) flags = SYN | ACK;
      else if (kind < 14 && noise) flags = this.#below(64);
      else if (kind < 15) flags = ACK | PSH;
    }
    if (noise) {
      const off = [0, 1, -1, 100, -100, 1500, -1500, 70_000, -70_000, this.#below(2 ** 31)];
      seq += this.#pick(off);
      ack += this.#pick(off);
      if (this.#below(10) === 0) ack = 0;
      if (this.#below(20) === 0) flags |= URG;
    }
    if ((flags & ACK) === 0) ack = noise ? ack : 0;
    if ((flags & SYN) !== 0) {
      const parts = [2, 4, 5, 180];
      if (this.#below(3) > 0) parts.push(1, 3, 3, this.#below(16));
      if (this.#below(3) > 0) parts.push(1, 1, 4, 2);
      options = Uint8Array.from(parts);
    } else if (this.#below(5) === 0) {
      const parts = new DataView(new ArrayBuffer(12));
      parts.setUint32(0, 0x0101_050a);
      parts.setUint32(4, (ack + 500) >>> 0);
      parts.setUint32(8, (ack + this.#pick([600, 1500, 80_000])) >>> 0);
      options = new Uint8Array(parts.buffer);
    }
    if (!noise) {
      from.next = (from.next + length + ((flags & SYN) !== 0 ? 1 : 0) + ((flags & FIN) !== 0 ? 1 : 0)) >>> 0;
      from.acked = ack;
    }
    const { port: sourcePort, peerPort: destinationPort } = from;
    return tcpSegment({
      sourcePort,
      destinationPort,
      seq,
      ack,
      flags,
      window,
      length,
      ...(options === undefined ? {} : { options }),
    });
  }

  /** Source and destination, as text. */
  #endsOf(bytes: Uint8Array): [string, string] {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const { addresses } = this.router;
    if (bytes[0]! >>> 4 === 4) {
      return [addresses.format(view.getInt32(12)), addresses.format(view.getInt32(16))];
    }
    const read = (at: number): string =>
      formatIpv6(view.getInt32(at), view.getInt32(at + 4), view.getInt32(at + 8), view.getInt32(at + 12));
    return [read(8), read(24)];
  }

  /** An ICMP error about something that a side has seen lately, from whom it went to or from somebody on the way. */
  #error(): Sided {
    const about = this.#pick(this.#seen);
    const ipv6 = about.bytes[0]! >>> 4 === 6;
    const [source, destination] = this.#endsOf(about.bytes);
    const from = this.#below(2) === 0 && !this.#isRouter(destination)
      ? destination
      : this.#hosts.filter(({ side }) => side === about.side).at(-1)!.address;
    const to = this.#below(12) === 0 ? this.#pick(this.#hosts).address : source;
    const header = ipv6 ? 40 : 20;
    const quoted = about.bytes.slice(
      0,
      this.#pick([header + 8, header + 8, header + 24, about.bytes.length, header + 4]),
    );
    const type = ipv6 ? this.#pick([1, 1, 3, 2, 4]) : this.#pick([3, 3, 11, 4, 12]);
    const transport = icmpMessage(type, type === 3 ? this.#below(5) : 0, 0, quoted);
    const protocol = ipv6 ? 58 : 1;
    const badChecksum = this.#below(20) === 0;
    return {
      side: about.side,
      bytes: ipPacket({ source: from, destination: to, protocol, transport, badChecksum }),
    };
  }

  /** Something that is cut short, or means nothing. */
  #oddity(): Sided {
    const from = this.#pick(this.#hosts);
    const to = this.#pick(this.#targets[from.side]!);
    const protocol = this.#pick([6, 17, this.#ipv6 ? 58 : 1]);
    const transport = new Uint8Array(this.#below(24));
    for (let at = 0; at < transport.length; at++) transport[at] = this.#below(256);
    if (
      this.#ipv6 && protocol === 58 && transport.length > 0 && transport[0]! >= 130 && transport[0]! <= 137
    ) {
      transport[0] = 128; // neighbour discovery is not passed on
    }
    return {
      side: from.side,
      bytes: ipPacket({ source: from.address, destination: to.address, protocol, transport }),
    };
  }
}
