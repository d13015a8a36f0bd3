import type { Slab } from "../../../base/slab.ts";
import type { Ipv4Record } from "../../wire/ipv4.ts";
import { Hook, HookPriority } from "../conntrack/state.ts";
import { type Cell, makeCell, SharedCounterCell } from "./cells.ts";
import { ClassCache } from "./class_cache.ts";
import { ClassesFull, Classifier, type Interval } from "./classifier.ts";
import { Code } from "./codes.ts";
import {
  type CompiledNat,
  type Condition,
  Outcome,
  RuleCompiler,
  splitRule,
  type Step,
  writtenWords,
} from "./compile_rule.ts";
import { CompiledSet } from "./compile_set.ts";
import { compileLoad, Machine } from "./compile_value.ts";
import { Decisions } from "./decisions.ts";
import { type NftEnvironment, NftVerdict } from "./environment.ts";
import { FlowCache } from "./flow_cache.ts";
import { isCounting, isOfFlow, isRepeatable } from "./flow_rules.ts";
import { intersection } from "./intervals.ts";
import { DEPTH_MAX } from "./link.ts";
import type { LinkedChain, LinkedRules, Op, RejectSpec, Value } from "./linked.ts";
import { Nfproto, type NftPacket } from "./packet.ts";
import { fieldKind, PacketClasses } from "./packet_classes.ts";
import type { NftState } from "./state.ts";
import { keepsState } from "./walk.ts";

/** Fields that packets are classified by: each costs a search, those that fewest rules ask about are looked at later. */
const DIMENSIONS_MAX = 16;

/** With fewer rules, finding a decision costs no more than finding a flow. */
const REMEMBERED_FROM = 8;

/** A base chain, ready to be entered. */
interface Entry {
  readonly nfproto: number;
  readonly priority: number;
  readonly chain: number;
  readonly policy: NftVerdict;
}

/** Beside a decision in `ClassCache`: it holds for the packet's flow as well. */
const OF_FLOW = 0x1_0000;

/**
 * Rules in the form that packets meet. What rules ask of a packet at their beginning is looked up for all of them at
 * once (`Classifier`); of a chain only the rules are touched for which all of that holds, in their order, and what
 * is left of them is done step by step. So a chain of ten thousand rules costs what those cost that match.
 *
 * Decides as `NftWalk` does, and counts, fills sets and spends buckets as it does. Nothing is allocated for a packet, but
 * for an element that a rule adds to a set.
 */
export class NftCompiled {
  readonly linked: LinkedRules;
  readonly cells: readonly Cell[];
  readonly #machine: Machine;
  readonly #outcome = new Outcome();
  readonly #hooks: readonly (readonly Entry[])[];
  readonly #nats: readonly (readonly Entry[])[];
  /** Rules of all chains one after another: where each chain begins, and behind the last one the end. */
  readonly #chainStart: Int32Array;
  readonly #steps: readonly (readonly Step[])[];
  /** By rule: how many of those before it ask what differs within a flow. */
  readonly #differing: Int32Array;
  /** By rule: whether counting is all that it leaves behind. */
  readonly #repeatable: Uint8Array;
  readonly #rejects: RejectSpec[] = [];
  /** By rule: whether the packet's classes say all of it. */
  readonly #ofClasses: Uint8Array;
  /** Whether that holds for all rules: nothing is gained by looking for flows. */
  readonly #isAllOfClasses: boolean;
  readonly #decisions: Decisions;
  readonly #flows: FlowCache;
  readonly #classes: ClassCache;
  /** Whether the decision at hand holds for the packet's whole flow, and for its classes, as far as it has been found. */
  #isOfFlow = false;
  #isOfClasses = false;
  readonly #classifier: Classifier;
  readonly #packetClasses: PacketClasses;
  readonly #stack = new Int32Array(3 * DEPTH_MAX);

  /** @param nowMs When elements with timeouts begin to count, epoch milliseconds. */
  constructor(linked: LinkedRules, environment: NftEnvironment, nowMs: number) {
    this.linked = linked;
    const counts = new Float64Array(2 * linked.cells.length);
    this.cells = linked.cells.map((spec, cell) =>
      spec.kind === "counter" ? new SharedCounterCell(spec, counts, cell) : makeCell(spec, environment)
    );
    const machine = this.#machine = new Machine(environment, linked.interfaces, linked.generators);
    for (const set of linked.sets) machine.sets.push(new CompiledSet(set, environment, nowMs));
    const rules = linked.chains.flatMap((chain) => chain.rules);
    const starts = [0];
    for (const chain of linked.chains) starts.push(starts.at(-1)! + chain.rules.length);
    this.#chainStart = Int32Array.from(starts);

    const changeable = changedBy(rules.flatMap(({ ops }) => ops));
    const split = rules.map((rule) => splitRule(rule, changeable));
    const { classifier, dimensions } = classify(split.map(({ conditions }) => conditions));
    this.#classifier = classifier;
    this.#packetClasses = new PacketClasses(
      classifier,
      dimensions.map(({ value }) => ({ value, load: compileLoad(value, machine) })),
      linked.interfaces.length,
    );
    const looked = new Set(dimensions.map(({ key }) => key));
    const seed = (environment.random?.() ?? 0) | 0;
    this.#decisions = new Decisions(seed, counts);
    this.#flows = new FlowCache(seed);
    this.#classes = new ClassCache(this.#packetClasses, seed);
    const isCounter = (cell: number): boolean => linked.cells[cell]!.kind === "counter";
    this.#repeatable = Uint8Array.from(rules, (rule) => Number(isRepeatable(rule, isCounter)));
    this.#differing = new Int32Array(rules.length + 1);
    rules.forEach((rule, at) => {
      this.#differing[at + 1] = this.#differing[at]! + Number(!isOfFlow(rule));
      for (const op of rule.ops) if (op.op === "reject") this.#rejects.push(op.reject);
    });
    const compiler = new RuleCompiler(machine, this.cells, this.#outcome, this.#decisions);
    this.#ofClasses = new Uint8Array(rules.length);
    this.#steps = rules.map((rule, index) => {
      const { conditions, rest } = split[index]!;
      // What found no dimension is looked at when its turn has come.
      const late = conditions.filter(({ key }) => !looked.has(key)).map(({ op }) => op);
      this.#ofClasses[index] = Number(late.length === 0 && isCounting(rest, isCounter));
      return [...late, ...rest].map((op) => compiler.step(op, rule));
    });
    this.#isAllOfClasses = this.#ofClasses.every((each) => each === 1);
    const entry = ({ id, nfproto, priority, policy }: LinkedChain): Entry => ({
      nfproto,
      priority,
      chain: id,
      policy: policy === "accept" ? NftVerdict.Accept : NftVerdict.Drop,
    });
    this.#hooks = linked.hooks.map((chains) => chains.map(entry));
    this.#nats = linked.nats.map((chains) => chains.map(entry));
  }

  /** How the last packet was refused, where the verdict was `Reject`. */
  get reject(): RejectSpec | undefined {
    return this.#outcome.reject;
  }

  /** What the last `judgeNat` was asked for. */
  get nat(): CompiledNat | undefined {
    return this.#outcome.nat;
  }

  /** Bytes of typed array that grow with the rules. */
  get bytes(): number {
    return this.#classifier.bytes;
  }

  /** Whether there is any chain in a hook, or any of type nat. */
  hasChains(hook: Hook): boolean {
    return this.#hooks[hook]!.length > 0;
  }
  hasNat(hook: Hook): boolean {
    return this.#nats[hook]!.length > 0;
  }

  /** Judges a packet at a hook by all its base chains but those of type nat. */
  judge(packet: NftPacket, hook: Hook): NftVerdict {
    return this.#judge(packet, hook, WHOLE + hook, -Infinity, Infinity);
  }

  /** As `judge`, by the chains with priorities from `from` up to `to`, `to` excluded. */
  judgeBetween(packet: NftPacket, hook: Hook, from: number, to: number): NftVerdict {
    return this.#judge(packet, hook, runOf(hook, from, to), from, to);
  }

  /** Whether `judgeInput` can be asked about packets that nobody tracks, and that no rule has met yet. */
  get judgesRecords(): boolean {
    return this.#isAllOfClasses && this.#packetClasses.isOfRecord;
  }

  /**
   * As `judge` at input, for a whole packet of IPv4.
   * @returns `Accept` or `Drop`; -1: nothing has been counted, `judge` must be asked.
   */
  judgeInput(ip: Ipv4Record, slab: Slab, iif: number): number {
    const isBarren = !this.#packetClasses.readIpv4(ip, slab.view, iif);
    const found = this.#classes.find(WHOLE + Hook.input, isBarren);
    if (found < 0) return -1;
    return this.#decisions.takePlain(found & ~OF_FLOW, ip.dataEnd - ip.headerStart);
  }

  #judge(packet: NftPacket, hook: Hook, run: number, from: number, to: number): NftVerdict {
    const entries = this.#hooks[hook]!;
    this.#outcome.reject = this.#outcome.nat = undefined;
    if (entries.length === 0) return NftVerdict.Accept;
    if ((this.#steps.length < REMEMBERED_FROM && !this.#isAllOfClasses) || packet.traced) {
      return this.#run(packet, hook, entries, from, to);
    }
    packet.hook = hook;
    const flows = this.#flows;
    const asked = !this.#isAllOfClasses && flows.takes(packet);
    if (asked) {
      const known = flows.find(packet, run);
      if (known >= 0) return this.#again(packet, known);
    }
    const isBarren = !this.#packetClasses.read(packet);
    const found = this.#classes.find(run | (packet.nfproto === Nfproto.Ipv6 ? 128 : 0), isBarren);
    if (found < 0) return this.#decide(packet, entries, from, to, asked);
    if (asked && (found & OF_FLOW) !== 0) flows.keep(found & ~OF_FLOW);
    return this.#again(packet, found & ~OF_FLOW);
  }

  /** Does for a packet what was done for one that rules do not tell apart from it. */
  #again(packet: NftPacket, known: number): NftVerdict {
    const verdict = this.#decisions.take(known, packet.end - packet.start) as NftVerdict;
    if (verdict === NftVerdict.Reject) this.#outcome.reject = this.#rejects[this.#decisions.reject(known)];
    return verdict;
  }

  /** Asks the chains about a packet that has been classified, and remembers what they say where it holds for others. */
  #decide(
    packet: NftPacket,
    entries: readonly Entry[],
    from: number,
    to: number,
    asked: boolean,
  ): NftVerdict {
    const decisions = this.#decisions;
    decisions.begin();
    this.#isOfFlow = this.#isOfClasses = true;
    const verdict = this.#enter(packet, entries, from, to);
    decisions.recording = false;
    if (!this.#isOfClasses && !(asked && this.#isOfFlow)) return verdict;
    const { reject } = this.#outcome;
    const decision = decisions.end(verdict, reject === undefined ? 0 : this.#rejects.indexOf(reject));
    if (decision >= 0) {
      if (this.#isOfClasses) this.#classes.keep(decision | (this.#isOfFlow ? OF_FLOW : 0));
      if (asked && this.#isOfFlow) this.#flows.keep(decision);
    } else if (decisions.isFull) {
      decisions.clear();
      this.#flows.clear();
      this.#classes.clear();
    }
    return verdict;
  }

  /** Asks the chains of type nat; what they want stands in `nat`. */
  judgeNat(packet: NftPacket, hook: Hook): NftVerdict {
    return this.#run(packet, hook, this.#nats[hook]!, -Infinity, Infinity);
  }

  #run(packet: NftPacket, hook: Hook, entries: readonly Entry[], from: number, to: number): NftVerdict {
    packet.hook = hook;
    this.#outcome.reject = this.#outcome.nat = undefined;
    if (entries.length === 0) return NftVerdict.Accept;
    this.#packetClasses.read(packet);
    return this.#enter(packet, entries, from, to);
  }

  #enter(packet: NftPacket, entries: readonly Entry[], from: number, to: number): NftVerdict {
    let verdict: NftVerdict = NftVerdict.Accept;
    for (let at = 0; at < entries.length; at++) {
      const { nfproto, priority, chain, policy } = entries[at]!;
      if (priority < from || priority >= to || (nfproto !== 0 && nfproto !== packet.nfproto)) continue;
      const one = this.#base(packet, chain, policy);
      if (one === NftVerdict.Drop || one === NftVerdict.Reject) return one;
      if (one === NftVerdict.Queue) verdict = one;
      if (this.#outcome.nat !== undefined) break;
    }
    return verdict;
  }

  #base(packet: NftPacket, base: number, policy: NftVerdict): NftVerdict {
    const stack = this.#stack;
    const classifier = this.#classifier;
    const { rows } = this.#packetClasses;
    let depth = 0;
    let chain = base;
    let at = this.#chainStart[base]!;
    let end = this.#chainStart[base + 1]!;
    for (;;) {
      const rule = classifier.next(rows, at, end);
      let code: number = Code.Return;
      if (this.#differing[rule < 0 ? end : rule + 1] !== this.#differing[at]) this.#isOfFlow = false;
      if (rule >= 0) {
        at = rule + 1;
        if (this.#repeatable[rule] === 0) this.#isOfFlow = false;
        if (this.#ofClasses[rule] === 0) this.#isOfClasses = false;
        const steps = this.#steps[rule]!;
        code = Code.Next;
        for (let step = 0; step < steps.length && code === Code.Next; step++) code = steps[step]!(packet);
      }
      if (packet.traced && rule >= 0 && code !== Code.Break) this.#trace(packet, chain, rule, code);
      switch (code) {
        case Code.Next:
        case Code.Break:
          break;
        case Code.Accept:
        case Code.Nat:
          return NftVerdict.Accept;
        case Code.Drop:
          return NftVerdict.Drop;
        case Code.Reject:
          return NftVerdict.Reject;
        case Code.Queue:
          return NftVerdict.Queue;
        case Code.Return:
          if (depth === 0) {
            if (packet.traced) this.#tracePolicy(packet, base, policy);
            return policy;
          }
          depth -= 3;
          at = stack[depth]!;
          end = stack[depth + 1]!;
          chain = stack[depth + 2]!;
          break;
        default: {
          const to = code - Code.Jump;
          if ((to & 1) === 0) {
            if (depth === stack.length) return NftVerdict.Drop; // never: linking has looked
            stack[depth] = at;
            stack[depth + 1] = end;
            stack[depth + 2] = chain;
            depth += 3;
          }
          chain = to >> 1;
          at = this.#chainStart[chain]!;
          end = this.#chainStart[chain + 1]!;
        }
      }
    }
  }

  /** A rule has taken a traced packet. */
  #trace(packet: NftPacket, chain: number, rule: number, code: number): void {
    const linked = this.linked.chains[chain]!;
    const taken = linked.rules[rule - this.#chainStart[chain]!];
    this.#machine.environment.trace?.(packet, linked, taken, code);
  }

  #tracePolicy(packet: NftPacket, base: number, policy: NftVerdict): void {
    const code = policy === NftVerdict.Accept ? Code.Accept : Code.Drop;
    this.#machine.environment.trace?.(packet, this.linked.chains[base]!, undefined, code);
  }

  /** Adds an element to a set that changes: see {@linkcode CompiledSet.learn}. */
  learn(set: number, parts: readonly bigint[], timeoutMs: number, nowMs: number): boolean {
    return this.#machine.sets[set]!.learn(parts, timeoutMs, nowMs);
  }

  /** What has been counted and learnt; elements that have ended are left out. */
  save(nowMs: number): NftState {
    this.#decisions.settle();
    return {
      cells: this.cells.map((cell) => cell.save()),
      generators: [...this.#machine.generators],
      sets: this.#machine.sets.map((set) => keepsState(set.spec) ? set.save(nowMs) : []),
    };
  }

  /** Takes what another evaluation of the same rules has counted and learnt. */
  load(state: NftState): void {
    this.#decisions.forget();
    state.cells.forEach((cell, at) => this.cells[at]!.load(cell));
    this.#machine.generators.set(state.generators);
    state.sets.forEach((elements, at) => {
      const set = this.#machine.sets[at]!;
      if (keepsState(set.spec)) set.load(elements);
    });
  }
}

/** The place of a whole hook, but for its number. */
const WHOLE = 1;

/** A number for a place among the hooks: no two parts of a hook's chains that are judged apart have the same. */
function runOf(hook: Hook, from: number, to: number): number {
  const begin = from === -Infinity
    ? 0
    : from === HookPriority.conntrack
    ? 1
    : from === HookPriority.dstnat
    ? 2
    : 3;
  const end = to === Infinity ? 0 : to === HookPriority.conntrack ? 1 : to === HookPriority.dstnat ? 2 : 3;
  return WHOLE + hook + 5 * (begin + 4 * end);
}

/** Values that rules themselves change: they are looked at when their turn has come. */
function changedBy(ops: readonly Op[]): Set<string> {
  const changed = new Set<string>();
  for (const op of ops) {
    if (op.op === "set meta") changed.add(op.key);
    if (op.op === "notrack" || op.op === "set zone") changed.add("state");
    if (op.op === "set option") writtenWords("th", 128, 16).forEach((word) => changed.add(word));
    if (op.op !== "set payload") continue;
    writtenWords("nh", op.bit, op.bits).forEach((word) => changed.add(word));
    writtenWords("nh", 80, 16).forEach((word) => changed.add(word)); // IPv4's checksum
  }
  return changed;
}

/** Family and protocol come last: `PacketClasses` has one look for both. */
function last(value: Value): number {
  const { field } = fieldKind(value);
  return Number(field === "nfproto" || field === "l4proto");
}

/** Chooses dimensions, and puts each rule's conditions into them. */
function classify(
  rules: readonly (readonly Condition[])[],
): { classifier: Classifier; dimensions: { key: string; value: Condition["value"] }[] } {
  const asked = new Map<string, { value: Value; count: number; width: number; firsts: Set<bigint> }>();
  for (const conditions of rules) {
    for (const { key, value, intervals } of conditions) {
      const known = asked.get(key) ?? { value, count: 0, width: 0, firsts: new Set() };
      known.count++;
      known.width += intervals.length;
      if (intervals[0] !== undefined) known.firsts.add(intervals[0].low);
      asked.set(key, known);
    }
  }
  // Those that most rules ask about first, and of these those that differ most: where nothing is left a search ends.
  let keys = [...asked].sort(([, a], [, b]) => b.count - a.count || b.firsts.size - a.firsts.size)
    .slice(0, DIMENSIONS_MAX).sort(([, a], [, b]) => last(a.value) - last(b.value));
  for (;;) {
    try {
      const specs = keys.map(([, { value }]) => ({
        bits: value.bits,
        intervals: new Array<readonly Interval[] | undefined>(rules.length).fill(undefined),
      }));
      const numbers = new Map(keys.map(([key], at) => [key, at]));
      rules.forEach((conditions, rule) => {
        for (const { key, intervals } of conditions) {
          const number = numbers.get(key);
          if (number === undefined) continue;
          const known = specs[number]!.intervals[rule];
          specs[number]!.intervals[rule] = known === undefined ? intervals : intersection(known, intervals);
        }
      });
      const classifier = new Classifier(rules.length, specs);
      return { classifier, dimensions: keys.map(([key, { value }]) => ({ key, value })) };
    } catch (error) {
      if (!(error instanceof ClassesFull)) throw error;
      // The one with the most intervals goes: what rules ask of it is looked at rule by rule.
      const widest = keys.reduce((most, each) => each[1].width > most[1].width ? each : most);
      keys = keys.filter((each) => each !== widest);
    }
  }
}
