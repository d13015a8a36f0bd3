import { CtState, NO_FLOW } from "../conntrack/state.ts";
import { type Cell, SharedCounterCell } from "./cells.ts";
import type { Interval } from "./classifier.ts";
import { Code, codeOf } from "./codes.ts";
import {
  compileFind,
  compileKey,
  compileLoad,
  compileNarrow,
  constantWords,
  type Machine,
  NO_KEY,
  wordsOf,
} from "./compile_value.ts";
import type { Decisions } from "./decisions.ts";
import { complement, everything, intersection, merged } from "./intervals.ts";
import type { LinkedNat, LinkedRule, LinkedSet, Op, RejectSpec, Value } from "./linked.ts";
import { nameHolds } from "./name_holds.ts";
import type { NftPacket } from "./packet.ts";
import { keepsState } from "./walk.ts";
import { writeIpField, writeTcpOption } from "./write.ts";

/** One step of a rule; says a `Code`. */
export type Step = (packet: NftPacket) => number;

/** What steps leave behind beside their code. */
export class Outcome {
  reject: RejectSpec | undefined;
  nat: CompiledNat | undefined;
}

/** An address translation, and where its values stand when it has been said. */
export interface CompiledNat {
  readonly nat: LinkedNat;
  /** Words of the addresses, the second from the fifth on: as `NatRequest` has them. */
  readonly address: Int32Array;
  readonly port: Int32Array;
}

/** Elements of a set that become intervals of a rule; larger ones are looked up when the packet is there. */
const INTERVALS_MAX = 4_096;

/** Values that a rule asks of one field, before anything of it has an effect. */
export interface Condition {
  readonly value: Value;
  /** What tells fields apart. */
  readonly key: string;
  readonly intervals: readonly Interval[];
  readonly op: Op;
}

/**
 * What of a rule can be known from the packet alone, at its beginning: those conditions are looked up for all rules
 * together. `steps` is what is left of it.
 */
export function splitRule(
  rule: LinkedRule,
  changeable: ReadonlySet<string>,
): { conditions: Condition[]; rest: Op[] } {
  const conditions: Condition[] = [];
  const rest: Op[] = [];
  let pure = true;
  for (const op of rule.ops) {
    const condition = pure ? conditionOf(op, changeable) : undefined;
    if (condition !== undefined) conditions.push({ ...condition, op });
    else {
      rest.push(op);
      // Values are looked up without effect, but a generator counts, and so do the elements of some sets.
      pure &&= op.op === "names" || ((op.op === "test" || op.op === "lookup") && !hasEffect(op));
    }
  }
  return { conditions, rest };
}

function hasEffect(op: Op & { readonly op: "test" | "lookup" }): boolean {
  return op.parts.some(valueHasEffect) || (op.op === "lookup" && keepsCells(op.set));
}

function valueHasEffect(value: Value): boolean {
  switch (value.op) {
    case "numgen":
      return true;
    case "map":
      return value.key.some(valueHasEffect) || keepsCells(value.set);
    case "&":
    case "|":
    case "^":
    case "<<":
    case ">>":
      return valueHasEffect(value.left) || valueHasEffect(value.right);
    case "meta":
      return value.key === "random";
    default:
      return false;
  }
}

function keepsCells(set: LinkedSet): boolean {
  return set.changes || keepsState(set);
}

/** Names for the words of 16 bits that a field lies in; behind TCP's window all of them have one. */
export function writtenWords(base: "nh" | "th", bit: number, bits: number): string[] {
  if (base === "th") return bit + bits > 128 ? ["written th"] : [];
  const words: string[] = [];
  for (let word = bit >> 4; word << 4 < bit + bits; word++) words.push(`written nh ${word}`);
  return words;
}

/** The field that a value is, as a name; undefined for what rules or time may change. */
function fieldOf(value: Value, changeable: ReadonlySet<string>): string | undefined {
  if (value.bits > 32 && value.bits !== 128) return undefined;
  if (value.op === "payload") {
    const words = writtenWords(value.base, value.bit, value.bits);
    return words.some((word) => changeable.has(word))
      ? undefined
      : `${value.base} ${value.bit} ${value.bits}`;
  }
  if (value.op === "meta" && value.key !== "random" && !changeable.has(value.key)) return `meta ${value.key}`;
  if (
    value.op === "ct" && (value.key === "state" || value.key === "direction") && !changeable.has(value.key)
  ) {
    return `ct ${value.key}`;
  }
  return undefined;
}

/** Widths of fields whose masked values are tried one by one. */
const TRIED_BITS = 8;

function conditionOf(op: Op, changeable: ReadonlySet<string>): Omit<Condition, "op"> | undefined {
  if (op.op === "lookup") {
    const { set, parts, negate } = op;
    if (parts.length !== 1 || keepsCells(set) || set.elements.length > INTERVALS_MAX) return undefined;
    const value = parts[0]!;
    const key = fieldOf(value, changeable);
    if (key === undefined) return undefined;
    const inside = set.rest !== undefined ? everything(value.bits) : intersection(
      merged(set.elements.map(({ low, high }) => ({ low: low[0]!, high: high[0]! }))),
      everything(value.bits),
    );
    return { value, key, intervals: negate ? complement(inside, value.bits) : inside };
  }
  if (op.op !== "test" || op.parts.length !== 1) return undefined;
  const value = op.parts[0]!;
  const [low] = op.low as [bigint];
  const [high] = op.high as [bigint];
  const key = fieldOf(value, changeable);
  if (key !== undefined && op.compare !== "in") {
    return { value, key, intervals: compared(op.compare, low, high, value.bits) };
  }
  const masked = maskedOf(op, value, changeable);
  if (masked === undefined) return undefined;
  const { field, mask } = masked;
  const domain = field.op === "ct"
    ? Object.values(CtState)
    : Array.from({ length: 1 << field.bits }, (_, at) => at);
  const wanted = domain.filter((each) => {
    const found = BigInt(each) & mask;
    if (op.compare === "in") return (found & low) !== 0n;
    return compared(op.compare, low, high, value.bits).some((part) =>
      part.low <= found && found <= part.high
    );
  });
  return {
    value: field,
    key: fieldOf(field, changeable)!,
    intervals: merged(wanted.map((each) => ({ low: BigInt(each), high: BigInt(each) }))),
  };
}

/** A small field under a mask. */
function maskedOf(
  op: Op & { readonly op: "test" },
  value: Value,
  changeable: ReadonlySet<string>,
): { field: Value; mask: bigint } | undefined {
  const isMask = value.op === "&" && value.right.op === "const";
  const field = isMask ? value.left : value;
  if (!isMask && op.compare !== "in") return undefined;
  if (fieldOf(field, changeable) === undefined) return undefined;
  if (field.bits > TRIED_BITS && !(field.op === "ct" && field.key === "state")) return undefined;
  const mask = isMask && value.right.op === "const" ? value.right.value : (1n << BigInt(field.bits)) - 1n;
  return { field, mask };
}

function compared(
  compare: Exclude<(Op & { readonly op: "test" })["compare"], "in">,
  low: bigint,
  high: bigint,
  bits: number,
): Interval[] {
  const end = (1n << BigInt(bits)) - 1n;
  const between = (from: bigint, to: bigint): Interval[] => (from <= to ? [{ low: from, high: to }] : []);
  switch (compare) {
    case "==":
      return between(low, high < end ? high : end);
    case "!=":
      return complement(between(low, high < end ? high : end), bits);
    case "<":
      return between(0n, low - 1n);
    case ">":
      return between(low + 1n, end);
    case "<=":
      return between(0n, low < end ? low : end);
    case ">=":
      return between(low, end);
  }
}

/** Makes steps. */
export class RuleCompiler {
  readonly #machine: Machine;
  readonly #cells: readonly Cell[];
  readonly #outcome: Outcome;
  readonly #decisions: Decisions;

  constructor(machine: Machine, cells: readonly Cell[], outcome: Outcome, decisions: Decisions) {
    this.#decisions = decisions;
    this.#machine = machine;
    this.#cells = cells;
    this.#outcome = outcome;
  }

  step(op: Op, rule: LinkedRule): Step {
    const machine = this.#machine;
    switch (op.op) {
      case "test":
        return this.#test(op);
      case "lookup": {
        const set = machine.sets[op.set.id]!;
        const find = compileFind(op.parts, machine, set);
        const { negate } = op;
        return (packet) => {
          const element = find(packet);
          if (element === NO_KEY) return Code.Break;
          if (element < 0) return negate ? Code.Next : Code.Break;
          return negate || !set.holdAll(element, packet) ? Code.Break : Code.Next;
        };
      }
      case "vmap": {
        const set = machine.sets[op.set.id]!;
        const find = compileFind(op.parts, machine, set);
        return (packet) => {
          const element = find(packet);
          return element < 0 || !set.holdAll(element, packet) ? Code.Break : set.code(element);
        };
      }
      case "verdict": {
        const code = codeOf(op.verdict);
        return () => code;
      }
      case "cell": {
        const cell = this.#cells[op.cell]!;
        const decisions = this.#decisions;
        if (cell instanceof SharedCounterCell) {
          const number = op.cell;
          return (packet) => {
            cell.hold(packet);
            if (decisions.recording) decisions.count(number);
            return Code.Next;
          };
        }
        return (packet) => cell.hold(packet) ? Code.Next : Code.Break;
      }
      case "cell map": {
        const set = machine.sets[op.set.id]!;
        const find = compileFind(op.parts, machine, set);
        const cells = this.#cells;
        return (packet) => {
          const element = find(packet);
          if (element < 0 || !set.holdAll(element, packet)) return Code.Break;
          return cells[set.code(element)]!.hold(packet) ? Code.Next : Code.Break;
        };
      }
      case "log": {
        const { environment } = machine;
        const { log } = op;
        return (packet) => {
          environment.log?.(log, rule, packet);
          return Code.Next;
        };
      }
      case "reject": {
        const outcome = this.#outcome;
        const { reject } = op;
        return () => {
          outcome.reject = reject;
          return Code.Reject;
        };
      }
      case "queue":
        return () => Code.Queue;
      case "notrack":
        return ({ track }) => {
          track.untrack();
          return Code.Next;
        };
      case "set meta":
        return this.#setMeta(op.key, op.value);
      case "set ct": {
        const value = compileNarrow(op.value, machine);
        const { tracker } = machine.environment;
        return (packet) => {
          machine.broken = false;
          const mark = value(packet);
          if (machine.broken) return Code.Break;
          if (packet.track.flow !== NO_FLOW) tracker?.setMark(packet.track, mark);
          return Code.Next;
        };
      }
      case "set zone": {
        const value = compileNarrow(op.value, machine);
        return (packet) => {
          machine.broken = false;
          const zone = value(packet);
          if (machine.broken) return Code.Break;
          packet.track.setZone(zone);
          return Code.Next;
        };
      }
      case "set payload":
      case "set option":
        return this.#write(op);
      case "update":
        return this.#update(op);
      case "names": {
        const names = machine.environment.tracker?.names;
        return (packet) => nameHolds(op, names, packet) ? Code.Next : Code.Break;
      }
      case "nat":
        return this.#nat(op.nat);
    }
  }

  #test(op: Op & { readonly op: "test" }): Step {
    const machine = this.#machine;
    const [value] = op.parts as [Value];
    if (value.bits > 32) return this.#wideTest(op);
    const load = compileNarrow(value, machine);
    // Numbers up to 32 bits, as unsigned ones.
    const low = Number(op.low[0]!);
    const high = Number(op.high[0]!);
    const mask = low | 0;
    const verdict = (holds: (found: number) => boolean): Step => (packet) => {
      machine.broken = false;
      const found = load(packet) >>> 0;
      return !machine.broken && holds(found) ? Code.Next : Code.Break;
    };
    switch (op.compare) {
      case "==":
        return verdict((found) => low <= found && found <= high);
      case "!=":
        return verdict((found) => found < low || found > high);
      case "<":
        return verdict((found) => found < low);
      case ">":
        return verdict((found) => found > low);
      case "<=":
        return verdict((found) => found <= low);
      case ">=":
        return verdict((found) => found >= low);
      case "in":
        return verdict((found) => (found & mask) !== 0);
    }
  }

  #wideTest(op: Op & { readonly op: "test" }): Step {
    const load = compileLoad(op.parts[0]!, this.#machine);
    const key = new Int32Array(4);
    const { compare } = op;
    const low = Int32Array.from(constantWords(op.low[0]!, 128));
    const high = Int32Array.from(constantWords(op.high[0]!, 128));
    return (packet) => {
      if (!load(packet, key, 0)) return Code.Break;
      let holds: boolean;
      switch (compare) {
        case "==":
          holds = order(key, low) >= 0 && order(key, high) <= 0;
          break;
        case "!=":
          holds = order(key, low) < 0 || order(key, high) > 0;
          break;
        case "<":
          holds = order(key, low) < 0;
          break;
        case ">":
          holds = order(key, low) > 0;
          break;
        case "<=":
          holds = order(key, low) <= 0;
          break;
        case ">=":
          holds = order(key, low) >= 0;
          break;
        case "in":
          holds =
            ((key[0]! & low[0]!) | (key[1]! & low[1]!) | (key[2]! & low[2]!) | (key[3]! & low[3]!)) !== 0;
      }
      return holds ? Code.Next : Code.Break;
    };
  }

  #setMeta(key: "mark" | "priority" | "nftrace", from: Value): Step {
    const machine = this.#machine;
    const value = compileNarrow(from, machine);
    return (packet) => {
      machine.broken = false;
      const word = value(packet);
      if (machine.broken) return Code.Break;
      if (key === "mark") packet.mark = word;
      else if (key === "priority") packet.priority = word;
      else packet.traced = word !== 0;
      return Code.Next;
    };
  }

  #write(op: Op & { readonly op: "set payload" | "set option" }): Step {
    const machine = this.#machine;
    const value = compileNarrow(op.value, machine);
    return (packet) => {
      machine.broken = false;
      const word = value(packet);
      if (machine.broken) return Code.Break;
      if (op.op === "set payload") writeIpField(packet, op.bit, op.bits, word);
      else if (!writeTcpOption(packet, op.kind, op.offset, word)) return Code.Break;
      return Code.Next;
    };
  }

  #update(op: Op & { readonly op: "update" }): Step {
    const machine = this.#machine;
    const set = machine.sets[op.set.id]!;
    const load = compileKey(op.parts, machine, set.parts);
    const key = new Int32Array(set.keyWords);
    const data = new Int32Array(Math.max(1, set.dataWords));
    const timeoutMs = (op.timeout ?? op.set.timeout) * 1_000;
    const { mode, cells } = op;
    if (mode === "delete") {
      return (packet) => {
        if (!load(packet, key)) return Code.Break;
        set.take(key); // the rule goes on whether it was there or not
        return Code.Next;
      };
    }
    let loadData: ((packet: NftPacket, into: Int32Array) => boolean) | undefined;
    if (op.data !== undefined) {
      if ("kind" in op.data) data[0] = codeOf(op.data);
      else loadData = compileKey(op.data, machine, op.set.data as readonly number[]);
    }
    return (packet) => {
      if (!load(packet, key)) return Code.Break;
      if (loadData !== undefined && !loadData(packet, data)) return Code.Break;
      const element = set.put(key, data, mode === "update", timeoutMs, cells, packet.nowMs);
      return element >= 0 && set.holdAll(element, packet) ? Code.Next : Code.Break;
    };
  }

  #nat(nat: LinkedNat): Step {
    const outcome = this.#outcome;
    const compiled: CompiledNat = { nat, address: new Int32Array(8), port: new Int32Array(2) };
    const loads = [
      ...this.#pair(nat.address, compiled.address, 4),
      ...this.#pair(nat.port, compiled.port, 1),
      ...nat.map === undefined ? [] : [this.#mapped(nat.map, compiled)],
    ];
    return (packet) => {
      for (let at = 0; at < loads.length; at++) if (!loads[at]!(packet)) return Code.Break;
      if (nat.nfproto !== 0 && nat.nfproto !== packet.nfproto) return Code.Next; // nft_nat_inet_eval()
      outcome.nat = compiled;
      return Code.Nat;
    };
  }

  /** What a map has for the packet, by one look: its key may be a number that is another one at each. */
  #mapped(
    { key, set: { id, ranged, data }, hasPort }: NonNullable<LinkedNat["map"]>,
    { address, port }: CompiledNat,
  ): (packet: NftPacket) => boolean {
    const set = this.#machine.sets[id]!;
    const find = compileFind(key, this.#machine, set);
    const words = wordsOf((data as readonly number[])[0]!);
    const ends = ranged ? (hasPort ? 2 : 1) : 0; // the first part of the ends
    return (packet) => {
      const element = find(packet);
      if (element < 0 || !set.holdAll(element, packet)) return false;
      for (let word = 0; word < words; word++) {
        address[word] = set.word(element, 0, word);
        address[4 + word] = set.word(element, ends, word);
      }
      if (hasPort) {
        port[0] = set.word(element, 1, 0);
        port[1] = set.word(element, ends + 1, 0);
      }
      return true;
    };
  }

  /** Loads one or two values into an array, the second behind the first. */
  #pair(
    values: readonly [Value, Value] | undefined,
    into: Int32Array,
    words: number,
  ): ((packet: NftPacket) => boolean)[] {
    if (values === undefined) return [];
    const low = compileLoad(values[0], this.#machine);
    if (values[0] === values[1]) {
      return [(packet) => {
        if (!low(packet, into, 0)) return false;
        into.copyWithin(words, 0, words);
        return true;
      }];
    }
    const high = compileLoad(values[1], this.#machine);
    return [(packet) => low(packet, into, 0) && high(packet, into, words)];
  }
}

/** Compares four words as one unsigned number. */
function order(a: Int32Array, b: Int32Array): number {
  for (let word = 0; word < 4; word++) {
    if (a[word] !== b[word]) return (a[word]! >>> 0) - (b[word]! >>> 0);
  }
  return 0;
}
