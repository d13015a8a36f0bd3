import { setImmediate } from "node:timers/promises";
import { VirtualClock } from "../../base/clock.ts";
import { Prng } from "../../base/random.ts";
import type { Recorder } from "../../checkpoint/replay/recorder.ts";
import { RecordState } from "../../net/connections/connection_map.ts";
import { FLOOD_ANSWERS_MAX, forge, packetsOf } from "./attacker.ts";
import { type ClientMachine, clientMachine, type Talk } from "./clients.ts";
import { Fabric } from "./fabric.ts";
import { type Flow, Judge } from "./judge.ts";
import { Account } from "./ledger.ts";
import { MTU_MIN, type Plan, type Step, tellStep } from "./plan.ts";
import { QUIET, ServerMachine } from "./server_machine.ts";
import { PORTS, SERVER_ADDRESSES } from "./server_world.ts";
import { must } from "./violation.ts";

/** What a world was like. */
export interface WorldStats {
  connections: number;
  /** Those that may have broken, and those that did. */
  excused: number;
  broken: number;
  bytes: number;
  packets: number;
  suspends: number;
  restores: number;
  kills: number;
  /** Virtual time. */
  ms: number;
}

const START_MS = 1_700_000_000_000;
/** Steps of the clock in one world: what needs more goes round in circles. */
const TICKS_MAX = 2_000_000;
/** Who cannot sleep is looked at every ten seconds: of weeks of that so many moments are enough. */
const QUIET_TICKS_MAX = 200_000;
/** Rounds of promises that a process may take to open its store. */
const START_TURNS_MAX = 100_000;
/** How long nothing at all may happen, once the faults are off, where something has to: TCP's longest pauses. */
const LIVENESS_MS = 1_800_000;
/** And how long the last connections linger: TIME-WAIT, FIN-WAIT-2, orphans that are given up. */
const LINGER_MS = 3_600_000;

/**
 * A whole world in one process: machines, wires, a disk, applications, under one clock. First it lives by its
 * plan, with faults, and what is said of it must hold at every tick; then the faults are off, and everything
 * that was promised must come true, and nothing be left.
 */
export class World {
  readonly clock: VirtualClock = new VirtualClock(START_MS);
  readonly fabric: Fabric = new Fabric(this.clock);
  readonly judge: Judge = new Judge(this.clock, (violation) => this.fail(violation));
  readonly seed: number;
  readonly server: ServerMachine;
  readonly clients: ClientMachine[];
  /** What happened, in words: the end of it. */
  readonly story: string[] = [];
  readonly record: (name: string) => Recorder | undefined;
  readonly #plan: Plan;
  readonly #talks = new Map<number, Talk>();
  readonly #prng: Prng;
  #failure: unknown;
  #ticks = 0;

  /** @param record Gives a recorder for each stack of ours, by the name of its machine. */
  constructor(plan: Plan, record: (name: string) => Recorder | undefined = () => undefined) {
    this.#plan = plan;
    this.record = record;
    this.seed = plan.seed;
    this.#prng = new Prng(plan.seed ^ 0x3333);
    this.server = new ServerMachine(this, plan.server);
    this.clients = plan.clients.map((each, index) => clientMachine(this, each, index + 1, plan.seed));
  }

  get #diskRefuses(): boolean {
    return this.#plan.steps.some((step) => step.do === "disk" && step.writes > 0);
  }

  account(id: number): Account | undefined {
    return this.#talks.get(id)?.account;
  }

  *accounts(): IterableIterator<Account> {
    for (const talk of this.#talks.values()) yield talk.account;
  }

  tell(what: string): void {
    this.story.push(`${((this.clock.nowMs() - START_MS) / 1000).toFixed(3)}  ${what}`);
    if (this.story.length > 2_000) this.story.shift();
  }

  fail(error: unknown): void {
    this.#failure ??= error;
  }

  /**
   * Lives from the beginning to the end.
   * @throws {Violation} At the first thing that may not be; or whatever the code under test throws.
   */
  async live(): Promise<WorldStats> {
    await this.server.start();
    for (const step of this.#plan.steps) {
      await this.#run(() => false, START_MS + step.atMs);
      this.tell(tellStep(step));
      this.#take(step);
      await settle();
    }
    await this.#calm();
    await this.#finish();
    return this.#stats();
  }

  /** Runs until `done`, or until the world's clock is at `untilMs`. */
  async #run(done: () => boolean, untilMs: number): Promise<boolean> {
    let atRest = false;
    for (;;) {
      await settle();
      for (let turns = 0; this.server.starting; turns++) { // no time passes while a store is opened
        must(turns < START_TURNS_MAX, () => "A process does not start");
        await settle();
      }
      this.#check();
      if (done()) return true;
      if (this.clock.step(untilMs)) {
        atRest = false;
        must(++this.#ticks < TICKS_MAX, () => "The world does not come to rest");
      } else if (atRest) break;
      else { // what is under way without a clock ends, however long it takes, before time leaps
        atRest = true;
        await setImmediate();
      }
    }
    await this.clock.advance(Math.max(0, Math.min(untilMs, 1e14) - this.clock.nowMs()));
    return done();
  }

  /** What must hold at every moment. */
  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
    const { process } = this.server;
    if (process === undefined) return;
    if (process.store.failed !== undefined) {
      this.tell("its store has failed: the server is killed and started anew");
      this.server.kill(false);
      this.server.restart(100);
      return;
    }
    const { stack } = process.host;
    must(stack.tcp.awake <= stack.connections.size, () => "More TCBs than connections");
    must(stack.sleepers.held.bytes <= 64 << 20, () => "More is held than may be");
    if (this.#ticks % 16 === 0) this.#checkStore();
  }

  /** Map and store agree: who sleeps has a whole image of itself in the store, and nobody has two. */
  #checkStore(): void {
    const { process } = this.server;
    if (process === undefined || process.disk.faults.reads > 0) return;
    const { stack, sleeper } = process.host;
    const map = stack.connections;
    let asleep = 0;
    map.forEach((record) => {
      if (map.state(record) !== RecordState.asleep) return;
      asleep++;
      const id = stack.idOf(record);
      const location = process.locationOf(id);
      try {
        process.imageAt(location);
      } catch (error) {
        const account = [...this.accounts()].find(({ tuple }) => tuple === id);
        must(
          account === undefined || account.mayBreak !== undefined || account.broken !== undefined ||
            account.over,
          () => `Connection ${account?.id} sleeps, and its image cannot be read: ${(error as Error).message}`,
        );
      }
    });
    const live = process.store.stats.recordsLive;
    const others = sleeper.stats.saving + sleeper.logged + map.waking;
    must(
      live >= asleep - this.server.rotten &&
        live <= asleep + others + this.server.rotten + 2 * this.server.kills,
      () => `${asleep} connections sleep, ${others} are on their way, and the store holds ${live}`,
    );
  }

  #take(step: Step): void {
    switch (step.do) {
      case "connect": {
        const client = this.clients[step.client % this.clients.length]!;
        if (this.#talks.has(step.id)) return;
        const simple = client.host === undefined;
        const account = new Account(step.id, step.service, simple, step.lingers ?? false);
        const server = SERVER_ADDRESSES[step.ipv6 && !simple ? 1 : 0];
        this.#talks.set(step.id, client.connect(server, PORTS[step.service], account, step.bytes));
        return;
      }
      case "say":
        return this.#talks.get(step.id)?.say(step.bytes);
      case "end":
        return this.#talks.get(step.id)?.end();
      case "abort": {
        const talk = this.#talks.get(step.id);
        talk?.account.excuse("its client aborts it");
        return talk?.abort();
      }
      case "pause":
      case "resume": {
        const talk = this.#talks.get(step.id);
        if (talk === undefined) return;
        talk.paused = step.do === "pause";
        return talk.kick();
      }
      case "server abort": {
        const account = this.account(step.id);
        if (account !== undefined) this.server.process?.services.abort(account);
        return;
      }
      case "rot": {
        const account = this.account(step.id);
        if (account !== undefined && this.server.rot(account)) this.tell("a bit has turned");
        return;
      }
      case "server end": {
        const account = this.account(step.id);
        if (account !== undefined) this.server.process?.services.endLingering(account);
        return;
      }
      case "push": {
        const account = this.account(step.id);
        if (account !== undefined) this.server.process?.services.push(account, step.bytes);
        return;
      }
      case "note": {
        const account = this.account(step.id);
        if (account !== undefined) this.server.process?.services.note(account);
        return;
      }
      case "suspend":
        for (const id of this.server.process?.host.connections() ?? []) {
          if (this.#prng.chance(step.share)) this.server.process!.host.sleeper.suspend(id);
        }
        return;
      case "kill":
        return this.#kill(step);
      case "shutdown":
        return this.#shutdown(step);
      case "clock":
        this.server.aheadMs = step.aheadMs;
        // What the first process has put to sleep and a second answered for, a third cannot know (docs/limits.md), but
        // by images that are later than its clock, which it must be able to replace. An hour is longer than all worlds'
        // troubles.
        if (step.aheadMs < 0 && this.server.lives > 1 && (step.aheadMs > -3_600_000 || this.#diskRefuses)) {
          this.judge.timestampsMayFall = true;
        }
        return;
      case "stop":
        return this.#stop(step.node, step.forMs);
      case "cut":
        return this.#cut(step.node, step.forMs);
      case "mtu":
        if (step.node === 0) this.server.mtu = step.mtu;
        else this.#client(step.node).plug.pathMtu = step.mtu;
        return;
      case "disk": {
        const { writes, syncs, reads } = step;
        this.server.faults = { writes, syncs, reads };
        this.#later(step.forMs, () => void (this.server.faults = { writes: 0, syncs: 0, reads: 0 }));
        return;
      }
      case "attack": {
        const flow = this.judge.flow(step.id);
        if (flow === undefined) return;
        // A SYN to a server that has forgotten the connection, or is done with it, is nothing but a new connection.
        const { account } = this.#talks.get(step.id)!;
        const over = account.over || account.serverEnded;
        if (!account.whole || over || account.simple && !step.toServer) return;
        return this.#attack(step, flow);
      }
    }
  }

  #attack({ attack, toServer }: Step & { do: "attack" }, flow: Flow): void {
    const plug = toServer ? this.server.plug : this.#plugOf(flow.clientAddress);
    if (plug.stopped) return;
    const { manners } = toServer ? flow.server : flow.client;
    const before = manners.bareAcks;
    const count = packetsOf(attack);
    for (let packets = 0; packets < count; packets++) {
      const packet = forge(attack, flow, toServer, this.#prng);
      if (packet === undefined) return;
      plug.take(packet);
    }
    const answers = manners.bareAcks - before;
    must(
      count === 1 || answers <= FLOOD_ANSWERS_MAX,
      () => `Connection ${flow.id}: ${count} packets of one attack have ${answers} answers`,
    );
    this.#checkPaths();
  }

  /** No path of the worlds is narrower than `MTU_MIN`, whoever says so (RFC 5927 section 7). */
  #checkPaths(): void {
    this.clients.forEach(({ host }, index) => {
      const [server, client] = [0x0a000001, 0x0a000002 + index];
      const there = this.server.process?.host.stack.tcp.output.mtuTowards(client) ?? Infinity;
      const back = host?.stack.tcp.output.mtuTowards(server) ?? Infinity;
      must(Math.min(there, back) >= MTU_MIN, () => `A path of ${Math.min(there, back)} bytes is believed in`);
    });
  }

  #client(node: number): ClientMachine {
    return this.clients[(node - 1) % this.clients.length]!;
  }

  #plugOf(address: Uint8Array): ClientMachine["plug"] {
    return this.clients[address.at(-1)! - 2]!.plug;
  }

  #later(ms: number, act: () => void): void {
    this.clock.at(this.clock.nowMs() + ms, act);
  }

  #kill(step: Step & { do: "kill" }): void {
    const { process } = this.server;
    if (process === undefined) return;
    const die = (): void => {
      if (this.server.process !== process) return;
      this.tell(step.power ? "the power fails" : "the server is killed");
      this.server.kill(step.power);
      this.server.restart(step.downMs);
    };
    process.onDeath = die;
    process.dieLate = step.after;
    if (step.deeds === 0) return die();
    process.dieAfter = step.deeds;
    this.#later(5_000, die);
  }

  #shutdown(step: Step & { do: "shutdown" }): void {
    const { process } = this.server;
    if (process === undefined || process.clock.stopped) return;
    const over = (): void => {
      if (this.server.process !== process) return;
      this.tell("the server is gone");
      this.server.kill(false);
      this.server.restart(step.downMs);
    };
    process.host.sleeper.shutdown().then(over, (error) => this.fail(error));
  }

  #stop(node: number, forMs: number): void {
    const { clock, plug } = node === 0
      ? { clock: this.server.process?.clock, plug: this.server.plug }
      : this.#client(node);
    if (clock === undefined || clock.stopped) return; // the simple peer is always there
    clock.stop();
    plug.stopped = true;
    this.#later(forMs, () => {
      clock.proceed();
      plug.proceed();
    });
  }

  #cut(node: number, forMs: number): void {
    const set = (cut: boolean): void => {
      if (node === 0) this.server.cut = cut;
      else this.#client(node).plug.cut = cut;
    };
    set(true);
    this.#later(forMs, () => set(false));
  }

  /** No faults from here on, and everybody gets on with it. */
  async #calm(): Promise<void> {
    this.tell("calm");
    this.#checkPaths();
    await this.#run(() => false, this.clock.nowMs() + 31_000); // what was drawn to end by itself
    this.server.calm();
    for (const { plug } of this.clients) {
      plug.cut = false;
      Object.assign(plug.faults, QUIET);
    }
    if (this.server.process === undefined) this.server.restart(0);
    for (const talk of this.#talks.values()) {
      talk.paused = false;
      talk.kick();
    }
    await this.#deliver();
    for (const talk of this.#talks.values()) talk.say(5);
    const settled = ({ account }: Talk): boolean =>
      account.broken !== undefined || account.over ||
      account.sent === account.got && account.heard === account.said &&
        account.said === account.got + account.pushed && account.sent >= 4;
    // Who has said all and only listens never learns that the other is gone, without keep-alive.
    const deaf = ({ account, ending }: Talk): boolean =>
      account.forgiven || account.mayBreak !== undefined && ending;
    if (!await this.#getOn(() => [...this.#talks.values()].every(settled))) {
      const talk = [...this.#talks.values()].find((each) => !settled(each) && !deaf(each)) ??
        [...this.#talks.values()].find((each) => !settled(each))!;
      const { id, sent, got, said, heard, pushed, mayBreak } = talk.account;
      must(
        [...this.#talks.values()].every((each) => settled(each) || deaf(each)),
        () =>
          `Connection ${id} does not get on: client sent ${sent}, server got ${got}, said ${said} (${pushed} unasked), ` +
          `client heard ${heard}; excuse: ${mayBreak}`,
      );
    }
  }

  /** Nobody says anything, for long: who is there is still there, and hears what is said then. */
  async #quiet(): Promise<void> {
    const { quietMs = 0 } = this.#plan.server;
    if (quietMs === 0) return;
    const ticks = this.#ticks + QUIET_TICKS_MAX;
    await this.#run(() => this.#ticks > ticks, this.clock.nowMs() + quietMs);
    for (const talk of this.#talks.values()) talk.say(5);
    await this.#deliver();
  }

  /**
   * Runs until `done`, as long as bytes arrive, however slowly: a TCP without timestamps that has backed off for long
   * (Karn) may need minutes for each window.
   */
  async #getOn(done: () => boolean): Promise<boolean> {
    for (let before = -1;;) {
      const arrived = [...this.accounts()].reduce((sum, { got, heard }) => sum + got + heard, 0);
      if (arrived === before) return false;
      before = arrived;
      if (await this.#run(done, this.clock.nowMs() + LIVENESS_MS)) return true;
    }
  }

  /** Nobody has anything new to say, which would wake others: what was said before must arrive by itself. */
  async #deliver(): Promise<void> {
    const pending = (): Account | undefined =>
      [...this.accounts()].find(({ whole, sent, got, said, heard }) => whole && (sent > got || said > heard));
    if (await this.#getOn(() => pending() === undefined)) return;
    const { id, sent, got, said, heard } = pending()!;
    must(
      false,
      () =>
        `Connection ${id} forgets: client sent ${sent}, server got ${got}, said ${said}, client heard ${heard}`,
    );
  }

  /** All end, and nothing is left. */
  async #finish(): Promise<void> {
    await this.#quiet();
    this.tell("the end");
    for (const talk of this.#talks.values()) {
      if (talk.account.mayBreak !== undefined && talk.ending) talk.abort();
      else talk.end();
      talk.account.lingers = false;
      this.server.process!.services.endLingering(talk.account);
    }
    const ended = ({ account }: Talk): boolean => account.broken !== undefined || account.over;
    await this.#getOn(() => [...this.#talks.values()].every(ended));
    for (const talk of this.#talks.values()) {
      const { account } = talk;
      must(ended(talk) || account.forgiven, () => `Connection ${account.id} does not end`);
      if (!account.whole) continue;
      must(
        account.sent === account.got && account.said === account.heard,
        () => `Connection ${account.id} ended before its end`,
      );
    }
    await this.#run(() => false, this.clock.nowMs() + LINGER_MS);
    const left: string[] = [];
    const host = this.server.process!.host;
    // Whom a power failure or a rotten image has cut off may sleep for ever: its peer is gone.
    const orphans = [...this.accounts()].filter(({ mayBreak }) => mayBreak !== undefined).length;
    if (host.stack.connections.size > orphans) {
      left.push(`${host.stack.connections.size} connections of the server`);
    }
    if (host.stack.tcp.awake > orphans) left.push(`${host.stack.tcp.awake} TCBs of the server`);
    if (host.stack.sleepers.held.bytes > 0) left.push(`${host.stack.sleepers.held.bytes} held bytes`);
    const images = this.server.process!.store.stats.recordsLive;
    if (images > orphans) left.push(`${images} images`);
    this.clients.forEach((client, index) => {
      if (client.size > orphans) left.push(`${client.size} connections of client ${index + 1}`);
    });
    const { segments } = this.server.process!.store.stats;
    if (segments > 1 && orphans === 0) left.push(`${segments - 1} files`);
    // No alarm of anybody rings any more, but for those that were set too early and find nothing to do.
    const ticks = this.#ticks;
    if (orphans === 0) await this.#run(() => false, this.clock.nowMs() + 100 * LINGER_MS);
    if (this.#ticks - ticks > 2 * (1 + this.clients.length)) left.push(`${this.#ticks - ticks} alarms`);
    must(left.length === 0, () => `Left behind: ${left.join(", ")}`);
  }

  #stats(): WorldStats {
    const accounts = [...this.accounts()];
    const { process, suspends, restores, kills } = this.server;
    const now = process?.host.sleeper.stats;
    return {
      connections: accounts.length,
      excused: accounts.filter(({ mayBreak }) => mayBreak !== undefined).length,
      broken: accounts.filter(({ broken }) => broken !== undefined).length,
      bytes: accounts.reduce((sum, { got, heard }) => sum + got + heard, 0),
      packets: this.judge.segments,
      suspends: suspends + (now?.suspends ?? 0),
      restores: restores + (now?.restores ?? 0),
      kills,
      ms: this.clock.nowMs() - START_MS,
    };
  }
}

/** Lets promise callbacks run: a few turns of the microtask queue, enough for chains of awaits. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 16; turn++) await undefined;
}
