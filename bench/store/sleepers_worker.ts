/**
 * Sleepers in a store: `sleepers_worker.ts fill FOLDER COUNT` writes so many and dies of `kill -9`;
 * `sleepers_worker.ts start FOLDER` is the process after it. See ../store.ts.
 */
import process from "node:process";
import { SleepyHost } from "../../checkpoint/host.ts";
import { writeSocketImage } from "../../checkpoint/sockets/socket_image.ts";
import { FileStore } from "../../checkpoint/store/mod.ts";
import { pipe } from "../../net/link/pipe.ts";
import { freezeTcb } from "../../net/tcp/freeze.ts";
import { type FrozenTcb, frozenTcbFields } from "../../net/tcp/frozen_tcb.ts";
import { summarize, SUMMARY_WORDS } from "../../net/wake/summary.ts";
import { OneSided } from "../one_sided.ts";
import { tell } from "../worker.ts";

export interface Started {
  readonly connections: number;
  /** Milliseconds since this process began, the start of the runtime included. */
  readonly readyMs: number;
  /** Of them, reading the folder, and entering the connections. */
  readonly openMs: number;
  readonly recoverMs: number;
  readonly rssBytes: number;
}

const BATCH = 256;
const [phase, folder, count] = process.argv.slice(2) as [string, string, string];
if (phase === "fill") await fill(Number(count));
else await start();

/** Different connections, their numbers drawn: what one of them has is never the neighbour's. */
async function fill(count: number): Promise<void> {
  const side = new OneSided();
  side.receive(1);
  side.send(1);
  side.settle();
  const frozen = [...freezeTcb(side.tcb, side.nowMs)] as unknown[];
  const place = (name: string): number => frozenTcbFields.indexOf(name);
  const [remote, port] = [place("remoteAddress"), place("remotePort")];
  const drawn = ["sndUna", "rcvNxt", "tsOffset", "tsRecent"].map(place);
  const summaries = new Int32Array(BATCH * SUMMARY_WORDS);
  const store = await FileStore.open(folder);
  for (let from = 0; from < count; from += BATCH) {
    const images: Uint8Array[] = [];
    for (let index = from; index < Math.min(from + BATCH, count); index++) {
      frozen[remote] = 0x0a01_0000 + (index >>> 5);
      frozen[port] = 1_024 + (index & 31) * 1_999;
      drawn.forEach((at, salt) => frozen[at] = Math.imul(index + 1, 0x9e37_79b1 + 2 * salt) >>> 0);
      summarize(frozen as FrozenTcb, summaries, SUMMARY_WORDS * images.length);
      images.push(writeSocketImage(frozen as FrozenTcb, undefined));
    }
    const { durable } = store.append(images, {
      summaries: summaries.subarray(0, SUMMARY_WORDS * images.length),
    });
    await durable;
  }
  tell({});
  process.kill(process.pid, "SIGKILL");
}

async function start(): Promise<void> {
  const openAtMs = performance.now();
  const store = await FileStore.open(folder);
  const recoverAtMs = performance.now();
  const [link] = pipe({ medium: "ip" });
  const host = new SleepyHost({
    interfaces: [{ link }],
    addresses: [{ address: "10.0.0.1/8" }],
    store,
    idleMs: 1e9,
  });
  const readyMs = performance.now(); // from the process's start
  const { rss } = process.memoryUsage();
  tell(
    {
      connections: host.counts.asleep,
      readyMs,
      openMs: recoverAtMs - openAtMs,
      recoverMs: readyMs - recoverAtMs,
      rssBytes: rss,
    } satisfies Started,
  );
  process.exit(0);
}
