import { assert } from "../../base/assert.ts";
import type { Slab } from "../../base/slab.ts";
import { Field, RecordState } from "../connections/connection_map.ts";
import { joinEnds } from "../connections/tuple.ts";
import type { AddressTable } from "../ip/address_table.ts";
import { InputGate } from "../firewall/gate.ts";
import { Verdict } from "../firewall/packet.ts";
import type { Stack } from "../stack.ts";
import {
  holdsBack,
  inheritAgain,
  promiseWindow,
  stillInherits,
  takeLogged,
  takeOver,
} from "../tcp/durable.ts";
import { thawedAddress, thawTcb } from "../tcp/freeze.ts";
import { FrozenBatch } from "../tcp/frozen_batch.ts";
import { type FrozenTcb, frozenTcbFields } from "../tcp/frozen_tcb.ts";
import type { TcpListener } from "../tcp/listeners.ts";
import { peekWindow } from "../tcp/output.ts";
import { packetTooBig } from "../tcp/path_mtu.ts";
import { receiveWindow } from "../tcp/receive.ts";
import { frozenAddressIn, frozenKey, thawQuiet } from "../tcp/thaw_quiet.ts";
import { LISTENER_AWAITED, NO_LISTENER, Tcb, TcpError, TcpState } from "../tcp/tcb.ts";
import { earliestDeadlineMs } from "../tcp/tcp.ts";
import { IPV6_ANY, isIpv6Handle } from "../wire/address.ts";
import { Drop } from "../wire/drop.ts";
import type { Ipv4Record } from "../wire/ipv4.ts";
import { TcpFlag, type TcpRecord } from "../wire/tcp.ts";
import { SleepingChallenges } from "./challenges.ts";
import { answerAsleep, judgeAsleep, probeAsleep, WakeVerdict } from "./filter.ts";
import { HeldPackets } from "./held.ts";
import { SleepingKeepAlives } from "./keep_alives.ts";
import { CompiledPolicy, type WakeBudget, type WakePolicy } from "./policy.ts";
import type { SleepOwner } from "./sleep_owner.ts";
import { Asleep, locationOfRecord, loseRecord, setLocation, sleepRecord, wakeRecord } from "./slot.ts";
import { Summary, SUMMARY_WORDS, SummaryKind, summaryKind } from "./summary.ts";
import { offsetTakenOver, TAKEN_OVER_MS } from "./taken_over.ts";

/** Where the source stands in an IPv6 header. */
const SOURCE = 8;
/** Where the peer's address stands in a frozen TCB. */
const REMOTE = frozenTcbFields.indexOf("remoteAddress") as 2;
const RECOVERY = frozenTcbFields.indexOf("recoveryState") as 73;

/**
 * Connections that are adopted together: what the map's index needs for so many is fetched at once, and still there, with
 * its pages' addresses, when the last of them is entered. 1,024 take a tenth longer, 4,096 a third.
 */
const ADOPTED_AT_ONCE = 512;

/** Which word of a summary a word of the record is, where it is one. */
const FIELD_WORDS = [
  [Field.localAddress, Summary.localAddress],
  [Field.remoteAddress, Summary.remoteAddress],
  [Field.ports, Summary.ports],
  [Field.meta, Summary.meta],
  [Field.sndNxt, Summary.sndNxt],
  [Field.rcvNxt, Summary.rcvNxt],
  [Field.windows, Summary.windows],
  [Field.tsRecent, Summary.tsRecent],
  [Field.tsOffset, Summary.tsOffset],
] as const;

/** The records of those that are adopted together, by their words. */
class Adopting {
  readonly columns: readonly Int32Array[] = Array.from(
    { length: Field.tsOffset + 1 },
    () => new Int32Array(ADOPTED_AT_ONCE),
  );
  readonly highs: Int32Array = new Int32Array(ADOPTED_AT_ONCE);
  readonly hashes: Int32Array = new Int32Array(ADOPTED_AT_ONCE);
  readonly skip: Uint8Array = new Uint8Array(ADOPTED_AT_ONCE);
  readonly entered: Int32Array = new Int32Array(ADOPTED_AT_ONCE);
}

/** What became of connections that were adopted by their summaries. */
export interface AdoptedSummaries {
  /** Those whose image must be read: which ones. */
  readonly left: number[];
  /** Record and deadline, record and deadline, ... of those that have one. */
  readonly deadlines: number[];
  /** Records of local addresses that the host does not have. */
  readonly unreachable: number[];
}

/**
 * THE SLEEP WALK's half that is the stack's: connections that have a record and an image instead of a TCB, and
 * how they get there and back. checkpoint/sleep/ builds on it.
 */
export class Sleepers {
  /** Keeps the images; without one nothing sleeps. */
  owner: SleepOwner | undefined;
  readonly held: HeldPackets;
  readonly #stack: Stack;
  readonly #gate = new InputGate();
  readonly #policies = new Map<number, CompiledPolicy>(); // by listener
  readonly #keepAlives: SleepingKeepAlives;
  readonly #challenges = new SleepingChallenges();
  readonly #windows = new Map<number, number>(); // by record, where a window field without scale cannot say it
  /** Records of durable connections that an earlier process may have brought further than their image says. */
  readonly #inherited = new Set<number>();
  /** Of those that woke since and sleep again, what that process may have sent, by record. */
  readonly #inheritedEnds = new Map<number, number>();
  #adopting: Adopting | undefined;
  readonly #digest = new Int32Array(2);
  #asked: Tcb | undefined; // for what is known of keep-alives by a summary

  constructor(stack: Stack) {
    this.#stack = stack;
    this.#keepAlives = new SleepingKeepAlives(stack.addresses);
    const { heldPacketsMax, heldBytesMax } = stack.tcp.config;
    this.held = new HeldPackets(heldPacketsMax, heldBytesMax);
  }

  /** What wakes the connections of a listener, and how many; `undefined`: all news does. */
  setPolicy(listener: TcpListener, policy: WakePolicy | undefined): void {
    if (policy === undefined) return void this.#policies.delete(listener.id);
    const names = this.#stack.output.interfaces.map(({ name }) => name);
    const { heldPacketsMax } = this.#stack.tcp.config;
    this.#policies.set(listener.id, new CompiledPolicy(policy, names, heldPacketsMax));
  }

  /** Who listens where the connection of `record` came in. */
  listenerOf(record: number): TcpListener | undefined {
    const map = this.#stack.connections;
    const port = map.get(record, Field.ports) >>> 16;
    return this.#stack.tcp.listeners.find(map.get(record, Field.localAddress), port);
  }

  /**
   * The peer's address as text, of a connection without a TCB. An IPv6 address is in its image, and beside it in the
   * store; where neither can be read it is `::`, as long as its peer is silent.
   */
  peerOf(record: number): string {
    const { connections, addresses } = this.#stack;
    if (!isIpv6Handle(connections.get(record, Field.localAddress))) {
      return addresses.format(connections.get(record, Field.remoteAddress));
    }
    const known = this.#knownPeer(record);
    if (known !== 0) return addresses.format(known);
    const frozen = this.owner?.frozenPeerOf?.(record);
    return frozen === undefined ? addresses.format(IPV6_ANY) : addresses.formatFrozen(frozen);
  }

  /** Who is asked for signs of life, or has given one; else 0. */
  #knownPeer(record: number): number {
    const asked = this.#keepAlives.remoteOf(record);
    if (asked !== undefined) return asked;
    const packet = this.held.peek(record);
    if (packet === undefined) return 0;
    const { addresses, connections } = this.#stack;
    const source = addresses.read(packet.slab, SOURCE, packet.interfaceIndex + 1);
    const ports = connections.get(record, Field.ports);
    const local = connections.get(record, Field.localAddress);
    // An ICMP error may be held, and comes from a router.
    return connections.find(local, source, ports >>> 16, ports & 0xffff) === record ? source : 0;
  }

  #lostPeer(record: number, frozen: number | Uint8Array | undefined): number {
    const known = this.#knownPeer(record);
    if (known !== 0) return known;
    return frozen === undefined ? IPV6_ANY : thawedAddress(frozen, this.#stack.addresses);
  }

  /** How many connections of a listener may wake. */
  budgetOf(listener: TcpListener | undefined): WakeBudget | undefined {
    return listener === undefined ? undefined : this.#policies.get(listener.id)?.policy;
  }

  /** Whether a connection has to wait for its wake longer than a turn takes. */
  waits(record: number): boolean {
    return this.#stack.connections.state(record) === RecordState.waking && this.owner!.waits(record);
  }

  /** A segment for a connection without a TCB: answered, ignored, or held while it is restored. */
  input(
    record: number,
    interfaceIndex: number,
    segment: TcpRecord,
    ip: Ipv4Record,
    slab: Slab,
    nowMs: number,
  ): Drop {
    const { connections, tcp } = this.#stack;
    const asleep = connections.state(record) === RecordState.asleep;
    const waits = !asleep && this.waits(record);
    if (!asleep && !waits) return this.hold(record, interfaceIndex, ip, slab, segment.sequence);
    const policy = this.#policyOf(record);
    const verdict = policy?.any
      ? WakeVerdict.hold
      : judgeAsleep(tcp, record, segment, nowMs, this.#windows.get(record));
    if (verdict === WakeVerdict.heard) {
      const nextMs = this.#keepAlives.heard(record, nowMs);
      if (asleep) this.owner?.deadlineMoved(record, nextMs);
      return Drop.AsleepIgnored;
    }
    if (verdict === WakeVerdict.ignore) return Drop.AsleepIgnored;
    if (verdict !== WakeVerdict.hold) {
      const challenge = verdict === WakeVerdict.challenge ? this.#challenges : undefined;
      const sent = answerAsleep(tcp, record, ip.source, segment, challenge, nowMs);
      return sent ? Drop.AsleepAnswered : Drop.AsleepIgnored;
    }
    if (policy?.queue && !this.#stack.hooks.queued && (segment.flags & TcpFlag.RST) === 0) {
      return Drop.AsleepNotLet;
    }
    const rules = policy?.firewall;
    if (rules !== undefined && (segment.flags & TcpFlag.RST) === 0) {
      if (this.#gate.ask(rules, ip, segment, interfaceIndex) !== Verdict.Accept) return Drop.AsleepNotLet;
    }
    if (waits && this.held.has(record, segment.sequence, ip.dataEnd - ip.headerStart)) {
      return Drop.HeldAlready;
    }
    return this.news(record, interfaceIndex, ip, slab, nowMs, segment.sequence);
  }

  /** Keeps a packet that brings news to a sleeper, and wakes it. Without room its peer has to send it again. */
  news(
    record: number,
    interfaceIndex: number,
    ip: Ipv4Record,
    slab: Slab,
    nowMs: number,
    sequence: number = 0,
  ): Drop {
    const drop = this.hold(record, interfaceIndex, ip, slab, sequence);
    if (drop === Drop.None) this.wake(record, nowMs);
    return drop;
  }

  /** Keeps the packet that `ip` describes until the connection of `record` is awake. */
  hold(record: number, interfaceIndex: number, ip: Ipv4Record, slab: Slab, sequence: number = 0): Drop {
    const { headerStart, dataEnd } = ip;
    const share = this.#policyOf(record)?.share;
    const held = this.held.hold(record, interfaceIndex, slab, headerStart, dataEnd, sequence, share);
    return held ? Drop.None : Drop.HeldFull;
  }

  #policyOf(record: number): CompiledPolicy | undefined {
    if (this.#policies.size === 0) return undefined;
    const listener = this.listenerOf(record);
    return listener === undefined ? undefined : this.#policies.get(listener.id);
  }

  /** Asks for a connection to be awake: it sleeps, or its image is being written. Idempotent. */
  wake(record: number, nowMs: number): void {
    const state = this.#stack.connections.state(record);
    if (state === RecordState.waking) return;
    if (state === RecordState.awake && !this.#stack.awakeTcb(record).saving) return;
    assert(state !== RecordState.free, "A connection that has ended cannot wake");
    assert(this.owner !== undefined, "Nobody keeps the sleepers");
    this.#stack.connections.setState(record, RecordState.waking);
    this.owner.wake(record, nowMs);
  }

  /**
   * A deadline of a sleeping connection has come: its peer is asked for a sign of life from the record, or it wakes.
   * @returns When the next deadline is; `Infinity` when it wakes.
   */
  due(record: number, nowMs: number): number {
    const { connections, tcp } = this.#stack;
    // With more under way than keep-alive, or another state or header, the TCB must see to it.
    const silent = (connections.get(record, Field.meta) & (Asleep.wakeOnAny | Asleep.wakeOnAll)) !== 0;
    const asleep = connections.state(record) === RecordState.asleep;
    const nextMs = asleep && !silent ? this.#keepAlives.probe(record, nowMs) : Infinity;
    if (nextMs < Infinity) probeAsleep(tcp, record, this.#keepAlives.remoteOf(record)!, nowMs);
    else this.wake(record, nowMs);
    return nextMs;
  }

  /** From here on whatever touches the connection goes through `wake` first. */
  beginSave(tcb: Tcb): void {
    assert(tcb.events === 0 && !tcb.outputQueued && !tcb.saving, "A connection with news cannot go to sleep");
    assert(tcb.offer?.holder !== tcb, "What was put into an offered buffer has been taken");
    tcb.saving = true;
  }

  /**
   * The image is durable: frees the TCB, the record becomes a location.
   * @returns When one of the connection's timers wants it awake; `Infinity` for never.
   */
  sleep(tcb: Tcb, location: number): number {
    assert(tcb.saving, "Save first, then sleep");
    const record = tcb.record;
    assert(this.#stack.connections.state(record) === RecordState.awake, "Somebody wants it awake");
    this.#stack.upcalls?.tcpSuspended(tcb, record);
    const inherits = stillInherits(tcb); // an ACK may come of what this process has not sent: the record knows nothing of it
    if (inherits) this.#inheritedEnds.set(record, tcb.durable!.inheritedEnd);
    sleepRecord(this.#stack.connections, record, tcb, location, inherits);
    this.#keepAlives.add(record, tcb, this.#stack.tcp.config);
    this.#challenges.add(record, tcb, this.#stack.tcp.config.challengeAckMs);
    this.#noteWindow(record, tcb);
    // What it was about to say when it was in the log is in its image: it says so at once.
    const deadlineMs = holdsBack(tcb) ? 0 : earliestDeadlineMs(tcb);
    this.#stack.tcp.detach(tcb);
    return deadlineMs;
  }

  /** The sleep was called off before the TCB was freed; held packets follow. */
  unsave(tcb: Tcb, nowMs: number): void {
    const record = tcb.record;
    tcb.saving = false;
    if (tcb.durable !== undefined) tcb.durable.rcvAdv = tcb.rcvAdv; // no image promises more any longer
    this.#stack.connections.setState(record, RecordState.awake);
    this.#stack.tcp.queueOutput(tcb);
    this.#release(record, nowMs);
  }

  /**
   * Enters a connection that sleeps in a store since before this process started. Of two images of one
   * connection the later one counts: `isLater` says whether that is this one, and not the one at `known`.
   * @param silent Nothing is answered for it: the first word wakes.
   * @returns Its record, or -1 when the map is full or the connection is awake; the first of its
   * deadlines; and the location of the image that counts no more, perhaps this one, or -1.
   */
  adopt(
    frozen: FrozenTcb,
    location: number,
    nowMs: number,
    isLater: (known: number) => boolean = () => true,
    silent = false,
  ): { record: number; deadlineMs: number; staleLocation: number } {
    const map = this.#stack.connections;
    const scratch = new Tcb(-1);
    thawTcb(frozen, scratch, this.#stack.tcp.config, nowMs, this.#stack.addresses);
    scratch.keepAlives = 0; // what has answered meanwhile, the process that heard it knew alone
    const inherits = takeOver(scratch, nowMs);
    // What was acknowledged and not read comes no second time: whoever goes on with the connection is to read it now.
    const untold = scratch.receiveQueue.length > 0 || scratch.state === TcpState.closeWait;
    const deadlineMs = inherits || untold ? nowMs : earliestDeadlineMs(scratch);
    const { localAddress, remoteAddress, localPort, remotePort } = scratch;
    let record = map.find(localAddress, remoteAddress, localPort, remotePort);
    let staleLocation = -1;
    if (record < 0) {
      record = map.insert(localAddress, remoteAddress, localPort, remotePort);
    } else if (map.state(record) === RecordState.asleep) {
      const known = locationOfRecord(map, record);
      if (known !== location) staleLocation = isLater(known) ? known : location;
    } else {
      record = -1;
    }
    if (record >= 0 && staleLocation !== location) {
      scratch.tsOffset = offsetTakenOver(frozen, nowMs);
      // A clock that was set back to before the image: the first word wakes, and an image of this time takes its place.
      this.#keepAlives.add(record, scratch, this.#stack.tcp.config);
      this.#challenges.add(record, scratch, this.#stack.tcp.config.challengeAckMs);
      this.#noteWindow(record, scratch);
      sleepRecord(map, record, scratch, location, silent || nowMs < frozen[0] || inherits);
      if (inherits) this.#inherited.add(record);
      else this.#inherited.delete(record);
    }
    scratch.sendQueue.clear();
    scratch.sent.clear();
    scratch.receiveQueue.clear();
    return { record, deadlineMs, staleLocation };
  }

  /**
   * As `adopt`, for many connections by their summaries, word by word in columns: those that have all of their record
   * in it, of a clock that was not set back, and that are not known yet. The others are left to `adopt`.
   */
  adoptSummaries(
    count: number,
    locations: Float64Array,
    words: readonly Int32Array[],
    nowMs: number,
  ): AdoptedSummaries {
    const told: AdoptedSummaries = { left: [], deadlines: [], unreachable: [] };
    if (words.length !== SUMMARY_WORDS) {
      for (let at = 0; at < count; at++) told.left.push(at);
      return told;
    }
    for (let from = 0; from < count; from += ADOPTED_AT_ONCE) {
      this.#adoptSome(from, Math.min(ADOPTED_AT_ONCE, count - from), locations, words, nowMs, told);
    }
    return told;
  }

  #adoptSome(
    from: number,
    count: number,
    locations: Float64Array,
    words: readonly Int32Array[],
    nowMs: number,
    told: AdoptedSummaries,
  ): void {
    const { connections: map, addresses } = this.#stack;
    const { columns, highs, hashes, skip, entered } = this.#adopting ??= new Adopting();
    const tags = words[Summary.tag]!, frozenAtS = words[Summary.frozenAtS]!, ports = words[Summary.ports]!;
    for (const [field, word] of FIELD_WORDS) {
      const column = columns[field]!, values = words[word]!;
      for (let at = 0; at < count; at++) column[at] = values[from + at]!;
    }
    const locals = columns[Field.localAddress]!, remotes = columns[Field.remoteAddress]!;
    const slots = columns[Field.slot]!, segments = columns[Field.locationHigh]!;
    const tsOffsets = columns[Field.tsOffset]!;
    for (let at = 0; at < count; at++) {
      const kind = summaryKind(tags[from + at]!);
      const location = locations[from + at]!;
      const high = segments[at] = Math.floor(location / 0x1_0000_0000);
      slots[at] = location - high * 0x1_0000_0000; // as `%`, which takes as long as all the rest
      tsOffsets[at]! += TAKEN_OVER_MS;
      const left = kind < 0 || (kind & SummaryKind.keyOnly) !== 0 || 1000 * frozenAtS[from + at]! > nowMs;
      skip[at] = left ? 1 : 0;
      if (!left && (kind & SummaryKind.ipv6) !== 0) { // keys of IPv6 connections have handles
        try {
          locals[at] = addressOf(addresses, words, Summary.localPrefix, locals[at]!, from + at);
          addresses.digestWords(
            words[Summary.remotePrefix]![from + at]!,
            words[Summary.remotePrefix + 1]![from + at]!,
            words[Summary.remotePrefix + 2]![from + at]!,
            remotes[at]!,
            this.#digest,
          );
          remotes[at] = this.#digest[0]!;
          highs[at] = this.#digest[1]!;
        } catch {
          skip[at] = 1; // no room: `adopt` says so
        }
      }
      hashes[at] = map.hash(locals[at]!, remotes[at]!, ports[from + at]!);
    }
    map.prefetch(hashes, count); // each is there before the first is looked for
    map.enterMany(count, hashes, columns, highs, skip, entered);
    let ours = 0; // the last local address that was looked up, and what it was
    let isOurs = false;
    for (let at = 0; at < count; at++) {
      const record = entered[at]!;
      if (record < 0) {
        told.left.push(from + at);
        continue;
      }
      if (locals[at] !== ours || at === 0) {
        ours = locals[at]!;
        isOurs = this.#stack.isOurs(ours);
      }
      if (!isOurs) told.unreachable.push(record);
      if ((columns[Field.meta]![at]! & Asleep.keepAlive) !== 0) {
        this.#adoptKeepAlive(record, from + at, words, isOurs, told);
      }
    }
  }

  #remoteOf(words: readonly Int32Array[], row: number): number {
    const last = words[Summary.remoteAddress]![row]!;
    const ipv6 = (summaryKind(words[Summary.tag]![row]!) & SummaryKind.ipv6) !== 0;
    return ipv6 ? addressOf(this.#stack.addresses, words, Summary.remotePrefix, last, row) : last;
  }

  #adoptKeepAlive(
    record: number,
    row: number,
    words: readonly Int32Array[],
    isOurs: boolean,
    told: AdoptedSummaries,
  ): void {
    const asked = this.#asked ??= new Tcb(-1);
    asked.keepAlive = true;
    asked.remoteAddress = this.#remoteOf(words, row);
    asked.keepAliveIdleMs = words[Summary.keepAliveIdleMs]![row]!;
    asked.keepAliveIntervalMs = words[Summary.keepAliveIntervalMs]![row]!;
    asked.keepAliveProbes = words[Summary.keepAliveProbes]![row]!;
    asked.keepAliveAtMs = (words[Summary.tag]![row]! & SummaryKind.asked) === 0
      ? Infinity
      : 1000 * words[Summary.frozenAtS]![row]! + words[Summary.askAt]![row]!;
    this.#keepAlives.add(record, asked, this.#stack.tcp.config);
    if (isOurs && asked.keepAliveAtMs < Infinity) told.deadlines.push(record, asked.keepAliveAtMs);
  }

  /**
   * The image of a sleeping connection lies elsewhere from now on.
   * @returns Its record, or -1 when that connection does not sleep, or has another image.
   */
  relocate(frozen: FrozenTcb, from: number, to: number): number {
    const { connections: map, addresses } = this.#stack;
    const [, local, remote, localPort, remotePort] = frozen;
    const record = map.find(
      thawedAddress(local, addresses),
      thawedAddress(remote, addresses),
      localPort,
      remotePort,
    );
    if (record < 0 || map.state(record) === RecordState.awake || locationOfRecord(map, record) !== from) {
      return -1;
    }
    setLocation(map, record, to);
    return record;
  }

  /** A state of a durable connection that `tcpLog` gave is durable: up to there it may speak. */
  logged(tcb: Tcb, rcvNxt: number, rcvAdv: number, sndEnd: number, nowMs: number): void {
    takeLogged(this.#stack.tcp, tcb, rcvNxt, rcvAdv, sndEnd, nowMs);
  }

  /** The public name of the connection of an image: as `Stack.idOf`. */
  idOfFrozen(frozen: FrozenTcb | FrozenBatch): string {
    const { addresses } = this.#stack;
    const [, local, remote, localPort, remotePort] = frozen instanceof FrozenBatch
      ? frozenKey(frozen)
      : frozen;
    return joinEnds(addresses.formatFrozen(local), localPort, addresses.formatFrozen(remote), remotePort);
  }

  #thaw(record: number, frozen: FrozenTcb, nowMs: number): Tcb {
    const { addresses, tcp } = this.#stack;
    // Images from before there was a scoreboard hold less.
    const tcb = tcp.attach(record, thawedAddress(frozen[REMOTE], addresses), frozen[RECOVERY].length > 0);
    thawTcb(frozen, tcb, tcp.config, nowMs, addresses);
    return tcb;
  }

  #thawQuiet(record: number, frozen: FrozenBatch, nowMs: number): Tcb {
    const { addresses, tcp } = this.#stack;
    const remote = frozenAddressIn(frozen, "remoteAddress", addresses);
    const tcb = tcp.attach(record, remote, true);
    thawQuiet(frozen, frozenAddressIn(frozen, "localAddress", addresses), remote, tcb, tcp.config, nowMs);
    return tcb;
  }

  /**
   * Restores a waking connection, of a batch the one that is selected, and delivers what was held for it, in order.
   */
  resume(record: number, frozen: FrozenTcb | FrozenBatch, attachment: unknown, nowMs: number): Tcb {
    assert(this.#stack.connections.state(record) === RecordState.waking, "Only what wakes can be restored");
    const tcb = frozen instanceof FrozenBatch
      ? this.#thawQuiet(record, frozen, nowMs)
      : this.#thaw(record, frozen, nowMs);
    if (this.#inherited.size > 0 && this.#inherited.delete(record)) takeOver(tcb, nowMs);
    if (this.#inheritedEnds.size > 0) {
      inheritAgain(tcb, this.#inheritedEnds.get(record));
      this.#inheritedEnds.delete(record);
    }
    if (tcb.state === TcpState.timeWait) this.#stack.tcp.timeWaits++;
    wakeRecord(this.#stack.connections, record, tcb, nowMs);
    promiseWindow(tcb);
    this.#keepAlives.take(record, tcb);
    this.#challenges.wake(record, tcb);
    if (this.#windows.size > 0) this.#windows.delete(record);
    packetTooBig(this.#stack.tcp, tcb, nowMs); // for the path may have become narrower in its sleep
    tcb.attachment = attachment;
    this.#stack.tcp.queueOutput(tcb);
    this.#stack.tcp.arm(tcb);
    try {
      this.#tellRestored(tcb, record);
    } finally { // or they would be left to the record's next connection
      this.#release(record, nowMs);
    }
    return tcb;
  }

  /**
   * The image of a waking connection is lost: its owner is told, the peer gets a reset for what it sent. `frozenPeer` is
   * the peer's address as images have it, where that is known: the map does not know an IPv6 one.
   */
  forget(record: number, nowMs: number, frozenPeer?: number | Uint8Array): void {
    assert(
      this.#stack.connections.state(record) === RecordState.waking,
      "Only what wakes can be found to be lost",
    );
    this.#inherited.delete(record);
    this.#inheritedEnds.delete(record);
    const { connections: map, tcp } = this.#stack;
    const ipv6 = isIpv6Handle(map.get(record, Field.localAddress));
    const remote = ipv6 ? this.#lostPeer(record, frozenPeer) : map.get(record, Field.remoteAddress);
    const tcb = tcp.attach(record, remote);
    loseRecord(this.#stack.connections, record, tcb);
    this.#keepAlives.take(record, tcb);
    this.#challenges.wake(record, tcb);
    this.#windows.delete(record);
    try {
      this.#tellRestored(tcb, record);
    } finally {
      this.#stack.tcp.destroy(tcb, TcpError.reset);
      this.#release(record, nowMs);
    }
  }

  /** Without a scale there may be more room than the window field, and so the record, can say. */
  #noteWindow(record: number, tcb: Tcb): void {
    if (this.#windows.size > 0) this.#windows.delete(record);
    const bytes = receiveWindow(tcb);
    if (tcb.rcvShift <= 0 && bytes > peekWindow(tcb)) this.#windows.set(record, bytes);
  }

  #tellRestored(tcb: Tcb, record: number): void {
    const listener = this.#stack.tcp.listeners.find(tcb.localAddress, tcb.localPort);
    const none = tcb.state === TcpState.synReceived ? LISTENER_AWAITED : NO_LISTENER;
    this.#stack.tcp.setListener(tcb, listener?.id ?? none);
    this.#stack.tcp.enterHandshake(tcb);
    // Of a durable connection that waits for the ACK of its SYN-ACK nobody has heard yet.
    if (tcb.state === TcpState.synReceived && tcb.durable !== undefined) return;
    this.#stack.upcalls?.tcpRestored(tcb, record);
  }

  #release(record: number, nowMs: number): void {
    const { connections, sleepers: { held } } = this.#stack;
    for (let packet = held.begin(record); packet >= 0;) {
      const { slab, interfaceIndex } = held.open(packet);
      packet = held.free(packet);
      try {
        connections.expect(record);
        this.#stack.receiveHeld(interfaceIndex, slab, nowMs);
        held.giveBack(slab);
      } catch (error) {
        while (packet >= 0) packet = held.free(packet);
        throw error;
      }
    }
  }
}

function addressOf(
  addresses: AddressTable,
  words: readonly Int32Array[],
  prefix: number,
  last: number,
  at: number,
): number {
  return addresses.thawWords(words[prefix]![at]!, words[prefix + 1]![at]!, words[prefix + 2]![at]!, last);
}
