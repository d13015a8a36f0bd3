import { expect } from "vitest";
import type { HandlerServer } from "../../net/socket/handlers.ts";
import type { TcpConn } from "../../net/socket/types.ts";
import type { Process, SleepWorld } from "./sleep_world.ts";

export const text = (value: string): Uint8Array => new TextEncoder().encode(value);
export const untext = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** Counts the messages of each connection in its attachment and says the count. */
export function serveCounter(process: Process, port = 7, hostname = "0.0.0.0"): HandlerServer {
  return process.host.serve({
    port,
    hostname,
    open: (connection) => void (connection.attachment = { count: 0 }),
    data: (connection, bytes) => {
      const { count } = connection.attachment as { count: number };
      connection.attachment = { count: count + 1 };
      connection.write(text(`${count + 1}:${untext(bytes)};`));
    },
  });
}

/** Reads until `count` semicolons have come. */
export async function answers(conn: TcpConn, count: number): Promise<string> {
  let all = "";
  const buffer = new Uint8Array(4096);
  while (all.split(";").length - 1 < count) {
    const length = await conn.read(buffer);
    if (length === null) break;
    all += untext(buffer.subarray(0, length));
  }
  return all;
}

export async function connect(world: SleepWorld, hostname = "10.0.0.1"): Promise<TcpConn> {
  const opening = world.client.connect({ hostname, port: 7 });
  await world.clock.advance(50);
  return await opening;
}

export async function say(world: SleepWorld, conn: TcpConn, what: string): Promise<string> {
  await conn.write(text(what));
  const answer = answers(conn, 1);
  let done = false;
  answer.then(() => void (done = true), () => void (done = true));
  expect(await world.clock.runUntil(() => done, 300_000), `an answer to ${what}`).toBe(true);
  return await answer;
}

export const only = (process: Process): string => [...process.host.connections()][0]!;
