/** A client process: sockets of the kernel's, each of which does what it draws, and checks every byte. */
import { connect, type Socket } from "node:net";
import process from "node:process";
import { parseArgs } from "node:util";
import { answerRequests } from "../../examples/survive_kill/worker.ts";
import { Prng } from "../../base/random.ts";
import { answersOf, fill, head, mismatch, NETWORK, PORTS } from "./stream.ts";

const { values } = parseArgs({
  options: {
    connections: { type: "string" },
    seed: { type: "string" },
    first: { type: "string" },
    quiet: { type: "string" },
  },
});
const count = Number(values.connections);
/** So long after its last byte a connection is asleep, and a kill is none of its business. */
const quietMs = Number(values.quiet);
/** TCP has tried many times by then: a kill and a bad wire are over. */
const ANSWER_MS_MAX = 90_000;
const SLEEPY_SHARE = 0.7;

let stopping = false;
let streams = Number(values.first);
let gate: Promise<void> = Promise.resolve();
let openGate = (): void => {};
let kills = 0;
const failures: string[] = [];
const done = {
  opened: 0,
  exchanges: 0,
  bytes: 0,
  ended: 0,
  halfClosed: 0,
  aborted: 0,
  stalled: 0,
  killed: 0,
  survived: 0,
};
const open = new Set<Line>();

/** One connection, whose answers are awaited in order. */
class Line {
  readonly stream: number = streams++;
  readonly kills: number = kills;
  readonly sleepy: boolean;
  readonly socket: Socket;
  lastMs: number = performance.now();
  busy = false;
  /** A kill found it asleep: it must live on. Another found it awake: it may be reset. */
  survives = false;
  doomed = false;
  up = 0;
  down = 0;
  ended = false;
  error: Error | undefined;
  #wanted = 0;
  #settle: (() => void) | undefined;

  constructor(sleepy: boolean) {
    this.sleepy = sleepy;
    this.socket = connect({
      host: NETWORK.server,
      port: sleepy ? PORTS.sleepy : PORTS.bulk,
      allowHalfOpen: true,
    });
    this.socket.on("data", (bytes) => this.#take(bytes));
    this.socket.on("end", () => this.#over(undefined));
    this.socket.on("error", (error) => this.#over(error));
    this.socket.on("close", () => this.#over(undefined));
    open.add(this);
  }

  #take(bytes: Uint8Array): void {
    const place = mismatch(answersOf(this.stream), this.down, bytes);
    if (place >= 0) this.#over(new Error(`byte ${this.down + place} of the answers is wrong`));
    this.down += bytes.length;
    done.bytes += bytes.length;
    this.lastMs = performance.now();
    if (this.down >= this.#wanted) this.#settle?.();
  }

  #over(error: Error | undefined): void {
    this.error ??= error;
    this.ended = true;
    this.#settle?.();
  }

  connected(): Promise<void> {
    return this.#until(
      () => !this.socket.connecting,
      (settle) => this.socket.once("connect", settle),
      "no connection",
    );
  }

  /** Asks, and waits for the whole answer. */
  async exchange(upload: number, reply: number): Promise<void> {
    this.busy = true;
    this.socket.write(head(upload, reply, this.stream));
    for (let left = upload; left > 0;) {
      const piece = fill(this.stream, this.up, Math.min(left, 64 * 1024));
      this.up += piece.length;
      left -= piece.length;
      if (!this.socket.write(piece) && left > 0) {
        await this.#until(
          () => this.socket.writableLength === 0,
          (settle) => this.socket.once("drain", settle),
          "cannot write",
        );
      }
    }
    this.#wanted = this.down + reply;
    await this.answered();
  }

  async answered(): Promise<void> {
    await this.#until(() => this.down >= this.#wanted, () => {}, "no answer");
    this.busy = false;
    done.exchanges++;
  }

  /** The server has ended, too. */
  over(): Promise<void> {
    return this.#until(() => this.ended, () => {}, "no end");
  }

  async #until(isTrue: () => boolean, listen: (settle: () => void) => void, what: string): Promise<void> {
    if (!isTrue() && !this.ended) {
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`${what} for ${ANSWER_MS_MAX} ms`)), ANSWER_MS_MAX);
        this.#settle = () => {
          clearTimeout(timer);
          resolve();
        };
        listen(() => this.#settle?.());
      });
      this.#settle = undefined;
    }
    if (this.error !== undefined) throw this.error;
    if (!isTrue()) throw new Error(`${what}: the connection has ended`);
  }

  close(): void {
    open.delete(this);
    this.socket.destroy();
  }
}

/** Opens one connection after the other until told to stop. */
async function slot(prng: Prng): Promise<void> {
  while (!stopping) {
    await gate;
    const line = new Line(prng.chance(SLEEPY_SHARE));
    try {
      await line.connected();
      done.opened++;
      if (line.sleepy) await talk(line, prng);
      else await carry(line, prng);
      if (line.survives) done.survived++;
    } catch (error) {
      // A kill resets what was awake, and what was just opening.
      const excused = line.sleepy ? line.doomed : line.kills !== kills;
      if (excused || (line.kills !== kills && line.down === 0 && !line.survives)) done.killed++;
      else failures.push(`${line.sleepy ? "sleepy" : "bulk"} ${line.stream}: ${(error as Error).message}`);
      await pause(500);
    } finally {
      line.close();
    }
  }
}

/** Small messages with pauses, in which the connection sleeps. */
async function talk(line: Line, prng: Prng): Promise<void> {
  for (let left = prng.between(2, 12); left > 0 && !stopping; left--) {
    await gate;
    await line.exchange(prng.pick([0, 1, 100, 1_000, 20_000]), prng.pick([1, 10, 1_000, 8_000, 60_000]));
    await pause(prng.chance(0.3) ? prng.between(0, 200) : prng.between(500, 12_000));
  }
  await gate;
  await leave(line, prng);
}

/** Much, and not always read. */
async function carry(line: Line, prng: Prng): Promise<void> {
  for (let left = prng.between(1, 3); left > 0; left--) {
    const exchange = line.exchange(prng.below(400_000), prng.between(1, 1_000_000));
    exchange.catch(() => {}); // awaited below, when it is time
    if (prng.chance(0.25)) {
      line.socket.pause();
      done.stalled++;
      await pause(prng.between(500, 4_000));
      if (prng.chance(0.3)) break;
      line.socket.resume();
    }
    await exchange;
  }
  await leave(line, prng);
}

/** An end in peace, one in two halves, or none at all. */
async function leave(line: Line, prng: Prng): Promise<void> {
  const way = line.busy ? 2 : prng.below(stopping ? 2 : 3);
  line.busy = true; // a FIN is news: a kill may find it awake
  if (way === 2) {
    done.aborted++;
    line.socket.resetAndDestroy();
    return;
  }
  if (way === 1) {
    done.halfClosed++;
    line.socket.end();
    await pause(prng.between(0, 1_500));
  } else {
    done.ended++;
    line.socket.end();
  }
  await line.over();
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const slots: Promise<void>[] = [];
answerRequests({
  start: () => {
    const prng = new Prng(Number(values.seed));
    for (let at = 0; at < count; at++) slots.push(pause(at * 10).then(() => slot(new Prng(prng.uint32()))));
    return {};
  },
  /** From now on nobody begins anything; who is quiet has to live through what comes. */
  beforeKill: () => {
    gate = new Promise((resolve) => openGate = resolve);
    const nowMs = performance.now();
    let asleep = 0;
    for (const line of open) {
      const quiet = line.sleepy && !line.busy && !line.ended && !line.doomed && nowMs - line.lastMs > quietMs;
      if (quiet) line.survives = true;
      else line.doomed = true;
      if (quiet) asleep++;
    }
    return { asleep };
  },
  afterKill: () => {
    kills++;
    openGate();
    return {};
  },
  progress: () => ({ ...done, open: open.size, failures }),
  finish: async () => {
    stopping = true;
    await Promise.all(slots);
    return { ...done, open: open.size, failures };
  },
});
process.on("unhandledRejection", (error) => {
  console.error(error);
  process.exit(1);
});
