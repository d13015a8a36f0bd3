/**
 * Runs the benchmarks: `npm run bench`, `deno run -A bench/main.ts`, `bun bench/main.ts`.
 */
import { writeFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { type Bench, formatTable, type Table } from "./bench.ts";
import { environment, formatEnvironment } from "./environment.ts";

const BENCHES: Readonly<Record<string, { about: string; load: () => Promise<{ bench: Bench }> }>> = {
  packets: {
    about: "bulk, round trips and connections per second, beside node:net over loopback",
    load: () => import("./packets.ts"),
  },
  sleep: {
    about: "RAM and disk per sleeping connection, suspends and restores per second, time to answer",
    load: () => import("./sleep.ts"),
  },
  herd: {
    about: "everybody wakes at once, with a budget and without: memory, waiting, fairness",
    load: () => import("./herd.ts"),
  },
  store: {
    about:
      "the store beside LMDB and SQLite; seconds until a process is ready after kill -9; what cleaning costs",
    load: () => import("./store.ts"),
  },
  image: {
    about: "a socket's image: nanoseconds to write and to read, bytes",
    load: () => import("./image.ts"),
  },
  application: {
    about: "bulk by the ways that an application has: handlers, Deno's calls, web streams, node:net",
    load: () => import("./application.ts"),
  },
  crowd: {
    about: "nanoseconds per packet beside 10, 10 thousand and a million connections; 10 million with --full",
    load: () => import("./crowd.ts"),
  },
  bytes: {
    about: "nanoseconds to sum and to move a packet's bytes, in the packet memory and elsewhere",
    load: () => import("./bytes.ts"),
  },
  copies: {
    about: "nanoseconds that a second copy of a packet's data costs, beside what it saves (TUN: root)",
    load: () => import("./copies.ts"),
  },
  allocation: {
    about: "bytes of garbage per packet on the hot path",
    load: () => import("./allocation.ts"),
  },
  connection_map: {
    about: "nanoseconds per lookup beside memory alone and a Map with text keys, bytes, the longest pause",
    load: () => import("./connection_map.ts"),
  },
  firewall: {
    about: "nanoseconds per decision, compiled and as a list walk",
    load: () => import("./firewall.ts"),
  },
  conntrack: {
    about: "what it costs to follow and translate flows, a thousand to a million: nanoseconds, bytes",
    load: () => import("./conntrack.ts"),
  },
  tun: {
    about:
      "bulk, round trips and connections over TUN against the kernel's iperf3, beside the kernel with itself (root, TUN)",
    load: () => import("./tun.ts"),
  },
  million: {
    about:
      "connections of the kernel's clients through TUN, all asleep, killed and woken (root, TUN); a million with --full",
    load: () => import("./million.ts"),
  },
  durable: {
    about:
      "what durable connections cost beside ordinary ones: round trips, bulk, connections, on a real folder",
    load: () => import("./durable.ts"),
  },
  patch: {
    about: "what it costs that modules can be patched, and are; milliseconds to apply and to roll back",
    load: () => import("./patch.ts"),
  },
  appliance: {
    about:
      "differentials of Debian trees beside casync, OSTree, zstd; both merged, judged, launched (root, debootstrap)",
    load: () => import("./appliance.ts"),
  },
  loss: {
    about: "throughput by loss and delay, beside Linux over the same impaired link (root, TUN)",
    load: () => import("./loss.ts"),
  },
};

const HELP = `Usage: npm run bench -- [NAME...] [--quick | --full] [--json FILE]

Runs the benchmarks of the names given, or all of them. On Deno: deno run -A bench/main.ts,
on Bun: bun bench/main.ts, with the same arguments.

  --quick      a smoke run of small cases; its figures mean nothing
  --full       the sizes that take minutes as well
  --json FILE  writes the results to FILE as JSON, too
  --list       names the benchmarks
  --help       shows this
`;

class UsageError extends Error {}

function parse(args: string[]): ReturnType<typeof parseArgs<typeof CONFIG>> {
  let parsed: ReturnType<typeof parseArgs<typeof CONFIG>>;
  try {
    parsed = parseArgs({ args, ...CONFIG });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  for (const name of parsed.positionals) {
    if (!Object.hasOwn(BENCHES, name)) {
      throw new UsageError(`There is no benchmark "${name}"; there are ${Object.keys(BENCHES).join(", ")}`);
    }
  }
  if (parsed.values.quick && parsed.values.full) {
    throw new UsageError("--quick and --full exclude each other");
  }
  return parsed;
}

const CONFIG = {
  allowPositionals: true,
  options: {
    quick: { type: "boolean" },
    full: { type: "boolean" },
    json: { type: "string" },
    list: { type: "boolean" },
    help: { type: "boolean" },
  },
} as const;

async function main(args: string[]): Promise<void> {
  const { values, positionals } = parse(args);
  if (values.help) return console.log(HELP);
  if (values.list) {
    for (const [name, { about }] of Object.entries(BENCHES)) console.log(`${name.padEnd(16)}${about}`);
    return;
  }
  const options = { quick: values.quick === true, full: values.full === true };
  const results: { name: string; environment: unknown; tables: Table[] }[] = [];
  for (const name of positionals.length > 0 ? new Set(positionals) : Object.keys(BENCHES)) {
    const where = environment();
    const tables: Table[] = [];
    console.log(`${name}: ${formatEnvironment(where)}${options.quick ? "; quick: only a smoke run" : ""}\n`);
    const { bench } = await BENCHES[name]!.load();
    if (bench.takes !== undefined && !options.quick) console.log(`takes ${bench.takes}\n`);
    for await (const table of bench.run(options)) {
      console.log(`${formatTable(table)}\n`);
      tables.push(table);
    }
    results.push({ name, environment: where, tables });
  }
  if (values.json !== undefined) {
    writeFileSync(values.json, `${JSON.stringify({ options, results }, null, 1)}\n`);
  }
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}
