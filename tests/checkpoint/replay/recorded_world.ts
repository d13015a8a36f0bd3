import { VirtualClock } from "../../../base/clock.ts";
import { Prng } from "../../../base/random.ts";
import { SleepyHost } from "../../../checkpoint/host.ts";
import { Recorder } from "../../../checkpoint/replay/recorder.ts";
import type { FirewallRules } from "../../../net/firewall/rule.ts";
import { impair } from "../../../net/link/impaired.ts";
import type { Link } from "../../../net/link/link.ts";
import { Host } from "../../../net/socket/host.ts";
import type { TcpConnection } from "../../../net/socket/conn.ts";
import type { TcpConn } from "../../../net/socket/types.ts";
import { Disk, MortalClock, ScriptedStore, WireEnd } from "../sleep_world.ts";

export const SERVER = "10.0.0.1";
export const SERVER6 = "2001:db8::1";
const RULES: FirewallRules = {
  policy: { input: "accept" },
  rules: [
    { protocol: "tcp", destinationPort: 9, action: "drop" },
    { protocol: "tcp", destinationPort: 10, action: "reject" },
  ],
};

/** What a world has left: each packet that a host sent and when, and the recordings of its hosts by name. */
export interface WorldRun {
  readonly packets: string[];
  readonly recordings: Map<string, Uint8Array<ArrayBuffer>>;
}

export interface WorldOptions {
  readonly seed: number;
  readonly record: boolean;
  /** Bytes that each connection sends each way. */
  readonly bytes?: number;
}

/**
 * A client and a server of handlers, streams and datagrams over a bad Ethernet, both IP families, with a firewall.
 * Connections sleep and wake, the server's process is killed while they do, and the next one goes on.
 */
export class RecordedWorld {
  readonly clock: VirtualClock = new VirtualClock();
  readonly #options: WorldOptions;
  readonly #packets: string[] = [];
  readonly #recorders = new Map<string, Recorder>();
  readonly #disk = new Disk();
  readonly #near = new WireEnd(this.clock, 3, "ethernet");
  readonly #far = new WireEnd(this.clock, 3, "ethernet");
  readonly #client: Host;
  #kill: () => void = () => {};
  #lives = 0;

  constructor(options: WorldOptions) {
    this.#options = options;
    const { clock } = this;
    this.#near.other = this.#far;
    this.#far.other = this.#near;
    const trouble = { loss: 0.04, reorder: 0.03, duplicate: 0.03, corrupt: 0.01, jitterMs: 2 };
    this.#client = new Host({
      interfaces: [{ link: this.#watched(impair(this.#near, { clock, seed: options.seed, ...trouble })) }],
      addresses: [{ address: "10.0.0.2/24" }, { address: "2001:db8::2/64" }],
      clock,
      entropy: new Prng(options.seed),
      ...this.#recorder("client"),
    });
  }

  #recorder(name: string): { recorder?: Recorder } {
    if (!this.#options.record) return {};
    const recorder = new Recorder({ about: { seed: this.#options.seed, host: name } });
    this.#recorders.set(name, recorder);
    return { recorder };
  }

  #sent(who: string, bytes: Uint8Array): boolean {
    this.#packets.push(`${who} ${this.clock.nowMs()} ${[...bytes].join(" ")}`);
    return true;
  }

  /** What the client sends, before something happens to it. */
  #watched(inner: Link): Link {
    const send = inner.send.bind(inner);
    inner.send = (slab, start, end) => {
      this.#sent("client", slab.bytes.subarray(start, end));
      return send(slab, start, end);
    };
    return inner;
  }

  /** The next process of the server, on the disk of the one before. */
  #start(): SleepyHost {
    const name = `server ${++this.#lives}`;
    const clock = new MortalClock(this.clock);
    const store = new ScriptedStore(this.#disk);
    this.#far.onSend = (bytes) => this.#sent(name, bytes);
    const host = new SleepyHost({
      interfaces: [{ link: this.#far, mac: "02:00:00:00:00:01" }],
      addresses: [{ address: `${SERVER}/24` }, { address: `${SERVER6}/64` }],
      firewall: RULES,
      clock,
      entropy: new Prng(this.#options.seed * 100 + this.#lives),
      store,
      idleMs: 500,
      ...this.#recorder(name),
    });
    this.#kill = () => {
      clock.dead = store.dead = true;
      this.#far.sink = undefined;
      this.#far.onSend = () => false;
    };
    host.serve({
      port: 7,
      hostname: "::",
      open: (connection) => void (connection.attachment = { bytes: 0 }),
      data: (connection, bytes) => {
        const known = connection.attachment as { bytes: number };
        connection.attachment = { bytes: known.bytes + bytes.length };
        connection.write(bytes);
      },
    });
    void this.#echoStreams(host);
    void this.#echoDatagrams(host);
    return host;
  }

  async #echoStreams(host: SleepyHost): Promise<void> {
    for await (const conn of host.listen({ port: 80, hostname: "::", tcpOptions: { noDelay: true } })) {
      conn.readable.pipeTo(conn.writable).catch(() => {});
    }
  }

  async #echoDatagrams(host: SleepyHost): Promise<void> {
    const socket = host.listenDatagram({ port: 53, hostname: "::", transport: "udp" });
    try {
      for await (const [bytes, from] of socket) await socket.send(bytes, from);
    } catch {
      // the host is gone
    }
  }

  async #finish<T>(promise: Promise<T>): Promise<T> {
    let over = false;
    promise.then(() => over = true, () => over = true);
    if (!await this.clock.runUntil(() => over)) throw new Error("A world's hour is over");
    return await promise;
  }

  async #talk(conn: TcpConn, seed: number): Promise<void> {
    const bytes = new Uint8Array(this.#options.bytes ?? 40_000);
    new Prng(seed).fill(bytes);
    const write = async (): Promise<void> => {
      for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at, at + 3_000));
    };
    const read = async (): Promise<void> => {
      const buffer = new Uint8Array(5_000);
      for (let at = 0; at < bytes.length;) {
        const count = await conn.read(buffer);
        if (count === null || buffer.subarray(0, count).some((byte, index) => byte !== bytes[at + index])) {
          throw new Error(`Stream ${seed} differs at ${at}`);
        }
        at += count;
      }
    };
    await Promise.all([write(), read()]);
  }

  /** The whole story. */
  async run(): Promise<WorldRun> {
    const client = this.#client;
    let server = this.#start();
    await this.clock.advance(3_000); // addresses are found to be nobody else's
    const open = (hostname: string, port: number): Promise<TcpConnection> =>
      this.#finish(client.connect({ hostname, port }));
    const handled = await open(SERVER, 7), handled6 = await open(SERVER6, 7);
    const streamed = await open(SERVER, 80), streamed6 = await open(SERVER6, 80);
    const all = [handled, handled6, streamed, streamed6];
    streamed.setKeepAlive(true);
    await this.#finish(Promise.all(all.map((conn, index) => this.#talk(conn, index))));
    await this.clock.advance(5_000);
    if (server.counts.asleep < 3) throw new Error(`Only ${server.counts.asleep} sleep`);
    await this.#finish(Promise.all(all.map((conn, index) => this.#talk(conn, index + 10)))); // all wake

    const socket = client.listenDatagram({ port: 4_000, hostname: "::", transport: "udp" });
    const hear = async (): Promise<void> => {
      for await (const _ of socket);
    };
    void hear().catch(() => {});
    for (let size = 1; size < 5_000; size *= 7) { // the longest in fragments
      for (const hostname of [SERVER6, SERVER]) {
        for (const port of [53, 54]) { // nobody has the second
          await socket.send(new Uint8Array(size), { hostname, port, transport: "udp" }).catch(() => {});
        }
      }
      await this.clock.advance(100);
    }
    await this.#finish(client.connect({ hostname: SERVER, port: 10 }).catch(() => {})); // rejected
    const silent = client.connect({ hostname: SERVER, port: 9, signal: AbortSignal.abort() }).catch(() => {});
    await this.#finish(silent);

    await this.clock.advance(8_000);
    if (server.counts.asleep < 3) throw new Error(`Only ${server.counts.asleep} sleep`);
    this.#kill();
    const woken = this.#talk(handled, 20), woken6 = this.#talk(handled6, 21);
    await this.clock.advance(700);
    server = this.#start();
    await this.#finish(Promise.all([woken, woken6]));
    await this.#finish(handled.sendUrgent(Uint8Array.of(1)));
    for (const conn of [handled, handled6]) conn.close();
    await this.clock.advance(3_000);
    await this.#finish(server.shutdown());
    socket.close();
    client.close();
    const recordings = new Map([...this.#recorders].map(([name, recorder]) => [name, recorder.bytes()]));
    return { packets: this.#packets, recordings };
  }
}
