import { Agent } from "node:http";
import process from "node:process";
import { expect, onTestFinished } from "vitest";
import { SleepyHost } from "../../checkpoint/host.ts";
import { MemoryStore } from "../../checkpoint/store/mod.ts";
import { pipe } from "../../net/link/pipe.ts";
import { connectNode, type StackSocket } from "../../net/socket/stack_socket.ts";

export const SERVER = "10.0.0.1";
export const ON_DENO = process.versions["deno"] !== undefined;
export const ON_BUN = process.versions["bun"] !== undefined;

/** Two hosts on a pipe whose connections sleep when they are told to. */
export interface SleepyPair {
  readonly server: SleepyHost;
  readonly client: SleepyHost;
  /** A socket of the client's that connects to a port of the server's. */
  connect(port: number): StackSocket;
  /** Puts every connection of both to sleep, `atLeast` so many on each side: the next byte wakes it. */
  sleep(atLeast?: number): Promise<void>;
}

export function sleepyPair(): SleepyPair {
  const links = pipe({ medium: "ip" });
  const [server, client] = links.map((link, index) =>
    new SleepyHost({
      interfaces: [{ link }],
      addresses: [{ address: `10.0.0.${index + 1}/24` }],
      store: new MemoryStore(),
      idleMs: 1e9,
    })
  ) as [SleepyHost, SleepyHost];
  onTestFinished(() => {
    server.close();
    client.close();
  });
  return {
    server,
    client,
    connect: (port) => connectNode(client, { port, host: SERVER }),
    async sleep(atLeast = 1) {
      for (const host of [server, client]) {
        for (let attempt = 0; host.counts.awake > 0 && attempt < 50; attempt++) {
          await host.sleeper.suspendAll();
          if (host.counts.awake > 0) await new Promise((resolve) => void setTimeout(resolve, 10));
        }
        expect(host.counts.awake, "Nobody stays awake").toBe(0);
        expect(host.counts.asleep, "They sleep").toBeGreaterThanOrEqual(atLeast);
      }
    },
  };
}

/** An agent of `node:http` whose connections, one as a rule, go over our stack. */
export function agentOf({ connect }: SleepyPair, port: number, maxSockets = 1): Agent {
  const agent = new Agent({ keepAlive: true, maxSockets });
  agent.createConnection = (() => connect(port)) as typeof agent.createConnection;
  onTestFinished(() => agent.destroy());
  return agent;
}
