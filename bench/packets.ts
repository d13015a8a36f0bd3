import process from "node:process";
import {
  type Bench,
  type Cell,
  interleave,
  ratio,
  type Rounds,
  roundsFor,
  spreadOf,
  type Table,
} from "./bench.ts";
import { Recorder } from "../checkpoint/replay/recorder.ts";
import { Alone } from "./packets/alone.ts";
import { BareStacks } from "./packets/bare_stacks.ts";
import { Hosts } from "./packets/hosts.ts";
import { NodeNet } from "./packets/node_net.ts";
import { TcpipJs } from "./packets/tcpip_js.ts";
import type { Done, Subject, Work } from "./packets/subject.ts";

const ROUND_MS = 400;
const ROUND_MS_QUICK = 40;
/** The kernel lets a port be used again at once on loopback; here TIME-WAIT would be a bench of memory. */
const TIME_WAIT_MS = 1;

const TABLES: readonly [work: Work, title: string, unit: string, scale: number][] = [
  ["bulk", "bulk, one connection, one direction", "MB/s", 1e-6],
  ["roundTrips", "round trips of one byte, one connection", "per second", 1],
  ["connections", "connections: opened, one byte there and back, closed", "per second", 1],
  ["datagrams", "packets of 64 bytes: UDP, one direction", "per second", 1],
];

/** Processor time of this process around it: of both ends, and of what the kernel does for them. */
interface Measured extends Done {
  readonly cpuMs: number;
}

/** A recording that nobody keeps: what is left is the cost of making it. */
const nowhere = (): Recorder => new Recorder({ write: () => {}, bytesMax: Infinity });

/** Data through two stacks in memory, at 1,500 bytes of MTU, beside the kernel's loopback. */
export const bench: Bench = {
  async *run(options) {
    const lwip = await TcpipJs.load();
    const subjects: Record<string, Subject> = {
      "node:net, kernel loopback": new NodeNet(),
      "hosts over a pipe": new Hosts(TIME_WAIT_MS),
      "hosts over a pipe with offloads": new Hosts(TIME_WAIT_MS, undefined, true),
      "hosts over a pipe, both recorded": new Hosts(TIME_WAIT_MS, nowhere),
      "bare stacks, 64 packets a turn": new BareStacks(64, { timeWaitMs: TIME_WAIT_MS }),
      "the same, alone in a process": new Alone(TIME_WAIT_MS),
      ...(options.quick ? {} : { "and as the package has it": await packaged() }),
      "bare stacks, one packet a turn": new BareStacks(1, { timeWaitMs: TIME_WAIT_MS }),
    };
    if (lwip !== undefined) subjects["tcpip.js (lwIP in WASM)"] = lwip;
    const roundMs = options.quick ? ROUND_MS_QUICK : ROUND_MS;
    for (const each of TABLES) yield await measure(each, subjects, roundMs, roundsFor(options));
    for (const subject of Object.values(subjects)) await subject.close();
  },
};

/** What takes some seconds to make is made only where it is measured. */
async function packaged(): Promise<Subject> {
  const { packagedWorker } = await import("./packets/packaged.ts");
  return new Alone(TIME_WAIT_MS, await packagedWorker());
}

async function measure(
  [work, title, unit, scale]: typeof TABLES[number],
  subjects: Record<string, Subject>,
  roundMs: number,
  rounds: Rounds,
): Promise<Table> {
  const cases = Object.entries(subjects).map(([name, subject]) =>
    [name, async (): Promise<Measured | undefined> => {
      const before = process.cpuUsage();
      const done = await subject.run(work, roundMs);
      const { user, system } = process.cpuUsage(before);
      return done === undefined ? undefined : { cpuMs: (user + system) / 1000, ...done };
    }] as const
  );
  const results = await interleave(Object.fromEntries(cases), rounds);
  let baseline = NaN;
  const rows = Object.entries(results).map(([name, all]): Cell[] => {
    const done = all.filter((each) => each !== undefined);
    if (done.length === 0) return [name];
    const speed = spreadOf(done.map(({ count, elapsedMs }) => count * scale / elapsedMs * 1000));
    if (Number.isNaN(baseline)) baseline = speed.median;
    const packets = spreadOf(done.map(({ packets, elapsedMs }) => packets / elapsedMs * 1000));
    const ns = spreadOf(done.map(({ packets, elapsedMs }) => elapsedMs * 1e6 / packets));
    const cpu = spreadOf(done.map(({ count, cpuMs }) => cpuMs * (work === "bulk" ? 1e6 : 1e3) / count));
    return [
      name,
      speed.median,
      speed.min,
      speed.max,
      ratio(speed.median, baseline),
      packets.median,
      ns.median,
      cpu.median,
    ];
  });
  return {
    title,
    columns: [
      "",
      unit,
      "min",
      "max",
      "ratio",
      "packets/s",
      "ns/packet",
      work === "bulk" ? "CPU s/GB" : "CPU us each",
    ],
    rows,
    notes: work === "bulk"
      ? [
        "Both ends in one process and thread. The kernel's loopback has 65,536 bytes of MTU, the others 1,500",
        "(1,448 of data); packets are counted in both directions, with the ACKs. The kernel checks no checksum on",
        "loopback and cuts no segments. CPU: of this process, the kernel's share included.",
        ...TcpipJs.notes(),
      ]
      : [],
  };
}
