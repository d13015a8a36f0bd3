import type { VirtualClock } from "../../base/clock.ts";
import type { Prng } from "../../base/random.ts";
import { Slab } from "../../base/slab.ts";
import { type Link, type LinkCounters, linkCounters, type LinkSink } from "../../net/link/link.ts";
import { obviousChecksum, pseudoHeader } from "../net/tcp/checker.ts";

/** What a wire does to packets. Probabilities are for each packet and each of its two wires. */
export interface WireFaults {
  loss: number;
  duplicate: number;
  /** One bit, anywhere, is turned. */
  corrupt: number;
  /** Held back by up to 30 ms, so that others overtake it. */
  reorder: number;
  delayMs: number;
  jitterMs: number;
}

/** A wire that carries everything, in order. */
export const GOOD_WIRE: Readonly<WireFaults> = {
  loss: 0,
  duplicate: 0,
  corrupt: 0,
  reorder: 0,
  delayMs: 2,
  jitterMs: 0,
};

/** Who watches a machine's packets: what it sends, before any fault, and what really reaches it. */
export interface Tap {
  sent(packet: Uint8Array<ArrayBuffer>): void;
  delivered(packet: Uint8Array<ArrayBuffer>): void;
}

/** What a stopped machine's interface keeps; the rest is lost. */
const QUEUE_MAX = 256;

/** Many machines around one router, which knows every address and takes and passes on no more than each wire carries. */
export class Fabric {
  readonly clock: VirtualClock;
  /** The router's own address, from which it sends ICMP errors. */
  static readonly ROUTER = "10.0.0.254";
  readonly #plugs = new Map<string, Plug>();
  packets = 0;

  constructor(clock: VirtualClock) {
    this.clock = clock;
  }

  /** A wire to the router for a machine of these addresses. Their later owner takes them over. */
  plug(name: string, addresses: readonly string[], prng: Prng, tap?: Tap): Plug {
    const plug = new Plug(this, name, prng, tap);
    for (const address of addresses) this.#plugs.set(addressKey(address), plug);
    return plug;
  }

  /** A packet has come up a wire. */
  route(packet: Uint8Array<ArrayBuffer>): void {
    this.packets++;
    const to = this.#plugs.get(destinationKey(packet));
    if (to === undefined) return;
    if (!to.carries(packet)) return this.tooBig(packet, to.pathMtu);
    to.travel(packet, (survivor) => to.deliver(survivor));
  }

  /** RFC 792, RFC 1191 section 4; RFC 4443 section 3.2. Packets that may be cut are dropped: TCP's may not. */
  tooBig(packet: Uint8Array<ArrayBuffer>, mtu: number): void {
    const back = this.#plugs.get(sourceKey(packet));
    if (back === undefined) return;
    const ipv6 = packet[0]! >> 4 === 6;
    if (!ipv6 && (packet[6]! & 0x40) === 0) return;
    const error = ipv6 ? tooBig6(packet, mtu) : fragmentationNeeded(packet, mtu);
    back.travel(error, (survivor) => back.deliver(survivor));
  }
}

/** One machine's wire: the link that its stack opens, or the hook of a peer that is no stack. */
export class Plug implements Link {
  readonly medium = "ip";
  readonly counters: LinkCounters = linkCounters();
  readonly name: string;
  readonly mtu = 1500;
  /** What passes between here and the router; the machine learns of it by ICMP only. */
  pathMtu = 1500;
  faults: WireFaults = { ...GOOD_WIRE };
  /** Nothing passes, in neither direction. */
  cut = false;
  /** The machine is stopped: what arrives waits. */
  stopped = false;
  /** The process behind it is dead: what it still says is not heard. */
  dead = false;
  /** Counts as one of the process's deeds, before which it may die. */
  beforeSend: () => void = () => {};
  /** For a peer without a stack of ours. */
  onPacket: ((packet: Uint8Array<ArrayBuffer>) => void) | undefined;
  readonly tap: Tap | undefined;
  readonly #fabric: Fabric;
  readonly #prng: Prng;
  #sink: LinkSink | undefined;
  #waiting: Uint8Array<ArrayBuffer>[] = [];

  constructor(fabric: Fabric, name: string, prng: Prng, tap: Tap | undefined) {
    this.#fabric = fabric;
    this.name = name;
    this.#prng = prng;
    this.tap = tap;
  }

  open(sink: LinkSink): void {
    this.#sink = sink;
  }

  send(slab: Slab, start: number, end: number): boolean {
    this.beforeSend();
    if (this.dead) return false;
    this.transmit(slab.bytes.slice(start, end));
    return true;
  }

  flush(): void {}
  close(): void {
    this.#sink = undefined;
  }

  /** Up the wire to the router. */
  transmit(packet: Uint8Array<ArrayBuffer>): void {
    this.tap?.sent(packet);
    this.travel(packet, (survivor) => {
      if (this.carries(survivor)) this.#fabric.route(survivor);
      else this.#fabric.tooBig(survivor, this.pathMtu);
    }, this.faults.corrupt);
  }

  /** RFC 8200 section 5: every wire carries 1,280 bytes of IPv6. */
  carries(packet: Uint8Array): boolean {
    return packet.length <= (packet[0]! >> 4 === 6 ? Math.max(this.pathMtu, 1_280) : this.pathMtu);
  }

  /**
   * What becomes of a packet on this wire. Only on its first wire is a bit of it turned: two turned bits may look right
   * to TCP's checksum.
   */
  travel(
    packet: Uint8Array<ArrayBuffer>,
    arrive: (packet: Uint8Array<ArrayBuffer>) => void,
    corrupt = 0,
  ): void {
    const prng = this.#prng, faults = this.faults;
    if (this.cut || prng.chance(faults.loss)) return;
    const copies = prng.chance(faults.duplicate) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      let survivor = packet;
      if (prng.chance(corrupt)) {
        survivor = packet.slice();
        survivor[prng.below(survivor.length)]! ^= 1 << prng.below(8);
      }
      let delayMs = faults.delayMs + (faults.jitterMs > 0 ? prng.fraction() * faults.jitterMs : 0);
      if (prng.chance(faults.reorder)) delayMs += prng.fraction() * 30;
      const { clock } = this.#fabric;
      clock.at(clock.nowMs() + delayMs, () => {
        if (!this.cut) arrive(survivor);
      });
    }
  }

  /** The packet has reached the machine. */
  deliver(packet: Uint8Array<ArrayBuffer>): void {
    if (this.dead) return;
    if (this.stopped) {
      if (this.#waiting.length < QUEUE_MAX) this.#waiting.push(packet);
      return;
    }
    this.tap?.delivered(packet);
    this.take(packet);
  }

  /** Straight into the machine, seen by nobody: an attacker's way. */
  take(packet: Uint8Array<ArrayBuffer>): void {
    if (this.dead) return;
    if (this.onPacket !== undefined) return this.onPacket(packet);
    this.#sink?.receive(new Slab(packet), 0, packet.length);
    this.#sink?.flush();
  }

  proceed(): void {
    this.stopped = false;
    for (const packet of this.#waiting.splice(0)) this.deliver(packet);
  }
}

/** An IPv4 or IPv6 address of the worlds ("10.0.0.7", "fd00::7"), as a key. */
function addressKey(address: string): string {
  if (!address.includes(":")) return address.split(".").join(",");
  const [head, tail] = address.split("::") as [string, string];
  return `${head},${tail}`;
}

function destinationKey(packet: Uint8Array): string {
  return packet[0]! >> 4 === 6 ? key6(packet, 24) : `${packet[16]},${packet[17]},${packet[18]},${packet[19]}`;
}

function sourceKey(packet: Uint8Array): string {
  return packet[0]! >> 4 === 6 ? key6(packet, 8) : `${packet[12]},${packet[13]},${packet[14]},${packet[15]}`;
}

/** Addresses of the worlds are "fd00::N" with N below 256 and hexadecimal. */
function key6(packet: Uint8Array, at: number): string {
  return `${(packet[at]! * 256 + packet[at + 1]!).toString(16)},${packet[at + 15]!.toString(16)}`;
}

function fragmentationNeeded(packet: Uint8Array, mtu: number): Uint8Array<ArrayBuffer> {
  const quote = packet.subarray(0, 28);
  const error = new Uint8Array(20 + 8 + quote.length);
  error.set([0x45, 0, 0, error.length, 0, 0, 0, 0, 64, 1]);
  error.set(Fabric.ROUTER.split(".").map(Number), 12);
  error.set(packet.subarray(12, 16), 16);
  error.set([3, 4, 0, 0, 0, 0, mtu >> 8, mtu & 255], 20);
  error.set(quote, 28);
  setWord(error, 10, obviousChecksum(error.subarray(0, 20)));
  setWord(error, 22, obviousChecksum(error.subarray(20)));
  return error;
}

function tooBig6(packet: Uint8Array, mtu: number): Uint8Array<ArrayBuffer> {
  const quote = packet.subarray(0, Math.min(packet.length, 1_200));
  const error = new Uint8Array(40 + 8 + quote.length);
  error.set([0x60, 0, 0, 0, (8 + quote.length) >> 8, (8 + quote.length) & 255, 58, 64]);
  error.set([0xfd, 0, ...new Array(13).fill(0), 0xfe], 8);
  error.set(packet.subarray(8, 24), 24);
  error.set([2, 0, 0, 0, 0, 0, mtu >> 8, mtu & 255], 40);
  error.set(quote, 48);
  const body = error.subarray(40);
  setWord(error, 42, obviousChecksum(pseudoHeader(error, 58, body.length), body));
  return error;
}

export function setWord(bytes: Uint8Array, at: number, word: number): void {
  bytes[at] = word >> 8;
  bytes[at + 1] = word & 255;
}
