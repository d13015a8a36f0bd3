import { ByteRing } from "../base/ring.ts";
import { Slab, viewOf } from "../base/slab.ts";
import { NetworkNamespace } from "../tests/support/netns.ts";
import {
  type Bench,
  type BenchOptions,
  type Cell,
  compare,
  interleave,
  ratio,
  spreadOf,
  type Table,
} from "./bench.ts";
import { Worker } from "./worker.ts";

/** Segments of a turn that an application reads together. */
const TURN = 16;
const PACKET_BYTES = [200, 1_448, 4_096, 16_384];
const PIECES_BYTES = [64, 512, 1_448, 2_896, 5_792, 8_688, 14_480, 28_960];

/** What a second copy costs beside what it saves: why there is one on some ways (docs/performance.md). */
export const bench: Bench = {
  async *run(options) {
    for (const bytes of PACKET_BYTES) yield await received(bytes, options);
    yield await sent(options);
  },
};

/** A turn's packets on their way to the application: each by itself, or through the ring. */
function received(bytes: number, options: BenchOptions): Promise<Table> {
  const packets = Slab.forPackets(TURN * bytes + 100);
  const buffer = new Uint8Array(TURN * bytes);
  const ring = new ByteRing();
  ring.append(buffer, 0, 1);
  return compare(
    `${TURN} packets of ${bytes} bytes, into the application's buffer`,
    {
      "each at once, with a view of it": () => {
        for (let at = 0; at < TURN; at++) {
          buffer.set(
            viewOf(packets, 100 + at * bytes, 100 + (at + 1) * bytes),
            at * bytes,
          );
        }
      },
      "into the ring, and all together out of it": () => {
        for (let at = 0; at < TURN; at++) ring.appendSlab(packets, 100 + at * bytes, 100 + (at + 1) * bytes);
        ring.copyTo(1, TURN * bytes, buffer, 0);
        ring.drop(TURN * bytes);
      },
    },
    options,
    { operations: TURN },
  );
}

/** Packets that the kernel takes through TUN and throws away. */
async function sent(options: BenchOptions): Promise<Table> {
  const title = "a packet through TUN, its data copied behind its headers or taken from where it lies";
  const count = options.quick ? 100 : 10_000;
  const rounds = options.quick ? { rounds: 1, warmUps: 0 } : { rounds: 11, warmUps: 2 };
  try {
    using netns = new NetworkNamespace();
    await using worker = new Worker("copies/pieces_worker.ts", ["copies0"], [], netns.name);
    await worker.answer();
    netns.configure("copies0", "10.9.0.1/24");
    netns.run("ip", "route", "add", "blackhole", "10.9.1.0/24");
    const rows: Cell[][] = [];
    for (const bytes of PIECES_BYTES) {
      const results = await interleave({
        whole: () => worker.ask<number>(`whole ${bytes} ${count}`),
        pieces: () => worker.ask<number>(`pieces ${bytes} ${count}`),
      }, rounds);
      const whole = spreadOf(results["whole"]!), pieces = spreadOf(results["pieces"]!);
      rows.push([bytes, whole, pieces, ratio(pieces.min, whole.min)]);
    }
    return {
      title,
      columns: ["bytes of data", "copied, ns", "from two places, ns", "ratio of the least"],
      rows,
      notes: [
        "Processor time, the kernel's share included. Where it gains nothing the link copies, whatever it is given.",
      ],
    };
  } catch (error) {
    return {
      title: `${title}: not measured`,
      columns: [""],
      rows: [[(error as Error).message.split("\n")[0]!]],
    };
  }
}
