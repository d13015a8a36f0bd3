import type { Slab } from "../../../base/slab.ts";
import type { Ipv4Record } from "../../wire/ipv4.ts";
import { Hook, HookPriority, NO_FLOW } from "../conntrack/state.ts";
import type { NatRules, Tracker } from "../conntrack/tracker.ts";
import { addressFor, type NameAnswer, nameSeconds, namesOf } from "../names/name_sets.ts";
import { matchesName } from "../names/pattern.ts";
import type { NatRequest } from "../nat/range.ts";
import { parseIpv4 } from "../../wire/address.ts";
import { parseIpv6 } from "../../wire/ipv6_address.ts";
import { NftCompiled } from "./compiled.ts";
import { wordsValue } from "./constants.ts";
import { type NftEnvironment, NftVerdict } from "./environment.ts";
import { LinkError } from "./link_error.ts";
import { linkRules } from "./link.ts";
import type { LinkedRules, RejectSpec } from "./linked.ts";
import { listRules } from "./list.ts";
import type { NftPacket } from "./packet.ts";
import type { Ruleset } from "./schema.ts";
import type { NftState } from "./state.ts";
import { NAT_KIND, type Uses, usesOf } from "./uses.ts";
import { type NftExplanation, NftWalk } from "./walk.ts";

/**
 * nftables rules in force: at each hook the chains, connection tracking and address translation in the order in which
 * netfilter has them. A rule set is compiled once and never changes; other rules are another object.
 *
 * @example
 * ```ts
 * import { Slab } from "@torpor/torpor/base/slab.ts";
 * import { Hook } from "@torpor/torpor/net/firewall/conntrack/mod.ts";
 * import { NftPacket } from "@torpor/torpor/net/firewall/nft/packet.ts";
 * import { NftRules } from "@torpor/torpor/net/firewall/nft/rules.ts";
 * import { NftVerdict } from "@torpor/torpor/net/firewall/nft/environment.ts";
 * import assert from "node:assert/strict";
 * const chain = {
 *   name: "input",
 *   base: { type: "filter", hook: "input", prio: 0, policy: "accept" },
 *   rules: [{ expr: [
 *     { match: { op: "==", left: { payload: { protocol: "udp", field: "dport" } }, right: 9 } },
 *     { drop: null },
 *   ] }],
 * } as const;
 * const table = { family: "inet", name: "t", dormant: false, chains: [chain], sets: [], counters: [], quotas: [], limits: [] } as const;
 * const rules = new NftRules({ tables: [table] }, ["tun0"], {}, 0);
 * const datagram = new Slab(Uint8Array.of(
 *   0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0x66, 0xcd, 10, 0, 0, 1, 10, 0, 0, 2, // IPv4
 *   0, 7, 0, 9, 0, 8, 0, 0, // UDP from port 7 to 9
 * ));
 * const packet = new NftPacket();
 * packet.moveTo(datagram, 0, 28, 0);
 * assert.equal(rules.pass(packet, Hook.input), NftVerdict.Drop);
 * ```
 */
export class NftRules implements NatRules {
  readonly uses: Uses;
  /** A packet has been judged, or a name learnt, since somebody wrote false there, who keeps images. */
  touched = true;
  readonly linked: LinkedRules;
  readonly #compiled: NftCompiled;
  readonly #named: readonly FilledSet[];
  readonly #environment: NftEnvironment;
  readonly #tracker: Tracker | undefined;

  /**
   * @param interfaces Names by index, as `NftPacket.iif` and `oif` have them.
   * @param nowMs When elements with timeouts begin to count, epoch milliseconds.
   * @throws {LinkError} At the first mistake in the rules, and when they need what `environment` does not have.
   */
  constructor(ruleset: Ruleset, interfaces: readonly string[], environment: NftEnvironment, nowMs: number) {
    this.linked = linkRules(ruleset, interfaces);
    this.uses = usesOf(this.linked);
    if (this.uses.fib && environment.fib === undefined) {
      throw new LinkError("fib", undefined, "There are no routes here to be asked");
    }
    this.#environment = environment;
    this.#tracker = this.uses.tracker ? environment.tracker : undefined;
    this.#compiled = new NftCompiled(this.linked, environment, nowMs);
    this.#named = this.linked.sets.flatMap(({ id, named }): FilledSet[] => {
      const patterns = named === undefined ? undefined : namesOf(named);
      return patterns === undefined ? [] : [{ id, patterns, six: named!.type[0] === "ipv6_addr" }];
    });
  }

  /** How the last packet was refused, where the verdict was `Reject`. */
  get reject(): RejectSpec | undefined {
    return this.#compiled.reject;
  }

  /** Bytes of typed array that grow with the rules. */
  get bytes(): number {
    return this.#compiled.bytes;
  }

  /** A packet comes to a hook: what becomes of it. It may have another destination afterwards, or another source. */
  pass(packet: NftPacket, hook: Hook): NftVerdict {
    const compiled = this.#compiled;
    const tracker = this.#tracker;
    packet.hook = hook;
    this.touched = true;
    if (tracker === undefined) return compiled.judge(packet, hook);
    const verdict = this.#tracked(packet, hook, tracker);
    if (verdict === NftVerdict.Drop) tracker.release(packet); // who rejects still has to answer
    return verdict;
  }

  /** Whether anything happens to packets at a hook. */
  asks(hook: Hook): boolean {
    return this.#tracker !== undefined || this.#compiled.hasChains(hook);
  }

  /** Whether `passInput` can be asked. */
  get passesRecords(): boolean {
    return this.#tracker === undefined && !this.asks(Hook.prerouting) && this.#compiled.judgesRecords;
  }

  /**
   * As `pass` at input, for a whole packet of IPv4 as its header says it is.
   * @returns `Accept` or `Drop`; -1: nothing has happened yet, `pass` must be asked.
   */
  passInput(ip: Ipv4Record, slab: Slab, iif: number): number {
    this.touched = true;
    return this.#compiled.judgeInput(ip, slab, iif);
  }

  #tracked(packet: NftPacket, hook: Hook, tracker: Tracker): NftVerdict {
    const compiled = this.#compiled;
    if (hook === Hook.forward) return compiled.judge(packet, hook);
    const { conntrack, dstnat, srcnat } = HookPriority;
    let queued = false;
    const begins = hook === Hook.prerouting || hook === Hook.output;
    if (begins) {
      const early = compiled.judgeBetween(packet, hook, -Infinity, conntrack);
      if (early === NftVerdict.Drop || early === NftVerdict.Reject) return early;
      queued = early === NftVerdict.Queue;
      if (!tracker.track(packet)) return NftVerdict.Drop;
      if (this.uses.names && !tracker.names.hear(packet)) return NftVerdict.Drop;
    }
    const middle = begins ? dstnat : srcnat;
    // Each call has its constant: a variable that may be infinite is a double, which is made anew for the call.
    const first = begins
      ? compiled.judgeBetween(packet, hook, conntrack, middle)
      : compiled.judgeBetween(packet, hook, -Infinity, middle);
    if (first === NftVerdict.Drop || first === NftVerdict.Reject) return first;
    if (this.uses.nat && packet.track.flow !== NO_FLOW && !tracker.translate(packet, this)) {
      return NftVerdict.Drop;
    }
    const second = compiled.judgeBetween(packet, hook, middle, Infinity);
    if (second === NftVerdict.Drop || second === NftVerdict.Reject) return second;
    if (!begins && !tracker.confirm(packet)) return NftVerdict.Drop;
    return queued || first === NftVerdict.Queue ? NftVerdict.Queue : second;
  }

  /** See `NatRules`. */
  ask(packet: NftPacket, into: NatRequest): boolean {
    const verdict = this.#compiled.judgeNat(packet, packet.hook);
    if (verdict === NftVerdict.Drop || verdict === NftVerdict.Reject) return false;
    const asked = this.#compiled.nat;
    if (asked === undefined) return true;
    const { nat, address, port } = asked;
    into.kind = NAT_KIND[nat.kind];
    into.hasAddress = nat.address !== undefined || nat.map !== undefined;
    into.address.set(address);
    into.hasPort = nat.port !== undefined || nat.map?.hasPort === true;
    into.portLow = port[0]!;
    into.portHigh = port[1]!;
    into.flags = nat.flags;
    return true;
  }

  /**
   * Names were resolved: their addresses enter the sets that they fill, for as long as the answers say (`namesOf`).
   * @param names The name that was asked for, and what it is an alias of.
   * @returns How many elements did not fit.
   */
  learnNames(names: readonly string[], answers: readonly NameAnswer[], nowMs: number): number {
    let refused = 0;
    this.touched = true;
    for (const { id, patterns, six } of this.#named) {
      if (!names.some((name) => patterns.some((pattern) => matchesName(pattern, name)))) continue;
      for (const { address, ttlSeconds } of answers) {
        const text = addressFor(address, six);
        if (text === undefined) continue;
        const value = six ? wordsValue(parseIpv6(text)!) : BigInt(parseIpv4(text)! >>> 0);
        if (!this.#compiled.learn(id, [value], nameSeconds(ttlSeconds) * 1_000, nowMs)) refused++;
      }
    }
    return refused;
  }

  /** Why a packet would get its verdict at a hook, rule by rule. Counts nothing, and takes time with the rules. */
  explain(packet: NftPacket, hook: Hook): NftExplanation {
    if (this.uses.writes) packet = packet.copy();
    const walk = new NftWalk(this.linked, { ...this.#environment, log: undefined }, packet.nowMs, true);
    walk.load(this.#compiled.save(packet.nowMs));
    return walk.judge(packet, hook);
  }

  /** The rules with what they have counted and learnt: as `nft list ruleset` shows them, and as they may be given again. */
  list(nowMs: number): Ruleset {
    return listRules(this.linked, this.#compiled.save(nowMs), nowMs);
  }

  /** What changes while they are in force, as plain data. */
  save(nowMs: number): NftState {
    return this.#compiled.save(nowMs);
  }

  /** Takes what the same rules have counted and learnt elsewhere. */
  load(state: NftState): void {
    this.#compiled.load(state);
  }
}

/** A set that names fill. */
interface FilledSet {
  readonly id: number;
  readonly patterns: readonly string[];
  readonly six: boolean;
}
