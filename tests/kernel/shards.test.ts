import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect } from "vitest";
import type { ShardTotals } from "../../mod.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";
import { NetworkNamespace } from "../support/netns.ts";
import { RUN_ON } from "../support/runtimes.ts";
import { sleep } from "./kernel_server.ts";

const SERVER = fileURLToPath(new URL("./shards_server.ts", import.meta.url));
const CLIENT = fileURLToPath(new URL("./shards_client.ts", import.meta.url));
const INTERFACE = "tor0";
const CONNECTIONS = 100;

/** A process that answers lines with lines. */
class Program {
  readonly child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(netns: NetworkNamespace, runtime: keyof typeof RUN_ON, file: string, args: string[]) {
    const [program, ...rest] = RUN_ON[runtime];
    this.child = netns.start(program!, [...rest, file, ...args]);
    this.#lines = createInterface({ input: this.child.stdout! })[Symbol.asyncIterator]();
  }

  async line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("It has ended without an answer");
    return value;
  }

  async ask<T>(): Promise<T> {
    this.child.stdin!.write("\n");
    return JSON.parse(await this.line()) as T;
  }
}

interface Told {
  readonly each: ShardTotals[];
  readonly totals: ShardTotals;
}

describe.concurrent("with the kernel's clients", () => {
  for (const runtime of ["node", "deno", "bun"] as const) {
    judge(
      `two shards on ${runtime} serve one address; killed and begun again as three, none of their connections is lost`,
      ["root", "tun", "ip"],
      async () => {
        using folder = new TemporaryFolder();
        using netns = new NetworkNamespace();
        netns.run("ip", "tuntap", "add", "dev", INTERFACE, "mode", "tun", "multi_queue");
        netns.configure(INTERFACE, "10.77.0.2/24");
        const start = async (count: number): Promise<Program> => {
          const server = new Program(netns, runtime, SERVER, [INTERFACE, folder.path, "300", `${count}`]);
          expect(await server.line()).toBe("ready");
          return server;
        };
        const asleep = async (server: Program): Promise<Told> => {
          for (let turn = 0; turn < 600; turn++) {
            const told = await server.ask<Told>();
            // What each has is asked for before what they have together.
            const asleep = told.each.reduce((sum, { connections }) => sum + connections.asleep, 0);
            if (asleep === CONNECTIONS && told.totals.connections.asleep === CONNECTIONS) return told;
            await sleep(100);
          }
          throw new Error(`Not all of them sleep: ${JSON.stringify((await server.ask<Told>()).totals)}`);
        };

        const server = await start(2);
        const client = new Program(netns, "node", CLIENT, ["10.77.0.1", `${CONNECTIONS}`]);
        expect(await client.line()).toBe("connected");
        expect(await client.ask()).toEqual({ right: CONNECTIONS, broken: 0 });
        const told = await asleep(server);
        // The kernel has chosen by a hash: that one gets all of 100 has a chance of 2^-99.
        expect(told.each.map(({ connections }) => connections.asleep > 0)).toEqual([true, true]);
        expect(told.totals.links["framesIn"]).toBe(
          told.each.reduce((sum, { links }) => sum + links["framesIn"]!, 0),
        );
        expect(await client.ask()).toEqual({ right: CONNECTIONS, broken: 0 });
        await asleep(server);

        const gone = once(server.child, "exit");
        server.child.kill("SIGKILL");
        await gone;
        const again = await start(3);
        expect(await client.ask()).toEqual({ right: CONNECTIONS, broken: 0 });
        const after = await asleep(again);
        expect(after.totals.passed).toBeGreaterThan(0); // another count is another hash
        expect(after.each.map(({ connections }) => connections.asleep > 0)).toEqual([true, true, false]);

        const closed = once(again.child, "exit");
        again.child.stdin!.end();
        expect(await again.line()).toBe("closed");
        expect((await closed)[0]).toBe(0);
        client.child.stdin!.end();
      },
    );
  }
});
