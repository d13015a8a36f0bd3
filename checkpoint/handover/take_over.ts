import { connect, type Socket } from "node:net";
import process from "node:process";
import { HandoverError } from "./handover_error.ts";
import { LineSocket } from "./line_socket.ts";

/** What both sides say first: who speaks another version is told apart. */
export const GREETING = "torpor handover 1";

/** Options of `takeOver`. */
export interface TakeOverOptions {
  /** Milliseconds in all until the other process must have let go. Default 60,000: for millions of connections. */
  readonly timeoutMs?: number;
  /** Gives up. Until the other process is told to stop, that costs it nothing. */
  readonly signal?: AbortSignal;
}

/** What was taken over. */
export interface TakenOver {
  /** The process that has let go. */
  readonly pid: number;
  /** Connections that sleep in its store now. */
  readonly connections: number;
}

const TIMEOUT_MS = 60_000;

/**
 * Asks the process that offers a handover at `path` to put its connections to sleep and to let go of its store and
 * its links; resolves when it has. From then on they are this process's to open, and until it has, nobody answers:
 * load whatever takes time before.
 *
 * @throws {HandoverError} `nobody` when there is no such process, and nothing is in the way of simply starting;
 * `busy`, `stuck`, `gone`, `failed` or `strange` otherwise.
 * @throws The signal's reason, when it is aborted.
 * @example
 * ```ts
 * import { FileStore, openTun, SleepyHost } from "@torpor/torpor";
 * const socket = "./connections/handover";
 * await SleepyHost.takeOver(socket).catch((error) => {
 *   if (error.reason !== "nobody") throw error; // the first of all processes finds nobody
 * });
 * const host = new SleepyHost({
 *   interfaces: [{ link: await openTun({ name: "tor0" }) }],
 *   addresses: [{ address: "10.7.0.1/24" }],
 *   store: await FileStore.open("./connections"),
 * });
 * host.serve({ port: 7, data: (connection, bytes) => void connection.write(bytes) });
 * const { done } = await host.offerHandover(socket); // to the next
 * await done;
 * ```
 */
export async function takeOver(path: string, options: TakeOverOptions = {}): Promise<TakenOver> {
  const { timeoutMs = TIMEOUT_MS, signal } = options;
  signal?.throwIfAborted();
  let doing = "answered";
  let stopping = false;
  let giveUp: (error: unknown) => void = () => {};
  const given = new Promise<never>((_, reject) => giveUp = reject);
  given.catch(() => {}); // whoever races it hears it
  const onAbort = (): void => giveUp(signal!.reason);
  signal?.addEventListener("abort", onAbort);
  const timer = setTimeout(() => {
    const why = `the process there has not ${doing} in ${timeoutMs} ms`;
    giveUp(new HandoverError("stuck", `Cannot take over at "${path}": ${why}`, stopping));
  }, timeoutMs);
  const socket = connect({ path });
  try {
    await Promise.race([connected(socket, path), given]);
    const lines = new LineSocket(socket);
    const answer = async (): Promise<string[]> => {
      const line = await Promise.race([lines.next(), given]);
      if (line === undefined) {
        throw new HandoverError(
          "gone",
          `Cannot take over at "${path}": the process there has ended`,
          stopping,
        );
      }
      const [word = "", rest = ""] = line.split(/ (.*)/);
      if (word === "busy" || word === "failed") {
        throw new HandoverError(word, `Cannot take over at "${path}": ${rest}`, stopping);
      }
      return [word, rest];
    };
    const strange = (words: readonly string[]): HandoverError => {
      const said = JSON.stringify(words.join(" "));
      return new HandoverError(
        "strange",
        `Cannot take over at "${path}": the process there says ${said}`,
        stopping,
      );
    };
    lines.say(`${GREETING} ${process.pid}`);
    const ready = await answer();
    if (ready[0] !== "ready") throw strange(ready);
    signal?.throwIfAborted();
    doing = "let go";
    stopping = true;
    lines.say("stop");
    const go = await answer();
    if (go[0] !== "go" || !/^\d+$/.test(go[1]!)) throw strange(go);
    return { pid: Number(ready[1]), connections: Number(go[1]) };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
    socket.destroy();
  }
}

function connected(socket: Socket, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once("connect", resolve);
    socket.on("error", (cause) => {
      const { code } = cause as { code?: string };
      const nobody = code === "ENOENT" || code === "ECONNREFUSED";
      const why = nobody ? "nobody offers one there" : cause.message;
      reject(
        new HandoverError(nobody ? "nobody" : "failed", `Cannot take over at "${path}": ${why}`, false, {
          cause,
        }),
      );
    });
  });
}
