/**
 * A process whose connections sleep in a folder and are all spoken to at once: `herd_worker.ts FOLDER COUNT AWAKE_MAX`
 * (0: no budget) tells what came of it. See ../herd.ts.
 */
import process from "node:process";
import { setImmediate, setTimeout } from "node:timers/promises";
import { assert } from "../../base/assert.ts";
import { SleepyHost } from "../../checkpoint/host.ts";
import { FileStore } from "../../checkpoint/store/mod.ts";
import { ReflexPeers, SERVER } from "../sleep/reflex_peers.ts";
import { memoryNow, tell } from "../worker.ts";

/** What is told. */
export interface Herd {
  readonly count: number;
  /** Bytes over the empty process, before and at the peak. */
  readonly asleepBytes: number;
  readonly peakBytes: number;
  readonly awakePeak: number;
  readonly heldPeak: number;
  /** Until the last one was answered. */
  readonly seconds: number;
  readonly waitMs: { p50: number; p99: number; max: number };
  /** Those whose first packet found room to wait. */
  readonly found: number;
  /** Of these, who was answered after somebody that had asked much later. */
  readonly overtaken: number;
}

const BLOCK = 1_000;
/** Packets between two turns of the event loop: what a link brings at once. */
const BURST = 256;
const AGAIN_MS = 1_000;

const [folder, countText, awakeText] = process.argv.slice(2) as [string, string, string];
const count = Number(countText), awakeMax = Number(awakeText);
const peers = new ReflexPeers(count);
const host = new SleepyHost({
  interfaces: [{ link: peers }],
  addresses: [{ address: SERVER.network }],
  store: await FileStore.open(folder),
  idleMs: 1e9, // they sleep when this file says so, or to make room
  ...(awakeMax === 0 ? {} : { wake: { awakeMax, quietMs: 5 } }),
});
host.serve({
  port: SERVER.port,
  tcpBacklog: BLOCK,
  data: (connection, bytes) => void connection.write(bytes),
});
host.sleeper.on("error", (error) => {
  throw error;
});
const saidMs = new Float64Array(count).fill(-1), answeredMs = new Float64Array(count).fill(-1);
const found = new Uint8Array(count).fill(1);
const order = new Int32Array(count).fill(-1);
const empty = await memoryNow();
for (let from = 0; from < count; from += BLOCK) {
  peers.connect(from, Math.min(from + BLOCK, count));
  while (host.counts.awake > 0) await host.sleeper.suspendAll();
}
assert(host.counts.asleep === count, "All of them sleep");
const asleep = await memoryNow();

let answered = 0, peak = 0, awakePeak = 0, heldPeak = 0;
peers.onEcho = (index) => {
  if (answeredMs[index]! >= 0) return;
  answeredMs[index] = performance.now();
  order[answered++] = index;
};
const startMs = performance.now();
for (let index = 0; index < count; index++) {
  const { held } = host.stack.sleepers;
  const before = held.bytes;
  saidMs[index] = performance.now();
  peers.say(index);
  found[index] = held.bytes > before ? 1 : 0;
  if (index % BURST === BURST - 1 || index === count - 1) await turn();
}
for (let againMs = AGAIN_MS; answered < count; againMs *= 2) {
  const untilMs = performance.now() + againMs;
  while (answered < count && performance.now() < untilMs) {
    await turn();
    await setTimeout(1);
  }
  for (let index = 0, said = 0; index < count; index++) {
    if (answeredMs[index]! >= 0) continue;
    peers.sayAgain(index);
    if (++said % BURST === 0) await turn();
  }
}
const seconds = (performance.now() - startMs) / 1_000;
const waits = Float64Array.from(answeredMs, (at, index) => at - saidMs[index]!).sort();
tell(
  {
    count,
    asleepBytes: asleep.rss - empty.rss,
    peakBytes: peak - empty.rss,
    awakePeak,
    heldPeak,
    seconds,
    waitMs: {
      p50: waits[Math.floor(count * 0.5)]!,
      p99: waits[Math.floor(count * 0.99)]!,
      max: waits[count - 1]!,
    },
    found: found.reduce((sum, each) => sum + each, 0),
    overtaken: overtaken(),
  } satisfies Herd,
);
process.exit(0); // without closing: what a shutdown costs is not measured

async function turn(): Promise<void> {
  look();
  peers.deliver();
  peers.acknowledge();
  await setImmediate();
}

function look(): void {
  awakePeak = Math.max(awakePeak, host.counts.awake);
  heldPeak = Math.max(heldPeak, host.stack.sleepers.held.bytes);
  peak = Math.max(peak, process.memoryUsage.rss());
}

/** Who found room and was answered after somebody who had asked 1,000 places later. */
function overtaken(): number {
  let latest = -1, many = 0;
  for (const index of order) {
    if (found[index] === 1 && latest - index > 1_000) many++;
    if (found[index] === 1) latest = Math.max(latest, index);
  }
  return many;
}
