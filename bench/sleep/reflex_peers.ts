import { assert } from "../../base/assert.ts";
import { type Link, type LinkCounters, linkCounters, type LinkSink } from "../../net/link/link.ts";
import type { Slab } from "../../base/slab.ts";
import { parseIpv4 } from "../../net/wire/address.ts";
import { Drop } from "../../net/wire/drop.ts";
import { Ipv4Record, readIpv4 } from "../../net/wire/ipv4.ts";
import { IPV6_HEADER_LENGTH } from "../../net/wire/ipv6.ts";
import type { Ipv6Words } from "../../net/wire/ipv6_address.ts";
import { readTcp, TcpFlag, TcpRecord } from "../../net/wire/tcp.ts";
import { FrameWriter } from "../frames.ts";

/** Which peers there are: over IPv4, over IPv6 from a few addresses, or each of them from an address of its own. */
export type PeerKind = "ipv4" | "ipv6" | "ipv6-distinct";

/** The server's side of every connection. */
export const SERVER = {
  hostname: "10.0.0.1",
  network: "10.0.0.1/8",
  network6: "2001:db8::1/32",
  port: 7,
} as const;
/** A message, and its echo: a chat's line. */
export const MESSAGE_BYTES = 64;

const PEER_FIRST = parseIpv4("10.1.0.0")!;
const PORT_FIRST = 1_024;
const PORT_BITS = 15; // connections per address
const SERVER6: Ipv6Words = [0x2001_0db8, 0, 0, 1];
/** Peers' addresses: this, a word that looks drawn, and their number. */
const PREFIX6 = [0x2001_0db8, 1] as const;
const ISN = 1_000_000;
/** What a peer expects that has heard nothing; a server that should expect this is not heard by one in 4 billion. */
const NOTHING_YET = 1;

/**
 * A link at whose far end are up to millions of peers, each of them eight bytes: they answer every
 * segment by reflex, as a real one would, from what the segment itself says.
 */
export class ReflexPeers implements Link {
  readonly medium = "ip";
  readonly mtu = 1500;
  readonly counters: LinkCounters = linkCounters();
  /** Echoes that have come back. */
  echoes = 0;
  /** Told of each, by the peer's number. */
  onEcho: (index: number) => void = () => {};
  readonly #sequences: Int32Array;
  readonly #expected: Int32Array;
  readonly #frames = new FrameWriter();
  readonly #ip = new Ipv4Record();
  readonly #segment = new TcpRecord();
  readonly #version: 4 | 6;
  readonly #portBits: number;
  /** Peers that have something to acknowledge; the second says whether they also speak. */
  readonly #due: { index: number; speaks: boolean }[] = [];
  #sink: LinkSink | undefined;

  constructor(count: number, kind: PeerKind = "ipv4") {
    this.#version = kind === "ipv4" ? 4 : 6;
    this.#portBits = kind === "ipv6-distinct" ? 0 : PORT_BITS;
    this.#sequences = new Int32Array(count).fill(ISN); // filled: these pages are not the connections'
    this.#expected = new Int32Array(count).fill(NOTHING_YET);
    const { segment, ip } = this.#frames;
    segment.hasTimestamp = true;
    segment.destinationPort = SERVER.port;
    segment.window = 500;
    ip.destination = parseIpv4(SERVER.hostname)!;
  }

  open(sink: LinkSink): void {
    this.#sink = sink;
  }
  flush(): void {}
  close(): void {}

  /** Peers `[from, to)` connect, say something, get their echo and are silent. */
  connect(from: number, to: number): void {
    const echoesBefore = this.echoes;
    const { segment } = this.#frames;
    for (let index = from; index < to; index++) {
      segment.mss = 1_460;
      segment.windowScale = 7;
      this.#receive(index, TcpFlag.SYN, 0);
      this.#sequences[index]!++;
    }
    segment.mss = 0;
    segment.windowScale = -1;
    this.#sink!.flush();
    while (this.#due.length > 0) this.acknowledge();
    assert(this.echoes - echoesBefore === to - from, "Every connection is opened and answered");
  }

  /** A peer says something. */
  say(index: number): void {
    this.#receive(index, TcpFlag.ACK | TcpFlag.PSH, MESSAGE_BYTES);
    this.#sequences[index]! += MESSAGE_BYTES;
  }

  /** What a peer said last goes again: nobody has acknowledged it. */
  sayAgain(index: number): void {
    this.#sequences[index]! -= MESSAGE_BYTES;
    this.say(index);
  }

  /** The batch is over: the server may answer. */
  deliver(): void {
    this.#sink!.flush();
  }

  /** All peers acknowledge what they have got, in one batch. */
  acknowledge(): void {
    for (const { index, speaks } of this.#due.splice(0)) {
      if (speaks) this.say(index);
      else this.#receive(index, TcpFlag.ACK, 0);
    }
    this.#sink!.flush();
  }

  send(slab: Slab, start: number, end: number): boolean {
    const ip = this.#ip;
    const segment = this.#segment;
    let host: number;
    if (this.#version === 4) {
      assert(readIpv4(slab, start, end, ip) === Drop.None, "The server sends packets");
      host = ip.destination - PEER_FIRST;
    } else {
      ip.dataStart = start + IPV6_HEADER_LENGTH;
      ip.dataEnd = end;
      host = slab.view.getInt32(start + 36); // the last word of the destination
    }
    assert(readTcp(slab, ip.dataStart, ip.dataEnd, segment) === Drop.None, "and segments");
    assert((segment.flags & TcpFlag.RST) === 0, "It refuses nobody");
    const index = (host << this.#portBits) + segment.destinationPort - PORT_FIRST;
    const opens = (segment.flags & TcpFlag.SYN) !== 0;
    const bytes = segment.dataEnd - segment.dataStart;
    if (!opens && bytes === 0) return true;
    const next = (segment.sequence + bytes + (opens ? 1 : 0)) | 0;
    const expected = this.#expected[index]!;
    if (next === expected || (opens && expected !== NOTHING_YET)) return true; // sent again: the machine was slow
    if (!opens) {
      this.echoes += bytes / MESSAGE_BYTES;
      this.onEcho(index);
    }
    this.#expected[index] = next;
    this.#due.push({ index, speaks: opens });
    return true;
  }

  #receive(index: number, flags: number, dataBytes: number): void {
    const { segment, ip, slab } = this.#frames;
    const host = index >>> this.#portBits;
    segment.sourcePort = PORT_FIRST + (index & ((1 << this.#portBits) - 1));
    segment.sequence = this.#sequences[index]!;
    segment.acknowledgment = flags === TcpFlag.SYN ? 0 : this.#expected[index]!;
    segment.flags = flags;
    segment.tsVal = Math.floor(performance.now());
    if (this.#version === 4) {
      ip.source = PEER_FIRST + host;
      this.#sink!.receive(slab, 0, this.#frames.write(dataBytes));
    } else {
      const peer: Ipv6Words = [...PREFIX6, Math.imul(host, 0x9e37_79b1), host];
      this.#sink!.receive(slab, 0, this.#frames.write6(dataBytes, peer, SERVER6));
    }
  }
}
