import type { AddressHolder } from "./address_table.ts";
import { type GroupRecord, GroupRecordType } from "../wire/igmp.ts";

/** Groups that one interface is in; Linux's sockets stop at 20 each. */
export const GROUPS_MAX = 1_024;
/** Sources that a query may ask about one by one; about more of them the answer is the whole group. */
export const QUERIED_SOURCES_MAX = 64;
/** RFC 3376 section 8.1 and RFC 3810 section 9.1: how often a change is said, unless the querier knows better. */
const ROBUSTNESS = 2;
/** Section 8.2: between general queries, unless the querier says otherwise. */
const QUERY_INTERVAL_MS = 125_000;
/** Section 8.3. */
const QUERY_RESPONSE_MS = 10_000;
/** Section 8.11: within this time a change is said again. */
const UNSOLICITED_MS = 1_000;
/** RFC 2236 section 8.10, RFC 2710 section 7.10: the same for older versions. */
const UNSOLICITED_OLD_MS = 10_000;

/** A query as the state machine takes it, of either family. */
export interface GroupQuery {
  /** 3 is IGMPv3 or MLDv2; 2 is IGMPv2 or MLDv1; 1 is IGMPv1. */
  readonly version: number;
  /** 0: about all groups. */
  readonly group: number;
  readonly sources: readonly number[];
  readonly responseMs: number;
  /** 0: unknown. */
  readonly robustness: number;
  readonly intervalMs: number;
}

/** Who puts reports on the wire. Must not call back. */
export interface GroupSink {
  /** A report of the newest version. */
  report(records: readonly GroupRecord[]): void;
  /** A report of an older version: 1 or 2. */
  reportOld(group: number, version: number): void;
  /** Version 2's message that nobody here is in the group any more. */
  leaveOld(group: number): void;
}

interface Group {
  readonly group: number;
  /** Those who joined and have not left. */
  users: number;
  /** How often the last change is still to be said, and when next. */
  changesLeft: number;
  changeMs: number;
  /** When a query about this group is answered. */
  answerMs: number;
  /** What it asked about; empty: the whole group. */
  readonly asked: number[];
  /** Version 2: our report was the last in the network, so leaving must be said. */
  lastReporter: boolean;
}

/**
 * The groups of one interface and what its routers are told about them: the host's part of IGMPv3
 * (RFC 3376) and MLDv2 (RFC 3810) for receivers that take every source, and of their older versions while
 * a router of that version is heard.
 */
export class Membership {
  readonly #groups = new Map<number, Group>();
  readonly #sink: GroupSink;
  readonly #holder: AddressHolder | undefined;
  /** A whole number below a limit, that outsiders do not guess. */
  readonly #below: (limit: number) => number;
  #robustness = ROBUSTNESS;
  #intervalMs = QUERY_INTERVAL_MS;
  /** When a general query is answered. */
  #answerMs = Infinity;
  /** By version: until when a querier of it counts as there. */
  readonly #olderUntilMs: [never: number, v1: number, v2: number] = [0, -Infinity, -Infinity];

  /** @param holder Keeps the groups' addresses while they are spoken of. */
  constructor(sink: GroupSink, below: (limit: number) => number, holder?: AddressHolder) {
    this.#sink = sink;
    this.#below = below;
    this.#holder = holder;
  }

  /** Groups with members, in the order in which they were joined. */
  groups(): number[] {
    return [...this.#groups.values()].filter(({ users }) => users > 0).map(({ group }) => group);
  }

  isMember(group: number): boolean {
    return (this.#groups.get(group)?.users ?? 0) > 0;
  }

  /** One more receiver of a group. False when the interface is in as many as it may be. */
  join(group: number, nowMs: number): boolean {
    let state = this.#groups.get(group);
    if (state === undefined) {
      if (this.#groups.size >= GROUPS_MAX) return false;
      state = {
        group,
        users: 0,
        changesLeft: 0,
        changeMs: Infinity,
        answerMs: Infinity,
        asked: [],
        lastReporter: false,
      };
      this.#groups.set(group, state);
      this.#holder?.retain(group);
    }
    if (++state.users === 1) this.#change(state, nowMs);
    return true;
  }

  /** One receiver fewer. */
  leave(group: number, nowMs: number): void {
    const state = this.#groups.get(group);
    if (state === undefined || state.users === 0) return;
    if (--state.users === 0) this.#change(state, nowMs);
  }

  /** RFC 3376 sections 5.2 and 7.2.1, RFC 2236 section 3. */
  query(query: GroupQuery, nowMs: number): void {
    const before = this.#version(nowMs);
    if (query.version < 3) {
      this.#olderUntilMs[query.version as 1 | 2] = nowMs + this.#olderPresentMs();
    } else {
      this.#robustness = query.robustness === 0 ? ROBUSTNESS : query.robustness;
      if (query.intervalMs > 0) this.#intervalMs = query.intervalMs;
    }
    const version = this.#version(nowMs);
    if (version < before) this.#forgetPending();
    const answerMs = nowMs + 1 + this.#below(Math.max(1, query.responseMs));
    if (version < 3) {
      for (const state of this.#asked(query.group)) state.answerMs = Math.min(state.answerMs, answerMs);
    } else if (this.#answerMs > answerMs) { // an earlier general answer serves this query as well
      if (query.group === 0) this.#answerMs = answerMs;
      else this.#askGroup(query, answerMs);
    }
  }

  /** Another host of versions 1 and 2 is in the group: the router knows enough (RFC 2236 section 3). */
  heardReport(group: number, nowMs: number): void {
    const state = this.#groups.get(group);
    if (state === undefined || this.#version(nowMs) === 3) return;
    state.answerMs = Infinity;
    state.lastReporter = false;
  }

  nextDeadlineMs(): number {
    let deadlineMs = this.#answerMs;
    for (const { changeMs, answerMs } of this.#groups.values()) {
      deadlineMs = Math.min(deadlineMs, changeMs, answerMs);
    }
    return deadlineMs;
  }

  /** Says what is due. */
  advance(nowMs: number): void {
    const version = this.#version(nowMs);
    if (this.#answerMs <= nowMs) {
      this.#answerMs = Infinity;
      const records = this.groups().map((group) => ({ type: GroupRecordType.IsExclude, group, sources: [] }));
      if (records.length > 0) this.#sink.report(records);
      for (const state of this.#groups.values()) this.#answered(state);
    }
    for (const state of [...this.#groups.values()]) {
      if (state.answerMs <= nowMs) this.#answer(state, version);
      if (state.changeMs <= nowMs) this.#sayChange(state, nowMs, version);
    }
  }

  /** The version that the oldest router here speaks. */
  #version(nowMs: number): number {
    if (this.#olderUntilMs[1] > nowMs) return 1;
    return this.#olderUntilMs[2] > nowMs ? 2 : 3;
  }

  /** RFC 3376 section 8.12: how long a router of an older version is remembered. */
  #olderPresentMs(): number {
    return this.#robustness * this.#intervalMs + QUERY_RESPONSE_MS;
  }

  #asked(group: number): Iterable<Group> {
    const all = [...this.#groups.values()].filter(({ users }) => users > 0);
    return group === 0 ? all : all.filter((state) => state.group === group);
  }

  /** Section 5.2, rules 3 to 5. */
  #askGroup({ group, sources }: GroupQuery, answerMs: number): void {
    const state = this.#groups.get(group);
    if (state === undefined || state.users === 0) return;
    const pending = state.answerMs < Infinity;
    const whole = sources.length === 0 || (pending && state.asked.length === 0);
    const all = whole ? [] : [...new Set([...state.asked, ...sources])];
    state.asked.length = 0;
    if (all.length <= QUERIED_SOURCES_MAX) state.asked.push(...all);
    state.answerMs = Math.min(state.answerMs, answerMs);
  }

  #answer(state: Group, version: number): void {
    const { group } = state;
    const sources = [...state.asked];
    this.#answered(state);
    if (state.users === 0) return;
    if (version < 3) {
      this.#sink.reportOld(group, version);
      state.lastReporter = true;
    } else if (sources.length > 0) { // we take every source, so also all that it asks about
      this.#sink.report([{ type: GroupRecordType.IsInclude, group, sources }]);
    } else this.#sink.report([{ type: GroupRecordType.IsExclude, group, sources }]);
  }

  #answered(state: Group): void {
    state.answerMs = Infinity;
    state.asked.length = 0;
  }

  /** The first joined or the last left: what was to be said about it before is no longer true. */
  #change(state: Group, nowMs: number): void {
    state.changesLeft = this.#robustness;
    if (state.users === 0) this.#answered(state);
    this.#sayChange(state, nowMs, this.#version(nowMs));
  }

  #sayChange(state: Group, nowMs: number, version: number): void {
    const { group } = state;
    const joined = state.users > 0;
    state.changesLeft--;
    if (version === 3) {
      const type = joined ? GroupRecordType.ToExclude : GroupRecordType.ToInclude;
      this.#sink.report([{ type, group, sources: [] }]);
    } else if (joined) {
      this.#sink.reportOld(group, version);
      state.lastReporter = true;
    } else { // once, and only by who spoke last (RFC 2236 section 3); version 1 leaves in silence
      if (version === 2 && state.lastReporter) this.#sink.leaveOld(group);
      state.changesLeft = 0;
    }
    if (state.changesLeft > 0) {
      state.changeMs = nowMs + 1 + this.#below(version === 3 ? UNSOLICITED_MS : UNSOLICITED_OLD_MS);
    } else {
      state.changeMs = Infinity;
      if (!joined) this.#forget(group);
    }
  }

  #forget(group: number): void {
    this.#groups.delete(group);
    this.#holder?.release(group);
  }

  /** RFC 3376 section 7.2.1: another version, another start. */
  #forgetPending(): void {
    this.#answerMs = Infinity;
    for (const state of [...this.#groups.values()]) {
      this.#answered(state);
      state.changesLeft = 0;
      state.changeMs = Infinity;
      if (state.users === 0) this.#forget(state.group);
    }
  }
}
