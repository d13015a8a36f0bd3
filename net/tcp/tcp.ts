import { assert } from "../../base/assert.ts";
import type { Entropy } from "../../base/random.ts";
import type { Slab } from "../../base/slab.ts";
import type { Tail } from "../../base/tail.ts";
import { TimerWheel } from "../../base/timer_wheel.ts";
import { TurnQueue } from "../../base/turn_queue.ts";
import { type ConnectionMap, Field, RecordState } from "../connections/connection_map.ts";
import type { AddressTable } from "../ip/address_table.ts";
import { TcpRecord } from "../wire/tcp.ts";
import { AckSample } from "./ack_sample.ts";
import { congestionNumber } from "./congestion/choose.ts";
import { ChallengeLimit } from "./challenge.ts";
import type { TcpConfig } from "./config.ts";
import { FastOpen, FastOpenState } from "./fast_open.ts";
import { TcpCounters } from "./netstat.ts";
import { TcpMemory } from "./memory.ts";
import { TcpListeners } from "./listeners.ts";
import { TcpSecrets } from "./secrets.ts";
import { flightSize, Tcb, TcpError, TcpEvent, TcpState } from "./tcb.ts";
import { resetTcb, resetUnfrozen } from "./tcb_reset.ts";

/** What TCP needs of the layer below: a place to write a segment, and somebody who sends it. */
export interface TransportOutput {
  /** Where the transport header is written: `slab` from `transportStart` on. */
  readonly slab: Slab;
  readonly transportStart: number;
  /** The addresses that handles stand for. */
  readonly addresses: AddressTable;
  /**
   * Sends `slab[transportStart, end)`; false when it was dropped on the way, which TCP repairs. What may be
   * fragmented (`dontFragment` false) is cut when it is longer than the path carries, and overwritten by that.
   * With `segmentBytes` above 0 it is a train of segments of so much data each, at most `trainBytesTowards` long.
   */
  sendTransport(
    protocol: number,
    source: number,
    destination: number,
    end: number,
    typeOfService: number,
    timeToLive: number,
    nowMs: number,
    dontFragment?: boolean,
    segmentBytes?: number,
  ): boolean;
  /** Where the end of what is sent next lies, unless it lies before `end`: TCP's data is still in its ring. */
  readonly tail: Tail;
  /** The longest IP packet, in bytes, that our own link towards `destination` cuts into segments; 0 for none. */
  trainBytesTowards(destination: number): number;
  /** The last packet was dropped because its link was full: congestion at our own door. */
  readonly linkFull: boolean;
  /** Sends `slab[transportStart, end)` to everyone on one interface; `source` may be 0, nobody yet. */
  sendBroadcast(
    protocol: number,
    interfaceIndex: number,
    source: number,
    end: number,
    nowMs: number,
  ): boolean;
  /** Gives `slab[transportStart, end)` to the members that a group has on this stack. Sends nothing. */
  loopBack(protocol: number, source: number, destination: number, end: number): void;
  /** Largest IP packet towards `destination`, in bytes. */
  mtuTowards(destination: number): number;
  /** Takes a router's word that packets to `destination` must be smaller; false when that is no news. */
  lowerMtu(destination: number, mtu: number): boolean;
  /** The same as far as our own link goes: what we can receive, however narrow the way out is. */
  linkMtuTowards(destination: number): number;
  /** Changes whenever the answer of `mtuTowards` may have changed for somebody. */
  readonly pathGeneration: number;
  /** Whether `address` can be one host: no group, no broadcast, nothing that is never on the wire. */
  isHost(address: number): boolean;
}

/** What the owner of the connections is told, at the end of a turn, never inside one. */
export interface TcpUpcalls {
  /** `events` is a set of `TcpEvent` bits. */
  tcpEvents(tcb: Tcb, events: number): void;
}

/** What the stack does in a turn with a connection that has something due. */
export interface TcpTurn extends TcpUpcalls {
  /** Its entry in the wheel has rung; a deadline may have come, or moved. */
  expired(tcb: Tcb): void;
  /** It may have something to send. */
  send(tcb: Tcb): void;
  /** A durable connection is not as its log says, or has ended. */
  moved(tcb: Tcb): void;
}

/** TCBs that are kept for those that come next: 10 MB of them, a herd's worth; the rest goes to the garbage collector. */
const LEFT_MAX = 4_096;

/**
 * The TCP of one stack: its TCBs, their timers, and the two queues of a turn (who must send, who has
 * news). The protocol itself stands beside it: input.ts, output.ts, timers.ts, user.ts.
 */
export class Tcp {
  readonly config: Readonly<TcpConfig>;
  readonly connections: ConnectionMap;
  readonly listeners: TcpListeners;
  readonly secrets: TcpSecrets;
  readonly challenges: ChallengeLimit;
  readonly counters: TcpCounters = new TcpCounters();
  readonly fastOpen: FastOpen;
  readonly memory: TcpMemory;
  /** A buffer that is offered (offer.ts) is full, and whoever offered it should be told now. */
  offerFull = false;
  /** Awake connections in TIME-WAIT. */
  timeWaits = 0;
  readonly output: TransportOutput;
  /** Every outgoing segment is composed in this one record. */
  readonly segment: TcpRecord = new TcpRecord();
  /** The SYN that a cookie remembers. */
  readonly syn: TcpRecord = new TcpRecord();
  /** What the ACK at hand means. */
  readonly ackSample: AckSample = new AckSample();
  readonly #tcbs: (Tcb | undefined)[] = [];
  /** What connections left that fell asleep, for those that come next. */
  readonly #left: Tcb[] = [];
  #serial = 0;
  readonly #freeSlots: number[] = [];
  readonly #wheel: TimerWheel;
  readonly #outputQueue = new TurnQueue<Tcb>();
  readonly #eventQueue = new TurnQueue<Tcb>();
  readonly #turn: TcpTurn;

  constructor(
    config: Readonly<TcpConfig>,
    connections: ConnectionMap,
    output: TransportOutput,
    entropy: Entropy,
    nowMs: number,
    turn: TcpTurn,
  ) {
    this.config = config;
    this.#turn = turn;
    this.connections = connections;
    this.output = output;
    this.listeners = new TcpListeners(output.addresses);
    this.secrets = new TcpSecrets(entropy, output.addresses);
    this.challenges = new ChallengeLimit(this.secrets);
    this.fastOpen = new FastOpen(config, this.counters, entropy, output.addresses);
    this.memory = new TcpMemory(config);
    this.#wheel = new TimerWheel(nowMs);
  }

  /** Awake connections. */
  get awake(): number {
    return this.#tcbs.length - this.#freeSlots.length;
  }

  /** Slots of awake connections are below this. */
  get slotsEnd(): number {
    return this.#tcbs.length;
  }

  tcbAt(slot: number): Tcb {
    const tcb = this.#tcbs[slot];
    assert(tcb !== undefined, "No connection in this slot");
    return tcb;
  }

  /** As `tcbAt`, for a slot that may have become free. */
  tcbIn(slot: number): Tcb | undefined {
    return this.#tcbs[slot];
  }

  /** Every awake connection. */
  *tcbs(): IterableIterator<Tcb> {
    for (const tcb of this.#tcbs) if (tcb !== undefined) yield tcb;
  }

  /**
   * A fresh TCB in state CLOSED, entered in the map.
   * @returns `undefined` when the map is full.
   */
  create(local: number, remote: number, localPort: number, remotePort: number): Tcb | undefined {
    const record = this.connections.insert(local, remote, localPort, remotePort);
    return record < 0 ? undefined : this.attach(record, remote);
  }

  /**
   * A TCB for a record that is in the map already: a new one, or one that wakes. The map does not know IPv6 addresses
   * of peers: `remote` is its, and kept for the TCB while that lives.
   *
   * @param thawed It is thawed next, from an image that holds all that images do.
   */
  attach(record: number, remote: number, thawed = false): Tcb {
    const slot = this.#freeSlots.pop() ?? this.#tcbs.length;
    const tcb = this.#newTcb(slot, thawed);
    this.#tcbs[slot] = tcb;
    this.memory.users++;
    tcb.memory = tcb.sendQueue.meter = tcb.receiveQueue.meter = this.memory;
    const ports = this.connections.get(record, Field.ports);
    tcb.record = record;
    tcb.localAddress = this.connections.get(record, Field.localAddress);
    tcb.remoteAddress = remote;
    this.output.addresses.retain(remote);
    tcb.localPort = ports >>> 16;
    tcb.remotePort = ports & 0xffff;
    this.configure(tcb);
    this.connections.set(record, Field.slot, slot);
    this.connections.setState(record, RecordState.awake);
    return tcb;
  }

  /** What a TCB takes from the configuration. */
  configure(tcb: Tcb): void {
    tcb.reordering = this.config.reorderingSegments;
    tcb.congestion = congestionNumber(this.config.congestionControl);
    tcb.sendBufferBytes = this.config.sendBufferBytes;
    tcb.receiveBufferBytes = this.config.receiveBufferBytes;
    tcb.keepAliveIdleMs = this.config.keepAliveIdleMs;
    tcb.keepAliveIntervalMs = this.config.keepAliveIntervalMs;
    tcb.keepAliveProbes = this.config.keepAliveProbes;
    tcb.finWait2Ms = this.config.finWait2Ms;
  }

  /** A TCB in state CLOSED that is in no map, for a segment that must be composed without a connection. */
  scratchTcb(local: number, remote: number, localPort: number, remotePort: number): Tcb {
    const tcb = new Tcb(-1);
    tcb.localAddress = local;
    tcb.remoteAddress = remote;
    tcb.localPort = localPort;
    tcb.remotePort = remotePort;
    this.configure(tcb);
    return tcb;
  }

  /** Frees the TCB and keeps the record: the connection sleeps. */
  detach(tcb: Tcb): void {
    this.leaveHandshake(tcb);
    if (tcb.state === TcpState.timeWait) this.timeWaits--;
    this.#wheel.cancel(tcb.slot);
    tcb.sendQueue.clear();
    tcb.sent.clear();
    tcb.receiveQueue.clear();
    this.#free(tcb);
    tcb.record = -1;
    // Of a durable one its log may still speak, and who has let go of one, or heard that it is over, may keep its object.
    const left = tcb.state === TcpState.established && !tcb.orphan && tcb.durable === undefined;
    if (left) this.#keep(tcb);
  }

  /** For the next connection: nobody refers to it. */
  #keep(tcb: Tcb): void {
    if (this.#left.length >= LEFT_MAX) return;
    tcb.attachment = undefined;
    tcb.offer = undefined;
    this.#left.push(tcb);
  }

  /** TCBs that wait for what comes next. */
  get left(): number {
    return this.#left.length;
  }

  #newTcb(slot: number, thawed: boolean): Tcb {
    const left = this.#left.pop();
    const tcb = left ?? new Tcb(slot);
    if (left !== undefined) thawed ? resetUnfrozen(left) : resetTcb(left);
    tcb.slot = slot;
    tcb.serial = ++this.#serial;
    return tcb;
  }

  /** Ends a connection: the record goes now, the TCB when its owner has been told. */
  destroy(tcb: Tcb, error: TcpError): void {
    if (tcb.state === TcpState.closed) return;
    this.leaveHandshake(tcb);
    if (tcb.state === TcpState.timeWait) this.timeWaits--;
    tcb.state = TcpState.closed;
    if (tcb.error === TcpError.none) tcb.error = error;
    tcb.sendQueue.clear();
    if (tcb.records.length > 0) tcb.records.length = 0;
    tcb.sent.clear();
    this.#wheel.cancel(tcb.slot);
    this.connections.remove(tcb.record);
    tcb.record = -1;
    if (tcb.durable !== undefined) this.moved(tcb);
    this.notify(tcb, TcpEvent.closed);
  }

  /** Whose connection it is: a listener's, or nobody's (-1). */
  setListener(tcb: Tcb, listenerId: number): void {
    this.#countAwake(tcb, -1);
    tcb.listener = listenerId;
    this.#countAwake(tcb, 1);
  }

  #countAwake(tcb: Tcb, more: 1 | -1): void {
    const listener = this.listeners.byId(tcb.listener);
    if (listener !== undefined) listener.awake += more;
  }

  /** Remembers that a durable connection is not as its log says, or that it has ended. */
  moved(tcb: Tcb): void {
    this.#turn.moved(tcb);
  }

  #free(tcb: Tcb): void {
    this.#countAwake(tcb, -1);
    this.#tcbs[tcb.slot] = undefined;
    this.#freeSlots.push(tcb.slot);
    this.output.addresses.release(tcb.remoteAddress);
    this.memory.users--;
  }

  /** Called while a connection leaves SYN-RECEIVED for good: its listener has room again. */
  leaveHandshake(tcb: Tcb): void {
    if (tcb.state !== TcpState.synReceived) return;
    const listener = this.listeners.byId(tcb.listener);
    if (listener === undefined) return;
    if ((tcb.fastOpen & FastOpenState.child) !== 0) listener.fastOpenPending--;
    else listener.pending--;
  }

  /** A connection that had slept has its listener again. */
  enterHandshake(tcb: Tcb): void {
    if (tcb.state !== TcpState.synReceived) return;
    const listener = this.listeners.byId(tcb.listener);
    if (listener === undefined) return;
    if ((tcb.fastOpen & FastOpenState.child) !== 0) listener.fastOpenPending++;
    else listener.pending++;
  }

  /** Remembers that `tcb` may have something to send at the end of the turn. */
  queueOutput(tcb: Tcb): void {
    if (tcb.outputQueued) return;
    tcb.outputQueued = true;
    this.#outputQueue.push(tcb);
  }

  /** Remembers news for the owner. */
  notify(tcb: Tcb, events: number): void {
    if (tcb.events === 0) this.#eventQueue.push(tcb);
    tcb.events |= events;
  }

  /** Sees to it that the wheel rings no later than the earliest of the TCB's deadlines. */
  arm(tcb: Tcb): void {
    // A deadline that moved later is found out when the earlier one rings: most never do.
    if (ringsBefore(tcb, this.#wheel.deadlines, this.#wheel.has(tcb.slot))) {
      this.#wheel.schedule(tcb.slot, earliestDeadlineMs(tcb));
    }
  }

  /** Rings every deadline up to `nowMs`. */
  advance(nowMs: number): void {
    this.#wheel.advance(nowMs, this.#rung);
  }

  readonly #rung = (slot: number): void => {
    const tcb = this.#tcbs[slot];
    if (tcb !== undefined && tcb.state !== TcpState.closed) this.#turn.expired(tcb);
  };

  nextDeadlineMs(): number {
    return this.#wheel.nextDeadlineMs();
  }

  get hasOutput(): boolean {
    return this.#outputQueue.length > 0;
  }

  get hasEvents(): boolean {
    return this.#eventQueue.length > 0;
  }

  /** Calls `turn.send` for everybody who asked to send since the last time. */
  drainOutput(): void {
    this.#outputQueue.drain(this.#send);
  }

  readonly #send = (tcb: Tcb): void => {
    tcb.outputQueued = false;
    if (tcb.state !== TcpState.closed && tcb.record >= 0) this.#turn.send(tcb);
  };

  /** Tells the owners what happened, which may bring new events, and frees what has ended. */
  drainEvents(): void {
    this.#eventQueue.drain(this.#tell);
  }

  readonly #tell = (tcb: Tcb): void => {
    const events = tcb.events;
    tcb.events = 0;
    if (events === 0) return;
    try {
      this.#turn.tcpEvents(tcb, events);
    } finally {
      if ((events & TcpEvent.closed) !== 0) {
        tcb.receiveQueue.clear();
        tcb.offer?.take(tcb); // its owner may not have cared
        this.#free(tcb);
        if (tcb.given && !tcb.outputQueued && tcb.events === 0) this.#keep(tcb);
      }
    }
  };
}

/** When the first of the connection's timers rings; `Infinity` when none is set. */
export function earliestDeadlineMs(tcb: Tcb): number {
  return Math.min(tcb.retransmitAtMs, tcb.persistAtMs, tcb.delayedAckAtMs, tcb.keepAliveAtMs, tcb.expireAtMs);
}

/** Whether one of them rings before the wheel's entry does: compared here, no deadline has to be a number of its own. */
function ringsBefore(tcb: Tcb, deadlines: Readonly<Float64Array>, waits: boolean): boolean {
  const { retransmitAtMs, persistAtMs, delayedAckAtMs, keepAliveAtMs, expireAtMs } = tcb;
  const earliestMs = Math.min(retransmitAtMs, persistAtMs, delayedAckAtMs, keepAliveAtMs, expireAtMs);
  return waits ? earliestMs < deadlines[tcb.slot]! : earliestMs < Infinity;
}

/** Whether nothing is under way that a timer of ours would have to repair. */
export function isQuiet(tcb: Tcb): boolean {
  return tcb.state >= TcpState.established && flightSize(tcb) === 0 && tcb.sendQueue.length === 0 &&
    !tcb.ackNow &&
    tcb.delayedAckAtMs === Infinity && tcb.ahead.length === 0;
}
