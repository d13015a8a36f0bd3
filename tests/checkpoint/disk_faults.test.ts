import { expect, test, vi } from "vitest";
import { Prng } from "../../base/random.ts";
import { bareOf } from "../../checkpoint/store/bare.ts";
import { FileStore } from "../../checkpoint/store/file_store.ts";
import { RecordState } from "../../net/connections/connection_map.ts";
import type { TcpConnection } from "../../net/socket/conn.ts";
import { FaultyDisk } from "../support/faulty_disk.ts";
import { drawSeed } from "../support/seed.ts";
import { type Process, SleepWorld } from "./sleep_world.ts";

vi.setConfig({ testTimeout: 600_000 }); // machines differ, and none of this is about time

const SEED = drawSeed("DISK_FAULTS_SEED", 1e9);

const PORT = { ordinary: 7, durable: 11 } as const;
type Kind = keyof typeof PORT;

/** The byte at `at` of a stream. */
function byteAt(at: number): number {
  return (at * 7 + (at >>> 8) * 3) & 0xff;
}

/** Answers each byte with its complement, and remembers how many there were. */
function serve({ host }: Process): void {
  for (const [kind, port] of Object.entries(PORT)) {
    host.serve({
      port,
      durable: kind === "durable",
      open: (connection) => void (connection.attachment = { got: 0 }),
      data(connection, bytes) {
        const memory = connection.attachment as { got: number };
        // A wrong byte is said to the client, by a reset that nothing excuses.
        if (bytes.some((byte, at) => byte !== byteAt(memory.got + at))) return connection.abort();
        memory.got += bytes.length;
        connection.write(bytes.map((byte) => byte ^ 0xff));
      },
    });
  }
}

/** A client's connection, and what may have happened to it. */
class Talk {
  readonly kind: Kind;
  conn: TcpConnection | undefined;
  /** Its server died while it was awake. */
  excused = false;
  error: unknown;
  #said = 0;
  #heard = 0;

  constructor(kind: Kind) {
    this.kind = kind;
  }

  get id(): string {
    return `10.0.0.1:${PORT[this.kind]}-10.0.0.2:${this.conn?.localAddr.port}`;
  }

  async connect(world: SleepWorld): Promise<void> {
    this.conn = await world.client.connect({ hostname: "10.0.0.1", port: PORT[this.kind] });
  }

  /** Says so much, and hears the answers to it. */
  async say(count: number): Promise<void> {
    const bytes = Uint8Array.from({ length: count }, (_, at) => byteAt(this.#said + at));
    this.#said += count;
    for (let at = 0; at < count;) at += await this.conn!.write(bytes.subarray(at));
    const buffer = new Uint8Array(4_000);
    while (this.#heard < this.#said) {
      const length = await this.conn!.read(buffer);
      if (length === null) throw new Error("its stream has ended");
      for (let at = 0; at < length; at++) {
        if (buffer[at] !== (byteAt(this.#heard + at) ^ 0xff)) {
          throw new Error(`byte ${this.#heard + at} is wrong`);
        }
      }
      this.#heard += length;
    }
  }
}

interface Fault {
  readonly seed: number;
  readonly failAt?: number;
  readonly failReadAt?: number;
  readonly mode?: "error" | "power";
  readonly sticky?: boolean;
}

interface Told {
  readonly operations: number;
  readonly reads: number;
  readonly failed: ReadonlySet<string>;
  readonly deaths: number;
}

/** How long a disk refuses everything, and how long a process that cannot go on takes to be replaced. */
const REFUSES_MS = 3_000;
const DOWN_MS = 200;
/** Who may come back from an old image, and be silent for ever, is not waited for any longer. */
const SILENT_MS = 100_000;

/**
 * Connections of both kinds come, talk, sleep and wake in two processes, one after the other; their store is cleaned. One
 * thing goes wrong with the disk. Where the store has failed, or the power, another process takes over. Who is durable
 * hears every answer; so does everybody else whose server did not die while they were awake.
 */
async function live(
  { seed, failAt = Infinity, failReadAt = Infinity, mode = "error", sticky }: Fault,
): Promise<Told> {
  const world = new SleepWorld({ seed });
  world.tracing = false;
  const disk = new FaultyDisk(seed, {
    failAt,
    mode,
    shortWrites: seed % 2 === 0,
    ...(sticky ? { sticky } : {}),
  });
  disk.failReadAt = failReadAt;
  const told = `operation ${failAt}, read ${failReadAt}, ${mode}${
    sticky ? " from then on" : ""
  }, seed ${seed}`;
  const talks: Talk[] = [];
  let store: FileStore | undefined;
  let operations = 0, reads = 0, deaths = 0, refusedAtMs = Infinity;
  const reach = (): boolean => disk.operations >= disk.failAt;
  const start = async (): Promise<void> => {
    for (;;) {
      try {
        store = await FileStore.open(disk, {
          segmentBytes: 1_500,
          garbageBytes: 600,
          entropy: new Prng(seed),
        });
        const process = world.start({ store, idleMs: 100 });
        process.host.sleeper.on("lost", ({ id }) => {
          throw new Error(`${told}: ${id} is lost`);
        });
        serve(process);
        return;
      } catch (error) {
        // What fails once, or for a while, does not fail for ever.
        if (!disk.off && !reach() && disk.reads < disk.failReadAt) throw error;
        again();
      }
    }
  };
  /** The next process has a disk that works, when this one's has failed. */
  const again = (): void => {
    const left = { failAt: reach() ? Infinity : disk.failAt - disk.operations };
    operations += disk.operations;
    reads += disk.reads;
    disk.failReadAt = disk.reads >= disk.failReadAt ? Infinity : disk.failReadAt - disk.reads;
    disk.reads = 0;
    if (disk.off) disk.reboot(seed * 1_000 + failAt, left);
    else disk.restart(left);
  };
  const die = async (): Promise<void> => {
    const { process } = world;
    const { stack } = process.host;
    for (const talk of talks) {
      const record = talk.conn === undefined ? -1 : process.host.recordOf(talk.id);
      const asleep = record >= 0 && stack.connections.state(record) === RecordState.asleep;
      if (!asleep && talk.kind === "ordinary") talk.excused = true;
    }
    deaths++;
    process.kill();
    await world.clock.advance(DOWN_MS);
    again();
    await start();
  };
  /** Lets the world go on until all of them have what they wanted, or what they may have instead. */
  const until = async (all: readonly { talk: Talk; over: boolean }[], limitMs: number): Promise<void> => {
    for (
      let ms = 0;
      ms < limitMs && all.some(({ talk, over }) => !over && !(talk.excused && ms > SILENT_MS));
      ms += 50
    ) {
      await world.clock.advance(50);
      if (sticky && reach() && refusedAtMs === Infinity) refusedAtMs = world.clock.nowMs();
      if (world.clock.nowMs() > refusedAtMs + REFUSES_MS) disk.failAt = Infinity;
      if (disk.off || store!.failed !== undefined) await die();
    }
    for (const { talk, over } of all) {
      if (!over && talk.excused && mode === "power") talk.error = "perhaps from an old image (decision 4)";
      if (talk.error !== undefined && talk.excused) continue;
      expect(over, `${told}: a ${talk.kind} connection has no answer (${deaths} deaths)`).toBe(true);
      expect(talk.error === undefined || talk.excused, `${told}: a ${talk.kind} one: ${talk.error}`).toBe(
        true,
      );
    }
  };
  const doing = (act: (talk: Talk) => Promise<void>): { talk: Talk; over: boolean }[] =>
    talks.filter(({ error }) => error === undefined).map((talk) => {
      const each = { talk, over: false };
      act(talk).catch((error) => void (talk.error = error)).finally(() => void (each.over = true));
      return each;
    });

  await start();
  for (let index = 0; index < 4; index++) talks.push(new Talk(index % 2 === 0 ? "durable" : "ordinary"));
  await until(doing((talk) => talk.connect(world)), 400_000);
  for (const round of [1, 2, 3]) {
    await until(doing((talk) => talk.say(round === 2 && talk === talks[0] ? 9_000 : 40)), 400_000);
    await until([], 0);
    for (let ms = 0; ms < 1_500; ms += 50) { // they sleep, and the store is cleaned
      await world.clock.advance(50);
      if (disk.off || store!.failed !== undefined) await die();
    }
    if (round === 1) await die(); // what sleeps is recovered, in any case
  }
  return { operations: operations + disk.operations, reads: reads + disk.reads, failed: disk.failed, deaths };
}

test(`whatever fails, wherever: durable connections go on, and so does who was asleep, or whose server lives (seed ${SEED})`, async () => {
  const whole = await live({ seed: 1 });
  expect(whole.deaths).toBe(1);
  expect(whole.operations).toBeGreaterThan(60);
  expect(whole.reads).toBeGreaterThan(10);
  const failed = new Set<string>();
  let points = 0;
  const inject = async (fault: Omit<Fault, "seed">): Promise<void> => {
    const { failed: kinds } = await live({ seed: 1 + points % 2, ...fault });
    for (const kind of kinds) failed.add(kind);
    points++;
  };
  // Of each operation it is once that it fails, or that it does so from then on; which, the seed says.
  for (let at = 1; at <= whole.operations; at++) {
    await inject({ failAt: at, sticky: (at + SEED) % 2 === 0 });
    await inject({ failAt: at, mode: "power" });
  }
  for (let at = 1; at <= whole.reads; at++) await inject({ failReadAt: at });
  console.log(`${points.toLocaleString("en")} crash points`);
  expect([...failed].sort()).toEqual(["create", "read", "remove", "sync", "syncFolder", "truncate", "write"]);
  expect(points).toBeGreaterThan(160);
});

/** Connections asleep, and durable ones that were awake in the middle of something, after the death of their server. */
async function deserted(): Promise<
  { world: SleepWorld; disk: FaultyDisk; talks: Talk[]; saying: Promise<void>[] }
> {
  const world = new SleepWorld({ seed: 3 });
  world.tracing = false;
  const disk = new FaultyDisk(3);
  const store = await FileStore.open(disk, { segmentBytes: 3_000, entropy: new Prng(3) });
  const process = world.start({ store, idleMs: 100 });
  serve(process);
  const talks: Talk[] = [];
  const saying: Promise<void>[] = [];
  for (let index = 0; index < 8; index++) {
    const talk = new Talk(index % 2 === 0 ? "durable" : "ordinary");
    talks.push(talk);
    saying.push(talk.connect(world).then(() => talk.say(40)));
  }
  await world.clock.advance(3_000);
  await Promise.all(saying.splice(0));
  expect(process.host.counts.asleep).toBe(8);
  saying.push(talks[0]!.say(9_000), talks[2]!.say(20_000));
  await world.clock.advance(7); // it has come, and is answered; nobody has heard that yet
  expect(process.host.counts.awake).toBe(2);
  process.kill();
  disk.restart();
  return { world, disk, talks, saying };
}

function placeIn(disk: FaultyDisk, location: number, image: Uint8Array): { name: string; at: number } {
  const name = `${String(Math.floor(location / 2 ** 32)).padStart(8, "0")}.seg`;
  const bytes = disk.bytes(name);
  let at = location % 2 ** 32;
  while (!image.every((byte, index) => bytes[at + index] === byte)) {
    if (++at >= bytes.length) expect.fail(`What was read at ${location} is not in ${name}`);
  }
  return { name, at };
}

test("a damaged record names itself and costs only its connection, which is reset: nobody comes back from the past", async () => {
  const records = async (disk: FaultyDisk): Promise<{ location: number; image: Uint8Array }[]> => {
    await using store = await FileStore.open(disk);
    return [...store.live()].map(({ location, bytes }) => {
      return { location, image: (bareOf(bytes) ?? bytes).slice() }; // as it lies on the disk
    });
  };
  const count = (await records((await deserted()).disk)).length;
  expect(count).toBeGreaterThan(9); // stretches as well
  let points = 0;
  for (let which = 0; which < count; which++) {
    for (const part of [0.1, 0.5, 0.9]) {
      const { world, disk, talks, saying } = await deserted();
      const all = await records(disk);
      const { location, image } = all[which]!;
      const { name, at } = placeIn(disk, location, image);
      disk.flip(name, at + Math.floor(image.length * part), 3);
      const damage: string[] = [];
      const store = await FileStore.open(disk, {
        onDamage: ({ file, reason }) => void damage.push(`${file} ${reason}`),
      });
      const process = world.start({ store, idleMs: 100 });
      serve(process);
      const told = `record ${which} at byte ${at} of ${name}, ${part} of ${image.length} bytes`;
      const results = talks.map((talk, index) => {
        const before = index === 0 ? saying[0] : index === 2 ? saying[1] : undefined;
        return Promise.resolve(before).then(() => talk.say(40)).then(() => "whole", String);
      });
      let over = false;
      Promise.all(results).then(() => void (over = true));
      expect(await world.clock.runUntil(() => over, 400_000), told).toBe(true);
      const lost = (await Promise.all(results)).filter((result) => result !== "whole");
      expect(lost.length, `${told}: ${lost}`).toBe(1);
      expect(lost[0]).toMatch(/reset/);
      const messages = [...damage, ...process.errors.map(({ message }) => message)].join("\n");
      expect(messages, told).toMatch(new RegExp(`${name}|stretch \\d+ of its stream`));
      points++;
    }
  }
  console.log(`${points.toLocaleString("en")} damaged records`);
  expect(points).toBeGreaterThan(27);
});
