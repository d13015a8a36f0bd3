import { runtime } from "../base/runtime.ts";
import { NetworkNamespace } from "../tests/support/netns.ts";
import { type Bench, type Cell, formatNumber, spreadOf } from "./bench.ts";
import { Worker } from "./worker.ts";

const PACKETS = 3_000_000;
const PACKETS_QUICK = 30_000;
const PACKETS_FULL = 10_000_000;
/** So much is allocated before the collector runs that a window between two looks at the heap fits in. */
const V8_FLAGS = ["--min-semi-space-size=64", "--max-semi-space-size=64"];

/** What the worker can do, and its name in the table. */
const WORKS = [
  ["receive", "full segments in, 16 a turn, ACKs out"],
  ["send", "full segments out, as many as fit, an ACK in"],
  ["echo", "one byte in, one byte out, a turn for each"],
  ["receive+rules", "the first with 102 nftables rules looking on, one of flows"],
  ["echo+rules", "the third with them"],
  ["datagramsIn", "datagrams of 36 bytes in, 16 a turn"],
  ["datagramsOut", "datagrams of 36 bytes out, 16 a turn"],
] as const;

interface Measured {
  packets: number;
  perPacket: number[];
  kept: number;
  /** Who allocates how much for a packet; `undefined` where V8 does not tell. */
  sites?: [site: string, bytes: number][];
}

/** The same of all that lies around a stack: links, event loop, handlers, Deno's calls, who puts connections to sleep. */
const HOSTS = [
  ["pipeBulk", "hosts over a pipe: full segments and their ACKs, Deno's write, handlers"],
  ["pipeEcho", "hosts over a pipe: one byte there and back, Deno's calls at one end"],
] as const;
const TUNS = [
  ["tunBulk", "bulk", "a host over TUN: trains from the kernel, ACKs out, handlers"],
  ["tunEcho", "trips", "a host over TUN: one byte in, one byte out, handlers"],
] as const;
const TUN = { name: "alloc0", address: "10.87.0.1", kernel: "10.87.0.2" } as const;

function row(name: string, { packets, perPacket, kept, sites }: Measured): Cell[] {
  const garbage = runtime === "bun" || perPacket.length === 0 ? undefined : spreadOf(perPacket);
  const where = sites?.map(([site, bytes]) => `${site} ${formatNumber(bytes)}`).join(", ");
  return [name, packets, garbage, kept / packets, where === "" ? "nobody" : where];
}

async function ofHosts(work: string, ms: number): Promise<Measured> {
  await using worker = new Worker("allocation/host_worker.ts", [work, ms], V8_FLAGS);
  return await worker.answer();
}

/** Needs root; without it the row has its name only. */
async function overTun(work: string, task: string, name: string, ms: number): Promise<Cell[]> {
  try {
    using netns = new NetworkNamespace();
    const args = [work, ms, TUN.name, `${TUN.address}/24`];
    await using worker = new Worker("allocation/host_worker.ts", args, V8_FLAGS, netns.name);
    await worker.answer();
    netns.configure(TUN.name, `${TUN.kernel}/24`);
    await using client = new Worker("tun/client_worker.ts", [], [], netns.name);
    client.tell(`${task} ${TUN.address} ${ms + CLIENT_MS}`);
    return row(name, await worker.answer());
  } catch {
    return [`${name}: not measured`];
  }
}

/** How much longer than the host is watched its client works. */
const CLIENT_MS = 8_000;

/** Garbage per packet, in a process with nothing else in it. */
export const bench: Bench = {
  async *run({ quick, full }) {
    const rows: Cell[][] = [];
    for (const [work, name] of WORKS) {
      await using worker = new Worker(
        "allocation/worker.ts",
        [work, quick ? PACKETS_QUICK : full ? PACKETS_FULL : PACKETS],
        V8_FLAGS,
      );
      rows.push(row(name, await worker.answer<Measured>()));
    }
    const ms = quick ? 500 : full ? 60_000 : 5_000;
    for (const [work, name] of HOSTS) rows.push(row(name, await ofHosts(work, ms)));
    for (const [work, task, name] of TUNS) rows.push(await overTun(work, task, name, ms));
    yield {
      title: "bytes allocated per packet",
      columns: ["", "packets", "garbage bytes/packet", "kept bytes/packet", "who, at 0.05 bytes or more"],
      rows,
      notes: [
        "One connection or socket, its peer made by hand without allocating, the times of turns made ahead. Garbage: the",
        "median of windows of 2,000 packets, less what looking at the heap takes. Kept: still there after a collection.",
        "Hosts are watched for 20 ms at a time, so what event loop, timers and looking itself take is in it.",
        "A datagram that arrives is what the application gets: its bytes and a record, its own for good.",
        ...(runtime === "bun"
          ? ["Garbage cannot be measured on Bun: its heap size is known after a collection only."]
          : []),
      ],
    };
  },
};
