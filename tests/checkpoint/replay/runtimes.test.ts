import { type ChildProcess, spawn } from "node:child_process";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { SystemClock } from "../../../base/clock.ts";
import { Prng, systemEntropy } from "../../../base/random.ts";
import { recordTo } from "../../../checkpoint/replay/replay_file.ts";
import { impair } from "../../../net/link/impaired.ts";
import { ReconnectingLink } from "../../../net/link/reconnecting.ts";
import { listenUnix } from "../../../net/link/unix.ts";
import { Host } from "../../../net/socket/host.ts";
import type { TcpConn } from "../../../net/socket/types.ts";
import { TemporaryFolder } from "../../support/folder.ts";
import { RUN_ON } from "../../support/runtimes.ts";

const SERVER = fileURLToPath(new URL("./recorded_server.ts", import.meta.url));
const TORPOR = fileURLToPath(new URL("../../../cli/torpor.ts", import.meta.url));
const SEED = 1;

/** A server in a process of its own. */
class ServerProcess {
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  readonly #waiting: ((line: string) => void)[] = [];
  readonly #gone: Promise<unknown>;

  constructor(runtime: keyof typeof RUN_ON, args: readonly string[]) {
    const [program, ...first] = RUN_ON[runtime];
    this.#child = spawn(program!, [...first, SERVER, ...args], { stdio: ["pipe", "pipe", "inherit"] });
    this.#gone = new Promise((resolve) => void this.#child.once("exit", resolve));
    this.#lines = createInterface({ input: this.#child.stdout! });
    this.#lines.on("line", (line) => this.#waiting.shift()?.(line));
  }

  async counts(ask = true): Promise<{ asleep: number }> {
    const line = new Promise<string>((resolve) => void this.#waiting.push(resolve));
    if (ask) this.#child.stdin!.write("counts\n");
    return JSON.parse(await line);
  }

  /** Polls until so many sleep. */
  async asleep(count: number): Promise<void> {
    while ((await this.counts()).asleep !== count) await new Promise((resolve) => setTimeout(resolve, 50));
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#gone;
  }

  async stop(): Promise<void> {
    this.#child.stdin!.write("stop\n");
    await this.#gone;
  }
}

async function echoed(conn: TcpConn, seed: number): Promise<void> {
  const bytes = new Uint8Array(30_000);
  new Prng(seed).fill(bytes);
  const write = async (): Promise<void> => {
    for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
  };
  const read = async (): Promise<void> => {
    const buffer = new Uint8Array(8_192);
    for (let at = 0; at < bytes.length;) {
      const count = await conn.read(buffer);
      expect(buffer.subarray(0, count!)).toEqual(bytes.subarray(at, at + count!));
      at += count!;
    }
  };
  await Promise.all([write(), read()]);
}

async function ran(
  runtime: keyof typeof RUN_ON,
  args: readonly string[],
): Promise<{ code: number; out: string; err: string }> {
  const [program, ...first] = RUN_ON[runtime];
  const child = spawn(program!, [...first, TORPOR, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let out = "", err = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => void (out += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => void (err += text));
  const code = await new Promise<number>((resolve) =>
    void child.once("close", (status) => resolve(status ?? -1))
  );
  return { code, out, err };
}

test(
  `a run recorded on Node, killed and started again, replays bit for bit on Node, Deno and Bun (seed ${SEED})`,
  async () => {
    using folder = new TemporaryFolder();
    const path = folder.file("wire"), store = folder.file("store");
    const recordings = ["client", "first", "second"].map((name) => folder.file(`${name}.replay`));
    const link = new ReconnectingLink();
    const listener = await listenUnix({ path, onLink: (carrier) => link.attach(carrier) });
    const clock = new SystemClock();
    const trouble = { loss: 0.03, reorder: 0.03, duplicate: 0.03, corrupt: 0.005, delayMs: 1, jitterMs: 1 };
    const client = new Host({
      interfaces: [{ link: impair(link, { clock, seed: SEED, ...trouble }) }],
      addresses: [{ address: "10.0.0.2/24" }, { address: "2001:db8::2/64" }],
      entropy: systemEntropy,
      recorder: recordTo(recordings[0]!),
    });
    let server = new ServerProcess("node", [path, store, recordings[1]!]);
    await server.counts(false);
    const open = (hostname: string, port: number): Promise<TcpConn> => client.connect({ hostname, port });
    const conns = await Promise.all([
      ...[open("10.0.0.1", 7), open("2001:db8::1", 7), open("10.0.0.1", 80), open("2001:db8::1", 80)],
    ]);
    await Promise.all(conns.map((conn, index) => echoed(conn, index)));
    await server.asleep(4);
    await Promise.all(conns.map((conn, index) => echoed(conn, index + 10)));
    const socket = client.listenDatagram({ port: 4_000, hostname: "::" });
    for (const hostname of ["10.0.0.1", "2001:db8::1"]) {
      for (const size of [10, 4_000]) {
        await socket.send(new Uint8Array(size), { transport: "udp", hostname, port: 53 });
      }
      await socket.send(new Uint8Array(1), { transport: "udp", hostname, port: 54 });
    }
    await expect(open("10.0.0.1", 10)).rejects.toThrow();
    await server.asleep(4);
    await server.kill();
    server = new ServerProcess("node", [path, store, recordings[2]!]);
    expect((await server.counts(false)).asleep).toBe(4);
    await Promise.all(conns.slice(0, 2).map((conn, index) => echoed(conn, index + 20)));
    conns[0]!.close();
    await server.stop();
    socket.close();
    client.close();
    await listener.close();

    for (const [index, recording] of recordings.entries()) {
      const results = await Promise.all((["node", "deno", "bun"] as const).map(async (runtime) => {
        const { code, out, err } = await ran(runtime, ["replay", recording, "--json"]);
        expect([runtime, recording, code, err, out.slice(0, 2_000)]).toEqual([
          ...[runtime, recording, 0],
          expect.not.stringContaining("Error"),
          expect.stringContaining(`"result":"same"`),
        ]);
        return out;
      }));
      expect(new Set(results).size, results.join("\n")).toBe(1); // as many packets on each
      const { framesIn, framesOut } = JSON.parse(results[0]!);
      expect(Math.min(framesIn, framesOut)).toBeGreaterThan(index === 2 ? 20 : 100);
    }
    const walk = ["replay", recordings[1]!, "--all"];
    const walks = await Promise.all((["node", "bun"] as const).map((runtime) => ran(runtime, walk)));
    expect(walks[1]!.out).toBe(walks[0]!.out); // and the walk is the same, word for word
    expect((await ran("node", ["replay", recordings[1]!, "--info"])).out).toMatch(
      /end {10}(not closed|cut short at byte)/,
    );
    expect((await ran("node", ["replay", recordings[2]!, "--info"])).out).toMatch(/end {10}closed/);
  },
  120_000,
);
