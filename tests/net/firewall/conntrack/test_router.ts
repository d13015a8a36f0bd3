import { type Entropy, Prng } from "../../../../base/random.ts";
import { Slab } from "../../../../base/slab.ts";
import {
  Conntrack,
  type ConntrackOptions,
  CtState,
  Hook,
  type NatRules,
} from "../../../../net/firewall/conntrack/mod.ts";
import type { NatRequest } from "../../../../net/firewall/nat/mod.ts";
import { Nfproto, NftPacket } from "../../../../net/firewall/nft/packet.ts";
import { AddressTable } from "../../../../net/ip/address_table.ts";
import { formatIpv4 } from "../../../../net/wire/address.ts";
import { checksumOf } from "../../../../net/wire/checksum.ts";

/** A packet and the side it is on. */
export interface Sided {
  readonly side: number;
  readonly bytes: Uint8Array;
}

/** The same rules as the kernel's, in our hands: `ask` fills the request for the packet's hook. */
export type Ask = (packet: NftPacket, into: NatRequest, router: TestRouter) => void;

const STATES = [CtState.invalid, CtState.new, CtState.established, CtState.related, CtState.untracked];

/**
 * The hooks of a router between two sides, with nothing but tracking and NAT at them, as netfilter walks them. In the
 * forward hook it writes what tracking says into DSCP, as the kernel's rules in the test do: state and direction.
 */
export class TestRouter {
  readonly addresses: AddressTable;
  readonly conntrack: Conntrack;
  nowMs: number;
  /** Tells nobody what became of packets that are dropped. */
  forgetful = false;
  /** The port that the next draw shall lead to; -1 for any. */
  portDrawn = -1;
  readonly #packet = new NftPacket();
  readonly #slab = Slab.of(65_536);
  readonly #rules: NatRules;
  readonly #usesNat: boolean;
  readonly networks: readonly (readonly string[])[];

  constructor(
    seed: number,
    nowMs: number,
    networks: readonly (readonly string[])[],
    ask: Ask | undefined,
    options: Partial<ConntrackOptions> = {},
  ) {
    const prng = new Prng(seed);
    const entropy: Entropy = {
      fill: (bytes) => this.portDrawn < 0 ? prng.fill(bytes) : this.#fillPort(bytes),
    };
    this.networks = networks;
    this.nowMs = nowMs;
    this.addresses = new AddressTable({ entropy });
    this.#usesNat = ask !== undefined;
    const own = (packet: NftPacket, side: number): number => {
      const family = packet.nfproto === Nfproto.Ipv6 ? 1 : 0;
      const address = this.addresses.parse(this.networks[side]![family]!)!;
      this.addresses.retain(address);
      return address;
    };
    this.conntrack = new Conntrack({
      addresses: this.addresses,
      entropy,
      nowMs,
      natAddresses: {
        masquerade: (packet) => own(packet, packet.oif),
        redirect: (packet) => own(packet, packet.iif),
      },
      ...options,
    });
    this.#rules = {
      ask: (packet, into) => {
        ask?.(packet, into, this);
        return true;
      },
    };
  }

  /** A place in the class of ports that the port is of; an identifier's place is itself. */
  #fillPort(bytes: Uint8Array): void {
    const port = this.portDrawn;
    const ported = this.#packet.protocol === 6 || this.#packet.protocol === 17;
    const low = !ported ? 0 : port < 512 ? 1 : port < 1024 ? 600 : 1024;
    new Uint16Array(bytes.buffer, bytes.byteOffset, 1)[0] = port - low;
  }

  /** A packet comes in on a side. @returns What leaves. */
  input({ side, bytes }: Sided): Sided | undefined {
    const packet = this.#packet;
    const slab = this.#slab;
    const tracker = this.conntrack;
    slab.bytes.set(bytes);
    if (this.#isOwn(bytes, bytes[0]! >>> 4 === 6 ? 8 : 12)) return undefined; // nobody honest speaks as us
    packet.moveTo(slab, 0, bytes.length, this.nowMs);
    packet.iif = side;
    packet.hook = Hook.prerouting;
    if (!tracker.track(packet)) return undefined;
    if (!this.#translate(packet)) return undefined;
    const out = this.#sideOf(slab.bytes.subarray(0, bytes.length));
    if (out < 0) { // ours, or nobody's: rules drop it
      if (!this.forgetful) tracker.release(packet);
      return undefined;
    }
    packet.hook = Hook.forward;
    packet.oif = out;
    forward(slab, packet);
    packet.hook = Hook.postrouting;
    if (!this.#translate(packet) || !tracker.confirm(packet)) return undefined;
    return { side: out, bytes: slab.bytes.slice(0, bytes.length) };
  }

  #translate(packet: NftPacket): boolean {
    if (!this.#usesNat || this.conntrack.translate(packet, this.#rules)) return true;
    this.conntrack.release(packet);
    return false;
  }

  #isOwn(bytes: Uint8Array, at: number): boolean {
    const text = bytes[0]! >>> 4 === 6
      ? this.addresses.format(this.addresses.read(this.#slab, at, 0))
      : formatIpv4(this.#slab.view.getInt32(at));
    return this.networks.some((own) => own.includes(text));
  }

  /** Networks are /16 and /32: the first two, or four, bytes. */
  #sideOf(bytes: Uint8Array): number {
    const ipv6 = bytes[0]! >>> 4 === 6;
    const at = ipv6 ? 24 : 16;
    if (this.#isOwn(bytes, at)) return -1;
    return this.networks.findIndex((own) => {
      const address = this.addresses.parse(own[ipv6 ? 1 : 0]!)!;
      if (!ipv6) return address >>> 16 === ((bytes[at]! << 8) | bytes[at + 1]!);
      return this.addresses.word(address, 0) === new DataView(bytes.buffer).getInt32(at);
    });
  }
}

function forward({ bytes, view }: Slab, packet: NftPacket): void {
  const mark = (STATES.indexOf(packet.track.state) + 1) | (packet.track.direction << 3);
  if (packet.nfproto === Nfproto.Ipv6) {
    view.setUint16(0, (view.getUint16(0) & 0xf03f) | (mark << 6));
    bytes[7]!--;
    return;
  }
  bytes[1] = (bytes[1]! & 3) | (mark << 2);
  bytes[8]!--;
  view.setUint16(10, 0);
  view.setUint16(10, checksumOf(new Slab(bytes as Uint8Array<ArrayBuffer>), 0, (bytes[0]! & 15) << 2));
}
