/** What both servers have in common: a host whose connections sleep soon, and what the other process asks of it. */
import { parseArgs } from "node:util";
import { FileStore, listenUnix, ReconnectingLink, SleepyHost } from "../../mod.ts";
import { liveMemory } from "../live_memory.ts";
import { answerRequests } from "../survive_kill/worker.ts";

/** Starts a host, has `serve` listen, and answers the other process until that goes. */
export async function runServer(
  serve: (host: SleepyHost) => { awake: number; answers: number; known(): number },
): Promise<void> {
  const { values } = parseArgs({
    options: {
      folder: { type: "string" },
      unix: { type: "string" },
      idle: { type: "string", default: "300" },
    },
  });
  const startedMs = performance.now();
  const link = new ReconnectingLink();
  const host = new SleepyHost({
    interfaces: [{ link, mac: "02:00:00:00:00:01" }], // the next process has the same
    addresses: [{ address: "10.0.0.1/16" }],
    subnets: ["10.1.0.0/16"],
    store: await FileStore.open(values.folder!),
    idleMs: Number(values.idle),
  });
  const service = serve(host);
  const readyMs = performance.now() - startedMs;
  await listenUnix({ path: values.unix!, onLink: (carrier) => link.attach(carrier) });
  answerRequests({
    ready: () => ({ readyMs, recovered: host.counts.asleep, known: service.known() }),
    /** Waits until so many sleep and nobody else is awake. */
    asleep: async ({ count }, progress) => {
      while (host.counts.asleep !== count || host.counts.awake > 0) {
        progress(host.counts.asleep);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      return {};
    },
    figures: async () => ({
      ...host.counts,
      ...await liveMemory(),
      answers: service.answers,
      restores: host.sleeper.stats.restores,
    }),
  });
}
