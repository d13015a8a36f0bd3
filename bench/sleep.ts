import { mkdtempSync, rmSync, statfsSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Bench, Cell, Table } from "./bench.ts";
import type { Asleep } from "./sleep/host_worker.ts";
import type { Held } from "./sleep/node_net_worker.ts";
import type { PeerKind } from "./sleep/reflex_peers.ts";
import { Worker } from "./worker.ts";

/** How many sleep, by who their peers are. */
type Counts = readonly {
  readonly kind: PeerKind;
  readonly name: string;
  readonly counts: readonly number[];
}[];

const IPV4 = { kind: "ipv4", name: "Torpor, asleep" } as const;
const IPV6 = { kind: "ipv6", name: "Torpor, asleep, IPv6" } as const;
const IPV6_DISTINCT = { kind: "ipv6-distinct", name: "Torpor, asleep, IPv6, an address each" } as const;
const COUNTS: Counts = [
  { ...IPV4, counts: [10_000, 100_000] },
  { ...IPV6, counts: [100_000] },
  { ...IPV6_DISTINCT, counts: [100_000] },
];
const COUNTS_QUICK: Counts = [
  { ...IPV4, counts: [1_000, 3_000] },
  { ...IPV6, counts: [1_000] },
  { ...IPV6_DISTINCT, counts: [1_000] },
];
const COUNTS_FULL: Counts = [
  { ...IPV4, counts: [10_000, 100_000, 1_000_000, 10_000_000] },
  { ...IPV6, counts: [1_000_000, 10_000_000] },
  { ...IPV6_DISTINCT, counts: [1_000_000, 10_000_000] },
];
/** A process may open so many files as a rule: 20,000 and less. */
const SOCKETS = 10_000;
const SOCKETS_QUICK = 500;
/** Sockets that connect at a time. */
const CONNECTING = 256;
const MESSAGE = new Uint8Array(64);
const ROUND_TRIPS = 2_000;
/** node:net neither suspends nor restores: opened to answer asleep. */
const NOTHING: readonly undefined[] = new Array<undefined>(7).fill(undefined);

/** What a process with sleepers has told. */
interface Case extends Asleep {
  readonly name: string;
}

/** What node:net holds, and how fast it answers. */
interface Peer extends Held {
  readonly answerUs: { p50: number; p99: number };
}

/** What a sleeping connection costs, and what it costs to put it to sleep and to wake it. */
export const bench: Bench = {
  async *run({ quick, full }) {
    const asleep: Case[] = [];
    let fileSystem = "";
    for (const { kind, name, counts } of quick ? COUNTS_QUICK : full ? COUNTS_FULL : COUNTS) {
      const folder = mkdtempSync(join(tmpdir(), "torpor-bench-"));
      fileSystem = fileSystemOf(folder);
      try {
        await using worker = new Worker("sleep/host_worker.ts", [folder, kind, ...counts]);
        for (const _ of counts) asleep.push({ name, ...await worker.answer<Asleep>() });
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    }
    const held = await holdSockets(quick ? SOCKETS_QUICK : SOCKETS);
    yield memoryTable(asleep, held, fileSystem);
    yield speedTable(asleep, held);
  },
};

function memoryTable(asleep: readonly Case[], held: Held, fileSystem: string): Table {
  const rows = asleep.map((now, at): Cell[] => {
    const { name, connections: count, rssBytes, usedBytes, mapBytes, addressBytes, fileBytes, diskBytes } =
      now;
    const before = asleep[at - 1];
    const more = before?.name !== name
      ? undefined
      : (rssBytes - before.rssBytes) / (count - before.connections);
    return [
      name,
      ...[
        count,
        rssBytes / count,
        more,
        usedBytes / count,
        mapBytes / count,
        addressBytes / count,
        fileBytes / count,
        diskBytes / count,
      ],
    ];
  });
  const { connections, rssBytes, usedBytes } = held;
  return {
    title: "bytes per idle connection",
    columns: [
      "",
      "connections",
      "RSS",
      "RSS of each more",
      "heap, buffers",
      "of it the map",
      "the addresses",
      "files",
      "disk blocks",
    ],
    rows: [
      ["node:net, awake", connections, rssBytes / connections, undefined, usedBytes / connections],
      ...rows,
    ],
    notes: [
      "RSS over that of the same process before its first connection, garbage collected; it contains everything,",
      "also code that was compiled meanwhile, so it tells most where the connections are many. The peers are in",
      "the same process: 8 bytes each, there from the beginning.",
      `node:net is the user's side only, the kernel's 4 KB per socket not counted, and at most ${
        SOCKETS.toLocaleString("en-US")
      }`,
      "connections: each is a file descriptor. Each connection carried one message of 64 bytes and its echo.",
      `The folder is on ${fileSystem}.`,
    ],
  };
}

function speedTable(asleep: readonly Case[], held: Peer): Table {
  return {
    title: "speed",
    columns: [
      ...["", "connections", "opened/s", "suspended/s", "restored/s", "one suspended, us", "p99"],
      ...["answer asleep, us", "p99", "answer awake, us", "p99"],
    ],
    rows: [
      ["node:net, awake", held.connections, ...NOTHING, held.answerUs.p50, held.answerUs.p99],
      ...asleep.map((at): Cell[] => [
        at.name,
        ...[at.connections, at.opensPerSecond, at.suspendsPerSecond, at.restoresPerSecond],
        ...[at.suspendUs.p50, at.suspendUs.p99],
        ...[at.asleepUs.p50, at.asleepUs.p99, at.awakeUs.p50, at.awakeUs.p99],
      ]),
    ],
    notes: [
      "Suspended: 1,000 at once, in batches of 256, until the last is durable (fdatasync per batch).",
      "One suspended: alone, until it is durable and gone, a sync of its own included.",
      "Answer: one connection at a time, from its packet in to the echo out, in one turn; of node:net a round trip",
      "over the kernel's loopback between two processes.",
    ],
  };
}

/** Connects `count` sockets to a server in a process of its own; all of them are idle when it is asked. */
async function holdSockets(count: number): Promise<Peer> {
  await using worker = new Worker("sleep/node_net_worker.ts");
  const { port } = await worker.answer<{ port: number }>();
  const sockets: Socket[] = [];
  try {
    while (sockets.length < count) {
      const some = Array.from({ length: Math.min(CONNECTING, count - sockets.length) }, () => talkOnce(port));
      const settled = await Promise.allSettled(some);
      for (const each of settled) if (each.status === "fulfilled") sockets.push(each.value);
      if (settled.some(({ status }) => status === "rejected")) break; // no more file descriptors
    }
    const held = await worker.ask<Held>();
    const us: number[] = [];
    for (let round = 0; round < ROUND_TRIPS; round++) us.push(await roundTripUs(sockets[0]!));
    us.sort((a, b) => a - b);
    const answerUs = { p50: us[ROUND_TRIPS * 0.5]!, p99: us[ROUND_TRIPS * 0.99]! };
    return { ...held, answerUs };
  } finally {
    for (const socket of sockets) socket.destroy();
  }
}

/** Microseconds until what a socket says has come back. */
function roundTripUs(socket: Socket): Promise<number> {
  const startMs = performance.now();
  return new Promise((resolve) => {
    socket.once("data", () => resolve((performance.now() - startMs) * 1000));
    socket.write(MESSAGE);
  });
}

/** Connects, says something, gets its echo and is silent. */
function talkOnce(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => void socket.write(MESSAGE));
    socket.once("data", () => resolve(socket)).on("error", reject);
  });
}

/** Names of Linux's numbers for file systems where an fsync means something, and of the one where it does not. */
const FILE_SYSTEMS: Record<number, string> = {
  0xef53: "ext4",
  0x58465342: "xfs",
  0x9123683e: "btrfs",
  0x794c7630: "overlayfs",
  0x01021994: "tmpfs: nothing there is durable, and suspending is faster than on a disk",
};

function fileSystemOf(folder: string): string {
  try {
    const { type } = statfsSync(folder);
    return FILE_SYSTEMS[type] ?? `a file system of type 0x${type.toString(16)}`;
  } catch {
    return "an unknown file system";
  }
}
