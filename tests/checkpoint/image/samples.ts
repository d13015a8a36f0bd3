import { Prng } from "../../../base/random.ts";
import { type CborValue, encodeCbor } from "../../../checkpoint/image/cbor.ts";
import { type ImageContent, Kind } from "../../../checkpoint/image/mod.ts";

/** One event of each kind, of a recording that says little. */
export const REPLAY_EVENTS: readonly CborValue[] = [
  [0, 0, [{ nowMs: 1_700_000_000_000.5, forwarding: false }]],
  [3, Uint8Array.of(1, 2, 3, 4)],
  [1],
  [0, 1, [0, Uint8Array.of(0x45, 0), 1_700_000_000_001]],
  [4, 0, Uint8Array.of(0x45, 1), true],
  [5, 1, [0, 3]],
  [6],
  [5, 14, []],
  [6, 1_700_000_000_002],
  [5, 4, [0, 7]],
  [7, "Error: a handler's mistake"],
  [1, 12],
  [0, 10, [0]],
  [2, "AssertionError: no such interface"],
  [8, 0, 1_400],
  [9, "the disk is full"],
  [10, "closed"],
];

/** Flows of a firewall that says little: TCP through a masquerade, datagrams, IPv6 echo with counters. */
export const FIREWALL_FLOWS: readonly CborValue[] = [
  [
    6,
    0,
    [0x0a010002, 0x0a020002, 262_144_080],
    [0x0a020002, 0x0a020001, 5_246_880],
    0x19e,
    7,
    432_000_000,
    "tun1",
    [101, 1_101, 1_000, 501, 501, 1_501, 1_000, 101, 101, 501, 101, 805_307_368, 50_343_968],
    [],
  ],
  [17, 3, [0x0a010002, 0x0a020002, 65_536_053], [0x0a020002, 0x0a010002, 3_474_408], 0x8, 0, 30_000, null, [
    1_990,
  ], []],
  [
    58,
    0,
    [new Uint8Array(16).fill(1), new Uint8Array(16).fill(2), 0x1234_8000],
    [new Uint8Array(16).fill(2), new Uint8Array(16).fill(1), 0x1234_8100],
    0xa,
    0,
    29_990,
    null,
    [],
    [1, 104, 1, 104],
  ],
];

function sequence(items: readonly CborValue[]): Uint8Array {
  return Uint8Array.from(items.flatMap((item) => [...encodeCbor(item)]));
}

/** Contents that the tests make images of. Golden images are some of them: never change one, add. */
export function samples(): Record<string, ImageContent> {
  const random = (length: number, seed: number): Uint8Array => {
    const bytes = new Uint8Array(length);
    new Prng(seed).fill(bytes);
    return bytes;
  };
  return {
    small: { kind: Kind.Object, body: [1, "two", Uint8Array.of(3)] },
    socket: {
      kind: Kind.Socket,
      body: [
        ...[1_700_000_000_000, 0x0a000001, 0x0a000002, 7, 51312, 3, 8, 0xfffffff0, 6, 64_000, 1_000, 1, 0],
        ...[7, 1460, 12, 4_000_000_000, 6, 1_048_576, 7, 4_100_000_000, 4_200_000_000, 60_000, 200, 100, 200],
        ...[14_480, 11, 60_001, 5, 5],
        [{ user: "ada" }],
      ],
    },
    numbers: {
      kind: Kind.Object,
      body: [
        ...Array.from({ length: 40 }, (_, index) => index * 1_000_003),
        1_700_000_000_000.125,
        -1,
        null,
        true,
        18446744073709551615n,
        random(30, 1),
      ],
    },
    map: {
      kind: Kind.Firewall,
      body: { rules: [{ port: 80, name: "wëb" }], 水: false, half: 1.5, "": -(2 ** 40) },
    },
    empty: { kind: Kind.Node, body: null },
    chunked: {
      kind: Kind.Guest,
      body: ["memory", 3],
      chunks: [random(5, 2), random(60, 3), new Uint8Array(0)],
    },
    replay: {
      kind: Kind.Replay,
      body: [1, 3, random(8, 8), {}],
      chunks: [sequence(REPLAY_EVENTS)],
    },
    firewall: {
      kind: Kind.Firewall,
      body: [1_700_000_000_000, '{"nftables":[{"table":{"family":"inet","name":"filter","handle":1}}]}', 3],
      chunks: [sequence(FIREWALL_FLOWS)],
    },
    large: {
      kind: Kind.Layer,
      body: [random(3000, 4), "files"],
      chunks: [random(40_000, 5), random(70_000, 6), random(300, 7)],
    },
  };
}
