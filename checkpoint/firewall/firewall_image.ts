import type { Conntrack } from "../../net/firewall/conntrack/conntrack.ts";
import {
  faultOf,
  freezeFlows,
  type FrozenFlow,
  type FrozenKey,
  thawFlow,
} from "../../net/firewall/conntrack/freeze.ts";
import { printJsonRules } from "../../net/firewall/nft/json/print.ts";
import { readJsonRules } from "../../net/firewall/nft/json/read.ts";
import type { Ruleset } from "../../net/firewall/nft/schema.ts";
import { FIRST_BYTES_MAX } from "../../net/firewall/names/first_bytes.ts";
import type { FrozenName } from "../../net/firewall/names/flow_names.ts";
import { FirewallError } from "../../net/firewall/rule.ts";
import { CborError, type CborValue, decodeCbor, encodeShared } from "../image/cbor.ts";
import { scanCbor } from "../image/cbor_scan.ts";
import { putCbor } from "../image/cbor_put.ts";
import { ImageError } from "../image/image_error.ts";
import { Kind, registerKind } from "../image/kinds.ts";
import { readImage } from "../image/read.ts";
import { writeImage } from "../image/write.ts";

registerKind(Kind.Firewall, 1, ["frozenAtMs", "rules", "flows"]);

/** A chunk is closed when it has so many bytes: a thousand flows, and a moment's work to read. */
const CHUNK_BYTES = 256 * 1024;
/** The longest flow: four IPv6 addresses, every number at its longest, names, and what it has said first. */
const FLOW_BYTES_MAX: number = 1_024 + FIRST_BYTES_MAX;
/** What flows say first, by number. */
const KINDS: readonly FrozenName["kind"][] = ["pending", "tls", "http", "none"];
/** Characters of the rules: the longest body that an image may have is longer. */
const RULES_CHARACTERS_MAX = 8 * 1024 * 1024;

/** What a firewall knows: its rules, and what has gone through it. */
export interface FirewallContent {
  /** Epoch milliseconds. */
  readonly frozenAtMs: number;
  /** Rules with what they had counted, sets with their elements and the seconds that were left to each. */
  readonly rules: Ruleset;
  readonly flows: readonly FrozenFlow[];
  /** Of an image that is one of several in a store: its number, 0 for the rules. */
  readonly part?: number;
}

/**
 * The image of a firewall: its rules and sets as the JSON of `nft -j list ruleset`, and the flows that are followed, their
 * translations included.
 *
 * @throws {RangeError} When it would be over a limit of images.
 */
export function writeFirewallImage(
  ruleset: Ruleset,
  conntrack: Conntrack | undefined,
  nowMs: number,
): Uint8Array<ArrayBuffer> {
  return writeFlows(jsonOf(ruleset), conntrack === undefined ? [] : freezeFlows(conntrack, nowMs), nowMs, []);
}

/** The rules of a firewall as one of several images; the others have the flows. */
export function writeRulesPart(ruleset: Ruleset, nowMs: number): Uint8Array<ArrayBuffer> {
  return writeFlows(jsonOf(ruleset), [], nowMs, [0]);
}

/** Flows as one of several images of a firewall; undefined for none. */
export function writeFlowsPart(
  part: number,
  flows: readonly FrozenFlow[],
  nowMs: number,
): Uint8Array<ArrayBuffer> | undefined {
  return flows.length === 0 ? undefined : writeFlows('{"nftables":[]}', flows, nowMs, [part]);
}

function jsonOf(ruleset: Ruleset): string {
  const rules = JSON.stringify(printJsonRules(ruleset));
  if (rules.length <= RULES_CHARACTERS_MAX) return rules;
  throw new RangeError(`Cannot write image: rules of ${rules.length} characters`);
}

function writeFlows(
  rules: string,
  flows: Iterable<FrozenFlow>,
  nowMs: number,
  part: readonly number[],
): Uint8Array<ArrayBuffer> {
  const chunks: Uint8Array[] = [];
  let gathered = new Uint8Array(CHUNK_BYTES + FLOW_BYTES_MAX);
  let view = new DataView(gathered.buffer);
  let at = 0;
  let count = 0;
  for (const flow of flows) {
    const value = toCbor(flow);
    const end = putCbor(value, view, gathered, at);
    if (end >= 0) at = end;
    else { // with the name of an interface
      const encoded = encodeShared(value);
      gathered.set(encoded, at);
      at += encoded.length;
    }
    count++;
    if (at < CHUNK_BYTES) continue;
    chunks.push(gathered.subarray(0, at));
    gathered = new Uint8Array(CHUNK_BYTES + FLOW_BYTES_MAX);
    view = new DataView(gathered.buffer);
    at = 0;
  }
  if (at > 0) chunks.push(gathered.subarray(0, at));
  return writeImage({ kind: Kind.Firewall, body: [Math.floor(nowMs), rules, count, ...part], chunks });
}

function toCbor(flow: FrozenFlow): CborValue {
  const { protocol, zone, original, reply, status, mark, remainingMs, masquerade, words, counters } = flow;
  const key = (frozen: FrozenKey): CborValue => [...frozen];
  return [
    protocol,
    zone,
    key(original),
    key(reply),
    status,
    mark,
    remainingMs,
    masquerade === "" ? null : masquerade,
    [...words],
    [...counters],
    ...flow.said === undefined ? [] : [saidToCbor(flow.said)],
  ];
}

function saidToCbor({ kind, name, start, bytes }: FrozenName): CborValue {
  return [KINDS.indexOf(kind), name, start, bytes];
}

/**
 * Reads the image of a firewall, and checks all that it says.
 *
 * @throws {ImageError} When the bytes are damaged, or are no firewall's, or say what cannot be.
 */
export function readFirewallImage(image: Uint8Array): FirewallContent {
  const { kind, body, chunks } = readImage(image);
  const [frozenAtMs, rules, count, part, more] = kind === Kind.Firewall && Array.isArray(body) ? body : [];
  const sound = typeof frozenAtMs === "number" && Number.isSafeInteger(frozenAtMs) && frozenAtMs >= 0 &&
    typeof rules === "string" && rules.length <= RULES_CHARACTERS_MAX &&
    typeof count === "number" && Number.isSafeInteger(count) && count >= 0 && more === undefined &&
    (part === undefined || (typeof part === "number" && Number.isSafeInteger(part) && part >= 0));
  if (!sound) {
    throw new ImageError("body", 0, "Cannot restore firewall: expected a time, rules and a number of flows");
  }
  const flows: FrozenFlow[] = [];
  chunks.forEach((chunk, index) => readChunk(chunk, index, flows));
  if (flows.length !== count) {
    throw new ImageError("chunks", 0, `Cannot restore firewall: ${flows.length} flows, expected ${count}`);
  }
  return { frozenAtMs, rules: readRules(rules), flows, ...part === undefined ? {} : { part } };
}

function readRules(text: string): Ruleset {
  try {
    return readJsonRules(JSON.parse(text));
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof FirewallError)) throw error;
    throw new ImageError("body", 0, `Cannot restore firewall: its rules cannot be read: ${error.message}`, {
      cause: error,
    });
  }
}

function readChunk(chunk: Uint8Array, index: number, into: FrozenFlow[]): void {
  for (let at = 0; at < chunk.length;) {
    const fail = (what: string, cause?: unknown): never => {
      const message = `Cannot restore firewall: flow ${into.length}: ${what}`;
      throw new ImageError(`chunk ${index}`, at, message, cause === undefined ? {} : { cause });
    };
    let value: CborValue | undefined;
    let end = at;
    try {
      end = scanCbor(chunk, at).end;
      value = decodeCbor(chunk.subarray(at, end));
    } catch (error) {
      if (!(error instanceof CborError)) throw error;
      fail("it is not deterministic CBOR", error);
    }
    const flow = fromCbor(value) ?? fail("expected ten fields, or eleven");
    const fault = faultOf(flow);
    if (fault !== undefined) fail(fault);
    into.push(flow);
    at = end;
  }
}

/** The shape alone; `faultOf` looks at what stands in it. */
function fromCbor(value: CborValue | undefined): FrozenFlow | undefined {
  if (!Array.isArray(value) || value.length < 10 || value.length > 11) return undefined;
  const [protocol, zone, original, reply, status, mark, remainingMs, masquerade, words, counters] = value;
  const said = value.length === 10 ? undefined : saidFromCbor(value[10]);
  if (said === undefined && value.length !== 10) return undefined;
  if (!isKey(original) || !isKey(reply) || !Array.isArray(words) || !Array.isArray(counters)) {
    return undefined;
  }
  const through = masquerade === null ? "" : masquerade === "" ? undefined : masquerade; // in one way only
  const flow = {
    protocol,
    zone,
    original,
    reply,
    status,
    mark,
    remainingMs,
    masquerade: through,
    words,
    counters,
    ...said === undefined ? {} : { said },
  };
  return flow as unknown as FrozenFlow;
}

function saidFromCbor(value: CborValue | undefined): FrozenName | undefined {
  if (!Array.isArray(value) || value.length !== 4 || typeof value[0] !== "number") return undefined;
  const [kind, name, start, bytes] = value;
  return { kind: KINDS[kind], name, start, bytes } as FrozenName; // `faultOf` looks at what stands there
}

function isKey(value: CborValue | undefined): boolean {
  return Array.isArray(value) && value.length === 3;
}

/**
 * Puts flows back where they were, as if the time since had passed here.
 *
 * @returns How many are there again: not those whose time is over meanwhile.
 */
export function restoreFlows(content: FirewallContent, conntrack: Conntrack, nowMs: number): number {
  let restored = 0;
  const passedMs = nowMs - content.frozenAtMs;
  for (const flow of content.flows) if (thawFlow(conntrack, flow, passedMs, nowMs)) restored++;
  return restored;
}

/** The rules as they are so much later: elements of sets have less time left, and some none. */
export function agedRules(rules: Ruleset, passedMs: number): Ruleset {
  const seconds = Math.max(0, Math.floor(passedMs / 1000));
  if (seconds === 0) return rules;
  const aged = <T extends { readonly expires?: number }>(elements: readonly T[]): T[] =>
    elements.flatMap((element) => {
      const { expires } = element;
      if (expires === undefined) return [element];
      return expires > seconds ? [{ ...element, expires: expires - seconds }] : [];
    });
  return {
    ...rules,
    tables: rules.tables.map((table) => ({
      ...table,
      sets: table.sets.map((set) => ({ ...set, elem: aged(set.elem) })),
    })),
  };
}
