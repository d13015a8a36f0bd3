/**
 * The impaired link, between two kernels or between a stack of ours and a kernel: holds the TUN interfaces of both
 * ends and carries packets from one to the other. Told a case it answers "ready"; of a case with our stack in it, it
 * then answers with the bytes that our stack sent or received.
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { SystemClock } from "../../base/clock.ts";
import type { Slab } from "../../base/slab.ts";
import { impair, type ImpairedLink } from "../../net/link/impaired.ts";
import { type Link, linkCounters, type LinkSink, type Medium } from "../../net/link/link.ts";
import { openTun } from "../../net/link/tun.ts";
import { Host } from "../../net/socket/host.ts";
import type { TcpConn } from "../../net/socket/types.ts";
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
      medium: inner.medium,
      mtu: inner.mtu,
      counters: inner.counters,
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

/**
 * `link` with the case's faults for what is sent, which is the data, and half of the delay for what is received. It is
 * always sending that is impaired: then the same seed loses the same packets, whoever sends and receives them.
 */
function impaired(link: Link, of: Case): ImpairedLink {
  const delayMs = of.rttMs / 2;
  const acks = impair(link, { clock, seed: of.seed, delayMs, queueMax: 1e5, direction: "in" });
  const both = impair(acks, {
    clock,
    seed: of.seed,
    loss: of.loss,
    delayMs,
    rateBytesPerS: RATE_BYTES_PER_S,
    queueMax: queueFrames(of.rttMs),
    direction: "out",
  });
  present = [both, acks];
  return both;
}

/** Two ends of a wire in this process: what one sends, the other receives. The delay comes from impairments. */
function wire(medium: Medium, mtu: number): [Link, Link] {
  const sinks: (LinkSink | undefined)[] = [];
  const end = (mine: number): Link => ({
    medium,
    mtu,
    counters: linkCounters(),
    open: (sink: LinkSink): void => void (sinks[mine] = sink),
    send: (slab: Slab, start: number, end: number): boolean => {
      sinks[1 - mine]?.receive(slab, start, end);
      return true;
    },
    flush: (): void => sinks[1 - mine]?.flush(),
    close: (): void => {
      sinks[mine]?.closed();
      sinks[mine] = undefined;
    },
  });
  return [end(0), end(1)];
}

/** Carries packets between two links. */
function join(one: Link, other: Link): void {
  const to = (link: Link): LinkSink => ({
    receive: (slab, start, end) => void link.send(slab, start, end),
    flush: () => link.flush(),
    closed: () => {},
  });
  one.open(to(other));
  other.open(to(one));
}

async function run(of: Case): Promise<void> {
  host?.close();
  host = undefined;
  for (const link of present) link.close();
  present = [];
  if (of.subject === "Linux to Linux") {
    join(left.plug(), impaired(right.plug(), of));
    return tell("ready");
  }
  const sends = of.subject === "ours to Linux";
  let link: Link = right.plug();
  if (sends) {
    link = impaired(link, of);
  } else {
    const [near, far] = wire(link.medium, link.mtu);
    join(link, impaired(far, of));
    link = near;
  }
  host = new Host({ interfaces: [{ link }], addresses: [{ address: `${OUR_ADDRESS}/24` }], clock });
  const conn = await host.connect({ hostname: RIGHT_ADDRESS, port: sends ? SINK_PORT : SOURCE_PORT });
  tell("ready");
  const bytes = sends ? await pour(conn) : await swallow(conn, of.ms);
  tell({ bytes });
}

async function pour(conn: TcpConn): Promise<number> {
  const chunk = new Uint8Array(CHUNK_BYTES);
  let count = 0;
  try {
    for (;;) count += await conn.write(chunk);
  } catch { // the receiver has seen enough
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
