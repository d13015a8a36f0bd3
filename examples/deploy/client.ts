/** The client process: keeps many connections busy and checks every byte of every answer, while servers come and go. */
import process from "node:process";
import { parseArgs } from "node:util";
import { listenUnix, Prng, ReconnectingLink } from "../../mod.ts";
import { kernelPeer, type Peer, userspacePeers } from "../survive_kill/peers.ts";
import { answer, message, nothingHeard, serverAddressOf } from "../survive_kill/talk.ts";
import { answerRequests } from "../survive_kill/worker.ts";

const { values } = parseArgs({
  options: { unix: { type: "string" }, connections: { type: "string" }, seed: { type: "string" } },
});
const connections = Number(values.connections);
const seed = Number(values.seed);
const prng = new Prng(seed);

/** Pauses between requests: many are shorter than what puts a connection to sleep, many are longer. */
const PAUSE_MS_MAX = 400;
/** An answer that takes longer will never come. */
const ANSWER_MS_MAX = 60_000;
/** Connections that are opened for one request each, all the time. */
const VISITORS = 4;

async function userspace(path: string): Promise<(index: number) => Promise<Peer>> {
  const link = new ReconnectingLink(); // the cable stays; servers plug themselves in
  await listenUnix({ path, onLink: (carrier) => link.attach(carrier) });
  return userspacePeers(link);
}

const open: (index: number) => Promise<Peer> = values.unix === undefined
  ? (index) => kernelPeer(serverAddressOf(index))
  : await userspace(values.unix);

let over = false;
let requests = 0;
let bytesChecked = 0;
let longestMs = 0;
let opened = 0;
const failed: string[] = [];
const all: Promise<void>[] = [];

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, prng.below(PAUSE_MS_MAX)));

async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing for ${ANSWER_MS_MAX} ms`)), ANSWER_MS_MAX);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** One request on a connection that has heard `heard`; every byte of the answer is checked. */
async function ask(peer: Peer, index: number, round: number, heard = nothingHeard()): Promise<void> {
  const said = message(seed, index, round & 15);
  const expected = answer(heard, said);
  const beforeMs = performance.now();
  const got = await inTime(peer.exchange(said));
  longestMs = Math.max(longestMs, performance.now() - beforeMs);
  const wrong = got.findIndex((byte, at) => byte !== expected[at]);
  if (wrong >= 0) throw new Error(`byte ${wrong} of ${expected.length} of the answer is wrong`);
  requests++;
  bytesChecked += got.length;
}

async function resident(index: number): Promise<void> {
  const peer = await inTime(open(index));
  opened++;
  const heard = nothingHeard();
  for (let round = 0; !over; round++) {
    await ask(peer, index, round, heard);
    await pause();
  }
  peer.close();
}

async function visitor(lane: number): Promise<void> {
  for (let index = connections + lane; !over; index += VISITORS) {
    const peer = await inTime(open(index));
    opened++;
    await ask(peer, index, 0);
    peer.close();
    await pause();
  }
}

answerRequests({
  /** Everybody begins to speak, and goes on until told to stop. */
  speak: () => {
    const begin = (name: string, work: Promise<void>): void => {
      all.push(
        work.catch((error) => void failed.push(`${name}: ${error instanceof Error ? error.message : error}`)),
      );
    };
    for (let index = 0; index < connections; index++) begin(`connection ${index}`, resident(index));
    for (let lane = 0; lane < VISITORS; lane++) begin(`visitor ${lane}`, visitor(lane));
    return {};
  },
  counts: () => ({ requests, bytesChecked, opened, failed: failed.length }),
  /** How long the longest request since the last question took. */
  longest: () => {
    const answer = { longestMs };
    longestMs = 0;
    return answer;
  },
  stop: async () => {
    over = true;
    await Promise.all(all);
    return { requests, bytesChecked, opened, failed };
  },
});
process.on("unhandledRejection", (error) => {
  console.error(error);
  process.exit(1);
});
