import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { type HostStatus, hostStatus } from "../../checkpoint/control/status.ts";
import { METRICS_TYPE, metricsText } from "../../checkpoint/metrics.ts";
import type { SleepingHost } from "../../checkpoint/sleeping_host.ts";

/** How often a host is looked at, in ms. */
const SAMPLE_MS = 1_000;
/** Samples that are kept: five minutes. */
const SAMPLES_MAX = 300;

/** A host at one moment, as the plots need it; what only goes up is told as it stands. */
export interface DashboardSample {
  readonly atMs: number;
  readonly awake: number;
  readonly asleep: number;
  readonly waking: number;
  readonly suspends: number;
  readonly restores: number;
  readonly wakes: HostStatus["wakes"];
  readonly rssBytes: number;
  readonly heapBytes: number;
  readonly framesIn: number;
  readonly framesOut: number;
  readonly drops: number;
  readonly firewall: readonly number[];
  /** What they and the policies have let through, and what they have dropped or rejected. */
  readonly letThrough: number;
  readonly refused: number;
}

/** A dashboard that is served. */
export interface Dashboard {
  readonly url: string;
  /** Stops looking and listening. Idempotent. */
  close(): Promise<void>;
}

/** Where the dashboard listens: on the machine's own network, not on the host's. */
export interface DashboardOptions {
  /** Default: one that is free. */
  readonly port?: number;
  /** Default "127.0.0.1": whoever reaches it sees who is connected to whom, if not what they say. */
  readonly hostname?: string;
  /** Milliseconds between samples. Default 1,000. */
  readonly sampleMs?: number;
}

const ASSETS: Readonly<Record<string, readonly [file: string, type: string]>> = {
  "/": ["page.html", "text/html; charset=utf-8"],
  "/page.css": ["page.css", "text/css; charset=utf-8"],
  "/page.js": ["page.js", "text/javascript; charset=utf-8"],
};

/** The page loads nothing from elsewhere, and nothing runs in it but its own script. */
const HEADERS = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; frame-ancestors 'none'",
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
};

/**
 * Serves a page with live plots of a host: connections awake and asleep, wakes by reason, memory, traffic, drops, the
 * firewall. `/metrics` is the page for Prometheus, `/samples.json` what the plots are made of.
 *
 * @throws {Error} When it cannot listen there.
 * @example
 * ```ts
 * import { MemoryStore, pipe, SleepyHost } from "@torpor/torpor";
 * import { serveDashboard } from "@torpor/torpor/serve/dashboard/dashboard.ts";
 * const [link] = pipe();
 * const host = new SleepyHost({ interfaces: [{ link }], store: new MemoryStore() });
 * const dashboard = await serveDashboard(host);
 * console.log(dashboard.url); // http://127.0.0.1:40123/
 * await dashboard.close();
 * host.close();
 * ```
 */
export async function serveDashboard(host: SleepingHost, options: DashboardOptions = {}): Promise<Dashboard> {
  const { port = 0, hostname = "127.0.0.1", sampleMs = SAMPLE_MS } = options;
  const samples: DashboardSample[] = [sampleOf(hostStatus(host))];
  const timer = setInterval(() => {
    if (host.closed) return clearInterval(timer);
    samples.push(sampleOf(hostStatus(host)));
    if (samples.length > SAMPLES_MAX) samples.shift();
  }, sampleMs);
  timer.unref();

  const answer = async (
    path: string,
  ): Promise<readonly [type: string, body: string | Uint8Array] | undefined> => {
    if (path === "/metrics") return [METRICS_TYPE, metricsText(host)];
    if (path === "/samples.json") {
      return [
        "application/json",
        JSON.stringify({ sampleMs, samples, status: hostStatus(host), ended: host.closed }),
      ];
    }
    const asset = Object.hasOwn(ASSETS, path) ? ASSETS[path] : undefined;
    return asset === undefined ? undefined : [asset[1], await read(asset[0])];
  };
  const server = createServer((request, response) => {
    const path = (request.url ?? "/").split("?", 1)[0]!;
    answer(path).then((answered) => {
      if (answered === undefined) return void response.writeHead(404, HEADERS).end("Not found\n");
      const [type, body] = answered;
      response.writeHead(200, { ...HEADERS, "content-type": type }).end(body);
    }).catch((error) => response.writeHead(500, HEADERS).end(`${String(error)}\n`));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, hostname, () => {
      server.off("error", reject);
      resolve();
    });
  });
  server.unref(); // no reason to live
  const { port: bound } = server.address() as { port: number };
  let closing: Promise<void> | undefined;
  return {
    url: `http://${hostname.includes(":") ? `[${hostname}]` : hostname}:${bound}/`,
    close: () =>
      closing ??= new Promise((resolve) => {
        clearInterval(timer);
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function sampleOf(status: HostStatus): DashboardSample {
  const { nowMs, connections, suspends, restores, wakes, memory, interfaces, drops, firewall = [] } = status;
  const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0);
  return {
    atMs: nowMs,
    ...connections,
    suspends,
    restores,
    wakes,
    ...memory,
    framesIn: sum(interfaces.map(({ framesIn }) => framesIn)),
    framesOut: sum(interfaces.map(({ framesOut }) => framesOut)),
    drops: sum(Object.values(drops)),
    firewall: firewall.map(({ packets }) => packets),
    letThrough: sum(firewall.map(({ action, packets }) => action === "accept" ? packets : 0)),
    refused: sum(
      firewall.map(({ action, packets }) => action === "drop" || action === "reject" ? packets : 0),
    ),
  };
}

/** A file beside this module, which may lie on a disk or, on Deno, at a registry. */
async function read(name: string): Promise<Uint8Array> {
  const url = new URL(`./${name}`, import.meta.url);
  return url.protocol === "file:"
    ? await readFile(url)
    : new Uint8Array(await (await fetch(url)).arrayBuffer());
}
