/** The server process: checks what comes, answers, lets idle connections sleep, is killed. */
import { readdirSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { liveMemory } from "../../examples/live_memory.ts";
import { answerRequests } from "../../examples/survive_kill/worker.ts";
import { pooledRingBytes } from "../../base/ring.ts";
import { FileStore, impair, openTun, SleepyHost, SystemClock, type TcpConn } from "../../mod.ts";
import type { Impairments } from "../../net/link/impaired.ts";
import { answersOf, fill, HEAD_BYTES, mismatch, NETWORK, PORTS, readHead } from "./stream.ts";

const { values } = parseArgs({
  options: { folder: { type: "string" }, seed: { type: "string" }, idle: { type: "string" } },
});
const startedMs = performance.now();
const store = await FileStore.open(values.folder!);
const clock = new SystemClock();
const link = impair(await openTun({ name: NETWORK.interfaceName }), { clock, seed: Number(values.seed) });
const host = new SleepyHost({
  interfaces: [{ link }],
  addresses: [{ address: `${NETWORK.server}/${NETWORK.prefix}` }],
  store,
  clock,
  idleMs: Number(values.idle),
  // Of an abort the RST may be lost: keep-alive finds out what has no other end any more. On the sleepy port it is
  // switched on at the end only: a kill may come while a probe has woken a connection.
  tcp: {
    timeWaitMs: 1_000,
    finWait2Ms: 10_000,
    keepAliveIdleMs: 10_000,
    keepAliveIntervalMs: 2_000,
    keepAliveProbes: 5,
  },
});
const recovered = host.counts.asleep;
const wrong: string[] = [];
let bytesIn = 0, bytesOut = 0, opened = 0, resets = 0;
host.sleeper.on("lost", ({ id, error }) => wrong.push(`${id} is lost: ${error.message}`));
host.sleeper.on("error", (error) => wrong.push(`sleeper: ${error.message}`));

/** What a connection of the sleepy port has seen: plain data, kept in its image. */
interface Seen {
  head: number[];
  stream: number;
  upload: number;
  reply: number;
  up: number;
  down: number;
}

const sleepy = host.serve({
  port: PORTS.sleepy,
  tcpBacklog: 1_024,
  open(connection) {
    opened++;
    connection.attachment = { head: [], stream: 0, upload: 0, reply: 0, up: 0, down: 0 } satisfies Seen;
  },
  data(connection, bytes) {
    const seen = connection.attachment as Seen;
    for (let at = 0; at < bytes.length;) {
      if (seen.head.length < HEAD_BYTES) {
        seen.head.push(bytes[at++]!);
        if (seen.head.length < HEAD_BYTES) continue;
        Object.assign(seen, readHead(Uint8Array.from(seen.head)));
      } else {
        const piece = bytes.subarray(at, at + seen.upload);
        check(connection.id, seen.stream, seen.up, piece);
        at += piece.length;
        seen.up += piece.length;
        seen.upload -= piece.length;
      }
      if (seen.upload > 0) continue;
      connection.write(fill(answersOf(seen.stream), seen.down, seen.reply));
      bytesOut += seen.reply;
      seen.down += seen.reply;
      seen.head = [];
    }
    connection.attachment = seen;
  },
  close(_connection, error) {
    if (error !== undefined) resets++;
  },
});
void serveBulk();

async function serveBulk(): Promise<void> {
  for await (const conn of host.listen({ port: PORTS.bulk, tcpBacklog: 1_024 })) {
    opened++;
    if (conn.attachment !== undefined) { // another process was amid something with it, and only that knew what
      conn.setOptions({ lingerMs: 0 });
      conn.close();
      continue;
    }
    conn.attachment = "begun";
    conn.setKeepAlive();
    carry(conn).catch(() => void resets++).finally(() => conn.close());
  }
}

/** One request after the other, until the client ends. */
async function carry(conn: TcpConn): Promise<void> {
  const block = new Uint8Array(64 * 1024);
  let up = 0, down = 0;
  for (;;) {
    const first = await readWhole(conn, HEAD_BYTES);
    if (first === undefined) return conn.closeWrite();
    const { upload, reply, stream } = readHead(first);
    for (let left = upload; left > 0;) {
      const count = await conn.read(block.subarray(0, Math.min(left, block.length)));
      if (count === null) return;
      check("bulk", stream, up, block.subarray(0, count));
      up += count;
      left -= count;
    }
    for (let left = reply; left > 0;) {
      const piece = fill(answersOf(stream), down, Math.min(left, block.length));
      for (let at = 0; at < piece.length;) at += await conn.write(piece.subarray(at));
      down += piece.length;
      left -= piece.length;
      bytesOut += piece.length;
    }
  }
}

/** `undefined` at the stream's end, between two requests. */
async function readWhole(conn: TcpConn, length: number): Promise<Uint8Array | undefined> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length;) {
    const count = await conn.read(bytes.subarray(at));
    if (count === null) return undefined;
    at += count;
  }
  return bytes;
}

function check(who: string, stream: number, at: number, bytes: Uint8Array): void {
  bytesIn += bytes.length;
  const place = mismatch(stream, at, bytes);
  if (place >= 0 && wrong.length < 100) wrong.push(`${who}: byte ${at + place} of stream ${stream} is wrong`);
}

function handles(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of process.getActiveResourcesInfo()) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

answerRequests({
  ready: () => ({ readyMs: performance.now() - startedMs, recovered }),
  wire: (impairments) => {
    const calm: Impairments = {
      loss: 0,
      duplicate: 0,
      reorder: 0,
      corrupt: 0,
      delayMs: 0,
      jitterMs: 0,
      rateBytesPerS: Infinity,
    };
    Object.assign(link.impairments, calm, impairments);
    return {};
  },
  /** Whoever has no other end any more goes soon. */
  reap: () => {
    for (const id of [...sleepy.connections()]) {
      sleepy.with(id, (connection) => connection.setKeepAlive(true, 2_000, 1_000, 3));
    }
    return {};
  },
  nap: async () => ({ napping: await host.sleeper.suspendAll() }),
  stats: async () => {
    const { tcp, connections, sleepers, addresses } = host.stack;
    return {
      ...await liveMemory(),
      memory: process.memoryUsage(),
      poolBytes: pooledRingBytes(),
      ...host.counts,
      tcbs: tcp.awake,
      records: connections.size,
      timeWaits: tcp.timeWaits,
      heldBytes: sleepers.held.bytes,
      queueBytes: tcp.memory.bytes,
      addresses: addresses.size,
      handles: handles(),
      imagesLive: store.stats.recordsLive,
      storeBytes: store.stats.bytesTotal,
      storeFiles: readdirSync(values.folder!).length,
      suspends: host.sleeper.stats.suspends,
      restores: host.sleeper.stats.restores,
      struck: link.struck,
      opened,
      resets,
      bytesIn,
      bytesOut,
      wrong,
    };
  },
});
