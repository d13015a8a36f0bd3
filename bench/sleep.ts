import { mkdtempSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Bench, Cell, Table } from "./bench.ts";
import type { Asleep } from "./sleep/host_worker.ts";
import { hold, type Holder, HOLDERS } from "./sleep/held.ts";
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
  { ...IPV6, counts: [1_000_000] },
  { ...IPV6_DISTINCT, counts: [1_000_000, 10_000_000] },
];
/** A process may open so many files as a rule: 20,000 and less. */
const SOCKETS = 10_000;
const SOCKETS_QUICK = 500;
/** The kernel's connections neither sleep nor wake: opened to answer asleep. */
const NOTHING: readonly undefined[] = new Array<undefined>(9).fill(undefined);

/** What a process with sleepers has told. */
interface Case extends Asleep {
  readonly name: string;
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
    const held: Holder[] = [];
    for (const each of HOLDERS) {
      const holder = await hold(each, quick ? SOCKETS_QUICK : SOCKETS);
      if (holder !== undefined) held.push(holder);
    }
    yield memoryTable(asleep, held, fileSystem);
    yield speedTable(asleep, held);
  },
};

function memoryTable(asleep: readonly Case[], held: readonly Holder[], fileSystem: string): Table {
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
      ...kernelRow(held),
      ...held.map(({ name, connections: count, rssBytes, usedBytes }): Cell[] => [
        `${name}, awake`,
        ...[count, rssBytes / count, undefined, usedBytes / count],
      ]),
      ...rows,
    ],
    notes: [
      "RSS over that of the same process before its first connection, garbage collected; it contains everything,",
      "also code that was compiled meanwhile, so it tells most where the connections are many. The peers are in",
      "the same process: 8 bytes each, there from the beginning.",
      "Of the runtimes it is the user's side only: the kernel's socket comes on top, which is measured by its slabs",
      "(both ends of a connection are on this machine: half of what they took), and at most " +
      `${SOCKETS.toLocaleString("en-US")} connections: each is`,
      "a file descriptor. Each connection carried one message of 64 bytes and its echo.",
      `The folder is on ${fileSystem}.`,
    ],
  };
}

function speedTable(asleep: readonly Case[], held: readonly Holder[]): Table {
  return {
    title: "speed",
    columns: [
      ...["", "connections", "opened/s", "suspended/s", "CPU, us", "restored/s", "CPU, us"],
      ...["one suspended, us", "p99"],
      ...["answer asleep, us", "p99", "answer awake, us", "p99"],
    ],
    rows: [
      ...held.map(({ name, connections, answerUs }): Cell[] => [
        `${name}, awake`,
        ...[connections, ...NOTHING, answerUs.p50, answerUs.p99],
      ]),
      ...asleep.map((at): Cell[] => [
        at.name,
        ...[at.connections, at.opensPerSecond, at.suspendsPerSecond, at.suspendCpuUs],
        ...[at.restoresPerSecond, at.restoreCpuUs],
        ...[at.suspendUs.p50, at.suspendUs.p99],
        ...[at.asleepUs.p50, at.asleepUs.p99, at.awakeUs.p50, at.awakeUs.p99],
      ]),
    ],
    notes: [
      "Suspended: 1,000 at once, in batches of 256, until the last is durable (up to four batches share a sync).",
      "Restored: 5,000 at a time, in batches of 256, from packets in to echoes out; the mean of twelve times.",
      "CPU: processor time of all threads for one of them, the peers', the garbage collector's and the compiler's included.",
      "One suspended: alone, until it is durable and gone, a sync of its own included.",
      "Answer: one connection at a time, from its packet in to the echo out, in one turn; of the others a round trip",
      "over the kernel's loopback between two processes.",
    ],
  };
}

/** What the kernel's own end of a connection takes: the least of what was seen, since others use the machine as well. */
function kernelRow(held: readonly Holder[]): Cell[][] {
  const known = held.filter(({ kernelBytes }) => kernelBytes !== undefined && kernelBytes > 0);
  if (known.length === 0) return [];
  const [least] = known.sort((a, b) => a.kernelBytes! - b.kernelBytes!);
  return [["the kernel's socket", least!.connections, least!.kernelBytes]];
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
