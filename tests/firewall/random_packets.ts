import type { Prng } from "../../base/random.ts";
import { Slab } from "../../base/slab.ts";
import { parseIpv4 } from "../../net/wire/address.ts";
import { checksumOf, foldSum, sumWords } from "../../net/wire/checksum.ts";
import { parseIpv6 } from "../../net/wire/ipv6_address.ts";
import { IPV4, IPV6, LENGTHS, PORTS, TTLS } from "./random_values.ts";

/** How packets may look. */
export interface RandomPacketsOptions {
  /** Also those that end too early, that are fragments, or whose headers have options. */
  readonly odd: boolean;
  /** Whether there are fragments: "first" means those that begin with the transport's header. */
  readonly fragments: "all" | "first" | "none";
  /** Also ICMP in IPv6 and ICMPv6 in IPv4. */
  readonly strangers: boolean;
  readonly sources4: readonly string[];
  readonly destinations4: readonly string[];
  readonly sources6: readonly string[];
  readonly destinations6: readonly string[];
}

export const ANYWHERE: RandomPacketsOptions = {
  odd: true,
  fragments: "all",
  strangers: true,
  sources4: [...IPV4, "10.9.9.9"],
  destinations4: [...IPV4, "10.9.9.9"],
  sources6: [...IPV6, "fd09::9"],
  destinations6: [...IPV6, "fd09::9"],
};

const TCP_OPTIONS: readonly (readonly number[])[] = [
  [],
  [2, 4, 5, 0xb4],
  [2, 4, 5, 0x78, 1, 3, 3, 7],
  [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
  [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7],
  [0, 0, 2, 4],
];

/** A packet of IP, whole, with checksums that are right. */
export function randomPacket(prng: Prng, options: RandomPacketsOptions): Uint8Array<ArrayBuffer> {
  const six = prng.chance(0.4);
  const protocol = prng.pick([
    6,
    6,
    6,
    17,
    17,
    six ? 58 : 1,
    options.strangers ? prng.pick([47, 1, 58]) : 47,
  ]);
  const transport = transportOf(prng, protocol, options.odd);
  const packet = six ? ipv6(prng, protocol, transport, options) : ipv4(prng, protocol, transport, options);
  return packet;
}

function transportOf(prng: Prng, protocol: number, odd: boolean): number[] {
  const payload = Array.from({ length: prng.pick(LENGTHS) }, () => 0x61);
  const port = (): number[] => {
    const drawn = prng.chance(0.9) ? prng.pick(PORTS) : prng.below(65_536);
    return [drawn >> 8, drawn & 255];
  };
  let bytes: number[];
  if (protocol === 6) {
    const flags = prng.pick([2, 2, 0x12, 0x10, 0x18, 4, 0x11, 0x14, 0x29, 0]);
    const listed = prng.chance(0.4) ? prng.pick(TCP_OPTIONS) : [];
    const header = 20 + listed.length;
    bytes = [
      ...port(),
      ...port(),
      0,
      0,
      0,
      1,
      0,
      0,
      0,
      2,
      (header / 4) << 4,
      flags,
      4,
      0,
      0,
      0,
      0,
      0,
      ...listed,
    ];
    bytes.push(...payload);
  } else if (protocol === 17) {
    const length = 8 + payload.length;
    bytes = [...port(), ...port(), length >> 8, length & 255, 0, 0, ...payload];
  } else if (protocol === 1) {
    bytes = [prng.pick([0, 3, 8, 8, 11]), prng.pick([0, 1, 3]), 0, 0, 0, 7, 0, prng.below(4), ...payload];
  } else if (protocol === 58) {
    bytes = [
      prng.pick([1, 2, 3, 128, 128, 129]),
      prng.pick([0, 1]),
      0,
      0,
      0,
      0,
      0,
      prng.below(4),
      ...payload,
    ];
  } else bytes = [0, 0, 8, 0, ...payload];
  if (odd && prng.chance(0.1)) bytes.length = Math.min(bytes.length, prng.between(0, 24));
  return bytes;
}

const CHECKSUM_AT: Readonly<Record<number, number>> = { 6: 16, 17: 6, 1: 2, 58: 2 };

function finishTransport(slab: Slab, at: number, protocol: number, from: number, to: number): void {
  const field = CHECKSUM_AT[protocol];
  const end = slab.bytes.length;
  if (field === undefined || at + field + 2 > end) return;
  slab.view.setUint16(at + field, 0);
  const pseudo = protocol === 1 ? 0 : sumWords(slab, from, to, protocol + end - at);
  const sum = ~foldSum(sumWords(slab, at, end, pseudo)) & 0xffff;
  slab.view.setUint16(at + field, sum === 0 && protocol === 17 ? 0xffff : sum);
}

function ipv4(
  prng: Prng,
  protocol: number,
  transport: readonly number[],
  options: RandomPacketsOptions,
): Uint8Array<ArrayBuffer> {
  const ipOptions = options.odd && prng.chance(0.1) ? [1, 1, 1, 0] : [];
  const header = 20 + ipOptions.length;
  const length = header + transport.length;
  const fragment = options.odd && prng.chance(0.08)
    ? prng.pick({ all: [0x2000, 5, 0x2001], first: [0x2000], none: [0] }[options.fragments])
    : prng.pick([0, 0x4000]);
  const tos = prng.pick([0, 0, 0x20, 0x28, 0xb8, 1, 2, 3]);
  const id = prng.pick([0, 7]);
  const words = [
    tos,
    length >> 8,
    length & 255,
    0,
    id,
    fragment >> 8,
    fragment & 255,
    prng.pick(TTLS),
    protocol,
    0,
    0,
  ];
  const slab = new Slab(
    Uint8Array.from([
      0x40 | (header / 4),
      ...words,
      ...Array.from({ length: 8 }, () => 0),
      ...ipOptions,
      ...transport,
    ]),
  );
  slab.view.setInt32(12, parseIpv4(prng.pick(options.sources4))!);
  slab.view.setInt32(16, parseIpv4(prng.pick(options.destinations4))!);
  slab.view.setUint16(10, checksumOf(slab, 0, header));
  if ((fragment & 0x3fff) === 0) finishTransport(slab, header, protocol, 12, 20);
  return slab.bytes;
}

function ipv6(
  prng: Prng,
  protocol: number,
  transport: readonly number[],
  options: RandomPacketsOptions,
): Uint8Array<ArrayBuffer> {
  // Extension headers, each with the number of what follows.
  const extensions: number[] = [];
  let next = protocol;
  if (options.odd && prng.chance(0.2)) {
    const kind = prng.pick(options.fragments === "none" ? [0, 60] : [0, 60, 44]);
    const later = kind === 44 && options.fragments === "all" && prng.chance(0.5);
    extensions.push(...(kind === 44 ? [next, 0, 0, later ? 8 : 1, 0, 0, 0, 1] : [next, 0, 1, 4, 0, 0, 0, 0]));
    next = kind;
  }
  const length = extensions.length + transport.length;
  const flow = prng.pick([0, 5, 0xf_ffff]);
  const traffic = prng.pick([0, 0, 0x20, 0x28, 0xb8, 1, 2, 3]);
  const first = [0x60 | (traffic >> 4), ((traffic & 15) << 4) | (flow >> 16), (flow >> 8) & 255, flow & 255];
  const slab = new Slab(
    Uint8Array.from([
      ...first,
      ...[length >> 8, length & 255, next, prng.pick(TTLS)],
      ...Array.from({ length: 32 }, () => 0),
      ...extensions,
      ...transport,
    ]),
  );
  for (const [at, among] of [[8, options.sources6], [24, options.destinations6]] as const) {
    parseIpv6(prng.pick(among))!.forEach((word, index) => slab.view.setInt32(at + index * 4, word));
  }
  if (next !== 44) finishTransport(slab, 40 + extensions.length, protocol, 8, 40);
  return slab.bytes;
}
