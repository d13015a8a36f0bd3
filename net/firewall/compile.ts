import { addressKey, intervalOf } from "../ip/intervals.ts";
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../wire/ipv4.ts";
import { PROTOCOL_ICMPV6 } from "../wire/ipv6.ts";
import { type CheckedRule, type CheckedRules, ProtocolBit, type Range } from "./check.ts";
import { ClassesFull, lowestBit, RuleClasses } from "./classes.ts";
import type { FirewallPacket } from "./packet.ts";
import { FirewallError } from "./rule.ts";

/** How a packet is seen: each dimension sorts packets into classes, and a class is a set of rules. */
const Dimension = { Kind: 0, Source: 1, Destination: 2, SourcePort: 3, DestinationPort: 4 } as const;
const DIMENSIONS = 5;

/** ICMP types lie beyond the destination ports, in the same dimension: no packet has both. */
const ICMP_TYPE_BASE = 65_536;
const DIRECTIONS = 3;
const STATES = 4;
const PROTOCOLS = 4;
/** By protocol number: the position of its bit in a rule's mask. */
const PROTOCOL_CLASS = new Uint8Array(256).fill(lowestBit(ProtocolBit.Other));
PROTOCOL_CLASS[PROTOCOL_TCP] = lowestBit(ProtocolBit.Tcp);
PROTOCOL_CLASS[PROTOCOL_UDP] = lowestBit(ProtocolBit.Udp);
PROTOCOL_CLASS[PROTOCOL_ICMP] = lowestBit(ProtocolBit.Icmp);
PROTOCOL_CLASS[PROTOCOL_ICMPV6] = lowestBit(ProtocolBit.Icmp);

/** A line cut into intervals, and the row of the class that each of them belongs to. */
interface Line {
  readonly starts: Int32Array;
  readonly rows: Int32Array;
}

/**
 * Rules in the form that packets are held against: aggregated bit vectors (Lakshman and Stiliadis
 * 1998, Baboescu and Varghese 2001).
 *
 * Each dimension maps the packet to a class: the set of rules that its value satisfies. Rules that
 * do not ask about a dimension stand in a set of their own, `wild`, so that classes stay sparse.
 * The lowest rule in the intersection over all dimensions decides. The sets have two levels: a
 * summary with one bit for 32 rules is intersected first, and only words that survive are read. So
 * a search costs a few binary searches, one step per 1,024 rules, and a step per surviving word.
 */
export class CompiledRules {
  /** Verdicts by rule. */
  readonly verdicts: Uint8Array;
  /** Verdicts of the policy, by direction. */
  readonly policy: Uint8Array;
  readonly #interfaceCount: number;
  readonly #kinds: Int32Array;
  readonly #source: Line;
  readonly #destination: Line;
  readonly #sourcePort: Line;
  readonly #destinationPort: Line;

  readonly #summaryWords: number;
  readonly #wordsPerSet: number;
  readonly #summary: Int32Array;
  readonly #starts: Int32Array;
  readonly #words: Int32Array;
  readonly #wild: Int32Array; // sets by dimension
  readonly #wildSummary: Int32Array;
  readonly #all: Int32Array;
  readonly #allSummary: Int32Array;

  readonly #active: Int32Array; // dimensions that any rule asks about
  readonly #rows = new Int32Array(DIMENSIONS); // of the packet being judged

  /**
   * @param wordsMax Room for classes; see `CLASS_WORDS_MAX`.
   * @throws {FirewallError} When the rules overlap so much that there is not enough.
   */
  constructor(checked: CheckedRules, interfaceCount: number, wordsMax?: number) {
    const { rules } = checked;
    this.verdicts = Uint8Array.from(rules, (rule) => rule.verdict);
    this.policy = Uint8Array.from(checked.policy);
    this.#interfaceCount = interfaceCount;

    const classes = new RuleClasses(rules.length, wordsMax);
    this.#summaryWords = classes.summaryWords;
    this.#wordsPerSet = Math.ceil(rules.length / 32);
    this.#wild = new Int32Array(DIMENSIONS * this.#wordsPerSet);
    this.#wildSummary = new Int32Array(DIMENSIONS * this.#summaryWords);
    this.#all = new Int32Array(this.#wordsPerSet);
    this.#allSummary = new Int32Array(this.#summaryWords);
    for (let rule = 0; rule < rules.length; rule++) this.#put(this.#all, this.#allSummary, 0, rule);

    const active: number[] = [];
    const line = (dimension: number, rangesOf: (rule: CheckedRule) => readonly Range[] | undefined): Line => {
      const isAddress = dimension === Dimension.Source || dimension === Dimension.Destination;
      const asking: Asking[] = [];
      rules.forEach((rule, index) => {
        const ranges = rangesOf(rule);
        if (ranges === undefined || (isAddress && isEveryAddress(ranges[0]!))) {
          this.#put(this.#wild, this.#wildSummary, dimension, index);
        } else asking.push({ rule: index, ranges });
      });
      if (asking.length > 0) active.push(dimension);
      return sweep(asking, classes, isAddress);
    };
    try {
      // The narrowest first, the kind last: an empty intersection ends a step.
      this.#source = line(Dimension.Source, (rule) => rule.source);
      this.#destination = line(Dimension.Destination, (rule) => rule.destination);
      this.#destinationPort = line(
        Dimension.DestinationPort,
        (rule) => rule.destinationPort ?? rule.icmpType?.map(beyondPorts),
      );
      this.#sourcePort = line(Dimension.SourcePort, (rule) => rule.sourcePort);
      const kinds = this.#compileKinds(rules, classes);
      if (kinds !== undefined) active.push(Dimension.Kind);
      this.#kinds = kinds ?? new Int32Array(0);
    } catch (error) {
      if (!(error instanceof ClassesFull)) throw error;
      throw new FirewallError("rules", `${error.message}, expected fewer rules or less overlap`, {
        cause: error,
      });
    }
    this.#active = Int32Array.from(active);
    this.#summary = classes.summary;
    this.#starts = classes.starts;
    this.#words = classes.words;
  }

  /** Bytes of typed array that grow with the rules. */
  get bytes(): number {
    let bytes = this.#kinds.byteLength + this.#wild.byteLength;
    for (const line of [this.#source, this.#destination, this.#sourcePort, this.#destinationPort]) {
      bytes += line.starts.byteLength + line.rows.byteLength;
    }
    return bytes + this.#summary.byteLength + this.#starts.byteLength + this.#words.byteLength;
  }

  /** The first rule that `packet` satisfies, or -1. */
  find(packet: FirewallPacket): number {
    const rows = this.#rows;
    const active = this.#active;
    for (let at = 0; at < active.length; at++) rows[at] = this.#rowOf(active[at]!, packet);

    const summaryWords = this.#summaryWords;
    for (let s = 0; s < summaryWords; s++) {
      let candidates = this.#allSummary[s]!;
      for (let at = 0; at < active.length && candidates !== 0; at++) {
        candidates &= this.#wildSummary[active[at]! * summaryWords + s]! | this.#summary[rows[at]! + s]!;
      }
      for (; candidates !== 0; candidates &= candidates - 1) {
        const word = s * 32 + lowestBit(candidates);
        const found = this.#intersect(word, s, candidates & -candidates);
        if (found !== 0) return word * 32 + lowestBit(found);
      }
    }
    return -1;
  }

  /** The rules among the 32 of `word` that every dimension allows; `bit` is the word's own in summary `s`. */
  #intersect(word: number, s: number, bit: number): number {
    let rules = this.#all[word]!;
    for (let at = 0; at < this.#active.length && rules !== 0; at++) {
      const cell = this.#rows[at]! + s;
      const summary = this.#summary[cell]!;
      let set = this.#wild[this.#active[at]! * this.#wordsPerSet + word]!;
      if ((summary & bit) !== 0) set |= this.#words[this.#starts[cell]! + countBits(summary & (bit - 1))]!;
      rules &= set;
    }
    return rules;
  }

  #rowOf(dimension: number, packet: FirewallPacket): number {
    switch (dimension) {
      case Dimension.Kind:
        return this.#kinds[this.#kindOf(packet)]!;
      case Dimension.Source:
        return rowAt(this.#source, addressKey(packet.source));
      case Dimension.Destination:
        return rowAt(this.#destination, addressKey(packet.destination));
      case Dimension.SourcePort:
        return rowAt(this.#sourcePort, packet.sourcePort);
      default:
        return packet.protocol === PROTOCOL_ICMP || packet.protocol === PROTOCOL_ICMPV6
          ? rowAt(this.#destinationPort, ICMP_TYPE_BASE + packet.icmpType)
          : rowAt(this.#destinationPort, packet.destinationPort);
    }
  }

  #kindOf(packet: FirewallPacket): number {
    const named = packet.interfaceIndex >>> 0 < this.#interfaceCount;
    const column = named ? packet.interfaceIndex : this.#interfaceCount;
    const direction = column * DIRECTIONS + packet.direction;
    return (direction * STATES + packet.state) * PROTOCOLS + PROTOCOL_CLASS[packet.protocol & 255]!;
  }

  /** Rows by interface, direction, state and protocol; undefined when no rule asks about any of them. */
  #compileKinds(rules: readonly CheckedRule[], classes: RuleClasses): Int32Array | undefined {
    const groups = new Map<string, { sample: CheckedRule; rules: number[] }>();
    rules.forEach((rule, index) => {
      const { interfaces, directions, states, protocols } = rule;
      if (!interfaces && directions === 7 && states === 15 && protocols === 15) {
        this.#put(this.#wild, this.#wildSummary, Dimension.Kind, index);
        return;
      }
      const key = `${interfaces} ${directions} ${states} ${protocols}`;
      const group = groups.get(key);
      if (group) group.rules.push(index);
      else groups.set(key, { sample: rule, rules: [index] });
    });
    if (groups.size === 0) return undefined;

    const kinds = new Int32Array((this.#interfaceCount + 1) * DIRECTIONS * STATES * PROTOCOLS);
    const rowByKey = new Map<string, number>();
    for (let kind = 0; kind < kinds.length; kind++) {
      const here = [...groups.values()].filter(({ sample }) => hasKind(sample, kind));
      const key = here.map((group) => group.rules[0]).join();
      let row = rowByKey.get(key);
      if (row === undefined) {
        for (const group of here) group.rules.forEach((rule) => classes.add(rule));
        row = classes.intern() * classes.summaryWords;
        for (const group of here) group.rules.forEach((rule) => classes.remove(rule));
        rowByKey.set(key, row);
      }
      kinds[kind] = row;
    }
    return kinds;
  }

  #put(sets: Int32Array, summaries: Int32Array, set: number, rule: number): void {
    const word = rule >> 5;
    sets[set * this.#wordsPerSet + word]! |= 1 << (rule & 31);
    summaries[set * this.#summaryWords + (word >> 5)]! |= 1 << (word & 31);
  }
}

interface Asking {
  readonly rule: number;
  readonly ranges: readonly Range[];
}

/** Walks along a line from one end of a range to the next, keeping the set of rules that hold there. */
function sweep(asking: readonly Asking[], classes: RuleClasses, isAddress: boolean): Line {
  const edges: { at: number; rule: number; enters: boolean }[] = [];
  for (const { rule, ranges } of asking) {
    for (const { low, high } of ranges) {
      edges.push({ at: low, rule, enters: true }, { at: high + 1, rule, enters: false });
    }
  }
  edges.sort((a, b) => a.at - b.at);

  const end = isAddress ? 0x1_0000_0000 : ICMP_TYPE_BASE + 256;
  const starts: number[] = [];
  const rows: number[] = [];
  let next = 0;
  for (let at = 0; at < end;) {
    for (; next < edges.length && edges[next]!.at === at; next++) {
      const { rule, enters } = edges[next]!;
      if (enters) classes.add(rule);
      else classes.remove(rule);
    }
    const row = classes.intern() * classes.summaryWords;
    if (row !== rows.at(-1)) {
      starts.push(isAddress ? addressKey(at) : at);
      rows.push(row);
    }
    at = edges[next]?.at ?? end;
  }
  for (; next < edges.length; next++) classes.remove(edges[next]!.rule); // ranges that end with the line
  return { starts: Int32Array.from(starts), rows: Int32Array.from(rows) };
}

function rowAt(line: Line, key: number): number {
  return line.rows[intervalOf(line.starts, key)]!;
}

function isEveryAddress(range: Range): boolean {
  return range.low === 0 && range.high === 0xffff_ffff;
}

function beyondPorts(range: Range): Range {
  return { low: ICMP_TYPE_BASE + range.low, high: ICMP_TYPE_BASE + range.high };
}

function hasKind(rule: CheckedRule, kind: number): boolean {
  const protocol = kind % PROTOCOLS;
  const state = Math.floor(kind / PROTOCOLS) % STATES;
  const direction = Math.floor(kind / (PROTOCOLS * STATES)) % DIRECTIONS;
  const column = Math.floor(kind / (PROTOCOLS * STATES * DIRECTIONS));
  return (rule.protocols & (1 << protocol)) !== 0 && (rule.states & (1 << state)) !== 0 &&
    (rule.directions & (1 << direction)) !== 0 && (rule.interfaces?.includes(column) ?? true);
}

function countBits(word: number): number {
  word -= (word >>> 1) & 0x5555_5555;
  word = (word & 0x3333_3333) + ((word >>> 2) & 0x3333_3333);
  return Math.imul((word + (word >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}
