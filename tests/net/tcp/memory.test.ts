import { expect, test } from "vitest";
import { TcpMemory } from "../../../net/tcp/memory.ts";
import { completeConfig, type TcpConfig } from "../../../net/tcp/config.ts";
import { tuneSendBuffer } from "../../../net/tcp/buffers.ts";
import { Prng } from "../../../base/random.ts";
import { ADDRESSES, Pair, receiveStream, sendStream } from "../stack/pair.ts";
import { Script } from "./script.ts";

const KIB = 1024;
/** Low, pressure and most. */
const LIMITS: Partial<TcpConfig> = {
  memoryLowBytes: 512 * KIB,
  memoryPressureBytes: 768 * KIB,
  memoryMaxBytes: 1024 * KIB,
};
const MSS = 1000;

/** A connection of a stack whose other connections hold `others` bytes. */
function connection(
  others: number,
  tcp: Partial<TcpConfig> = {},
  options = `mss ${MSS},wscale 7,sackOK`,
): Script {
  const s = new Script({ tcp: { ...LIMITS, ...tcp }, mtu: MSS + 40 }).accepted(options);
  s.stack.tcp.memory.borrowed(others);
  return s;
}

const windowOf = (s: Script): number => (s.tcb.rcvAdv - s.tcb.rcvNxt) | 0;

test("memory is tight from the pressure mark on until it is below the low one, and full at its limit; defaults keep Linux's order", () => {
  const memory = new TcpMemory(completeConfig({ memoryMaxBytes: 1000 }));
  const steps: [bytes: number, tight: boolean, full: boolean][] = [
    [750, false, false],
    [1, true, false],
    [248, true, false],
    [1, true, true],
    [-500, true, false],
    [-1, false, false],
    [251, false, false],
    [1, true, false],
  ];
  for (const [bytes, tight, full] of steps) {
    memory.borrowed(bytes);
    expect([memory.bytes, memory.tight, memory.full]).toEqual([memory.bytes, tight, full]);
  }
  expect(memory.pressures).toBe(2);
  const { memoryLowBytes, memoryPressureBytes, memoryMaxBytes } = completeConfig();
  expect([memoryLowBytes, memoryPressureBytes, memoryMaxBytes].map((bytes) => bytes / 2 ** 20)).toEqual([
    512,
    768,
    1024,
  ]);
});

test("what queues hold is counted when it is borrowed and given back, and nothing is left of it", () => {
  const s = connection(0);
  const { memory } = s.stack.tcp;
  expect([memory.users, memory.bytes]).toEqual([1, 0]);
  s.turn("P. 1:501 ack 1");
  expect(memory.bytes).toBe(s.tcb.receiveQueue.capacity);
  s.turn("P. 2501:3501 ack 1"); // ahead of a hole
  expect(memory.bytes).toBe(4 * KIB);
  expect(s.write(5_000)).toBe(5_000);
  expect(memory.bytes).toBe(12 * KIB);
  s.abort();
  expect([memory.users, memory.bytes]).toEqual([0, 0]);
});

test("under pressure buffers do not grow, and a window shrinks by what comes, to four segments and never by a step back (SHLD-14)", () => {
  for (const tight of [true, false]) {
    const s = connection(0);
    s.tcb.srttUs = 10_000;
    if (tight) s.stack.tcp.memory.borrowed(769 * KIB);
    let at = 1;
    let edge = s.tcb.rcvAdv;
    for (let segment = 0; segment < 2_000; segment++) {
      if (segment % 20 === 0) s.wait(1);
      s.turn(`. ${at}:${at += MSS} ack 1`);
      s.read();
      expect((s.tcb.rcvAdv - edge) | 0).toBeGreaterThanOrEqual(0);
      edge = s.tcb.rcvAdv;
    }
    s.take(4000);
    const { receiveBufferBytes } = s.tcb;
    if (tight) {
      expect(receiveBufferBytes).toBe(128 * KIB);
      expect(windowOf(s)).toBeLessThanOrEqual(4 * MSS + 128);
      expect(windowOf(s)).toBeGreaterThanOrEqual(2 * MSS);
    } else {
      expect(receiveBufferBytes).toBeGreaterThan(128 * KIB);
      expect(windowOf(s)).toBeGreaterThan(64 * KIB);
    }
    s.tcb.cwnd = 1 << 20;
    tuneSendBuffer(s.tcb, s.stack.tcp.config);
    if (tight) expect(s.tcb.sendBufferBytes).toBe(256 * KIB);
    else expect(s.tcb.sendBufferBytes).toBeGreaterThan(256 * KIB);
  }
});

test("a share for everyone: under pressure a connection that has less than its part may take more, one that has it may not", () => {
  const s = connection(770 * KIB);
  const { memory } = s.stack.tcp;
  memory.users = 8; // 128 KiB for each
  expect(s.write(200 * KIB)).toBe(128 * KIB);
  memory.users = 128; // 8 KiB for each
  const other = connection(770 * KIB);
  other.stack.tcp.memory.users = 128;
  expect(other.write(200 * KIB)).toBe(8 * KIB);
});

test("at the limit a write is held back to what keeps its writer going, and acknowledgements wake it", () => {
  const below = connection(1024 * KIB - 8 * KIB);
  expect(below.write(100 * KIB)).toBe(8 * KIB); // all that is left
  const s = connection(1024 * KIB);
  expect(s.write(100 * KIB)).toBe(4 * KIB);
  expect(s.write(1)).toBe(0);
  s.heard();
  s.turn(". 1 ack 1001");
  expect(s.heard()).toEqual(["writable"]);
  expect(s.write(5_000)).toBe(1_000);
  s.turn(". 1 ack 5097");
  s.stack.tcp.memory.borrowed(-1024 * KIB);
  expect(s.heard()).toEqual(["writable"]);
  expect(s.write(50_000)).toBe(50_000);
});

test("at the limit data out of order is dropped, told by no SACK, and comes again", () => {
  for (const full of [true, false]) {
    const s = connection(full ? 1024 * KIB : 700 * KIB);
    s.turn(`. ${1 + 8 * MSS}:${1 + 9 * MSS} ack 1`);
    s.out(
      full
        ? ". 1 ack 1 <>"
        : `. 1 ack 1 <nop,nop,sack ${1 + 8 * MSS}:${1 + 9 * MSS}>`.replace("nop,nop,", ""),
    );
    expect(s.tcb.ahead.length).toBe(full ? 0 : 2);
    expect(s.stack.tcp.counters.ofoDrop).toBe(full ? 1 : 0);
  }
  // A little is always taken: no connection starves.
  const s = connection(1024 * KIB);
  s.turn(`. ${1 + 2 * MSS}:${1 + 3 * MSS} ack 1`);
  expect(s.tcb.ahead.length).toBe(2);
});

test("at the limit what comes next is taken while nothing is unread or it fits into what is borrowed, else dropped", () => {
  const s = connection(1024 * KIB);
  s.turn(`. 1:${1 + MSS} ack 1`);
  let at = 1 + MSS;
  while (s.stack.tcp.counters.rcvQDrop === 0) {
    s.turn(`. ${at}:${at + MSS} ack 1`);
    if (s.stack.tcp.counters.rcvQDrop === 0) at += MSS;
  }
  expect(s.tcb.receiveQueue.length).toBe(4 * MSS); // a window that was offered is no promise of memory
  const before = s.tcb.rcvNxt;
  s.take(4000);
  s.turn(`. ${at}:${at + MSS} ack 1`);
  s.out(`. 1 ack ${at}`); // a duplicate: it comes again
  expect(s.tcb.rcvNxt).toBe(before);
  expect(s.read()).toBe(4 * MSS);
  s.turn(`. ${at}:${at + MSS} ack 1`);
  expect(s.read()).toBe(MSS);

  // What fits into what it has already is no question of memory.
  const other = connection(700 * KIB);
  other.turn(`. ${1 + 8 * MSS}:${1 + 9 * MSS} ack 1`);
  other.stack.tcp.memory.borrowed(1024 * KIB);
  expect(other.tcb.receiveQueue.capacity).toBe(16 * KIB);
  for (let segment = 0; segment < 8; segment++) {
    other.turn(`. ${1 + segment * MSS}:${1 + (segment + 1) * MSS} ack 1`);
  }
  expect(other.read()).toBe(9 * MSS);
});

test("at the limit a SYN gets a cookie, below it a place in the queue", () => {
  for (const full of [true, false]) {
    const s = new Script({ tcp: LIMITS }).listen();
    s.stack.tcp.memory.borrowed((1024 - (full ? 0 : 1)) * KIB);
    s.turn("S 0 <mss 1460>");
    s.learn();
    expect(s.stack.tcp.counters.syncookiesSent).toBe(full ? 1 : 0);
    expect(s.stack.tcp.awake).toBe(full ? 0 : 1);
    s.turn(". 1 ack 1");
    expect(s.heard()).toEqual(["established writable"]);
  }
});

test("at the limit nobody waits for a peer whom its application has left with much unsent", () => {
  for (const full of [true, false]) {
    const s = connection(0, {}, `mss ${MSS}`);
    s.write(100 * KIB);
    s.take(4000);
    if (full) s.stack.tcp.memory.borrowed(1024 * KIB);
    s.close();
    expect([s.state, s.tcb.orphan]).toEqual(full ? ["closed", false] : ["finWait1", true]);
    expect(s.stack.tcp.counters.abortOnMemory).toBe(full ? 1 : 0);
  }
  const little = connection(1024 * KIB);
  little.write(2_000);
  little.close();
  expect(little.state).toBe("finWait1");
});

test("many connections through little memory on both sides: it stays within its limit and what each needs, and every byte arrives", async () => {
  for (const seed of [1, 2, 3, 4]) {
    const tcp = { memoryMaxBytes: 256 * KIB };
    const pair = new Pair({ seed, tcp: [tcp, tcp], loss: 0.01, reorder: 0.02, queueMax: 4_096 });
    const [client, server] = pair.hosts;
    const prng = new Prng(seed);
    const listener = server.listen({ port: 80 });
    const most = [0, 0];
    for (const [side, { stack }] of pair.hosts.entries()) {
      const { memory } = stack.tcp;
      const borrowed = memory.borrowed.bind(memory);
      memory.borrowed = (bytes) => {
        borrowed(bytes);
        most[side] = Math.max(most[side]!, memory.bytes);
      };
    }
    const count = 30;
    const bytes = 60_000;
    const one = async (): Promise<void> => {
      const conn = await client.connect({ hostname: ADDRESSES[1], port: 80 });
      await Promise.all([sendStream(conn, bytes, prng), receiveStream(conn, prng)]);
      conn.close();
    };
    let accepting: Promise<unknown> = Promise.resolve();
    const accept = (): ReturnType<typeof listener.accept> => { // one at a time, as Deno's
      const conn = accepting.then(() => listener.accept());
      accepting = conn;
      return conn;
    };
    const other = async (): Promise<void> => {
      const conn = await accept();
      expect(await receiveStream(conn, prng), `seed ${seed}`).toBe(bytes);
      await sendStream(conn, 10_000, prng);
      conn.close();
    };
    const all = Array.from({ length: count }, () => [one(), other()]).flat();
    await pair.finish(Promise.all(all));
    listener.close();
    await pair.end();
    for (const [side, { stack }] of pair.hosts.entries()) {
      // A queue that may always have a little, may have it in a buffer of the next power of two; and one has nothing unread.
      expect(most[side], `seed ${seed}`).toBeLessThanOrEqual(256 * KIB + 2 * count * 4 * KIB + 64 * KIB);
      expect([stack.tcp.memory.bytes, stack.tcp.memory.users, stack.tcp.memory.tight]).toEqual([0, 0, false]);
    }
    expect(most[1], `seed ${seed}`).toBeGreaterThan(192 * KIB); // it was a matter of memory
    expect(server.stack.tcp.memory.pressures).toBeGreaterThan(0);
  }
});
