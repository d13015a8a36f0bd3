import { expect, test } from "vitest";
import type { TcpConn } from "../../net/socket/types.ts";
import { type Process, SleepWorld } from "./sleep_world.ts";

/** The byte at `at` of a stream. */
function byteAt(at: number): number {
  return (at * 7 + (at >>> 8) * 3) & 0xff;
}

function stream(from: number, count: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: count }, (_, index) => byteAt(from + index));
}

/** Between what a client says. Sometimes its server falls asleep. */
const PAUSE_MS = 130;

interface Memory {
  got: number;
}

/** Answers each byte with its successor. What it remembers must be what its stream has brought. */
function serveDurably(process: Process, wrong: string[]): void {
  process.host.serve({
    port: 7,
    durable: true,
    open: (connection) => void (connection.attachment = { got: 0 } satisfies Memory),
    data(connection, bytes) {
      const memory = connection.attachment as Memory;
      bytes.forEach((byte, at) => {
        if (byte !== byteAt(memory.got + at)) wrong.push(`byte ${memory.got + at}`);
      });
      memory.got += bytes.length; // in place: it is in the image of this turn
      connection.write(bytes.map((byte) => (byte + 1) & 0xff));
    },
    close: (_, error) => void (error === undefined || wrong.push(String(error))),
  });
}

/** Says `bytes` in pieces, and hears all of the answers. */
async function converse(
  { clock }: SleepWorld,
  conn: TcpConn,
  bytes: number,
  piece: number,
  wrong: string[],
): Promise<void> {
  const write = async (): Promise<void> => {
    for (let at = 0; at < bytes;) {
      const count = await conn.write(stream(at, Math.min(piece, bytes - at)));
      at += count;
      await new Promise<void>((resolve) => void clock.at(clock.nowMs() + PAUSE_MS, resolve));
    }
    await conn.closeWrite();
  };
  const read = async (): Promise<void> => {
    const buffer = new Uint8Array(5_000);
    let heard = 0;
    for (;;) {
      const count = await conn.read(buffer);
      if (count === null) break;
      for (let at = 0; at < count; at++) {
        if (buffer[at] !== ((byteAt(heard + at) + 1) & 0xff)) wrong.push(`answer ${heard + at}`);
      }
      heard += count;
    }
    if (heard !== bytes) wrong.push(`heard ${heard} of ${bytes}`);
  };
  await Promise.all([write(), read()]);
}

interface Life {
  operations: number;
  where: string;
}

/** A conversation whose server dies before or after its `dieAt`th deed, and goes on 300 ms later. */
async function live(
  dieAt: number,
  dieAfter: boolean,
  bytes: number,
  piece: number,
  listensAfterMs = 0,
): Promise<Life> {
  const world = new SleepWorld({ seed: dieAt });
  world.tracing = false;
  const wrong: string[] = [];
  serveDurably(world.start({ idleMs: 100 }), wrong);
  let operations = 0;
  let where = `death ${dieAfter ? "after" : "before"} deed ${dieAt}`;
  const { process } = world;
  world.disk.before = (kind) => {
    if (process.dead || ++operations !== dieAt) return;
    where += ` (${kind})`;
    const die = (): void => {
      process.kill();
      world.clock.at(world.clock.nowMs() + 300, () => {
        const next = world.start({ idleMs: 100 });
        if (listensAfterMs === 0) return serveDurably(next, wrong);
        world.clock.at(world.clock.nowMs() + listensAfterMs, () => serveDurably(next, wrong));
      });
    };
    if (dieAfter) queueMicrotask(die);
    else die();
  };
  let over: unknown;
  (async () => {
    const conn = await world.client.connect({ hostname: "10.0.0.1", port: 7 });
    await converse(world, conn, bytes, piece, wrong);
    conn.close();
  })().then(() => void (over = "peace"), (error) => void (over = error));
  await world.clock.runUntil(() => over !== undefined, 400_000);
  expect(over, where).toBe("peace");
  expect(wrong, where).toEqual([]);
  await world.clock.advance(200_000); // TIME-WAIT is the client's
  expect(world.disk.records.size, `${where}: images that are left`).toBe(0);
  return { operations, where };
}

test(
  "a durable connection whose server dies at any step loses nothing, doubles nothing, and is not reset",
  async () => {
    let points = 0;
    for (const [bytes, piece] of [[500, 100], [36_000, 9_000]] as const) {
      const { operations } = await live(Infinity, false, bytes, piece);
      expect(operations).toBeGreaterThan(12);
      for (let dieAt = 1; dieAt <= operations; dieAt++) {
        for (const after of [false, true]) {
          await live(dieAt, after, bytes, piece);
          points++;
        }
      }
    }
    console.log(`${points.toLocaleString("en")} crash points`);
    expect(points).toBeGreaterThan(100);
  },
  120_000,
);

test("nor does one whose next process listens late", async () => {
  for (const listensAfterMs of [10, 400, 4_000]) {
    const { operations } = await live(Infinity, false, 500, 100);
    for (let dieAt = 1; dieAt <= operations; dieAt++) {
      for (const after of [false, true]) {
        if (dieAt === 1 && !after) continue; // its SYN is in no log: nobody listens for that
        await live(dieAt, after, 500, 100, listensAfterMs);
      }
    }
  }
}, 120_000);
