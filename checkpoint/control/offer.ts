import { Buffer } from "node:buffer";
import { chmod } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { RecordState } from "../../net/connections/connection_map.ts";
import { listenAt } from "../../net/link/unix_listen.ts";
import { LineSocket } from "../handover/line_socket.ts";
import type { SleepingHost } from "../sleeping_host.ts";
import { Capture } from "./capture.ts";
import { ControlError } from "./control_error.ts";
import { inspect, recordOf } from "./inspect.ts";
import { type ControlRequest, extensionFor, parseRequest } from "./request.ts";
import { rowsOf } from "./rows.ts";
import { hostStatus } from "./status.ts";

/** A control socket that is offered. */
export interface ControlOffer {
  /** The socket's file. */
  readonly path: string;
  /**
   * Remembers lines of a TLS key log, as `tls.Server` emits them by "keylog", for captures that ask for keys. Whoever may
   * open the socket can read those connections then.
   */
  keylog(lines: Uint8Array | string): void;
  /** Takes it back, ends what is under way, and deletes the socket's file. Idempotent. */
  close(): Promise<void>;
}

/** Rows of `ls` in a line, between which the host goes on. */
const ROWS_PER_LINE = 256;
/** Programs that ask at a time: a person, a few captures, a monitor. */
const CLIENTS_MAX = 32;
/** Bytes of a capture, or of a list, that wait for a slow reader. */
const BACKLOG_BYTES_MAX = 16 << 20;
/** Bytes of keys that are remembered: those of about 20,000 connections. */
const KEYS_BYTES_MAX = 16 << 20;
/** How long `suspend` and `restore` wait for what they have asked for. */
const PATIENCE_MS = 30_000;

/**
 * Offers, on a unix socket at `path`, to tell what a host does and to put its connections to sleep and wake them: lines
 * of JSON, asked and answered one after the other, as `torpor ls`, `top`, `inspect`, `suspend`, `restore` and `capture`
 * use them (docs/control.md). The file is its owner's alone: whoever can connect may read what connections say.
 *
 * @throws {ControlError} `failed`, when there can be no socket there.
 */
export async function offerControl(host: SleepingHost, path: string): Promise<ControlOffer> {
  const sockets = new Set<Socket>();
  const captures = new Set<(keyLog: Uint8Array) => void>();
  const keys: Uint8Array[] = [];
  let keyBytes = 0;
  const server = createServer((socket) => {
    if (sockets.size >= CLIENTS_MAX) return void socket.destroy();
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    void serve(socket);
  });
  let stopListening: () => Promise<void>;
  try {
    stopListening = await listenAt(server, path);
    await chmod(path, 0o600);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ControlError("failed", `Cannot offer control at "${path}": ${why}`, { cause });
  }
  server.unref(); // no reason to live

  async function serve(socket: Socket): Promise<void> {
    const lines = new LineSocket(socket);
    for (let line = await lines.next(); line !== undefined; line = await lines.next()) {
      try {
        const extension = extensionFor(line);
        if (extension !== undefined) {
          say(socket, { ok: true, ...await extension() });
          continue;
        }
        const request = parseRequest(line);
        if (request.do === "ls") await list(socket, request);
        else if (request.do === "capture") await capture(socket, lines, request);
        else say(socket, { ok: true, ...await answer(request) });
      } catch (error) {
        if (!(error instanceof Error)) throw error;
        say(socket, { error: error.message });
      }
    }
    lines.close();
  }

  async function answer(request: Exclude<ControlRequest, { do: "ls" | "capture" }>): Promise<object> {
    if (request.do === "status") return { status: hostStatus(host) };
    if (request.do === "inspect") return { connection: inspect(host, request.id) };
    if (request.do === "restore") return await restore(request.id);
    return request.id === undefined
      ? { suspended: await host.sleeper.suspendAll() }
      : await suspend(request.id);
  }

  async function suspend(id: string): Promise<object> {
    recordOf(host, id);
    const told = heard("suspended", id, "it was spoken to meanwhile, or the store refuses");
    if (!host.sleeper.suspend(id)) {
      told.cancel();
      throw new ControlError("refused", `Connection "${id}" sleeps already, or its handshake is not over`);
    }
    return { suspended: 1, ...await told.event };
  }

  async function restore(id: string): Promise<object> {
    const record = recordOf(host, id);
    if (isAwake(record)) {
      throw new ControlError("refused", `Connection "${id}" is awake already`);
    }
    const told = heard("restored", id, "its listener's budget, or the disk, lets nobody wake");
    host.wake(record);
    return { restored: 1, ...await told.event };
  }

  function isAwake(record: number): boolean {
    const { connections } = host.stack;
    return connections.state(record) === RecordState.awake && !host.stack.awakeTcb(record).saving;
  }

  /** The next event of a connection, or an error that says what may be in the way. */
  function heard(
    what: "suspended" | "restored",
    id: string,
    why: string,
  ): { event: Promise<object>; cancel(): void } {
    let cancel = (): void => {};
    const event = new Promise<object>((resolve, reject) => {
      const on = (event: { id: string }): void => {
        if (event.id !== id) return;
        cancel();
        resolve(event);
      };
      const timer = setTimeout(() => {
        cancel();
        reject(
          new ControlError("refused", `Connection "${id}" is not ${what} after ${PATIENCE_MS} ms: ${why}`),
        );
      }, PATIENCE_MS);
      cancel = () => {
        clearTimeout(timer);
        host.sleeper.off(what, on);
      };
      host.sleeper.on(what, on);
    });
    event.catch(() => {});
    return { event, cancel: () => cancel() };
  }

  async function list(socket: Socket, request: Extract<ControlRequest, { do: "ls" }>): Promise<void> {
    let rows: object[] = [];
    const send = async (): Promise<void> => {
      say(socket, { rows });
      rows = [];
      await read(socket);
    };
    for (const row of rowsOf(host, request)) {
      rows.push(row);
      if (rows.length >= ROWS_PER_LINE) await send();
      if (socket.destroyed) return;
    }
    if (rows.length > 0) await send();
    say(socket, { ok: true });
  }

  /** Until whoever asked says something, or goes away. */
  async function capture(
    socket: Socket,
    lines: LineSocket,
    { port, keys: withKeys }: Extract<ControlRequest, { do: "capture" }>,
  ): Promise<void> {
    const taken = new Capture(
      host,
      (bytes) => say(socket, { pcapng: toBase64(bytes) }),
      {
        ...(port === undefined ? {} : { port }),
        isFull: () => socket.writableLength > BACKLOG_BYTES_MAX,
      },
    );
    const onKeys = (keyLog: Uint8Array): void => taken.secrets(keyLog);
    try {
      if (withKeys) {
        for (const each of keys) onKeys(each);
        captures.add(onKeys);
      }
      await lines.next();
    } finally {
      captures.delete(onKeys);
      taken.close();
    }
    say(socket, { ok: true });
  }

  return {
    path,
    keylog(lines) {
      const bytes = typeof lines === "string" ? new TextEncoder().encode(lines) : Uint8Array.from(lines);
      keys.push(bytes);
      keyBytes += bytes.length;
      while (keyBytes > KEYS_BYTES_MAX) keyBytes -= keys.shift()!.length;
      for (const tell of captures) tell(bytes);
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await stopListening();
    },
  };
}

function say(socket: Socket, answer: object): void {
  if (!socket.destroyed) socket.write(`${JSON.stringify(answer)}\n`);
}

/** Resolves when the far end has read most of what was said, or in a later turn. */
async function read(socket: Socket): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 0));
  while (socket.writableLength > BACKLOG_BYTES_MAX && !socket.destroyed) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function toBase64(bytes: Uint8Array<ArrayBuffer>): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64");
}
