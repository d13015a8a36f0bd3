import { SleepyHost } from "../../checkpoint/host.ts";
import { MemoryStore } from "../../checkpoint/store/mod.ts";
import { pipe } from "../../net/link/pipe.ts";
import type { Finding } from "./finding.ts";

/** The whole thing in memory: two hosts, a connection, sleep on both sides, and a byte that wakes both. */
export async function examineSelf(): Promise<Finding> {
  const [left, right] = pipe({ medium: "ip" });
  const make = (link: typeof left, address: string): SleepyHost =>
    new SleepyHost({
      interfaces: [{ link }],
      addresses: [{ address }],
      store: new MemoryStore(),
      idleMs: 1e9,
    });
  const [server, client] = [make(left, "10.0.0.1/24"), make(right, "10.0.0.2/24")];
  try {
    server.serve({ port: 7, data: (connection, bytes) => void connection.write(bytes) });
    const conn = await client.connect({ hostname: "10.0.0.1", port: 7 });
    const echo = async (): Promise<boolean> => {
      await conn.write(Uint8Array.of(7));
      const heard = new Uint8Array(1);
      return await conn.read(heard) === 1 && heard[0] === 7;
    };
    const before = await echo();
    await server.sleeper.suspendAll();
    const slept = server.counts.asleep === 1;
    const after = await echo();
    conn.close();
    const good = before && slept && after;
    return good
      ? {
        name: "self",
        verdict: "good",
        found: "a connection between two hosts in memory slept, woke and answered",
      }
      : {
        name: "self",
        verdict: "bad",
        found: "a connection in memory did not sleep, or did not answer",
        advice: "report it",
      };
  } finally {
    server.close();
    client.close();
  }
}
