import process from "node:process";
import { onTestFinished } from "vitest";
import { VirtualClock } from "../../../base/clock.ts";
import { Prng } from "../../../base/random.ts";
import { pipe, type PipeOptions } from "../../../net/link/pipe.ts";
import { Host } from "../../../net/socket/host.ts";
import type { HostOptions } from "../../../net/socket/host_options.ts";

export const SERVER = "10.0.0.1";
export const CLIENT = "10.0.0.2";

/** Two hosts on a pipe; both are closed when the test ends. */
export interface Pair {
  readonly server: Host;
  readonly client: Host;
}

/** Two hosts in real time: frames arrive in later turns of the event loop. */
export function realPair(
  server: Partial<HostOptions> = {},
  client: Partial<HostOptions> = {},
  between: PipeOptions = {},
): Pair {
  const [left, right] = pipe(between);
  const pair = {
    server: new Host({ interfaces: [{ link: left }], addresses: [{ address: `${SERVER}/24` }], ...server }),
    client: new Host({ interfaces: [{ link: right }], addresses: [{ address: `${CLIENT}/24` }], ...client }),
  };
  onTestFinished(() => {
    pair.server.close();
    pair.client.close();
  });
  return pair;
}

/** Two hosts in virtual time, one millisecond apart. */
export function virtualPair(
  server: Partial<HostOptions> = {},
  client: Partial<HostOptions> = {},
  between: PipeOptions = {},
): Pair & { clock: VirtualClock } {
  const clock = new VirtualClock();
  const pair = realPair(
    { clock, entropy: new Prng(1), ...server },
    { clock, entropy: new Prng(2), ...client },
    { clock, delayMs: 1, ...between },
  );
  return { ...pair, clock };
}

/** What a promise came to by now; for those that must not have come to anything yet. */
export async function settled<T>(clock: VirtualClock, promise: Promise<T>, limitMs = 3_600_000): Promise<T> {
  let done = false;
  promise.then(() => (done = true), () => (done = true));
  await clock.runUntil(() => done, limitMs);
  if (!done) await new Promise((resolve) => setTimeout(resolve, 0)); // a chain of awaits behind the last event
  if (!done) throw new Error(`Nothing has happened in ${limitMs} ms of virtual time`);
  return await promise;
}

/** Bytes that tell their position: a byte lost, doubled or moved shows. */
export function patterned(length: number, seed = 0): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) bytes[at] = (at * 31 + (at >>> 8) * 17 + (at >>> 16) * 7 + seed) & 0xff;
  return bytes;
}

/** Reads until the end. */
export async function readAll(
  conn: { read(p: Uint8Array): Promise<number | null> },
  bufferBytes = 65_536,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (;;) {
    const buffer = new Uint8Array(bufferBytes);
    const count = await conn.read(buffer);
    if (count === null) break;
    parts.push(buffer.subarray(0, count));
  }
  return concat(parts);
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Writes all of it. */
export async function writeAll(
  conn: { write(p: Uint8Array): Promise<number> },
  bytes: Uint8Array,
): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

/** What a promise or call is refused with, as "Name: message"; fails the test when it is not. */
export async function refusal(attempt: Promise<unknown> | (() => unknown)): Promise<string> {
  try {
    await (typeof attempt === "function" ? attempt() : attempt);
  } catch (error) {
    return `${(error as Error).name}: ${(error as Error).message}`;
  }
  throw new Error("Nothing was refused");
}

/** What is thrown where nothing catches it, until the test ends. */
export function uncaught(): unknown[] {
  const thrown: unknown[] = [];
  const others = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", (error) => void thrown.push(error));
  onTestFinished(() => {
    process.removeAllListeners("uncaughtException");
    for (const listener of others) process.on("uncaughtException", listener);
  });
  return thrown;
}

/** Where two byte strings differ first, -1 for nowhere: `toEqual` takes seconds over a megabyte. */
export function difference(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at++) if (a[at] !== b[at]) return at;
  return a.length === b.length ? -1 : length;
}
