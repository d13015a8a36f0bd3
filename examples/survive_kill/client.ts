/** The client process: opens the connections, speaks on them and checks every byte of the answers. */
import process from "node:process";
import { parseArgs } from "node:util";
import { connectUnix, reconnect } from "../../mod.ts";
import { kernelPeer, type Peer, userspacePeers } from "./peers.ts";
import { answer, type Heard, message, nothingHeard, serverAddressOf } from "./talk.ts";
import { answerRequests } from "./worker.ts";

const { values } = parseArgs({
  options: { unix: { type: "string" }, connections: { type: "string" }, seed: { type: "string" } },
});
const connections = Number(values.connections);
const seed = Number(values.seed);

/** Connections that speak at the same time. */
const AT_ONCE = 256;
/** Connections for warming up. */
const WARM_UP = 64;
/** An answer that takes longer will never come: TCP has tried about six times by then. */
const ANSWER_MS_MAX = 30_000;

const open: (index: number) => Promise<Peer> = values.unix === undefined
  ? (index) => kernelPeer(serverAddressOf(index))
  : userspacePeers(await reconnect(() => connectUnix({ path: values.unix! })));
const peers: Peer[] = [];
const heard: Heard[] = [];
const broken = new Map<number, string>();
let bytesChecked = 0;

/** Says this round's message on one connection and compares the answer with what it must be. */
async function speak(index: number, round: number): Promise<void> {
  if (broken.has(index)) return;
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    const said = message(seed, index, round);
    const expected = answer(heard[index]!, said);
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer for ${ANSWER_MS_MAX} ms`)), ANSWER_MS_MAX);
    });
    const got = await Promise.race([peers[index]!.exchange(said), late]);
    const wrong = got.findIndex((byte, at) => byte !== expected[at]);
    if (wrong >= 0) throw new Error(`byte ${wrong} of ${expected.length} of the answer is wrong`);
    bytesChecked += got.length;
  } catch (error) {
    broken.set(index, error instanceof Error ? error.message : String(error));
  } finally {
    clearTimeout(timer);
  }
}

/** Runs `each` for every index in [from, to), some at a time. */
async function forEach(
  from: number,
  to: number,
  atOnce: number,
  each: (index: number) => Promise<void>,
): Promise<void> {
  let next = from;
  const lane = async (): Promise<void> => {
    while (next < to) await each(next++);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, to - from) }, lane));
}

/** Median and 99th percentile. */
function percentiles(samples: number[]): { p50Ms: number; p99Ms: number } {
  const sorted = samples.sort((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
  return { p50Ms: at(0.5), p99Ms: at(0.99) };
}

const summary = (): Record<string, unknown> => ({
  bytesChecked,
  broken: broken.size,
  reasons: [...broken].slice(0, 5).map(([index, reason]) => `connection ${index}: ${reason}`),
});
let outage: Promise<void> = Promise.resolve();

answerRequests({
  /** Opens a few connections and uses them: what code needs when it runs first is not a connection's memory. */
  warmUp: async () => {
    await forEach(0, WARM_UP, 1, async (index) => {
      peers[index] = await open(index);
      await peers[index].exchange(message(seed, index, 0));
    });
    return {};
  },
  /** Wakes them and closes them. */
  coolDown: async () => {
    await forEach(0, WARM_UP, 1, async (index) => {
      await peers[index]!.exchange(message(seed, index, 0));
      peers[index]!.close();
    });
    return {};
  },
  connect: async (_, progress) => {
    const beforeMs = performance.now();
    let done = 0;
    await forEach(0, connections, AT_ONCE, async (index) => {
      heard[index] = nothingHeard();
      try {
        peers[index] = await open(index);
      } catch (error) {
        broken.set(index, `cannot connect: ${(error as Error).message}`);
      }
      progress(++done);
    });
    return { ...summary(), elapsedMs: performance.now() - beforeMs };
  },
  /** Every connection from `from` on speaks, `AT_ONCE` at a time. */
  speak: async ({ round, from }, progress) => {
    const beforeMs = performance.now();
    let done = from as number;
    await forEach(done, connections, AT_ONCE, async (index) => {
      await speak(index, round as number);
      progress(++done);
    });
    await outage;
    return { ...summary(), elapsedMs: performance.now() - beforeMs };
  },
  /** One after the other, so that the time of an answer is not the time in a queue. */
  measure: async ({ round, from, to }) => {
    const samples: number[] = [];
    await forEach(from as number, to as number, 1, async (index) => {
      const beforeMs = performance.now();
      await speak(index, round as number);
      samples.push(performance.now() - beforeMs);
    });
    return { ...summary(), ...percentiles(samples) };
  },
  /** The first `to` connections speak now, while nobody is there; `speak` waits for their answers. */
  speakIntoTheDark: ({ round, to }) => {
    outage = forEach(0, to as number, to as number, (index) => speak(index, round as number));
    return {};
  },
});
process.on("unhandledRejection", (error) => {
  console.error(error);
  process.exit(1);
});
