import { chmod } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import process from "node:process";
import { LinkError } from "../../net/link/link_error.ts";
import { listenAt } from "../../net/link/unix_listen.ts";
import { HandoverError } from "./handover_error.ts";
import { LineSocket } from "./line_socket.ts";
import { GREETING } from "./take_over.ts";

/** Options of `offerHandover`. */
export interface OfferOptions {
  /** Waited for when another process has asked and before anything is stopped: to finish other work. */
  readonly before?: () => Promise<void> | void;
  /** How long what is under way may take then (`SleepyHost.drain`). Default 5,000. */
  readonly drainMs?: number;
  /** Takes the offer back. */
  readonly signal?: AbortSignal;
}

/** An offer that stands. */
export interface HandoverOffer {
  /** The socket's file. */
  readonly path: string;
  /**
   * Resolves to true when another process has taken over and this one may end, to false when the offer is taken
   * back. Rejects when the connections could not be let go of: then the host has stopped all the same.
   */
  readonly done: Promise<boolean>;
  /** Takes it back and deletes the socket's file, unless a handover is under way. Idempotent. */
  close(): Promise<void>;
}

/** Who has greeted must say what it wants within this; it is a program, and a local one. */
const DAWDLE_MS = 10_000;

/**
 * Offers, on a unix socket at `path`, to call `stop` for another process and to tell that one when it is done.
 * The file is its owner's alone: whoever can connect can stop this process. A file left behind by a process that
 * has died is replaced.
 *
 * @param stop Lets go of all; how many connections it leaves.
 * @throws {HandoverError} `busy` when another process offers there, `failed` when there can be no socket there.
 */
export async function offerHandover(
  path: string,
  stop: () => Promise<number>,
  options: OfferOptions = {},
): Promise<HandoverOffer> {
  const { before, signal } = options;
  signal?.throwIfAborted();
  const asking = new Set<Socket>();
  let handing = false; // to somebody who has greeted and not gone away
  let stopping = false;
  let settle: { resolve: (over: boolean) => void; reject: (error: unknown) => void };
  const done = new Promise<boolean>((resolve, reject) => settle = { resolve, reject });
  done.catch(() => {}); // it may be ignored
  const server = createServer((socket) => {
    asking.add(socket);
    socket.on("close", () => asking.delete(socket));
    void serve(socket);
  });
  const stopListening = await listen(server, path);
  server.unref(); // an offer is no reason to live
  const withdraw = (): Promise<void> => {
    signal?.removeEventListener("abort", onAbort);
    return stopListening();
  };
  const close = async (): Promise<void> => {
    if (stopping) return;
    await withdraw();
    for (const socket of asking) socket.destroy();
    settle.resolve(false);
  };
  const onAbort = (): void => void close();
  signal?.addEventListener("abort", onAbort);

  async function serve(socket: Socket): Promise<void> {
    const lines = new LineSocket(socket);
    const dawdles = setTimeout(() => socket.destroy(), DAWDLE_MS);
    let greeted = false;
    try {
      const greeting = await lines.next();
      if (greeting === undefined) return;
      if (!greeting.startsWith(`${GREETING} `)) return lines.say(`failed need "${GREETING}"`);
      if (handing) return lines.say(`busy process ${process.pid} is handing over to another one`);
      greeted = handing = true;
      lines.say(`ready ${process.pid}`);
      if (await lines.next() !== "stop") return; // it has gone away, or thinks better of it
      clearTimeout(dawdles);
      stopping = true;
      await handOver(lines);
    } finally {
      clearTimeout(dawdles);
      if (greeted && !stopping) handing = false;
      lines.close();
    }
  }

  /** There is no way back from here: connections that have been put to sleep belong to whoever opens the store. */
  async function handOver(lines: LineSocket): Promise<void> {
    try {
      await before?.();
      const connections = await stop();
      await withdraw(); // before the other one makes its own offer
      lines.say(`go ${connections}`);
      settle.resolve(true);
    } catch (error) {
      await withdraw();
      lines.say(`failed ${String(error).replaceAll("\n", " ")}`);
      settle.reject(error);
    }
  }

  if (signal?.aborted) await close();
  return { path, done, close };
}

async function listen(server: Server, path: string): Promise<() => Promise<void>> {
  try {
    const stop = await listenAt(server, path);
    await chmod(path, 0o600);
    return stop;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const reason = cause instanceof LinkError && cause.code === "busy" ? "busy" : "failed";
    throw new HandoverError(reason, `Cannot offer a handover at "${path}": ${why}`, false, { cause });
  }
}
