import { Prng } from "../../base/random.ts";
import { SleepyHost } from "../../checkpoint/host.ts";
import { Kind } from "../../checkpoint/image/kinds.ts";
import { readImage } from "../../checkpoint/image/read.ts";
import { type FrozenSocket, readSocketImage } from "../../checkpoint/sockets/socket_image.ts";
import { readStretch } from "../../checkpoint/sockets/stretch.ts";
import { FileStore } from "../../checkpoint/store/file_store.ts";
import { RecordState } from "../../net/connections/connection_map.ts";
import { FrozenFlag } from "../../net/tcp/frozen_tcb.ts";
import { locationOfRecord } from "../../net/wake/slot.ts";
import type { Plug } from "./fabric.ts";
import { Killed, ProcessDisk } from "./machine_disk.ts";
import { NodeClock } from "./node_clock.ts";
import type { ServerPlan } from "./plan.ts";
import type { ServerMachine } from "./server_machine.ts";
import { CONNECTIONS_MAX, type ServerWorld } from "./server_world.ts";
import type { Account } from "./ledger.ts";
import { type Memory, NEW, Services } from "./services.ts";
import { must } from "./violation.ts";
import { watchWakes } from "./wake_watch.ts";

/** One life of the server. */
export class ServerProcess {
  readonly disk: ProcessDisk;
  readonly clock: NodeClock;
  host!: SleepyHost;
  store!: FileStore;
  /** What it serves. */
  services!: Services;
  /** Deeds until it dies; Infinity: not by this. */
  dieAfter = Infinity;
  dieLate = false;
  onDeath: () => void = () => {};
  #dead = false;
  /** Which process of its machine it is, from 1 on. */
  readonly #life: number;
  readonly #world: ServerWorld;
  readonly #plan: ServerPlan;
  readonly #machine: ServerMachine;
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
    this.#machine = machine;
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
    this.store = await FileStore.open(this.disk, {
      segmentBytes: this.#plan.segmentBytes,
      ...(this.#plan.blockEntries === undefined ? {} : { blockEntries: this.#plan.blockEntries }),
      entropy,
      onDamage: ({ file, offset, bytes, reason }) => {
        if (reason.endsWith("cut off as a torn write")) this.#machine.torn(file, offset, bytes);
      },
    });
    this.disk.opening = false;
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
      wake: this.#plan.wake,
    });
    const { sleeper } = this.host;
    sleeper.on("error", () => {}); // what a disk refuses is tried again; what is lost is found by the accounts
    sleeper.on("lost", ({ id }: { id: string }) => {
      this.#world.tell(`the image of ${id} is lost`);
      if (!this.#machine.readsRefused) return;
      for (const account of this.#world.accounts()) {
        if (account.tuple === id) account.excuse("its image could not be read for too long");
      }
    });
    watchWakes(this.host, this.#plan, () => !this.#machine.hasRefused, (error) => this.#world.fail(error));
    this.services = new Services(
      this.#world,
      this.host,
      this.#plan,
      this.#prng,
      () => this.#dead,
    );
    // Before the first turn, in which some of them wake.
    for (const account of this.#world.accounts()) if (account.service === "durable") this.#audit(account);
  }

  /** Deaf, mute and without effect from now on. */
  die(): void {
    this.#dead =
      this.disk.dead =
      this.clock.dead =
      this.#plug.dead =
        true;
  }

  /** The image of a sleeping connection, with what of it lies elsewhere. @throws What its store throws. */
  imageAt(location: number): FrozenSocket {
    return readSocketImage(this.store.read(location), (number) => {
      for (const { bytes } of this.store.live()) {
        if (readImage(bytes).kind === Kind.Stretch && readStretch(bytes).number === number) {
          return bytes.slice();
        }
      }
      throw new Error(`There is no stretch ${number}`);
    });
  }

  /** What its store knows of a durable connection is what is true of it from now on. */
  #audit(account: Account): void {
    if (account.tuple === undefined || account.over) return;
    const excused = account.mayBreak !== undefined;
    const { faults } = this.disk;
    this.disk.faults = { writes: 0, syncs: 0, reads: 0 };
    try {
      const record = this.host.recordOf(account.tuple);
      must(
        record >= 0 || account.serverEnded || excused,
        () => `Connection ${account.id} is not in the store`,
      );
      if (record < 0) return;
      const { tcb, attachment } = this.imageAt(locationOfRecord(this.host.stack.connections, record));
      const { id, got, said, pushed, notes } = (attachment ?? NEW) as Memory;
      const ended = (tcb[6] & FrozenFlag.finQueued) !== 0;
      account.restart({ named: id !== 0, got, said, pushed, notes, ended });
    } catch (error) {
      if (!excused) throw error; // it may have rotted
    } finally {
      this.disk.faults = faults;
    }
  }

  /** Whether a connection sleeps, its image durable. */
  isAsleep(tuple: string): boolean {
    return this.locationOf(tuple) >= 0;
  }

  locationOf(tuple: string): number {
    const record = this.host.recordOf(tuple);
    const map = this.host.stack.connections;
    if (record < 0 || map.state(record) !== RecordState.asleep) return -1;
    return locationOfRecord(map, record);
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
}
