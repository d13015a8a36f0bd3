import type { Hook } from "../conntrack/state.ts";
import { NO_FLOW } from "../conntrack/state.ts";
import { type Cell, loadKept, makeCell, saveKept } from "./cells.ts";
import { type NftEnvironment, NftVerdict } from "./environment.ts";
import { DEPTH_MAX } from "./link.ts";
import type {
  CellSpec,
  LinkedChain,
  LinkedElement,
  LinkedNat,
  LinkedRule,
  LinkedRules,
  LinkedSet,
  LinkedVerdict,
  Op,
  RejectSpec,
  Value,
} from "./linked.ts";
import { Code, codeOf } from "./codes.ts";
import type { NftPacket } from "./packet.ts";
import type { Rule } from "./schema.ts";
import type { ElementState, NftState } from "./state.ts";
import { nameHolds } from "./name_holds.ts";
import { valueOf, type WalkScope } from "./walk_value.ts";
import { writeIpField, writeTcpOption } from "./write.ts";

/** What became of one rule, or of a base chain's policy. */
export interface NftStep {
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  /** Position in the chain, -1 for the policy. */
  readonly index: number;
  readonly rule: Rule | undefined;
  readonly matched: boolean;
  /** Where it did not match: the statement, counted from 0, and what the packet has there. */
  readonly statement?: number;
  readonly found?: string;
  /** What the rule, or the policy, said. */
  readonly verdict?: string;
}

/** How a verdict came about. */
export interface NftExplanation {
  readonly verdict: NftVerdict;
  readonly reject: RejectSpec | undefined;
  /** What a chain of type nat asked for, with its values; undefined where none did. */
  readonly nat: NatOutcome | undefined;
  /** Every rule that was looked at, in order. */
  readonly steps: readonly NftStep[];
}

/** An address translation that a rule asks for, with the packet's values. */
export interface NatOutcome {
  readonly nat: LinkedNat;
  readonly address: readonly [bigint, bigint] | undefined;
  readonly port: readonly [bigint, bigint] | undefined;
}

interface WalkElement {
  readonly low: readonly bigint[];
  readonly high: readonly bigint[];
  data: LinkedElement["data"];
  timeoutMs: number;
  expiresMs: number;
  cells: Cell[];
}

interface WalkSet {
  elements: WalkElement[];
  rest: WalkElement | undefined;
}

/** What a rule, or one of its steps, ends with: nothing, the rule does not match, or a verdict. */
type Outcome = undefined | "break" | LinkedVerdict | { readonly kind: "reject" | "queue" | "nat" };

/**
 * Judges packets by reading rules one after another, step by step: what the compiled form must agree with, and
 * what explains. It keeps counts, sets and buckets of its own.
 */
export class NftWalk implements WalkScope {
  readonly environment: NftEnvironment;
  readonly interfaces: readonly string[];
  readonly linked: LinkedRules;
  readonly cells: Cell[];
  readonly #dry: boolean;
  readonly #generators: number[];
  readonly #sets: WalkSet[];
  #reject: RejectSpec | undefined;
  #nat: NatOutcome | undefined;
  #steps: NftStep[] = [];
  #found = "";
  #nowMs = 0;

  /**
   * @param nowMs When elements with timeouts begin to count, epoch milliseconds.
   * @param dry Marks of connections are not set: for those who only want to know.
   */
  constructor(linked: LinkedRules, environment: NftEnvironment, nowMs: number, dry = false) {
    this.#dry = dry;
    this.linked = linked;
    this.environment = environment;
    this.interfaces = linked.interfaces;
    this.cells = linked.cells.map((spec) => makeCell(spec, environment));
    this.#generators = Array.from({ length: linked.generators }, () => -1);
    const element = (
      { low, high, data, timeout, expires, cells }: LinkedElement,
      set: LinkedSet,
    ): WalkElement => {
      const timeoutMs = (timeout || set.timeout) * 1_000;
      const left = expires === 0 ? timeoutMs : expires * 1_000;
      return { low, high, data, timeoutMs, expiresMs: end(nowMs, left), cells: this.#make(cells) };
    };
    this.#sets = linked.sets.map((set) => ({
      elements: set.elements.map((each) => element(each, set)),
      rest: set.rest === undefined ? undefined : element(set.rest, set),
    }));
  }

  /** Takes what another evaluation of the same rules has counted and learnt. */
  load(state: NftState): void {
    state.cells.forEach((cell, at) => this.cells[at]!.load(cell));
    state.generators.forEach((last, at) => this.#generators[at] = last);
    state.sets.forEach((elements, at) => {
      const spec = this.linked.sets[at]!;
      if (!keepsState(spec)) return;
      const set: WalkSet = { elements: [], rest: undefined };
      for (const { low, high, data, timeoutMs, expiresMs, cells } of elements) {
        const made = loadKept(cells, this.environment);
        const element = { low, high, data, timeoutMs, expiresMs, cells: made };
        if (low.length === 0) set.rest = element;
        else set.elements.push(element);
      }
      this.#sets[at] = set;
    });
  }

  /** What it has counted and learnt; elements that have ended are left out. */
  save(nowMs: number): NftState {
    return {
      cells: this.cells.map((cell) => cell.save()),
      generators: [...this.#generators],
      sets: this.#sets.map(({ elements, rest }, at): ElementState[] => {
        if (!keepsState(this.linked.sets[at]!)) return [];
        const alive = elements.filter(({ expiresMs }) => expiresMs > nowMs);
        return [...alive, ...(rest === undefined ? [] : [rest])].map((each) => ({
          ...each,
          cells: saveKept(each.cells),
        }));
      }),
    };
  }

  /** Judges a packet at a hook by all its base chains but those of type nat. */
  judge(packet: NftPacket, hook: Hook): NftExplanation {
    return this.judgeBetween(packet, hook, -Infinity, Infinity);
  }

  /** As `judge`, by the chains with priorities from `from` up to `to`, `to` excluded. */
  judgeBetween(packet: NftPacket, hook: Hook, from: number, to: number): NftExplanation {
    const chains = this.linked.hooks[hook]!.filter(({ priority }) => from <= priority && priority < to);
    return this.#run(packet, hook, chains);
  }

  /** What the chains of type nat ask for. */
  judgeNat(packet: NftPacket, hook: Hook): NftExplanation {
    return this.#run(packet, hook, this.linked.nats[hook]!);
  }

  #run(packet: NftPacket, hook: Hook, chains: readonly LinkedChain[]): NftExplanation {
    packet.hook = hook;
    this.#nowMs = packet.nowMs;
    this.#steps = [];
    this.#reject = this.#nat = undefined;
    let verdict: NftVerdict = NftVerdict.Accept;
    for (const chain of chains) {
      if (chain.nfproto !== 0 && chain.nfproto !== packet.nfproto) continue;
      const one = this.#base(packet, chain);
      if (one === NftVerdict.Queue) verdict = one;
      if (one === NftVerdict.Drop || one === NftVerdict.Reject) {
        verdict = one;
        break;
      }
      if (this.#nat !== undefined) break;
    }
    return { verdict, reject: this.#reject, nat: this.#nat, steps: this.#steps };
  }

  #base(packet: NftPacket, base: LinkedChain): NftVerdict {
    const stack: { chain: LinkedChain; next: number }[] = [];
    let chain = base;
    walk: for (let at = 0;;) {
      const rule = chain.rules[at++];
      if (rule === undefined) {
        const back = stack.pop();
        if (back === undefined) break;
        chain = back.chain;
        at = back.next;
        continue;
      }
      const outcome = this.#rule(packet, chain, at - 1, rule);
      if (packet.traced && this.#steps.at(-1)!.matched) {
        this.environment.trace?.(packet, chain, rule, outcomeCode(outcome));
      }
      switch (outcome?.kind) {
        case "accept":
        case "nat":
          return NftVerdict.Accept;
        case "drop":
          return NftVerdict.Drop;
        case "reject":
          return NftVerdict.Reject;
        case "queue":
          return NftVerdict.Queue;
        case "return": {
          const back = stack.pop();
          if (back === undefined) break walk;
          chain = back.chain;
          at = back.next;
          break;
        }
        case "jump":
          if (stack.length === DEPTH_MAX) return NftVerdict.Drop; // never: linking has looked
          stack.push({ chain, next: at });
          chain = this.linked.chains[outcome.chain]!;
          at = 0;
          break;
        case "goto":
          chain = this.linked.chains[outcome.chain]!;
          at = 0;
          break;
      }
    }
    const { family, table, name, policy } = base;
    if (packet.traced) {
      this.environment.trace?.(packet, base, undefined, policy === "accept" ? Code.Accept : Code.Drop);
    }
    this.#steps.push({
      family,
      table,
      chain: name,
      index: -1,
      rule: undefined,
      matched: true,
      verdict: policy,
    });
    return policy === "accept" ? NftVerdict.Accept : NftVerdict.Drop;
  }

  #rule(
    packet: NftPacket,
    chain: LinkedChain,
    index: number,
    { rule, ops }: LinkedRule,
  ): Exclude<Outcome, "break"> {
    const { family, table, name } = chain;
    const step = { family, table, chain: name, index, rule };
    for (const op of ops) {
      this.#found = "";
      const outcome = this.#op(packet, op, chain.rules[index]!);
      if (outcome === "break") {
        this.#steps.push({ ...step, matched: false, statement: op.at, found: this.#found });
        return undefined;
      }
      if (outcome === undefined || outcome.kind === "continue") continue;
      this.#steps.push({ ...step, matched: true, verdict: this.#nameOf(outcome) });
      return outcome;
    }
    this.#steps.push({ ...step, matched: true });
    return undefined;
  }

  #nameOf(outcome: Exclude<Outcome, "break" | undefined>): string {
    if (outcome.kind !== "jump" && outcome.kind !== "goto") return outcome.kind;
    return `${outcome.kind} ${this.linked.chains[outcome.chain]!.name}`;
  }

  #op(packet: NftPacket, op: Op, rule: LinkedRule): Outcome {
    switch (op.op) {
      case "test": {
        const found = this.#values(op.parts, packet);
        if (found === undefined) return "break";
        return holds(op, found) ? undefined : "break";
      }
      case "lookup": {
        const found = this.#values(op.parts, packet);
        if (found === undefined) return "break";
        const element = this.#find(op.set, found);
        if (element === undefined) return op.negate ? undefined : "break";
        return op.negate || !this.#holdAll(element, packet) ? "break" : undefined;
      }
      case "vmap": {
        const found = this.#values(op.parts, packet);
        const element = found === undefined ? undefined : this.#find(op.set, found);
        return element === undefined || !this.#holdAll(element, packet)
          ? "break"
          : element.data as LinkedVerdict;
      }
      case "verdict":
        return op.verdict;
      case "cell":
        return this.cells[op.cell]!.hold(packet) ? undefined : "break";
      case "cell map": {
        const found = this.#values(op.parts, packet);
        const element = found === undefined ? undefined : this.#find(op.set, found);
        if (element === undefined || !this.#holdAll(element, packet)) return "break";
        return this.cells[element.data as number]!.hold(packet) ? undefined : "break";
      }
      case "log":
        this.environment.log?.(op.log, rule, packet);
        return undefined;
      case "reject":
        this.#reject = op.reject;
        return { kind: "reject" };
      case "queue":
        return { kind: "queue" };
      case "notrack":
        packet.track.untrack();
        return undefined;
      case "set meta": {
        const value = valueOf(op.value, packet, this);
        if (value === undefined) return "break";
        const word = Number(BigInt.asIntN(32, value));
        if (op.key === "nftrace") packet.traced = word !== 0;
        else packet[op.key] = word;
        return undefined;
      }
      case "set ct": {
        const value = valueOf(op.value, packet, this);
        if (value === undefined) return "break";
        if (packet.track.flow !== NO_FLOW && !this.#dry) {
          this.environment.tracker?.setMark(packet.track, Number(BigInt.asIntN(32, value)));
        }
        return undefined;
      }
      case "set zone": {
        const value = valueOf(op.value, packet, this);
        if (value === undefined) return "break";
        packet.track.setZone(Number(value));
        return undefined;
      }
      case "set payload":
      case "set option": {
        const value = valueOf(op.value, packet, this);
        if (value === undefined) return "break";
        if (op.op === "set payload") writeIpField(packet, op.bit, op.bits, Number(value));
        else if (!writeTcpOption(packet, op.kind, op.offset, Number(value))) return "break";
        return undefined;
      }
      case "update":
        return this.#update(op, packet);
      case "names":
        this.#found = this.#nameFound(packet);
        return nameHolds(op, this.environment.tracker?.names, packet) ? undefined : "break";
      case "nat":
        return this.#translate(op.nat, packet);
    }
  }

  #nameFound({ track: { flow } }: NftPacket): string {
    const heard = flow === NO_FLOW ? undefined : this.environment.tracker?.names.get(flow);
    if (heard === undefined || heard.name === "") {
      return heard?.kind === "pending" ? "no name yet" : "no name";
    }
    return `${heard.kind === "tls" ? "tls sni" : "http host"} ${heard.name}`;
  }

  #values(parts: readonly Value[], packet: NftPacket): bigint[] | undefined {
    const values: bigint[] = [];
    for (const part of parts) {
      const value = valueOf(part, packet, this);
      if (value === undefined) {
        this.#found = "nothing: the packet does not have it";
        return undefined;
      }
      values.push(value);
    }
    this.#found = values.map((value, at) => show(value, parts[at]!.bits)).join(" . ");
    return values;
  }

  #find(set: LinkedSet, key: readonly bigint[]): WalkElement | undefined {
    const { elements, rest } = this.#sets[set.id]!;
    return elements.find(({ low, high, expiresMs }) =>
      expiresMs > this.#nowMs && key.every((part, at) => low[at]! <= part && part <= high[at]!)
    ) ?? rest;
  }

  /** What an element keeps has its say when it is found: the kernel's nft_set_elem_update_expr(). */
  #holdAll(element: WalkElement, packet: NftPacket): boolean {
    return element.cells.every((cell) => cell.hold(packet));
  }

  lookup(
    value: Value & { readonly op: "map" },
    key: readonly bigint[],
    packet: NftPacket,
  ): bigint | undefined {
    const element = this.#find(value.set, key);
    if (element === undefined || !this.#holdAll(element, packet)) return undefined;
    return (element.data as readonly bigint[])[value.part];
  }

  generate({ generator, random, mod, offset }: Value & { readonly op: "numgen" }): bigint {
    if (random) {
      const drawn = (this.environment.random?.() ?? 0) >>> 0;
      return BigInt.asUintN(32, ((BigInt(drawn) * BigInt(mod)) >> 32n) + BigInt(offset));
    }
    const next = (this.#generators[generator]! + 1) % mod;
    this.#generators[generator] = next;
    return BigInt.asUintN(32, BigInt(next) + BigInt(offset));
  }

  /** As the kernel's nft_dynset_eval(). */
  #update(op: Op & { readonly op: "update" }, packet: NftPacket): Outcome {
    const key = this.#values(op.parts, packet);
    if (key === undefined) return "break";
    const set = this.#sets[op.set.id]!;
    const { nowMs } = packet;
    const same = (each: WalkElement): boolean => each.low.every((part, at) => part === key[at]!);
    let data: LinkedElement["data"];
    if (op.data !== undefined) {
      if ("kind" in op.data) data = op.data;
      else {
        const values = op.data.map((each) => valueOf(each, packet, this));
        if (values.includes(undefined)) return "break";
        data = values as bigint[];
      }
    }
    const timeoutMs = (op.timeout ?? op.set.timeout) * 1_000;
    let element = set.elements.find((each) => each.expiresMs > nowMs && same(each));
    if (op.mode === "delete") {
      set.elements = set.elements.filter((each) => each !== element);
      return undefined; // the rule goes on whether it was there or not
    }
    if (element === undefined) {
      set.elements = set.elements.filter((each) => each.expiresMs > nowMs);
      if (set.elements.length >= op.set.size) return "break";
      element = {
        low: key,
        high: key,
        data,
        timeoutMs,
        expiresMs: end(nowMs, timeoutMs),
        cells: this.#make(op.cells),
      };
      set.elements.push(element);
    } else if (op.mode === "update" && element.expiresMs !== Infinity) {
      element.expiresMs = end(nowMs, timeoutMs); // the kernel leaves the element's own timeout as it is
    }
    return this.#holdAll(element, packet) ? undefined : "break";
  }

  #translate(nat: LinkedNat, packet: NftPacket): Outcome {
    const pair = (
      values: readonly [Value, Value] | undefined,
    ): readonly [bigint, bigint] | undefined | "break" => {
      if (values === undefined) return undefined;
      const low = valueOf(values[0], packet, this);
      const high = values[1] === values[0] ? low : valueOf(values[1], packet, this);
      return low === undefined || high === undefined ? "break" : [low, high];
    };
    let address = pair(nat.address);
    let port = pair(nat.port);
    if (nat.map !== undefined) {
      const { key, set, hasPort } = nat.map;
      const found = this.#values(key, packet);
      const element = found === undefined ? undefined : this.#find(set, found);
      if (element === undefined || !this.#holdAll(element, packet)) return "break";
      const data = element.data as readonly bigint[];
      const ends = set.ranged ? data.length / 2 : 0;
      address = [data[0]!, data[ends]!];
      if (hasPort) port = [data[1]!, data[ends + 1]!];
    }
    if (address === "break" || port === "break") return "break";
    if (nat.nfproto !== 0 && nat.nfproto !== packet.nfproto) return undefined; // nft_nat_inet_eval()
    this.#nat = { nat, address, port };
    return { kind: "nat" };
  }

  #make(specs: readonly CellSpec[]): Cell[] {
    return specs.map((spec) => makeCell(spec, this.environment));
  }
}

/** Whether a set's elements come and go, or keep count. */
export function keepsState(set: LinkedSet): boolean {
  return set.changes || set.cells.length > 0 || set.elements.some(({ cells }) => cells.length > 0);
}

function end(nowMs: number, leftMs: number): number {
  return leftMs === 0 ? Infinity : nowMs + leftMs;
}

function holds(op: Op & { readonly op: "test" }, found: readonly bigint[]): boolean {
  const inside = (): boolean => found.every((value, at) => op.low[at]! <= value && value <= op.high[at]!);
  const [value] = found as [bigint];
  const [low] = op.low as [bigint];
  switch (op.compare) {
    case "==":
      return inside();
    case "!=":
      return !inside();
    case "<":
      return value < low;
    case ">":
      return value > low;
    case "<=":
      return value <= low;
    case ">=":
      return value >= low;
    case "in":
      return (value & low) !== 0n;
  }
}

function show(value: bigint, bits: number): string {
  if (bits <= 16) return `${value}`;
  return bits === 32 ? `${value} (0x${value.toString(16)})` : `0x${value.toString(16)}`;
}

function outcomeCode(outcome: Exclude<Outcome, "break">): number {
  switch (outcome?.kind) {
    case undefined:
      return Code.Next;
    case "reject":
      return Code.Reject;
    case "queue":
      return Code.Queue;
    case "nat":
      return Code.Nat;
    default:
      return codeOf(outcome as LinkedVerdict);
  }
}
