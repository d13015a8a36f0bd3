/**
 * A server with thousands of clients, most of them silent, and a page with live plots of it: who is awake and who
 * sleeps, what wakes them, what the firewall drops.
 *
 * Run it with `npx tsx examples/dashboard.ts`, `deno run -A` or `bun`, and open the page that it names. It brings its own
 * network and its own clients: two hosts on the ends of a pipe. `--seconds N` ends it, `--clients N` says how many talk.
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { Host, MemoryStore, pipe, Prng, SleepyHost, type TcpConn } from "../mod.ts";
import { serveDashboard } from "../serve/dashboard/dashboard.ts";

const { values } = parseArgs({
  options: {
    clients: { type: "string", default: "2000" },
    port: { type: "string", default: "8080" },
    seconds: { type: "string" },
  },
});
const CLIENTS = Number(values.clients);
const IDLE_MS = 2_000;
const TICK_MS = 50;

const [serverLink, clientLink] = pipe({ medium: "ip" });
const server = new SleepyHost({
  interfaces: [{ link: serverLink, name: "pipe" }],
  addresses: [{ address: "10.0.0.1/16" }],
  store: new MemoryStore(),
  idleMs: IDLE_MS,
  firewall: {
    policy: { input: "drop" },
    rules: [
      { protocol: "tcp", destinationPort: 6667, action: "accept", comment: "the chat" },
      { protocol: "tcp", destinationPort: 23, action: "reject", comment: "no telnet" },
      { protocol: "icmp", action: "accept", comment: "pings" },
    ],
  },
});
const client = new Host({ interfaces: [{ link: clientLink }], addresses: [{ address: "10.0.0.2/16" }] });
const chat = server.serve({ port: 6667, data: (connection, bytes) => void connection.write(bytes) });

const prng = new Prng(1);
const answer = new Uint8Array(256);
const conns: TcpConn[] = [];
const busy = new Set<TcpConn>();

/** Says something and hears it again. */
async function talk(conn: TcpConn): Promise<void> {
  if (busy.has(conn)) return;
  busy.add(conn);
  try {
    await conn.write(answer.subarray(0, prng.between(1, 200)));
    await conn.read(answer);
  } catch {
    // the example ends
  } finally {
    busy.delete(conn);
  }
}

/** Everybody comes in, and then most are silent: a few talk, now and then many at once. */
function turn(): void {
  for (let at = 0; at < 40 && conns.length + opening < CLIENTS; at++) open();
  if (conns.length === 0) return;
  const storm = prng.chance(0.004) ? 0.25 : 0;
  const talkers = Math.ceil(conns.length * (storm + prng.fraction() * 0.002));
  for (let at = 0; at < talkers; at++) void talk(prng.pick(conns));
  if (prng.chance(0.3)) { // the server speaks by itself, and wakes whom it speaks to
    for (const id of chat.connections()) {
      if (prng.chance(2 / CLIENTS)) chat.send(id, answer.subarray(0, 1));
    }
  }
  if (prng.chance(0.2)) knock(23);
  if (prng.chance(0.2)) knock(prng.between(1, 1_000) + 7_000);
}

let opening = 0;
function open(): void {
  opening++;
  client.connect({ hostname: "10.0.0.1", port: 6667 }).then((conn) => {
    conns.push(conn);
    void talk(conn);
  }).catch(() => {}).finally(() => opening--);
}

/** Somebody tries a port that the firewall has an opinion on. */
function knock(port: number): void {
  client.connect({ hostname: "10.0.0.1", port, signal: AbortSignal.timeout(200) }).catch(() => {});
}

const dashboard = await serveDashboard(server, { port: Number(values.port) });
console.log(`Open ${dashboard.url}`);
const timer = setInterval(turn, TICK_MS);

const end = async (): Promise<void> => {
  clearInterval(timer);
  console.log(`${server.counts.asleep} of ${conns.length} asleep, ${server.sleeper.stats.restores} wakes`);
  await dashboard.close();
  client.close();
  await server.shutdown();
};
process.once("SIGINT", () => void end());
if (values.seconds !== undefined) setTimeout(() => void end(), Number(values.seconds) * 1_000);
