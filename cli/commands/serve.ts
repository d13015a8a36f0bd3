import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { SleepyHost } from "../../checkpoint/host.ts";
import { HandoverError } from "../../checkpoint/handover/handover_error.ts";
import { FileStore } from "../../checkpoint/store/file_store.ts";
import { serveDashboard } from "../../serve/dashboard/dashboard.ts";
import { serveHttp } from "../../serve/http/http_server.ts";
import { serveNode } from "../../serve/node/serve_node.ts";
import type { Served } from "../../serve/served.ts";
import { portOf, readArguments, wholeNumber } from "../arguments.ts";
import { type Command, InputError, type Terminal, UsageError } from "../command.ts";
import { UntilEnded } from "../control.ts";
import { readFirewall } from "../firewall/rules_file.ts";
import { startHost } from "../serve/host.ts";
import { loadServed } from "../serve/module.ts";
import { loadPatchable, takePatches } from "../serve/patchable.ts";
import { openWire } from "../serve/wire.ts";
import { counted } from "../store/open.ts";

const HELP = `\
Serves a module over a userspace network, and lets idle connections sleep. The
module's default export is { fetch(request, client) } or a function, as
Deno.serve takes it, with webSocket handlers if need be (serveHttp);
{ data(connection, bytes), ... }, the handlers of host.serve; or what was
written for Node: an http.Server (of socket.io, say), an application of
express or fastify, a broker of aedes.

  torpor serve MODULE [options]

  --store FOLDER      where connections sleep (default ./connections)
  --tun NAME          the TUN interface of Linux (default tor0)
  --unix PATH         instead of it, a unix socket for one link at a time,
                      framed as QEMU's -netdev stream does
  --address A/PREFIX  an address of the server (default 10.7.0.1/24); again for
                      more
  --gateway ADDRESS   where everything goes that is not beside it
  --port PORT         the port (default 8000)
  --idle SECONDS      how long without data until sleep (default 30)
  --firewall FILE     rules as nft -f takes them or nft -j prints them, or ours
                      in JSON: { policy, rules }; what they log and trace is
                      told in lines of JSON
  --metrics PORT      a dashboard at http://127.0.0.1:PORT/, a page for
                      Prometheus at /metrics
  --patchable         takes live patches: torpor patch apply FOLDER FILE
  --trust KEY         only those signed by it (torpor patch keys); again for
                      more
  --json              says what happens as lines of JSON, { time, text }
  --help              print this

  ip tuntap add tor0 mode tun         # once: it outlives the processes
  ip addr add 10.7.0.2/24 dev tor0    # the other end: the kernel's
  ip link set tor0 up
  torpor serve server.js
  curl http://10.7.0.1:8000/
  torpor top ./connections

Started again, it takes over from the process that has the store, without a
reset: that is a deploy. ^C puts everybody to sleep; the next start goes on
with them. In both cases what is under way is finished first, for 5 seconds
at most. torpor ls, top, inspect and the others ask it by FOLDER/control.

Exit codes: 0 it was asked to end, or another process has taken over, 2 it
could not start.
`;

/** `torpor serve`. */
export const serve: Command = {
  name: "serve",
  summary: "serves a module whose idle connections sleep",
  help: HELP,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const { positionals: [path, more], values, json } = readArguments(args, {
      store: { type: "string", default: "./connections" },
      tun: { type: "string" },
      unix: { type: "string" },
      address: { type: "string", multiple: true },
      gateway: { type: "string" },
      port: { type: "string", default: "8000" },
      idle: { type: "string", default: "30" },
      firewall: { type: "string" },
      metrics: { type: "string" },
      patchable: { type: "boolean", default: false },
      trust: { type: "string", multiple: true },
    });
    if (path === undefined) throw new UsageError("which module?");
    if (more !== undefined) throw new UsageError(`one module, not "${more}" as well`);
    if (values.tun !== undefined && values.unix !== undefined) {
      throw new UsageError("--tun or --unix, not both");
    }
    const port = portOf(values.port)!;
    const metrics = values.metrics === undefined
      ? undefined
      : wholeNumber("metrics", values.metrics, 1, 65_535);
    const idleMs = wholeNumber("idle", values.idle, 0, 86_400 * 365) * 1_000;
    const firewall = values.firewall === undefined ? undefined : readFirewall(values.firewall);
    const addresses = (values.address ?? ["10.7.0.1/24"]).map((address) => ({ address }));
    if (values.trust !== undefined && !values.patchable) throw new UsageError("--trust is of --patchable");
    if (values.patchable) await loadPatchable();
    const served = await loadServed(path); // what takes time comes before the old process lets go
    const folder = values.store;
    mkdirSync(folder, { recursive: true });
    const say = (text: string): void =>
      terminal.err(
        json ? `${JSON.stringify({ time: new Date().toISOString(), text })}\n` : `torpor serve: ${text}\n`,
      );
    await takeOver(join(folder, "handover"), say);
    if (values.patchable) await takePatches(folder, values.trust ?? [], say);
    const link = await openWire(values);
    let store: FileStore | undefined;
    let host: SleepyHost;
    try {
      const opened = store = await FileStore.open(folder);
      host = startHost(() =>
        new SleepyHost({
          interfaces: [{ link }],
          addresses,
          ...(values.gateway === undefined
            ? {}
            : { routes: [{ destination: "0.0.0.0/0", gateway: values.gateway }] }),
          store: opened,
          idleMs,
          ...(firewall === undefined ? {} : { firewall }),
        })
      );
    } catch (error) {
      await Promise.all([link.close(), store?.close()]);
      throw error;
    }
    host.sleeper.on("error", (error) => say(error.message));
    host.onFirewallEvent((event) => terminal.err(`${JSON.stringify(event)}\n`));
    listen(host, served, port, say);
    await host.offerControl(join(folder, "control"));
    const { done } = await host.offerHandover(join(folder, "handover"));
    const page = metrics === undefined ? undefined : await serveDashboard(host, { port: metrics });
    const where = `${addresses[0]!.address.split("/")[0]}:${port}`;
    const { asleep } = host.counts;
    say(
      `serving ${"bytes" in served ? where : `http://${where}/`} over ${
        values.unix ?? values.tun ?? "tor0"
      }, ` +
        `${counted(asleep, "connection")} asleep in ${folder}`,
    );
    try {
      const over = await Promise.race([done.then(() => "taken over" as const), ended()]);
      if (over === "taken over") say("another process has taken over");
      else {
        await host.drain();
        await host.shutdown();
      }
      const { asleep, waking } = host.counts; // who wants to wake now sleeps for the next process
      say(`${counted(asleep + waking, "connection")} asleep`);
    } finally {
      await page?.close();
    }
    return 0;
  },
};

/** Resolves when somebody asks for the end. */
async function ended(): Promise<"ended"> {
  let end = (): void => {};
  const over = new Promise<void>((resolve) => end = resolve);
  using _until = new UntilEnded(() => end());
  await over;
  return "ended";
}

async function takeOver(path: string, say: (text: string) => void): Promise<void> {
  try {
    const { pid, connections } = await SleepyHost.takeOver(path);
    say(`process ${pid} has let go of ${counted(connections, "connection")}`);
  } catch (error) {
    if (!(error instanceof HandoverError)) throw error;
    if (error.reason !== "nobody") throw new InputError(error.message);
  }
}

function listen(host: SleepyHost, served: Served, port: number, say: (text: string) => void): void {
  if ("bytes" in served) return void host.serve({ ...served.bytes, port });
  if ("node" in served) return void serveNode(host, served.node, { port });
  const onError = (error: unknown): Response => {
    say(`the module threw: ${error instanceof Error ? error.stack ?? error.message : String(error)}`);
    return new Response("Internal Server Error\n", { status: 500 });
  };
  serveHttp(host, { onError, ...served.http, port });
}
