import { runtime } from "../base/runtime.ts";
import { type Bench, type Cell, spreadOf } from "./bench.ts";
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
] as const;

interface Measured {
  packets: number;
  perPacket: number[];
  kept: number;
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
      const { packets, perPacket, kept } = await worker.answer<Measured>();
      const garbage = runtime === "bun" || perPacket.length === 0 ? undefined : spreadOf(perPacket);
      rows.push([name, packets, garbage, kept / packets]);
    }
    yield {
      title: "bytes allocated per packet",
      columns: ["", "packets", "garbage bytes/packet", "kept bytes/packet"],
      rows,
      notes: [
        "One connection, its peer made by hand without allocating. Kept: still there after a garbage collection.",
        ...(runtime === "bun"
          ? ["Garbage cannot be measured on Bun: its heap size is known after a collection only."]
          : []),
      ],
    };
  },
};
