import { assert } from "../../../base/assert.ts";
import { VirtualClock } from "../../../base/clock.ts";
import { Prng } from "../../../base/random.ts";
import type { Slab } from "../../../base/slab.ts";
import { impair, type ImpairedLink, type Impairments } from "../../../net/link/impaired.ts";
import type { Link, LinkCounters, LinkSink, Medium } from "../../../net/link/link.ts";
import { pipe } from "../../../net/link/pipe.ts";
import { Host } from "../../../net/socket/host.ts";
import type { TcpConn } from "../../../net/socket/types.ts";
import type { TcpConfig } from "../../../net/tcp/config.ts";
import { streamByte, streamBytes } from "../tcp/script.ts";
import { Watcher } from "../tcp/checker.ts";

export const ADDRESSES = ["10.0.0.1", "10.0.0.2"] as const;
export const ADDRESSES6 = ["2001:db8::1", "2001:db8::2"] as const;

export interface PairOptions extends Partial<Impairments> {
  seed: number;
  medium?: Medium;
  /** Frames under way in each direction. */
  queueMax?: number;
  tcp?: [Partial<TcpConfig>, Partial<TcpConfig>];
  clock?: VirtualClock;
}

/** Shows every frame that a host sends to a watcher. */
class Spied implements Link {
  readonly medium: Medium;
  readonly mtu: number;
  readonly #inner: Link;
  readonly #watcher: Watcher;
  sent = 0;

  constructor(inner: Link, watcher: Watcher) {
    this.#inner = inner;
    this.#watcher = watcher;
    this.medium = inner.medium;
    this.mtu = inner.mtu;
  }
  get counters(): LinkCounters {
    return this.#inner.counters;
  }
  open(sink: LinkSink): void {
    this.#inner.open(sink);
  }
  send(slab: Slab, start: number, end: number): boolean {
    this.sent++;
    const at = this.medium === "ethernet" ? start + 14 : start;
    const ipv6 = slab.bytes[at]! >> 4 === 6;
    const isIp = this.medium === "ip" || slab.view.getUint16(start + 12) === (ipv6 ? 0x86dd : 0x0800);
    if (isIp && slab.bytes[at + (ipv6 ? 6 : 9)] === 6) this.#watcher.sent(slab.bytes.slice(at, end));
    return this.#inner.send(slab, start, end);
  }
  flush(): void {
    this.#inner.flush();
  }
  close(): void {
    this.#inner.close();
  }
}

/** Two hosts and the bad wire between them, in virtual time. */
export class Pair {
  readonly clock: VirtualClock;
  readonly hosts: readonly [Host, Host];
  readonly wire: ImpairedLink;
  readonly watcher: Watcher = new Watcher();

  constructor(options: PairOptions) {
    const { seed, medium = "ip", tcp = [{}, {}], clock = new VirtualClock(), ...impairments } = options;
    this.clock = clock;
    const [left, right] = pipe({ clock, medium, delayMs: 1 });
    this.wire = impair(left, { clock, seed, ...impairments });
    const host = (side: 0 | 1, link: Link): Host => {
      const spied = new Spied(link, this.watcher);
      const made = new Host({
        interfaces: [{ link: spied, mac: `02:00:00:00:00:0${side + 1}` }],
        addresses: [{ address: `${ADDRESSES[side]}/24` }, { address: `${ADDRESSES6[side]}/64` }],
        clock,
        entropy: new Prng(seed * 2 + side),
        tcp: tcp[side],
      });
      const poll = made.stack.poll.bind(made.stack);
      made.stack.poll = (nowMs) => {
        const deadlineMs = poll(nowMs);
        const { sent } = spied;
        if (deadlineMs > nowMs) assert(poll(nowMs) >= deadlineMs, "A poll changes nothing");
        assert(spied.sent === sent, "Polled before its deadline, the stack sent something");
        return deadlineMs;
      };
      return made;
    };
    this.hosts = [host(0, this.wire), host(1, right)];
  }

  /** Runs until `work` is done; fails when that takes longer than `limitMs` of virtual time. */
  async finish<T>(work: Promise<T>, limitMs = 3_600_000): Promise<T> {
    let done = false;
    const settled = work.finally(() => void (done = true));
    settled.catch(() => {}); // reported below
    if (!await this.clock.runUntil(() => done, limitMs)) {
      const states = this.hosts.flatMap((host) =>
        [...host.stack.tcp.tcbs()].map((tcb) => {
          const { sendQueue, receiveQueue, attachment: _, ...plain } = tcb;
          return { ...plain, unacknowledged: sendQueue.length, unread: receiveQueue.length };
        })
      );
      throw new Error(`Deadlock: ${JSON.stringify(states, null, 1)}`);
    }
    return await settled;
  }

  /** Lets everything end: TIME-WAIT, the neighbours' timers. Then nothing may be left. */
  async end(): Promise<void> {
    this.calm();
    await this.clock.runUntil(() => this.clock.pending === 0, 86_400_000);
    assert(this.clock.pending === 0, "Something is still scheduled");
    for (const { stack } of this.hosts) {
      assert(stack.tcp.awake === 0, "A TCB is left");
      assert(stack.connections.size === 0, "A record is left");
    }
  }

  /** No faults from here on. */
  calm(): void {
    const { impairments } = this.wire;
    impairments.loss =
      impairments.duplicate =
      impairments.reorder =
      impairments.corrupt =
        0;
  }
}

/** Writes `count` bytes of the stream in random pieces, some of them by `record`. */
export async function sendStream(
  conn: TcpConn,
  count: number,
  prng: Prng,
  record?: (p: Uint8Array) => Promise<void>,
): Promise<void> {
  for (let at = 0; at < count;) {
    const piece = streamBytes(at, Math.min(count - at, prng.chance(0.2) ? 1 : prng.between(1, 20_000)));
    if (record === undefined || prng.chance(0.5)) {
      at += await conn.write(piece);
    } else {
      await record(piece);
      at += piece.length;
    }
  }
  await conn.closeWrite();
}

/** Reads to the end in random pieces and checks every byte's place. Returns the count. */
export async function receiveStream(conn: TcpConn, prng: Prng): Promise<number> {
  let count = 0;
  for (;;) {
    const piece = new Uint8Array(prng.chance(0.2) ? 1 : prng.between(1, 20_000));
    const got = await conn.read(piece);
    if (got === null) return count;
    for (let at = 0; at < got; at++) {
      assert(piece[at] === streamByte(count + at), `Wrong byte at ${count + at}`);
    }
    count += got;
  }
}
