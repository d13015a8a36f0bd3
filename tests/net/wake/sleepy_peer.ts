import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import { Stack } from "../../../net/stack.ts";
import type { TcpConfig } from "../../../net/tcp/config.ts";
import { freezeTcb } from "../../../net/tcp/freeze.ts";
import type { FrozenTcb } from "../../../net/tcp/frozen_tcb.ts";
import type { Tcb } from "../../../net/tcp/tcb.ts";
import type { SleepOwner } from "../../../net/wake/sleep_owner.ts";
import { SleepTimers } from "../../../net/wake/sleep_timers.ts";
import { Drop } from "../../../net/wire/drop.ts";
import { Ipv4Record, PROTOCOL_TCP, readIpv4, writeIpv4 } from "../../../net/wire/ipv4.ts";
import { finishTcpChecksum, readTcp, TcpFlag, TcpRecord, writeTcp } from "../../../net/wire/tcp.ts";
import { parseIpv4 } from "../../../net/wire/address.ts";

export const START_MS = 1_700_000_000_000;
const LOCAL = parseIpv4("10.0.0.1")!;
const REMOTE = parseIpv4("10.0.0.2")!;
const PORT = 80;
const PEER_PORT = 4000;

/** What the peer puts into a segment; sequence numbers are absolute. */
export interface PeerSegment {
  flags?: number;
  sequence: number;
  acknowledgment?: number;
  window?: number;
  tsVal?: number;
  tsEcr?: number;
  mss?: number;
  windowScale?: number;
  sackPermitted?: boolean;
  /** The blocks of a segment. */
  sack?: [number, number][];
  data?: Uint8Array;
}

/** One segment of ours, as the peer sees it. */
export interface Sent extends PeerSegment {
  flags: number;
  acknowledgment: number;
  window: number;
  bytes: Uint8Array;
}

/**
 * A stack with one connection, its peer written by hand, and a keeper of sleepers that is nothing but a
 * variable: the image is the frozen tuple itself.
 */
export class SleepyPeer implements SleepOwner {
  readonly stack: Stack;
  nowMs: number = START_MS;
  /** What left since the last look. */
  sent: Sent[] = [];
  lastDrop: Drop = Drop.None;
  wakes = 0;
  /** Deadlines that moved while it slept. */
  moves = 0;
  record = -1;
  frozen: FrozenTcb | undefined;
  attachment: unknown;
  /** The test decides when the keeper serves its wakes. */
  serving = true;
  #wanted = false;
  readonly #timers: SleepTimers;

  constructor(tcp: Partial<TcpConfig> = {}, seed = 1, mtu = 1500) {
    const stack = this.stack = new Stack({ nowMs: START_MS, entropy: new Prng(seed), tcp });
    stack.addInterface({
      name: "net0",
      link: {
        medium: "ip",
        mtu,
        send: (slab, start, end) => {
          this.sent.push(readSent(slab.bytes.slice(start, end)));
          return true;
        },
        flush: () => {},
      },
    });
    stack.setRoutes({ addresses: [{ address: "10.0.0.1/24" }] });
    stack.tcp.listeners.add(0, PORT, 16);
    stack.upcalls = { tcpEvents() {}, udpReadable() {}, tcpSuspended() {}, tcpRestored() {} };
    stack.sleepers.owner = this;
    this.#timers = new SleepTimers(START_MS);
  }

  get tcb(): Tcb {
    return this.stack.awakeTcb(this.record);
  }

  get awake(): boolean {
    return this.record >= 0 && this.stack.connections.state(this.record) === 1;
  }

  get alive(): boolean {
    return this.stack.connections.size > 0;
  }

  /** A segment arrives, then the turn ends. */
  in(segment: PeerSegment): Drop {
    const slab = Slab.of(2000);
    const record = new TcpRecord();
    record.clear();
    record.sourcePort = PEER_PORT;
    record.destinationPort = PORT;
    record.sequence = segment.sequence | 0;
    record.acknowledgment = (segment.acknowledgment ?? 0) | 0;
    record.flags = segment.flags ?? TcpFlag.ACK;
    record.window = segment.window ?? 1000;
    record.urgentPointer = 0;
    record.mss = segment.mss ?? 0;
    record.windowScale = segment.windowScale ?? -1;
    record.sackPermitted = segment.sackPermitted ?? false;
    segment.sack?.forEach(([start, end], at) => {
      record.sackEdges[2 * at] = start | 0;
      record.sackEdges[2 * at + 1] = end | 0;
      record.sackCount = at + 1;
    });
    if (segment.tsVal !== undefined) {
      record.hasTimestamp = true;
      record.tsVal = segment.tsVal | 0;
      record.tsEcr = (segment.tsEcr ?? 0) | 0;
    }
    const at = writeTcp(record, slab, 20);
    const data = segment.data ?? new Uint8Array(0);
    slab.bytes.set(data, at);
    const end = at + data.length;
    finishTcpChecksum(slab, 20, end, REMOTE, LOCAL);
    const ip = new Ipv4Record();
    ip.source = REMOTE;
    ip.destination = LOCAL;
    ip.protocol = PROTOCOL_TCP;
    ip.timeToLive = 64;
    ip.dontFragment = true;
    writeIpv4(ip, slab, 0, end - 20);
    this.lastDrop = this.stack.receive(0, slab, 0, end, this.nowMs);
    this.poll();
    return this.lastDrop;
  }

  poll(): number {
    return this.stack.poll(this.nowMs);
  }

  /** Time passes; every deadline on the way is served. */
  pass(ms: number): void {
    const untilMs = this.nowMs + ms;
    let still = 0;
    for (let deadlineMs = this.poll(); deadlineMs <= untilMs; deadlineMs = this.poll()) {
      still = deadlineMs > this.nowMs ? 0 : still + 1;
      if (still > 20) throw new Error("The stack asks for turns without end");
      this.nowMs = Math.max(this.nowMs, deadlineMs);
    }
    this.nowMs = untilMs;
    this.poll();
  }

  /** Opens the connection from the peer's side. */
  open(
    options: { isn?: number; timestamps?: boolean; windowScale?: number; window?: number; sack?: boolean } =
      {},
  ): void {
    const isn = options.isn ?? 5000;
    const ts = options.timestamps ?? true ? { tsVal: 1_000_000 } : {};
    this.in({
      sequence: isn,
      flags: TcpFlag.SYN,
      mss: 1460,
      windowScale: options.windowScale ?? 7,
      window: options.window ?? 64_000,
      sackPermitted: options.sack ?? false,
      ...ts,
    });
    const answer = this.sent.pop()!;
    this.in({
      sequence: isn + 1,
      acknowledgment: answer.sequence + 1,
      window: options.window ?? 1000,
      ...ts,
    });
    this.record = this.stack.connections.find(LOCAL, REMOTE, PORT, PEER_PORT);
    this.sent = [];
  }

  /** awake -> asleep, whatever it is doing. */
  sleep(): void {
    const { stack, tcb } = this;
    stack.sleepers.beginSave(tcb);
    this.frozen = freezeTcb(tcb, this.nowMs);
    this.attachment = tcb.attachment;
    const deadlineMs = stack.sleepers.sleep(tcb, 7);
    if (deadlineMs < Infinity) this.#timers.set(this.record, deadlineMs);
  }

  /** Enters a connection that slept in another process. */
  adopt(frozen: FrozenTcb): void {
    this.frozen = frozen;
    this.record = this.stack.sleepers.adopt(frozen, 7, this.nowMs).record;
  }

  /** asleep -> awake, without a reason from outside. */
  wakeNow(): Tcb {
    this.stack.sleepers.wake(this.record, this.nowMs);
    this.poll();
    return this.tcb;
  }

  /** What it sent since the last look. */
  take(): Sent[] {
    return this.sent.splice(0);
  }

  // SleepOwner

  frozenPeerOf(): number | Uint8Array | undefined {
    return this.frozen?.[2];
  }

  watch(): void {}
  waits(): boolean {
    return false;
  }
  moved(): void {}

  wake(_record: number): void {
    this.wakes++;
    this.#wanted = true;
  }

  deadlineMoved(record: number, deadlineMs: number): void {
    this.moves++;
    this.#timers.set(record, deadlineMs);
  }

  turn(nowMs: number): void {
    this.#timers.advance(nowMs, (record) => {
      const nextMs = this.stack.sleepers.due(record, nowMs);
      if (nextMs < Infinity) this.#timers.set(record, nextMs);
    });
    if (!this.#wanted || !this.serving) return;
    this.#wanted = false;
    this.#timers.clear(this.record);
    this.stack.sleepers.resume(this.record, this.frozen!, this.attachment, nowMs);
  }

  nextDeadlineMs(): number {
    return this.#wanted && this.serving ? -Infinity : this.#timers.nextDeadlineMs();
  }
}

function readSent(bytes: Uint8Array<ArrayBuffer>): Sent {
  const slab = new Slab(bytes);
  const ip = new Ipv4Record();
  const tcp = new TcpRecord();
  if (readIpv4(slab, 0, bytes.length, ip) !== Drop.None) throw new Error("bad packet");
  if (readTcp(slab, ip.dataStart, ip.dataEnd, tcp) !== Drop.None) throw new Error("bad segment");
  return {
    flags: tcp.flags,
    sequence: tcp.sequence,
    acknowledgment: tcp.acknowledgment,
    window: tcp.window,
    ...(tcp.hasTimestamp ? { tsVal: tcp.tsVal, tsEcr: tcp.tsEcr } : {}),
    sack: Array.from(
      { length: tcp.sackCount },
      (_, at) => [tcp.sackEdges[2 * at]!, tcp.sackEdges[2 * at + 1]!] as [number, number],
    ),
    data: bytes.slice(tcp.dataStart, tcp.dataEnd),
    bytes,
  };
}
