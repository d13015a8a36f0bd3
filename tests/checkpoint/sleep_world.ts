import { type Alarm, type Clock, VirtualClock } from "../../base/clock.ts";
import { Prng } from "../../base/random.ts";
import { Slab } from "../../base/slab.ts";
import { SleepyHost, type SleepyHostOptions } from "../../checkpoint/host.ts";
import {
  type AppendOptions,
  type Commit,
  type LiveRecord,
  type Location,
  type Recall,
  type Store,
  StoreError,
  type StoreStats,
} from "../../checkpoint/store/store.ts";
import { impair, type ImpairOptions } from "../../net/link/impaired.ts";
import { type Link, linkCounters, type LinkSink, type Medium } from "../../net/link/link.ts";
import { Host } from "../../net/socket/host.ts";
import type { TcpConfig } from "../../net/tcp/config.ts";
import { Drop } from "../../net/wire/drop.ts";
import { Ipv4Record, readIpv4 } from "../../net/wire/ipv4.ts";
import { Ipv6Record, readIpv6 } from "../../net/wire/ipv6.ts";
import { readTcp, TcpFlag, TcpRecord } from "../../net/wire/tcp.ts";

/** What a process leaves behind when it dies: the records, and a list of all that happened to them. */
export class Disk {
  readonly records = new Map<Location, Uint8Array>();
  readonly summaries = new Map<Location, Int32Array>();
  next = 0;
  /** Store operations and packets of the server, in order. */
  readonly log: { kind: "append" | "remove" | "send"; count: number }[] = [];
  /** Called before each of them; may kill. */
  before: (kind: "append" | "remove" | "send") => void = () => {};
}

/** A store of one process over a `Disk`, as fast, slow and unwilling as the test says. */
export class ScriptedStore implements Store {
  dead = false;
  /** Gives what `durable` waits for. */
  sync: () => Promise<void> = () => Promise.resolve();
  /** Operations that fail before one succeeds again. */
  fails: { append: number; remove: number; read: number } = { append: 0, remove: 0, read: 0 };
  failed: StoreError | undefined;
  readonly #disk: Disk;

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  get stats(): StoreStats {
    const recordsLive = this.#disk.records.size;
    return {
      recordsLive,
      bytesLive: 0,
      bytesTotal: 0,
      segments: 1,
      bytesMoved: 0,
      syncs: 0,
      damaged: 0,
      torn: 0,
    };
  }

  append(records: readonly Uint8Array[], { supersedes = [], summaries }: AppendOptions = {}): Commit {
    for (const location of supersedes) {
      if (location !== undefined && !this.#disk.records.has(location)) {
        throw new StoreError(`no live record at ${location}`);
      }
    }
    this.#operate("append", records.length);
    for (const location of supersedes) if (location !== undefined) this.#disk.records.delete(location);
    const locations = new Float64Array(records.length);
    records.forEach((bytes, index) => {
      locations[index] = this.#disk.next++;
      this.#disk.records.set(locations[index]!, bytes.slice());
      if (summaries === undefined) return;
      const words = summaries.length / records.length;
      this.#disk.summaries.set(locations[index]!, summaries.slice(words * index, words * (index + 1)));
    });
    return { locations, durable: this.#durable() };
  }

  remove(locations: readonly Location[]): Commit {
    if (new Set(locations).size < locations.length) throw new Error("removed twice");
    for (const location of locations) {
      if (!this.#disk.records.has(location)) throw new StoreError(`no live record at ${location}`);
    }
    this.#operate("remove", locations.length);
    for (const location of locations) this.#disk.records.delete(location);
    return { locations: new Float64Array(0), durable: this.#durable() };
  }

  read(location: Location): Uint8Array {
    this.#fail("read");
    const bytes = this.#disk.records.get(location);
    if (bytes === undefined) throw new StoreError(`no live record at ${location}`);
    return bytes.slice();
  }

  summaryOf(location: Location): Int32Array | undefined {
    return this.#disk.summaries.get(location);
  }

  *live(): IterableIterator<LiveRecord> {
    for (const [location, bytes] of this.#disk.records) yield { location, bytes, origin: location };
  }

  recall(take: Recall): void {
    for (const record of this.live()) {
      const summary = this.#disk.summaries.get(record.location);
      if (summary === undefined) take.record(record);
      else {take.summaries(
          1,
          Float64Array.of(record.location),
          Array.from(summary, (word) => Int32Array.of(word)),
        );}
    }
  }

  onMoved: Store["onMoved"];
  clean(): boolean {
    return false;
  }
  originOf(location: Location): Location {
    return location;
  }

  async close(): Promise<void> {}
  async [Symbol.asyncDispose](): Promise<void> {}

  #durable(): Promise<void> {
    const durable = this.sync();
    durable.catch(() => {});
    return durable;
  }

  #operate(kind: "append" | "remove", count: number): void {
    this.#fail(kind);
    this.#disk.before(kind);
    if (this.dead) throw new StoreError("dead");
    this.#disk.log.push({ kind, count });
  }

  #fail(kind: "append" | "remove" | "read"): void {
    if (this.dead) throw new StoreError("dead");
    if (this.fails[kind] <= 0) return;
    this.fails[kind]--;
    throw new StoreError("ENOSPC", {}, { cause: new Error("ENOSPC") });
  }
}

/** A process's view of the clock: when the process is dead nothing rings any more. */
export class MortalClock implements Clock {
  dead = false;
  readonly #clock: VirtualClock;
  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }
  nowMs(): number {
    return this.#clock.nowMs();
  }
  at(deadlineMs: number, callback: () => void): Alarm {
    return this.#clock.at(deadlineMs, () => void (this.dead || callback()));
  }
}

/** One end of a wire between two hosts; whoever opened it last is connected to it. */
export class WireEnd implements Link {
  readonly medium: Medium;
  mtu = 1500;
  readonly counters = linkCounters();
  other!: WireEnd;
  sink: LinkSink | undefined;
  onSend: (bytes: Uint8Array<ArrayBuffer>) => boolean = () => true;
  readonly #clock: VirtualClock;
  readonly #delayMs: number;

  constructor(clock: VirtualClock, delayMs: number, medium: Medium = "ip") {
    this.medium = medium;
    this.#clock = clock;
    this.#delayMs = delayMs;
  }

  open(sink: LinkSink): void {
    this.sink = sink;
  }

  send(slab: Slab, start: number, end: number): boolean {
    const bytes = slab.bytes.slice(start, end);
    if (!this.onSend(bytes)) return true;
    this.#clock.at(this.#clock.nowMs() + this.#delayMs, () => {
      this.other.sink?.receive(new Slab(bytes), 0, bytes.length);
      this.other.sink?.flush();
    });
    return true;
  }

  flush(): void {}
  close(): void {
    this.sink = undefined;
  }
}

/** One server process. */
export interface Process {
  host: SleepyHost;
  store: ScriptedStore;
  errors: Error[];
  events: string[];
  kill(): void;
  readonly dead: boolean;
}

export interface WorldOptions {
  clock?: VirtualClock;
  delayMs?: number;
  impair?: Omit<ImpairOptions, "clock" | "seed">;
  seed?: number;
  tcp?: Partial<TcpConfig>;
}

/** A client, a wire, a disk, and server processes one after the other. */
export class SleepWorld {
  readonly clock: VirtualClock;
  readonly disk: Disk = new Disk();
  readonly client: Host;
  readonly trace: string[] = [];
  tracing = true;
  process!: Process;
  readonly #serverEnd: WireEnd;
  readonly #tcp: Partial<TcpConfig>;
  #seed: number;

  constructor(options: WorldOptions = {}) {
    this.clock = options.clock ?? new VirtualClock();
    this.#seed = options.seed ?? 1;
    this.#tcp = options.tcp ?? {};
    const near = new WireEnd(this.clock, options.delayMs ?? 5);
    this.#serverEnd = new WireEnd(this.clock, options.delayMs ?? 5);
    near.other = this.#serverEnd;
    this.#serverEnd.other = near;
    const link = options.impair === undefined
      ? near
      : impair(near, { clock: this.clock, seed: this.#seed, ...options.impair });
    near.onSend = (bytes) => {
      if (this.tracing) this.trace.push(`${this.#time()} > ${shown(bytes)}`);
      return true;
    };
    this.client = new Host({
      interfaces: [{ link }],
      addresses: [{ address: "10.0.0.2/24" }, { address: "2001:db8::2/64" }],
      clock: this.clock,
      entropy: new Prng(this.#seed),
    });
  }

  /** Starts a server process on the disk. */
  start(options: Partial<SleepyHostOptions> = {}, mtu = 1500): Process {
    this.#serverEnd.mtu = mtu;
    const clock = new MortalClock(this.clock);
    const store = new ScriptedStore(this.disk);
    const end = this.#serverEnd;
    let dead = false;
    end.onSend = (bytes) => {
      this.disk.before("send");
      if (dead) return false;
      this.disk.log.push({ kind: "send", count: 1 });
      if (this.tracing) this.trace.push(`${this.#time()} < ${shown(bytes)}`);
      return true;
    };
    const host = new SleepyHost({
      interfaces: [{ link: end }],
      addresses: [{ address: "10.0.0.1/24" }, { address: "2001:db8::1/64" }],
      clock,
      entropy: new Prng(this.#seed++ * 1000),
      store,
      tcp: this.#tcp,
      idleMs: 1000,
      ...options,
    });
    const errors: Error[] = [], events: string[] = [];
    host.sleeper.on("error", (error) => void errors.push(error));
    host.sleeper.on("suspended", ({ id }) => void events.push(`suspended ${id}`));
    host.sleeper.on("restored", ({ id }) => void events.push(`restored ${id}`));
    host.sleeper.on("lost", ({ id }) => void events.push(`lost ${id}`));
    this.process = {
      host,
      store,
      errors,
      events,
      kill: () => {
        dead = clock.dead = store.dead = true;
        end.sink = undefined;
      },
      get dead() {
        return dead;
      },
    };
    return this.process;
  }

  #time(): number {
    return Math.round(this.clock.nowMs() - 1_700_000_000_000);
  }
}

function shown(bytes: Uint8Array<ArrayBuffer>): string {
  const slab = new Slab(bytes), tcp = new TcpRecord();
  const ipv6 = bytes[0]! >>> 4 === 6;
  const ip = ipv6 ? new Ipv6Record() : new Ipv4Record();
  const read = ipv6 ? readIpv6 : readIpv4;
  if (read(slab, 0, bytes.length, ip as never) !== Drop.None) return "?";
  if (readTcp(slab, ip.dataStart, ip.dataEnd, tcp) !== Drop.None) return "?";
  const flags = Object.entries(TcpFlag).filter(([, bit]) => (tcp.flags & bit) !== 0).map(([name]) => name)
    .join("");
  return `${tcp.sourcePort}>${tcp.destinationPort} ${flags} ${tcp.sequence >>> 0}+${
    tcp.dataEnd - tcp.dataStart
  } ` +
    `ack ${tcp.acknowledgment >>> 0} win ${tcp.window} ts ${tcp.tsVal >>> 0}`;
}
