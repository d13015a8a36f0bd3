import type { EventEmitter } from "eventemitter3";
import type { VirtualClock } from "../../base/clock.ts";
import { Prng } from "../../base/random.ts";
import type { Recorder } from "../../checkpoint/replay/recorder.ts";
import { SleepyHost } from "../../checkpoint/host.ts";
import { FileStore } from "../../checkpoint/store/file_store.ts";
import { RecordState } from "../../net/connections/connection_map.ts";
import type { TcpConnection } from "../../net/socket/conn.ts";
import { BadResource, BrokenPipe } from "../../net/socket/errors.ts";
import type { Connection } from "../../net/socket/connection.ts";
import type { HandlerServer } from "../../net/socket/handlers.ts";
import { FaultyDisk } from "../support/faulty_disk.ts";
import { content, firstWrong, ID_BYTES, idOfClient } from "./content.ts";
import type { Fabric, Plug } from "./fabric.ts";
import type { Judge } from "./judge.ts";
import type { Account } from "./ledger.ts";
import { type DiskFaults, Killed, ProcessDisk } from "./machine_disk.ts";
import { NodeClock } from "./node_clock.ts";
import type { ServerPlan, Service } from "./plan.ts";
import { must } from "./violation.ts";

export const SERVER_ADDRESSES = ["10.0.0.1", "fd00::1"] as const;
export const PORTS: Readonly<Record<Service, number>> = { handlers: 7, conn: 9 };

/** What a connection carries through sleep and death: as much as its server needs to go on. */
interface Memory {
  /** The client's first bytes, until they say whose connection it is. */
  head: number[];
  id: number;
  got: number;
  said: number;
  notes: number;
}

/** Far more than a world has, and little memory: worlds are many. */
export const CONNECTIONS_MAX = 1_024;

/** Nine unanswered probes take longer than all wires are ever cut. */
const KEEP_ALIVE_INTERVAL_MS = 60_000;

const NEW: Memory = { head: [], id: 0, got: 0, said: 0, notes: 0 };

/** How the server's machine reaches the rest of the world. */
export interface ServerWorld {
  readonly clock: VirtualClock;
  readonly fabric: Fabric;
  readonly judge: Judge;
  readonly seed: number;
  account(id: number): Account | undefined;
  accounts(): Iterable<Account>;
  tell(what: string): void;
  record(name: string): Recorder | undefined;
  /** A violation that came to light where nobody could catch it. */
  fail(error: unknown): void;
}

/**
 * The server's machine: a disk that survives, and one process after the other, each with a `SleepyHost` that
 * serves two ports. Each answers every byte with one of its own. A connection's state lies in its attachment
 * only; the world's accounts are compared with it.
 */
export class ServerMachine {
  readonly disk: FaultyDisk;
  process: ServerProcess | undefined;
  plug: Plug;
  lives = 0;
  kills = 0;
  suspends = 0;
  restores = 0;
  rotten = 0;
  /** What the clocks of processes that start from now on are ahead of the world's. */
  aheadMs = 0;
  readonly #world: ServerWorld;
  readonly #plan: ServerPlan;
  readonly #prng: Prng;
  #faults: DiskFaults = { writes: 0, syncs: 0, reads: 0 };
  #cut = false;
  #mtu = 1500;
  #calm = false;

  constructor(world: ServerWorld, plan: ServerPlan) {
    this.#world = world;
    this.#plan = plan;
    this.#prng = new Prng(world.seed ^ 0x5e7e);
    this.disk = new FaultyDisk(world.seed, { shortWrites: plan.shortWrites });
    this.plug = this.#newPlug();
  }

  set faults(faults: DiskFaults) {
    this.#faults = faults;
    if (this.process !== undefined) this.process.disk.faults = faults;
  }

  set cut(cut: boolean) {
    this.#cut = this.plug.cut = cut;
  }

  set mtu(mtu: number) {
    this.#mtu = this.plug.pathMtu = mtu;
  }

  /** No faults from here on. */
  calm(): void {
    this.#calm = true;
    this.faults = { writes: 0, syncs: 0, reads: 0 };
    this.cut = false;
    Object.assign(this.plug.faults, QUIET);
  }

  /** Starts a process; one that its disk refuses is tried again by whoever watches machines. */
  async start(): Promise<void> {
    this.disk.restart();
    this.plug = this.#newPlug();
    const process = new ServerProcess(this.#world, this.#plan, this, this.plug, this.#prng);
    process.disk.faults = this.#faults;
    try {
      await process.open();
      this.process = process;
    } catch (error) {
      if (!(error instanceof Killed)) process.die();
      this.#world.tell(`the server does not start: ${(error as Error).message}`);
      this.restart(500);
    }
  }

  /** Starts a process in a while, when there is none by then. */
  restart(afterMs: number): void {
    const { clock } = this.#world;
    clock.at(clock.nowMs() + afterMs, () => {
      if (this.process !== undefined) return;
      this.#world.tell("the server starts");
      this.start().catch((error) => this.#world.fail(error));
    });
  }

  /** The process dies at once; with `power`, what was not synced may be lost. */
  kill(power: boolean): void {
    const { process } = this;
    if (process === undefined) return;
    this.kills++;
    this.process = undefined;
    this.suspends += process.host.sleeper.stats.suspends;
    this.restores += process.host.sleeper.stats.restores;
    for (const account of this.#world.accounts()) {
      if (account.over || account.broken !== undefined) continue;
      if (account.tuple !== undefined && process.isAsleep(account.tuple)) {
        if (account.unnoted) account.excuse("it slept before its server could note what it had read");
        continue;
      }
      account.excuse(
        power ? "its server lost power while it was awake" : "its server was killed while it was awake",
      );
      if (!power) continue;
      account.forgiven = true;
      const flow = this.#world.judge.flow(account.id);
      if (flow !== undefined) flow.forgiven = true;
    }
    process.die();
    if (power) {
      this.disk.off = true;
      this.disk.reboot(this.#prng.uint32());
    } else this.disk.restart();
  }

  /** Turns one bit of the image of a connection that sleeps; whether there was one. */
  rot(account: Account): boolean {
    const location = account.tuple === undefined ? -1 : this.process?.locationOf(account.tuple) ?? -1;
    if (location < 0) return false;
    let image: Uint8Array;
    try {
      image = this.process!.store.read(location);
    } catch {
      return false; // the disk refuses just now
    }
    const name = `${String(Math.floor(location / 2 ** 32)).padStart(8, "0")}.seg`;
    const at = indexOf(this.disk.bytes(name), image, location % 2 ** 32);
    this.disk.flip(name, at + this.#prng.below(image.length), this.#prng.below(8));
    account.excuse("its image has rotted");
    this.rotten++;
    return true;
  }

  #newPlug(): Plug {
    const { fabric, judge, seed } = this.#world;
    const plug = fabric.plug("server", SERVER_ADDRESSES, new Prng(seed ^ 0xfab), judge.tap("server"));
    plug.faults = { ...this.#plan.wire, ...(this.#calm ? QUIET : {}) };
    plug.cut = this.#cut;
    plug.pathMtu = this.#mtu;
    return plug;
  }
}

/** Faults of a wire that calm takes away; its delay stays. */
export const QUIET = { loss: 0, duplicate: 0, corrupt: 0, reorder: 0, jitterMs: 0 } as const;

/** One life of the server. */
export class ServerProcess {
  readonly disk: ProcessDisk;
  readonly clock: NodeClock;
  host!: SleepyHost;
  store!: FileStore;
  handlers!: HandlerServer;
  /** What handlers keep though they are told not to: objects of connections that may be asleep by now. */
  readonly #objects = new Map<number, Connection>();
  /** Deeds until it dies; Infinity: not by this. */
  dieAfter = Infinity;
  dieLate = false;
  onDeath: () => void = () => {};
  #dead = false;
  /** Which process of its machine it is, from 1 on. */
  readonly #life: number;
  readonly #world: ServerWorld;
  readonly #plan: ServerPlan;
  readonly #plug: Plug;
  readonly #prng: Prng;

  constructor(
    world: ServerWorld,
    plan: ServerPlan,
    machine: ServerMachine,
    plug: Plug,
    prng: Prng,
  ) {
    this.#world = world;
    this.#plan = plan;
    this.#plug = plug;
    this.#prng = prng;
    this.clock = new NodeClock(world.clock, machine.aheadMs);
    this.#life = ++machine.lives;
    this.disk = new ProcessDisk(machine.disk, prng, world.clock, plan.syncMs, (act) => this.#deed(act));
    plug.beforeSend = () => this.#deed(() => {}, true);
  }

  async open(): Promise<void> {
    const entropy = new Prng(this.#prng.uint32());
    const recorder = this.#world.record(`server-${this.#life}`);
    this.store = await FileStore.open(this.disk, { segmentBytes: this.#plan.segmentBytes, entropy });
    this.host = new SleepyHost({
      interfaces: [{ link: this.#plug }],
      addresses: [{ address: "10.0.0.1/24" }, { address: "fd00::1/64" }],
      clock: this.clock,
      entropy,
      tcp: this.#plan.tcp,
      ...(recorder === undefined ? {} : { recorder }),
      connectionsMax: CONNECTIONS_MAX,
      store: this.store,
      idleMs: this.#plan.idleMs,
    });
    const { sleeper } = this.host as { sleeper: EventEmitter };
    sleeper.on("error", () => {}); // what a disk refuses is tried again; what is lost is found by the accounts
    sleeper.on("lost", ({ id }: { id: string }) => this.#world.tell(`the image of ${id} is lost`));
    this.handlers = this.host.serve({
      port: PORTS.handlers,
      hostname: "::",
      open: (connection) => {
        connection.attachment = { ...NEW };
        const { keepAliveMs } = this.#plan;
        if (keepAliveMs > 0) connection.setKeepAlive(true, keepAliveMs, KEEP_ALIVE_INTERVAL_MS);
      },
      data: (connection, bytes) => this.#guarded(() => this.#data(connection, bytes)),
      end: (connection) => this.#guarded(() => this.#end(connection)),
      close: (connection, error) => this.#guarded(() => this.#closed(connection, error)),
    });
    const listener = this.host.listen({ port: PORTS.conn, hostname: "::" });
    this.#accept(listener).catch(() => {}); // until the process dies
  }

  /** Deaf, mute and without effect from now on. */
  die(): void {
    this.#dead =
      this.disk.dead =
      this.clock.dead =
      this.#plug.dead =
        true;
  }

  /** Whether a connection sleeps, its image durable. */
  isAsleep(tuple: string): boolean {
    return this.locationOf(tuple) >= 0;
  }

  locationOf(tuple: string): number {
    const record = this.host.recordOf(tuple);
    const map = this.host.stack.connections;
    if (record < 0 || map.state(record) !== RecordState.asleep) return -1;
    return (map.get(record, 5) >>> 0) * 2 ** 32 + (map.get(record, 4) >>> 0);
  }

  /** One deed of the process, before or after which it may have to die. */
  #deed(act: () => void, isPacket = false): void {
    const last = !this.#dead && this.dieAfter-- <= 0;
    if (last && (!this.dieLate || isPacket)) return this.#fall(isPacket);
    act();
    if (last) this.#fall(isPacket);
  }

  #fall(isPacket: boolean): void {
    this.dieAfter = Infinity;
    this.onDeath();
    if (!isPacket) throw new Killed("killed in the middle of it");
  }

  #guarded(act: () => void): void {
    if (this.#dead) return;
    try {
      act();
    } catch (error) {
      this.#world.fail(error);
    }
  }

  /** The account of a connection, once its first bytes have come; `undefined` before. */
  #take(memory: Memory, bytes: Uint8Array): { memory: Memory; account: Account | undefined } {
    let { id, got } = memory;
    const head = [...memory.head];
    for (let at = 0; head.length < ID_BYTES && at < bytes.length; at++) head.push(bytes[at]!);
    if (id === 0 && head.length === ID_BYTES) id = idOfClient(Uint8Array.from(head));
    const account = id === 0 ? undefined : this.#world.account(id);
    must(id === 0 || account !== undefined, () => `The server read the number ${id}, which no client has`);
    if (account !== undefined && !account.forgiven) {
      must(
        memory.got === account.got || memory.id === 0,
        () => `Connection ${id} went on from byte ${memory.got}, and its server had read ${account.got}`,
      );
      must(
        memory.notes === account.notes || memory.id === 0 || account.mayBreak !== undefined,
        () => `Connection ${id} knows of ${memory.notes} notes, of ${account.notes}`,
      );
      const wrong = firstWrong(id, "client", got, bytes);
      must(wrong < 0, () => `The server of connection ${id} read a wrong byte ${got + wrong}`);
      account.got = got + bytes.length;
    }
    got += bytes.length;
    return { memory: { ...memory, head, id, got }, account };
  }

  #data(connection: Connection, bytes: Uint8Array): void {
    const was = connection.attachment as Memory;
    const { memory, account } = this.#take(was, bytes);
    connection.attachment = memory;
    if (account === undefined) return;
    if (account.forgiven) return connection.abort();
    account.accepted();
    account.tuple = connection.id;
    this.#objects.set(account.id, connection);
    // What came before its number was known is answered now.
    const count = was.id === 0 ? memory.got : bytes.length;
    this.#say(connection, memory, account, count);
  }

  #say(connection: Connection, memory: Memory, account: Account, count: number): void {
    must(
      memory.said === account.said,
      () =>
        `Connection ${account.id} would say byte ${memory.said} next, and its server had said ${account.said}`,
    );
    try {
      connection.write(content(account.id, "server", memory.said, count));
    } catch (error) {
      if (!(error instanceof BrokenPipe)) throw error;
      return account.break("server", error.message); // its end came with its last bytes
    }
    connection.attachment = { ...memory, said: memory.said + count };
    account.said += count;
  }

  /** Bytes that nobody asked for. */
  push(account: Account, count: number): void {
    if (account.tuple === undefined || account.service !== "handlers" || account.serverEnded) return;
    this.handlers.with(account.tuple, (connection) =>
      this.#guarded(() => {
        const memory = connection.attachment as Memory;
        if (memory.id !== account.id || account.forgiven || account.serverEnded) return;
        this.#say(connection, memory, account, count);
        account.pushed += count;
      }));
  }

  /** Changes an attachment without a word to the network: by an old object while it is awake, else by waking it. */
  note(account: Account): void {
    if (account.tuple === undefined || account.service !== "handlers" || account.over) return;
    const set = (connection: Connection): void => {
      const memory = connection.attachment as Memory;
      if (memory.id !== account.id) return;
      connection.attachment = { ...memory, notes: memory.notes + 1 };
      account.notes++;
    };
    const known = this.#objects.get(account.id);
    try {
      if (known !== undefined) return set(known);
    } catch (error) {
      must(error instanceof BadResource, () => `A note failed: ${error}`);
    }
    this.handlers.with(account.tuple, (connection) => this.#guarded(() => set(connection)));
  }

  abort(account: Account): void {
    if (account.tuple === undefined || account.service !== "handlers") return;
    account.excuse("its server aborts it");
    this.handlers.with(account.tuple, (connection) => connection.abort());
  }

  #end(connection: Connection): void {
    const memory = connection.attachment as Memory;
    const account = memory.id === 0 ? undefined : this.#world.account(memory.id);
    if (account !== undefined && !account.forgiven) {
      must(
        account.clientEnded && memory.got === account.sent,
        () =>
          `The server of connection ${account.id} saw the end at ${memory.got}; its client has sent ${account.sent}`,
      );
      account.serverSawEnd = account.serverEnded = true;
    }
    connection.end();
  }

  #closed(connection: Connection, error: Error | undefined): void {
    const memory = connection.attachment as Memory | undefined;
    const account = memory === undefined || memory.id === 0 ? undefined : this.#world.account(memory.id);
    if (account !== undefined && error !== undefined) account.break("server", error.message);
  }

  async #accept(listener: AsyncIterable<unknown>): Promise<void> {
    for await (const conn of listener) {
      this.#converse(conn as TcpConnection).catch((error) => {
        if (!this.#dead) this.#world.fail(error);
      });
    }
  }

  /** The account of a connection that has a number, though its memory does not know it. */
  #accountAt(tuple: string): Account | undefined {
    for (const account of this.#world.accounts()) {
      if (account.tuple === tuple && !account.over && account.broken === undefined) return account;
    }
    return undefined;
  }

  /** A server in Deno's way. Between a read and its attachment it may die: then it knows less than its TCP did. */
  async #converse(conn: TcpConnection): Promise<void> {
    let memory = (conn.attachment as Memory | undefined) ?? { ...NEW };
    let account = memory.id === 0 ? this.#accountAt(conn.id) : this.#world.account(memory.id);
    if (account !== undefined && account.mayBreak !== undefined) return conn.endpoint.abort();
    const buffer = new Uint8Array(this.#prng.pick([100, 1_000, 20_000]));
    try {
      for (;;) {
        while (account !== undefined && memory.said < memory.got) {
          account.offered = memory.got;
          const some = await conn.write(content(account.id, "server", memory.said, memory.got - memory.said));
          if (this.#dead) return;
          memory = { ...memory, said: memory.said + some };
          account.said = memory.said;
          this.#remember(conn, memory);
        }
        const count = await conn.read(buffer);
        if (this.#dead) return;
        if (count === null) break;
        ({ memory, account } = this.#take(memory, buffer.subarray(0, count)));
        if (account?.forgiven) return conn.endpoint.abort();
        this.#remember(conn, memory);
        account?.accepted();
        if (account !== undefined) account.tuple = conn.id;
      }
      if (account !== undefined) {
        const { id, clientEnded, sent } = account;
        must(
          clientEnded && memory.got === sent,
          () => `The server of connection ${id} saw the end at ${memory.got}; its client has sent ${sent}`,
        );
        account.serverSawEnd = account.serverEnded = true;
      }
      await conn.closeWrite();
      conn.close();
    } catch (error) {
      if (this.#dead) return;
      if ((error as Error).name === "Violation") throw error;
      account?.break("server", (error as Error).message); // whose connection it was nobody knows yet
    }
  }

  /** An attachment can be set while the connection is awake. Else what its process knows dies with it. */
  #remember(conn: TcpConnection, memory: Memory): void {
    const account = memory.id === 0 ? undefined : this.#world.account(memory.id);
    try {
      conn.attachment = memory;
      if (account !== undefined) account.unnoted = false;
    } catch {
      if (account !== undefined) account.unnoted = true;
    }
  }
}

function indexOf(haystack: Uint8Array, needle: Uint8Array, from: number): number {
  for (let at = from; at + needle.length <= haystack.length; at++) {
    let same = 0;
    while (same < needle.length && haystack[at + same] === needle[same]) same++;
    if (same === needle.length) return at;
  }
  return -1;
}
