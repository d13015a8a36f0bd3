import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import type { Impairments } from "../../net/link/impaired.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";
import { NetworkNamespace } from "../support/netns.ts";
import { RUN_ON } from "../support/runtimes.ts";
import { Capture } from "./capture.ts";
import { sleep } from "./kernel_server.ts";

const NEEDS = ["root", "tun", "ip", "curl", "tcpdump", "tshark"] as const;
const SERVER = fileURLToPath(new URL("./lossy_server.ts", import.meta.url));
const [SERVER_ADDRESS, CLIENT_ADDRESS] = ["10.77.0.1", "10.77.0.2"];
const [SERVER_TUN, CLIENT_TUN] = ["ts0", "tc0"];
const BYTES = 4_000_000;
const SEEDS = [1, 2];

const WIRES: [string, Partial<Impairments>][] = [
  ["1% loss, 20 ms", { loss: 0.01, delayMs: 20 }],
  ["5% loss, 10 ms", { loss: 0.05, delayMs: 10 }],
  ["2% overtaken, 20 ms", { reorder: 0.02, delayMs: 20 }],
];

/**
 * Reordering is learnt of by a false alarm, and where the first one falls is chance: so many of a thousand
 * segments more than Linux may be sent in vain.
 */
const FALSE_ALARMS = 1 / 1_000;

/** What a server on `side` sent that its client had got before, as the client's D-SACKs tell (RFC 2883). */
async function sentInVain(
  side: "stack" | "kernel",
  seed: number,
  impairments: Partial<Impairments>,
): Promise<{ inVain: number; segments: number }> {
  using folder = new TemporaryFolder();
  using server = new NetworkNamespace();
  using client = new NetworkNamespace();
  for (const name of [SERVER_TUN, CLIENT_TUN]) {
    server.run("ip", "tuntap", "add", "dev", name, "mode", "tun");
    server.run("ip", "link", "set", name, "txqueuelen", "2000");
  }
  if (side === "kernel") server.configure(SERVER_TUN, `${SERVER_ADDRESS}/24`);
  const [program, ...args] = RUN_ON.node;
  const end = side === "stack" ? "stack" : SERVER_TUN;
  const child = server.start(program!, [
    ...[...args, SERVER, CLIENT_TUN, end, `${SERVER_ADDRESS}/24`, `${seed}`, JSON.stringify(impairments)],
  ]);
  await new Promise((resolve) => void child.stdout!.once("data", resolve));
  server.run("ip", "link", "set", CLIENT_TUN, "netns", client.name);
  client.configure(CLIENT_TUN, `${CLIENT_ADDRESS}/24`);
  const capture = await Capture.start(client, CLIENT_TUN, folder.file("capture.pcap"));
  const url = `http://${SERVER_ADDRESS}/bytes/${BYTES}`;
  expect(await client.finished("curl", "-sS", "-o", folder.file("got"), "--max-time", "60", url)).toBe(0);
  await sleep(500); // what the wire still holds
  await capture.stop();
  return {
    inVain: (await capture.lines(`tcp.options.sack.dsack && ip.src == ${CLIENT_ADDRESS}`)).length,
    segments: (await capture.lines(`tcp.len > 0 && ip.src == ${SERVER_ADDRESS}`)).length,
  };
}

for (const [name, impairments] of WIRES) {
  judge(`${name}: no more is sent in vain than Linux sends over the same wire`, NEEDS, async () => {
    const total = { stack: { inVain: 0, segments: 0 }, kernel: { inVain: 0, segments: 0 } };
    // All at once: most of their time they wait for the wire.
    const runs = (["kernel", "stack"] as const).flatMap((side) => SEEDS.map((seed) => ({ side, seed })));
    await Promise.all(runs.map(async ({ side, seed }) => {
      const sent = await sentInVain(side, seed, impairments);
      total[side].inVain += sent.inVain;
      total[side].segments += sent.segments;
    }));
    console.log(`${name}: ${JSON.stringify(total)}`);
    expect(total.stack.inVain).toBeLessThanOrEqual(total.kernel.inVain + total.stack.segments * FALSE_ALARMS);
  }, 240_000);
}
