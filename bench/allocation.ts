import { runtime } from "../base/runtime.ts";
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
      const { packets, perPacket, kept, sites } = await worker.answer<Measured>();
      const garbage = runtime === "bun" || perPacket.length === 0 ? undefined : spreadOf(perPacket);
      const where = sites?.map(([site, bytes]) => `${site} ${formatNumber(bytes)}`).join(", ");
      rows.push([name, packets, garbage, kept / packets, where === "" ? "nobody" : where]);
    }
    yield {
      title: "bytes allocated per packet",
      columns: ["", "packets", "garbage bytes/packet", "kept bytes/packet", "who, at 0.05 bytes or more"],
      rows,
      notes: [
        "One connection or socket, its peer made by hand without allocating, the times of turns made ahead. Garbage: the",
        "median of windows of 2,000 packets, less what looking at the heap takes. Kept: still there after a collection.",
        "A datagram that arrives is what the application gets: its bytes and a record, its own for good.",
        ...(runtime === "bun"
          ? ["Garbage cannot be measured on Bun: its heap size is known after a collection only."]
          : []),
      ],
    };
  },
};
