import { assert } from "../../base/assert.ts";
import type { Clock } from "../../base/clock.ts";
import { Field, RecordState } from "../connections/connection_map.ts";
import type { Stack } from "../stack.ts";
import type { TcpListener as ListenEntry } from "../tcp/listeners.ts";
import { LISTENER_AWAITED, type Tcb, TcpEvent, TcpState } from "../tcp/tcb.ts";
import { hears, IPV4_ANY, IPV6_ANY } from "../wire/address.ts";
import type { Acceptor, Owner } from "./owner.ts";

/** Whose connections are: who is told of their news, who takes those that have nobody. */
export class Owners {
  readonly #stack: Stack;
  readonly #clock: Clock;
  readonly #acceptors = new Map<number, Acceptor>();
  readonly #retired = new Map<string, Acceptor>(); // by address and port: servers that take nothing new
  readonly #bySlot: (Owner | undefined)[] = []; // of TCBs
  readonly #sleeping = new Map<number, Owner>(); // by record: those who wait for their connection
  /** Connections that got data, or a FIN, when nobody listened for them. */
  readonly #untold = new Set<Tcb>();
  /** Records of sleepers with something to tell that slept again before anybody listened for them. */
  readonly #unclaimed = new Set<number>();
  readonly #callingOff = new Set<Tcb>(); // asked for while their images were being written

  readonly #awaited = new Map<number, (() => void)[]>(); // by record: who wants a connection awake that is not theirs

  constructor(stack: Stack, clock: Clock) {
    this.#stack = stack;
    this.#clock = clock;
  }

  /** Everybody who is to be told when the host closes. */
  *all(): IterableIterator<Acceptor | Owner> {
    for (const some of [this.#acceptors, this.#retired, this.#bySlot, this.#sleeping]) {
      for (const each of [...some.values()]) if (each !== undefined) yield each;
    }
  }

  set(tcb: Tcb, owner: Owner | undefined): void {
    this.#bySlot[tcb.slot] = owner;
  }

  /** `acceptor` takes the connections of a listener. */
  install(entry: ListenEntry, acceptor: Acceptor): void {
    this.#acceptors.set(entry.id, acceptor);
    this.#retired.delete(this.#placeOf(entry.address, entry.port));
  }

  /** A listener is gone. `keeper` goes on serving its sleeping connections, until somebody else listens there. */
  remove(entry: ListenEntry, keeper: Acceptor | undefined): void {
    this.#acceptors.delete(entry.id);
    if (keeper !== undefined) this.#retired.set(this.#placeOf(entry.address, entry.port), keeper);
  }

  /**
   * Gives connections of an earlier process, which woke before anybody listened, to who listens now.
   * @returns False when that one has gone again.
   */
  offerUnowned(entry: ListenEntry, acceptor: Acceptor): boolean {
    if (this.#acceptors.get(entry.id) !== acceptor) return false;
    for (const tcb of this.#stack.tcp.tcbs()) {
      const unowned = this.#bySlot[tcb.slot] === undefined && tcb.listener < 0 && !tcb.orphan;
      const opening = tcb.listener === LISTENER_AWAITED; // it will be told when its handshake is over
      if (!unowned || tcb.localPort !== entry.port || (tcb.state < TcpState.established && !opening)) {
        continue;
      }
      if (!hears(entry.address, tcb.localAddress)) continue;
      this.#stack.calls.setListener(this.#stack.tcp, tcb, entry.id);
      if (opening) continue;
      acceptor.restored(tcb);
      this.#tellMissed(tcb);
    }
    return true;
  }

  /** Sleepers that have something to tell who listens now, and nobody has heard it. */
  unclaimedOf(entry: ListenEntry): number[] {
    const { connections } = this.#stack;
    return [...this.#unclaimed].filter((record) => {
      return connections.state(record) === RecordState.asleep &&
        connections.get(record, Field.ports) >>> 16 === entry.port &&
        hears(entry.address, connections.get(record, Field.localAddress));
    });
  }

  /** Somebody wants a connection awake whose image is being written: its owner is told when it is usable. */
  callOff(tcb: Tcb): void {
    this.#callingOff.add(tcb);
  }

  /** Calls `then` once a connection that was asked for is awake or gone. */
  whenAwake(record: number, then: () => void): void {
    const waiting = this.#awaited.get(record);
    if (waiting === undefined) this.#awaited.set(record, [then]);
    else waiting.push(then);
  }

  /** Calls all who wait by `whenAwake`: the host closes, or one of their connections has ended and it is not known which. */
  stopWaiting(): void {
    for (const record of [...this.#awaited.keys()]) this.#tellAwaited(record);
  }

  // What the stack tells: see `StackUpcalls`.

  tcpEvents(tcb: Tcb, events: number): void {
    const owner = this.#bySlot[tcb.slot];
    if (owner !== undefined) owner.tcpEvents(tcb, events);
    else if ((events & TcpEvent.established) !== 0 && tcb.listener >= 0 && !tcb.orphan) {
      const acceptor = this.#acceptors.get(tcb.listener);
      if (acceptor === undefined) {
        this.#stack.calls.abort(this.#stack.tcp, tcb, this.#clock.nowMs()); // the listener closed during the handshake
      } else {
        acceptor.accepted(tcb);
        const more = events & ~TcpEvent.established;
        if (more !== 0) this.#bySlot[tcb.slot]?.tcpEvents(tcb, more);
      }
    }
    if ((events & TcpEvent.closed) !== 0) {
      this.#bySlot[tcb.slot] = undefined;
      this.#untold.delete(tcb);
    } else if (owner === undefined && (events & TcpEvent.readable) !== 0 && tcb.listener < 0) {
      this.#untold.add(tcb);
    }
  }

  /** What came when nobody listened is told to who does now. */
  #tellMissed(tcb: Tcb): void {
    if (this.#untold.delete(tcb)) this.#bySlot[tcb.slot]?.tcpEvents(tcb, TcpEvent.readable);
  }

  tcpSuspended(tcb: Tcb, record: number): void {
    const owner = this.#bySlot[tcb.slot];
    this.#bySlot[tcb.slot] = undefined;
    if (owner?.suspended(tcb, record)) this.#sleeping.set(record, owner);
    const untold = this.#untold.delete(tcb) || tcb.receiveQueue.length > 0;
    if (owner === undefined && untold && tcb.listener < 0 && !tcb.orphan) this.#unclaimed.add(record);
  }

  tcpRestored(tcb: Tcb, record: number): void {
    const owner = this.#sleeping.size > 0 ? this.#sleeping.get(record) : undefined;
    if (owner !== undefined) this.#sleeping.delete(record);
    if (this.#unclaimed.size > 0 && this.#unclaimed.delete(record)) this.#untold.add(tcb);
    assert(this.#bySlot[tcb.slot] === undefined);
    if (owner !== undefined) {
      this.#bySlot[tcb.slot] = owner;
      owner.restored(tcb);
    } else if (!tcb.orphan) {
      const keeper = this.#keeperOf(tcb);
      keeper?.restored(tcb);
      if (keeper !== undefined) this.#tellMissed(tcb);
    }
    this.#tellAwaited(record);
  }

  // At the end of a round of a turn.

  /** Tells the owners whose connections stay awake after all. */
  tellCalledOff(): boolean {
    let told = false;
    for (const tcb of this.#callingOff) {
      if (tcb.record >= 0 && tcb.saving) continue; // the store has refused for now: a later turn
      this.#callingOff.delete(tcb);
      if (tcb.record < 0) { // it has ended meanwhile, and its owner knows
        this.stopWaiting();
        continue;
      }
      this.#bySlot[tcb.slot]?.restored(tcb);
      this.#tellAwaited(tcb.record);
      told = true;
    }
    return told;
  }

  #tellAwaited(record: number): void {
    const waiting = this.#awaited.size > 0 ? this.#awaited.get(record) : undefined;
    if (waiting === undefined) return;
    this.#awaited.delete(record);
    for (const then of waiting) then();
  }

  #keeperOf(tcb: Tcb): Acceptor | undefined {
    const keeper = this.#acceptors.get(tcb.listener);
    if (keeper !== undefined || this.#retired.size === 0) return keeper;
    return this.#retiredAt(tcb.localAddress, tcb) ?? this.#retiredAt(IPV4_ANY, tcb) ??
      this.#retiredAt(IPV6_ANY, tcb);
  }

  #retiredAt(address: number, { localAddress, localPort }: Tcb): Acceptor | undefined {
    return hears(address, localAddress) ? this.#retired.get(this.#placeOf(address, localPort)) : undefined;
  }

  #placeOf(address: number, port: number): string {
    return `${this.#stack.addresses.format(address)} ${port}`;
  }
}
