/**
 * The impaired link, between two kernels or between a stack of ours and a kernel: holds the TUN interfaces of both
 * ends and carries packets from one to the other. Told a case it answers "ready"; of a case with our stack in it, it
 * then answers with what our stack knows about it, and with the bytes received when ours is the receiver.
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { SystemClock } from "../../base/clock.ts";
import type { Slab } from "../../base/slab.ts";
import { impair, type ImpairedLink } from "../../net/link/impaired.ts";
import type { Link, LinkCounters, LinkSink, Medium } from "../../net/link/link.ts";
import { openTun } from "../../net/link/tun.ts";
import { Host } from "../../net/socket/host.ts";
import type { TcpConn } from "../../net/socket/types.ts";
import { tcpInfo } from "../../net/tcp/info.ts";
import { tell } from "../worker.ts";
import {
  type Case,
  CHUNK_BYTES,
  LEFT_TUN,
  OUR_ADDRESS,
  queueFrames,
  RATE_BYTES_PER_S,
  RIGHT_ADDRESS,
  RIGHT_TUN,
  SINK_PORT,
  SOURCE_PORT,
} from "./case.ts";

/** A link that outlives whoever uses it: each case impairs it anew. */
class Socket {
  readonly #inner: Link;
  #sink: LinkSink | undefined;

  constructor(inner: Link) {
    this.#inner = inner;
    inner.open({
      receive: (slab, start, end) => this.#sink?.receive(slab, start, end),
      flush: () => this.#sink?.flush(),
      closed: (error) => {
        throw error ?? new Error("A TUN interface has ended");
      },
    });
  }

  /** The link for the next user; the last one hears nothing any more. */
  plug(): Link {
    const inner = this.#inner;
    this.#sink = undefined;
    let mine: LinkSink | undefined;
    return {
      medium: inner.medium as Medium,
      mtu: inner.mtu,
      counters: inner.counters as LinkCounters,
      open: (sink: LinkSink): void => {
        this.#sink = mine = sink;
      },
      send: (slab: Slab, start: number, end: number): boolean => inner.send(slab, start, end),
      flush: (): void => inner.flush(),
      close: (): void => {
        if (this.#sink === mine) this.#sink = undefined;
        mine?.closed();
      },
    };
  }
}

const clock = new SystemClock();
const left = new Socket(await openTun({ name: LEFT_TUN }));
const right = new Socket(await openTun({ name: RIGHT_TUN }));
let present: ImpairedLink[] = [];
let host: Host | undefined;

/** `link` with the case's faults in the direction that data takes, and half of the delay in the other. */
function impaired(link: Link, data: "in" | "out", of: Case): ImpairedLink {
  const delayMs = of.rttMs / 2;
  const acks = impair(link, {
    clock,
    seed: of.seed + 1,
    delayMs,
    queueMax: 1e5,
    direction: data === "in" ? "out" : "in",
  });
  const both = impair(acks, {
    clock,
    seed: of.seed,
    loss: of.loss,
    delayMs,
    rateBytesPerS: RATE_BYTES_PER_S,
    queueMax: queueFrames(of.rttMs),
    direction: data,
  });
  present = [both, acks];
  return both;
}

function carryTo(link: Link): LinkSink {
  return {
    receive: (slab, start, end) => void link.send(slab, start, end),
    flush: () => link.flush(),
    closed: () => {},
  };
}

async function run(of: Case): Promise<void> {
  host?.close();
  host = undefined;
  for (const link of present) link.close();
  present = [];
  if (of.subject === "Linux to Linux") {
    const near = impaired(left.plug(), "in", of), far = right.plug();
    near.open(carryTo(far));
    far.open(carryTo(near));
    return tell("ready");
  }
  const sends = of.subject === "ours to Linux";
  const link = impaired(right.plug(), sends ? "out" : "in", of);
  host = new Host({ interfaces: [{ link }], addresses: [{ address: `${OUR_ADDRESS}/24` }], clock });
  const conn = await host.connect({ hostname: RIGHT_ADDRESS, port: sends ? SINK_PORT : SOURCE_PORT });
  tell("ready");
  const bytes = sends ? await pour(conn) : await swallow(conn, of.ms);
  tell({ bytes, struck: present[0]!.struck });
}

let last: unknown;

async function pour(conn: TcpConn): Promise<number> {
  const chunk = new Uint8Array(CHUNK_BYTES);
  let count = 0;
  const { tcp } = host!.stack;
  try {
    for (;;) {
      count += await conn.write(chunk);
      for (const tcb of tcp.tcbs()) last = tcpInfo(tcp, tcb, clock.nowMs());
    }
  } catch { // the receiver has seen enough
    if (process.env["LOSS_BENCH_INFO"]) console.error(last);
    return count;
  }
}

async function swallow(conn: TcpConn, ms: number): Promise<number> {
  const into = new Uint8Array(CHUNK_BYTES);
  let count = 0;
  let untilMs = Infinity;
  for (;;) {
    const got = await conn.read(into);
    if (got === null) throw new Error("The source has ended");
    const nowMs = clock.nowMs();
    if (untilMs === Infinity) untilMs = nowMs + ms;
    if (nowMs > untilMs) break;
    count += got;
  }
  conn.close();
  return count;
}

createInterface({ input: process.stdin }).on("line", (line) => {
  run(JSON.parse(line) as Case).catch((error) => {
    console.error(error);
    process.exit(1);
  });
}).on("close", () => process.exit(0));
tell("open");
