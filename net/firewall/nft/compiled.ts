import { type Hook, HookPriority } from "../conntrack/state.ts";
import { type Cell, makeCell } from "./cells.ts";
import { ClassesFull, Classifier, type Interval } from "./classifier.ts";
import { Code } from "./codes.ts";
import {
  type CompiledNat,
  type Condition,
  Outcome,
  RuleCompiler,
  splitRule,
  type Step,
} from "./compile_rule.ts";
import { CompiledSet } from "./compile_set.ts";
import { compileLoad, type Load, Machine } from "./compile_value.ts";
import { type NftEnvironment, NftVerdict } from "./environment.ts";
import { FlowCache } from "./flow_cache.ts";
import { isOfFlow, isRepeatable } from "./flow_rules.ts";
import { intersection } from "./intervals.ts";
import { DEPTH_MAX } from "./link.ts";
import type { LinkedChain, LinkedRules, Op, RejectSpec } from "./linked.ts";
import type { NftPacket } from "./packet.ts";
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

/** A field by which packets are classified. */
interface Dimension {
  readonly key: string;
  readonly load: Load;
}

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
  readonly #cache: FlowCache;
  /** Whether the decision at hand holds for the packet's whole flow, as far as it has been found. */
  #ofFlow = false;
  readonly #classifier: Classifier;
  readonly #dimensions: readonly Dimension[];
  readonly #rows: Int32Array;
  readonly #key = new Int32Array(4);
  readonly #stack = new Int32Array(3 * DEPTH_MAX);

  /** @param nowMs When elements with timeouts begin to count, epoch milliseconds. */
  constructor(linked: LinkedRules, environment: NftEnvironment, nowMs: number) {
    this.linked = linked;
    this.cells = linked.cells.map((spec) => makeCell(spec, environment));
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
    this.#rows = classifier.newRows();
    this.#dimensions = dimensions.map(({ key, value }) => ({ key, load: compileLoad(value, machine) }));
    const looked = new Set(dimensions.map(({ key }) => key));
    this.#cache = new FlowCache((environment.random?.() ?? 0) | 0);
    const isCounter = (cell: number): boolean => linked.cells[cell]!.kind === "counter";
    this.#repeatable = Uint8Array.from(rules, (rule) => Number(isRepeatable(rule, isCounter)));
    this.#differing = new Int32Array(rules.length + 1);
    rules.forEach((rule, at) => {
      this.#differing[at + 1] = this.#differing[at]! + Number(!isOfFlow(rule));
      for (const op of rule.ops) if (op.op === "reject") this.#rejects.push(op.reject);
    });
    const compiler = new RuleCompiler(machine, this.cells, this.#outcome, this.#cache);
    this.#steps = rules.map((rule, index) => {
      const { conditions, rest } = split[index]!;
      // What found no dimension is looked at when its turn has come.
      const late = conditions.filter(({ key }) => !looked.has(key)).map(({ op }) => op);
      return [...late, ...rest].map((op) => compiler.step(op, rule));
    });
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
    return this.judgeBetween(packet, hook, -Infinity, Infinity);
  }

  /** As `judge`, by the chains with priorities from `from` up to `to`, `to` excluded. */
  judgeBetween(packet: NftPacket, hook: Hook, from: number, to: number): NftVerdict {
    const entries = this.#hooks[hook]!;
    this.#outcome.reject = this.#outcome.nat = undefined;
    if (entries.length === 0) return NftVerdict.Accept;
    const cache = this.#cache;
    if (this.#steps.length < REMEMBERED_FROM || packet.traced || !cache.takes(packet)) {
      return this.#run(packet, hook, entries, from, to);
    }
    const entry = cache.find(packet, runOf(hook, from, to));
    if (entry >= 0) {
      packet.hook = hook;
      const counters = cache.counters(entry);
      for (let at = 0; at < counters; at++) this.cells[cache.counter(entry, at)]!.hold(packet);
      const verdict = cache.verdict(entry) as NftVerdict;
      if (verdict === NftVerdict.Reject) this.#outcome.reject = this.#rejects[cache.reject(entry)];
      return verdict;
    }
    cache.begin();
    this.#ofFlow = true;
    const verdict = this.#run(packet, hook, entries, from, to);
    cache.recording = false;
    if (this.#ofFlow) {
      const { reject } = this.#outcome;
      cache.keep(verdict, reject === undefined ? 0 : this.#rejects.indexOf(reject));
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
    let verdict: NftVerdict = NftVerdict.Accept;
    let classified = false;
    for (let at = 0; at < entries.length; at++) {
      const { nfproto, priority, chain, policy } = entries[at]!;
      if (priority < from || priority >= to || (nfproto !== 0 && nfproto !== packet.nfproto)) continue;
      if (!classified) {
        this.#classify(packet);
        classified = true;
      }
      const one = this.#base(packet, chain, policy);
      if (one === NftVerdict.Drop || one === NftVerdict.Reject) return one;
      if (one === NftVerdict.Queue) verdict = one;
      if (this.#outcome.nat !== undefined) break;
    }
    return verdict;
  }

  #classify(packet: NftPacket): void {
    const dimensions = this.#dimensions;
    for (let at = 0; at < dimensions.length; at++) {
      if (dimensions[at]!.load(packet, this.#key, 0)) this.#classifier.place(this.#rows, at, this.#key, 0);
      else this.#classifier.placeNothing(this.#rows, at);
    }
  }

  #base(packet: NftPacket, base: number, policy: NftVerdict): NftVerdict {
    const stack = this.#stack;
    const classifier = this.#classifier;
    let depth = 0;
    let chain = base;
    let at = this.#chainStart[base]!;
    let end = this.#chainStart[base + 1]!;
    for (;;) {
      const rule = classifier.next(this.#rows, at, end);
      let code: number = Code.Return;
      if (this.#differing[rule < 0 ? end : rule + 1] !== this.#differing[at]) this.#ofFlow = false;
      if (rule >= 0) {
        at = rule + 1;
        if (this.#repeatable[rule] === 0) this.#ofFlow = false;
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
    return {
      cells: this.cells.map((cell) => cell.save()),
      generators: [...this.#machine.generators],
      sets: this.#machine.sets.map((set) => keepsState(set.spec) ? set.save(nowMs) : []),
    };
  }

  /** Takes what another evaluation of the same rules has counted and learnt. */
  load(state: NftState): void {
    state.cells.forEach((cell, at) => this.cells[at]!.load(cell));
    this.#machine.generators.set(state.generators);
    state.sets.forEach((elements, at) => {
      const set = this.#machine.sets[at]!;
      if (keepsState(set.spec)) set.load(elements);
    });
  }
}

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
  return 1 + hook + 5 * (begin + 4 * end);
}

/** Values that rules themselves change: they are looked at when their turn has come. */
function changedBy(ops: readonly Op[]): Set<string> {
  const changed = new Set<string>();
  for (const op of ops) {
    if (op.op === "set meta") changed.add(op.key);
    if (op.op === "notrack") changed.add("state");
  }
  return changed;
}

/** Chooses dimensions, and puts each rule's conditions into them. */
function classify(
  rules: readonly (readonly Condition[])[],
): { classifier: Classifier; dimensions: { key: string; value: Condition["value"] }[] } {
  const asked = new Map<string, { value: Condition["value"]; count: number; width: number }>();
  for (const conditions of rules) {
    for (const { key, value, intervals } of conditions) {
      const known = asked.get(key);
      if (known === undefined) asked.set(key, { value, count: 1, width: intervals.length });
      else {
        known.count++;
        known.width += intervals.length;
      }
    }
  }
  // Those that most rules ask about first: an empty intersection ends a search.
  let keys = [...asked].sort((a, b) => b[1].count - a[1].count).slice(0, DIMENSIONS_MAX);
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
