import { assert } from "../../base/assert.ts";
import { type Link, type LinkCounters, linkCounters, type LinkSink } from "../../net/link/link.ts";
import type { Slab } from "../../base/slab.ts";
import { parseIpv4 } from "../../net/wire/address.ts";
import { Drop } from "../../net/wire/drop.ts";
import { Ipv4Record, readIpv4 } from "../../net/wire/ipv4.ts";
import { readTcp, TcpFlag, TcpRecord } from "../../net/wire/tcp.ts";
import { FrameWriter } from "../frames.ts";

/** The server's side of every connection. */
export const SERVER = { hostname: "10.0.0.1", network: "10.0.0.1/8", port: 7 } as const;
/** A message, and its echo: a chat's line. */
export const MESSAGE_BYTES = 64;

const PEER_FIRST = parseIpv4("10.1.0.0")!;
const PORT_FIRST = 1_024;
const PORT_BITS = 15; // connections per address
const ISN = 1_000_000;

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
  /** Peers that have something to acknowledge; the second says whether they also speak. */
  readonly #due: { index: number; speaks: boolean }[] = [];
  #sink: LinkSink | undefined;

  constructor(count: number) {
    this.#sequences = new Int32Array(count).fill(ISN); // filled: these pages are not the connections'
    this.#expected = new Int32Array(count).fill(1);
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
    assert(readIpv4(slab, start, end, ip) === Drop.None, "The server sends packets");
    assert(readTcp(slab, ip.dataStart, ip.dataEnd, segment) === Drop.None, "and segments");
    assert((segment.flags & TcpFlag.RST) === 0, "It refuses nobody");
    const index = ((ip.destination - PEER_FIRST) << PORT_BITS) + segment.destinationPort - PORT_FIRST;
    const opens = (segment.flags & TcpFlag.SYN) !== 0;
    const bytes = segment.dataEnd - segment.dataStart;
    if (!opens && bytes === 0) return true;
    if (!opens) {
      this.echoes += bytes / MESSAGE_BYTES;
      this.onEcho(index);
    }
    this.#expected[index] = (segment.sequence + bytes + (opens ? 1 : 0)) | 0;
    this.#due.push({ index, speaks: opens });
    return true;
  }

  #receive(index: number, flags: number, dataBytes: number): void {
    const { segment, ip, slab } = this.#frames;
    ip.source = PEER_FIRST + (index >>> PORT_BITS);
    segment.sourcePort = PORT_FIRST + (index & ((1 << PORT_BITS) - 1));
    segment.sequence = this.#sequences[index]!;
    segment.acknowledgment = flags === TcpFlag.SYN ? 0 : this.#expected[index]!;
    segment.flags = flags;
    segment.tsVal = Math.floor(performance.now());
    this.#sink!.receive(slab, 0, this.#frames.write(dataBytes));
  }
}
