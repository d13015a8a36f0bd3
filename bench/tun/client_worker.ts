/**
 * A client with the kernel's sockets: `client_worker.ts`. Told `trips ADDRESS MS` it sends a byte and waits for it, again
 * and again, on one connection; told `connects ADDRESS MS` it opens a connection, sends a byte, waits for it and closes,
 * again and again. It answers with what each took. Told `bulk ADDRESS MS` it writes as fast as it can.
 */
import { connect, type Socket } from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";
import { tell } from "../worker.ts";

/** The port of the echo, and of who only reads. */
const PORT = 7, DISCARD = 9;
const BLOCK = new Uint8Array(256 * 1024);
const BYTE = Uint8Array.of(7);

/** Microseconds of each. */
export interface Took {
  readonly us: number[];
}

function echoed(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once("data", () => {
      socket.off("error", reject);
      resolve();
    }).once("error", reject);
    socket.write(BYTE);
  });
}

function opened(host: string, port: number = PORT): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true }, () => resolve(socket));
    socket.once("error", reject);
  });
}

async function trips(host: string, untilMs: number): Promise<number[]> {
  const socket = await opened(host);
  const us: number[] = [];
  while (performance.now() < untilMs) {
    const startMs = performance.now();
    await echoed(socket);
    us.push((performance.now() - startMs) * 1000);
  }
  socket.destroy();
  return us;
}

async function connects(host: string, untilMs: number): Promise<number[]> {
  const us: number[] = [];
  while (performance.now() < untilMs) {
    const startMs = performance.now();
    const socket = await opened(host);
    await echoed(socket);
    socket.resetAndDestroy(); // or TIME-WAIT would use up the ports
    us.push((performance.now() - startMs) * 1000);
  }
  return us;
}

async function bulk(host: string, untilMs: number): Promise<number[]> {
  const socket = await opened(host, DISCARD);
  const written = (): Promise<void> => new Promise((resolve) => void socket.write(BLOCK, () => resolve()));
  while (performance.now() < untilMs) await Promise.all([written(), written()]);
  socket.resetAndDestroy();
  return [];
}

const WORKS: Record<string, (host: string, untilMs: number) => Promise<number[]>> = { trips, connects, bulk };

createInterface({ input: process.stdin }).on("line", async (line) => {
  const [what, host, ms] = line.split(" ") as [string, string, string];
  const untilMs = performance.now() + Number(ms);
  tell({ us: await WORKS[what]!(host, untilMs) } satisfies Took);
}).on("close", () => process.exit(0));
tell("ready");
