import type { VirtualClock } from "../../base/clock.ts";
import { Prng } from "../../base/random.ts";
import type { Recorder } from "../../checkpoint/replay/recorder.ts";
import { SleepyHost } from "../../checkpoint/host.ts";
import { MemoryStore } from "../../checkpoint/store/memory_store.ts";
import type { TcpConnection } from "../../net/socket/conn.ts";
import { Host } from "../../net/socket/host.ts";
import { content, firstWrong } from "./content.ts";
import type { Fabric, Plug } from "./fabric.ts";
import type { Judge } from "./judge.ts";
import type { Account } from "./ledger.ts";
import { NodeClock } from "./node_clock.ts";
import { type PeerConn, SimplePeer } from "./peer.ts";
import type { ClientPlan } from "./plan.ts";
import { CONNECTIONS_MAX } from "./server_world.ts";
import { must } from "./violation.ts";

/** A client's side of one connection, whatever TCP is under it. */
export abstract class Talk {
  readonly account: Account;
  /** Bytes of its stream that its application wants to have sent by now. */
  target: number;
  ending = false;
  paused = false;

  constructor(account: Account, bytes: number) {
    this.account = account;
    this.target = Math.max(bytes, 4);
  }

  say(bytes: number): void {
    if (this.ending) return;
    this.target += bytes;
    this.kick();
  }

  /** Sends its FIN once all is sent. */
  end(): void {
    this.ending = true;
    this.kick();
  }

  abstract kick(): void;
  abstract abort(): void;

  /** Bytes of the server's stream have come. */
  protected hear(bytes: Uint8Array): void {
    const { account } = this;
    const { id, heard } = account;
    const said = Math.max(account.said, account.offered);
    const wrong = firstWrong(id, "server", heard, bytes);
    must(wrong < 0, () => `The client of connection ${id} read a wrong byte ${heard + wrong}`);
    must(
      heard + bytes.length <= said || account.forgiven,
      () => `The client of connection ${id} read ${heard + bytes.length} bytes, and ${said} were said`,
    );
    account.heard += bytes.length;
  }

  protected sawEnd(): void {
    const { account } = this;
    must(
      account.serverEnded && account.heard === account.said || account.mayBreak !== undefined,
      () => `The client of connection ${account.id} saw the end at ${account.heard} of ${account.said}`,
    );
    account.clientSawEnd = account.over = true;
  }
}

/** A client's machine. */
export interface ClientMachine {
  readonly plug: Plug;
  /** Its clock, when it runs a stack of ours. */
  readonly clock: NodeClock | undefined;
  readonly host: Host | undefined;
  connect(server: string, port: number, account: Account, bytes: number): Talk;
  /** What is left of its connections. */
  readonly size: number;
}

export interface ClientWorld {
  readonly clock: VirtualClock;
  readonly fabric: Fabric;
  readonly judge: Judge;
  record(name: string): Recorder | undefined;
  fail(error: unknown): void;
}

/** The machine number `number` (from 1) of a world. */
export function clientMachine(
  world: ClientWorld,
  plan: ClientPlan,
  number: number,
  seed: number,
): ClientMachine {
  const addresses = [`10.0.0.${number + 1}`, `fd00::${(number + 1).toString(16)}`];
  const prng = new Prng(seed + number * 7919);
  if (plan.kind === "simple") {
    const plug = world.fabric.plug(`peer ${number}`, addresses, prng);
    plug.faults = { ...plan.wire };
    return new SimpleMachine(world, plug, addresses[0]!, prng);
  }
  const name = `client ${number}`;
  const plug = world.fabric.plug(name, addresses, prng, world.judge.tap(name));
  plug.faults = { ...plan.wire };
  return new HostMachine(world, plan, plug, addresses, prng);
}

class SimpleMachine implements ClientMachine {
  readonly plug: Plug;
  readonly clock = undefined;
  readonly host = undefined;
  readonly #peer: SimplePeer;
  readonly #world: ClientWorld;

  constructor(world: ClientWorld, plug: Plug, address: string, prng: Prng) {
    this.plug = plug;
    this.#world = world;
    this.#peer = new SimplePeer(world.clock, plug, address, prng);
  }

  get size(): number {
    return this.#peer.size;
  }

  connect(server: string, port: number, account: Account, bytes: number): Talk {
    return new SimpleTalk(this.#world, this.#peer, server, port, account, bytes);
  }
}

class SimpleTalk extends Talk {
  readonly #conn: PeerConn;

  constructor(
    world: ClientWorld,
    peer: SimplePeer,
    server: string,
    port: number,
    account: Account,
    bytes: number,
  ) {
    super(account, bytes);
    const guarded = (act: () => void): void => {
      try {
        act();
      } catch (error) {
        world.fail(error);
      }
    };
    this.#conn = peer.connect(server, port, {
      opened: () => this.kick(),
      data: (data) => guarded(() => this.hear(data)),
      ended: () =>
        guarded(() => {
          if (account.clientSawEnd) return;
          this.sawEnd();
          this.#conn.end();
        }),
      broken: (why) => guarded(() => account.break("client", why)),
    });
    this.#conn.pull = (from, count) => {
      const some = Math.max(0, Math.min(count, this.target - from));
      if (some > 0) account.sent = Math.max(account.sent, from + some);
      return content(account.id, "client", from, some);
    };
  }

  kick(): void {
    if (this.paused) this.#conn.pause();
    else this.#conn.resume();
    if (this.ending) {
      this.account.clientEnded = true;
      this.account.sent = this.target;
      this.#conn.end();
    } else this.#conn.kick();
  }

  abort(): void {
    this.#conn.abort();
    this.account.break("client", "aborted");
  }
}

class HostMachine implements ClientMachine {
  readonly plug: Plug;
  readonly clock: NodeClock;
  readonly host: Host;
  readonly #world: ClientWorld;
  readonly #prng: Prng;

  constructor(
    world: ClientWorld,
    plan: ClientPlan,
    plug: Plug,
    addresses: readonly string[],
    prng: Prng,
  ) {
    this.plug = plug;
    this.#world = world;
    this.#prng = prng;
    this.clock = new NodeClock(world.clock);
    const recorder = world.record(plug.name.replace(" ", "-"));
    const options = {
      interfaces: [{ link: plug }],
      addresses: [{ address: `${addresses[0]}/24` }, { address: `${addresses[1]}/64` }],
      clock: this.clock,
      entropy: new Prng(prng.uint32()),
      tcp: plan.tcp,
      connectionsMax: CONNECTIONS_MAX,
      ...(recorder === undefined ? {} : { recorder }),
    };
    this.host = plan.kind === "sleepy"
      ? new SleepyHost({ ...options, store: new MemoryStore(), idleMs: prng.pick([20, 300, 2_000]) })
      : new Host(options);
  }

  get size(): number {
    return this.host.stack.connections.size;
  }

  connect(server: string, port: number, account: Account, bytes: number): Talk {
    return new HostTalk(this.#world, this.host, server, port, account, bytes, this.#prng);
  }
}

class HostTalk extends Talk {
  readonly #prng: Prng;
  readonly #abort = new AbortController();
  #conn: TcpConnection | undefined;
  #waiting: (() => void)[] = [];

  constructor(
    world: ClientWorld,
    host: Host,
    server: string,
    port: number,
    account: Account,
    bytes: number,
    prng: Prng,
  ) {
    super(account, bytes);
    this.#prng = prng;
    this.#live(host, server, port).catch((error) => world.fail(error));
  }

  kick(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  abort(): void {
    this.#abort.abort();
    this.#conn?.endpoint.abort();
    this.kick();
  }

  async #live(host: Host, hostname: string, port: number): Promise<void> {
    const { account } = this;
    let conn: TcpConnection;
    try {
      conn = this.#conn = await host.connect({ hostname, port, signal: this.#abort.signal });
    } catch (error) {
      return account.break("client", String(error));
    }
    try {
      await Promise.all([this.#write(conn), this.#read(conn)]);
      if (!conn.endpoint.closed) conn.close();
    } catch (error) {
      if ((error as Error).name === "Violation") throw error;
      account.break("client", (error as Error).message);
    }
  }

  async #write(conn: TcpConnection): Promise<void> {
    const { account } = this;
    for (;;) {
      if (account.broken !== undefined) return;
      if (account.sent < this.target) {
        const piece = Math.min(this.target - account.sent, this.#prng.pick([1, 100, 5_000, 100_000]));
        account.sent += await conn.write(content(account.id, "client", account.sent, piece));
      } else if (this.ending) {
        account.clientEnded = true;
        return await conn.closeWrite();
      } else await this.#news();
    }
  }

  async #read(conn: TcpConnection): Promise<void> {
    for (;;) {
      while (this.paused) await this.#news();
      const buffer = new Uint8Array(this.#prng.pick([10, 1_000, 30_000]));
      const count = await conn.read(buffer);
      if (count === null) break;
      this.hear(buffer.subarray(0, count));
    }
    this.sawEnd();
    this.end(); // what its server has ended it ends as well
  }

  #news(): Promise<void> {
    return new Promise((resolve) => void this.#waiting.push(resolve));
  }
}
