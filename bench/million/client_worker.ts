/**
 * Some thousand sockets of the kernel: `client_worker.ts ADDRESS COUNT`. It connects all, says something on each and
 * waits for the echo; then it does what it is told, a line each:
 *
 *     speak COUNT SEED   so many of them, drawn, speak one after the other
 *     check              how many are whole: no reset, no end, nothing that nobody asked for
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { assert } from "../../base/assert.ts";
import { Prng } from "../../base/random.ts";
import { tell } from "../worker.ts";
import { SERVER } from "./network.ts";
import { Poll, Sockets } from "./sockets.ts";

/** What comes of connecting. */
export interface Connected {
  readonly connected: number;
}
/** What comes of speaking. */
export interface Spoken {
  /** Microseconds until the echo was there, of each. */
  readonly us: number[];
  /** Those that had no echo, or another one. */
  readonly failed: number;
}
/** What comes of a check. */
export interface Checked {
  readonly whole: number;
}

/** Sockets that connect at a time. */
const WINDOW = 250;
const TIMEOUT_MS = 30_000;
/** Sockets in one call of `poll`. */
const CHECKED_AT_ONCE = 4_096;

const [address, count] = process.argv.slice(2) as [string, string];
const sockets = await Sockets.load();
const message = new Uint8Array(8);
const answer = new Uint8Array(64);
const fds: number[] = [];

function say(fd: number, text: number): void {
  new DataView(message.buffer).setFloat64(0, text);
  assert(sockets.send(fd, message) === message.length, "The kernel takes a few bytes");
}

function isAnswered(fd: number, text: number): boolean {
  return sockets.receive(fd, answer) === message.length && new DataView(answer.buffer).getFloat64(0) === text;
}

function connectAll(): Connected {
  while (fds.length < Number(count)) {
    const length = Math.min(WINDOW, Number(count) - fds.length);
    const opening = Array.from({ length }, () => sockets.connect(address, SERVER.address, SERVER.port));
    const open = sockets.waitForAll(opening, Poll.writable, TIMEOUT_MS);
    for (const fd of open) say(fd, fd);
    const answered = sockets.waitForAll(open, Poll.readable, TIMEOUT_MS).filter((fd) => isAnswered(fd, fd));
    if (answered.length < length) break;
    fds.push(...answered);
  }
  return { connected: fds.length };
}

function speak(some: number, seed: number): Spoken {
  const prng = new Prng(seed);
  const us: number[] = [];
  let failed = 0;
  for (let index = 0; index < some; index++) {
    const fd = fds[prng.below(fds.length)]!;
    const startMs = performance.now();
    say(fd, index);
    const heard = sockets.waitForAll([fd], Poll.readable, TIMEOUT_MS);
    us.push((performance.now() - startMs) * 1000);
    if (heard.length === 0 || !isAnswered(fd, index)) failed++;
  }
  return { us, failed };
}

function check(): Checked {
  let whole = 0;
  for (let at = 0; at < fds.length; at += CHECKED_AT_ONCE) {
    for (const events of sockets.poll(fds.slice(at, at + CHECKED_AT_ONCE), Poll.readable, 0)) {
      if (events === 0) whole++;
    }
  }
  return { whole };
}

createInterface({ input: process.stdin }).on("line", (line) => {
  const [what, some, seed] = line.split(" ");
  tell(what === "connect" ? connectAll() : what === "speak" ? speak(Number(some), Number(seed)) : check());
}).on("close", () => process.exit(0));
tell("ready");
