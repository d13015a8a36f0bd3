import { PROTOCOL_TCP, PROTOCOL_UDP } from "../../wire/ipv4.ts";
import { faultOfName, type FrozenName } from "../names/flow_names.ts";
import type { Conntrack } from "./conntrack.ts";
import { type FlowTable, PROTOCOL_WORDS, TICK_MS, Word } from "./flow_table.ts";
import { FlowKey, invertPorts, NO_ANSWER } from "./key.ts";
import { CtDirection, CtStatus, NO_FLOW } from "./state.ts";
import { TIMEOUT_SECONDS_MAX } from "./timeouts.ts";

/** An address as images hold it: see `AddressTable.freeze`. */
type FrozenAddress = number | Uint8Array;

/** One direction of a flow: who speaks to whom, and `FlowKey.ports`. */
export type FrozenKey = readonly [source: FrozenAddress, destination: FrozenAddress, ports: number];

/** A flow as plain data. Times are milliseconds; numbers are unsigned. */
export interface FrozenFlow {
  readonly protocol: number;
  readonly zone: number;
  readonly original: FrozenKey;
  readonly reply: FrozenKey;
  /** Of `CtStatus`. */
  readonly status: number;
  readonly mark: number;
  /** Until it is forgotten. */
  readonly remainingMs: number;
  /** The interface that it was masqueraded for, by name; empty for none. */
  readonly masquerade: string;
  /** What its protocol knows: TCP's words, and of UDP the milliseconds until it is a stream. */
  readonly words: readonly number[];
  /** Packets and bytes, original and reply; empty where they are not counted. */
  readonly counters: readonly number[];
  /** What it has said first, where rules ask for it. */
  readonly said?: FrozenName;
}

/** Bits of the status that a flow in the table may have. */
const STATUS_BITS = Object.values(CtStatus).reduce((all, bit) => all | bit, 0) & ~CtStatus.expected &
  ~CtStatus.dying;
const MASQUERADE_SHIFT = 16;
/** RFC 7323: what stands in four bits may not be more. */
const SCALE_MAX = 14;
const TCP_STATE_MAX = 9;
const STREAM_MS_MAX = 2_000;

/** The flows with numbers in `[from, to)` whose time is not over. */
export function* freezeFlows(
  conntrack: Conntrack,
  nowMs: number,
  from = 0,
  to = Infinity,
): Generator<FrozenFlow> {
  const { table } = conntrack;
  for (let flow = from; flow < Math.min(to, table.end); flow++) {
    if (table.isLive(flow, nowMs)) yield freezeFlow(conntrack, flow, nowMs);
  }
}

function freezeFlow(conntrack: Conntrack, flow: number, nowMs: number): FrozenFlow {
  const { table, addresses } = conntrack;
  const key = new FlowKey();
  const frozen = (way: CtDirection): FrozenKey => {
    table.key(flow, way, key);
    return [addresses.freeze(key.source), addresses.freeze(key.destination), key.ports >>> 0];
  };
  const protocol = table.protocol(flow);
  const through = table.get(flow, Word.status) >>> MASQUERADE_SHIFT;
  const ways = [CtDirection.original, CtDirection.reply] as const;
  const said = conntrack.names.freeze(flow);
  const counters = ways.flatMap((way) => [table.counter(flow, way, 0), table.counter(flow, way, 1)]);
  return {
    protocol,
    zone: table.get(flow, Word.protocolAndZone) >>> 8,
    original: frozen(CtDirection.original),
    reply: frozen(CtDirection.reply),
    status: table.status(flow),
    mark: table.get(flow, Word.mark) >>> 0,
    remainingMs: table.remainingMs(flow, nowMs),
    masquerade: through === 0 ? "" : addresses.zoneNames[through - 1] ?? "",
    words: wordsOf(table, flow, protocol, nowMs),
    counters: counters.some((count) => count > 0) ? counters : [],
    ...said === undefined ? {} : { said },
  };
}

function wordsOf(table: FlowTable, flow: number, protocol: number, nowMs: number): number[] {
  if (protocol === PROTOCOL_TCP) {
    return Array.from({ length: PROTOCOL_WORDS }, (_, word) => table.get(flow, Word.tcp + word) >>> 0);
  }
  if (protocol !== PROTOCOL_UDP) return [];
  return [Math.max(0, (table.get(flow, Word.udpStream) - table.tick(nowMs)) * TICK_MS)];
}

/**
 * What is wrong with a flow that comes from outside; `undefined` for nothing. What passes does no harm, whatever it
 * says: the numbers lie where tracking keeps them.
 */
export function faultOf(flow: FrozenFlow): string | undefined {
  const { protocol, zone, original, reply, status, mark, remainingMs, masquerade, words, counters } = flow;
  if (!isUint(protocol, 0xff)) return "its protocol is no number up to 255";
  if (!isUint(zone, 0xffff)) return "its zone is no number up to 65535";
  for (const [source, destination, ports] of [original, reply]) {
    if (!isUint(ports, 0xffff_ffff)) return "its ports are no word";
    if (!isAddress(source) || !isAddress(destination)) return "there is no address where one should be";
  }
  const bytes = [original[0], original[1], reply[0], reply[1]].map((each) =>
    typeof each === "number" ? 4 : 16
  );
  if (bytes.some((each) => each !== bytes[0])) return "its addresses are of two families";
  const answer = invertPorts(protocol, original[2]);
  if (answer === NO_ANSWER || invertPorts(protocol, reply[2]) === NO_ANSWER) return "nothing answers it";
  if (!isUint(status, 0xffff) || (status & ~STATUS_BITS) !== 0) {
    return "its status has bits that mean nothing";
  }
  if ((status & CtStatus.confirmed) === 0) return "it is not in the table";
  if (!isUint(mark, 0xffff_ffff)) return "its mark is no word";
  if (!isUint(remainingMs, 1000 * TIMEOUT_SECONDS_MAX)) return "it lasts for no time, or for too long";
  if (typeof masquerade !== "string" || masquerade.length > 255) return "it is masqueraded for no interface";
  if (counters.length !== 0 && counters.length !== 4) return "its counters are not four";
  if (!counters.every((count) => isUint(count, Number.MAX_SAFE_INTEGER))) {
    return "it counts what is no number";
  }
  if (!words.every((word) => isUint(word, 0xffff_ffff))) return "it knows something that is no word";
  if (flow.said !== undefined && protocol !== PROTOCOL_TCP) return "it says what only TCP does";
  return (flow.said === undefined ? undefined : faultOfName(flow.said)) ?? faultOfWords(protocol, words);
}

function faultOfWords(protocol: number, words: readonly number[]): string | undefined {
  if (protocol === PROTOCOL_UDP) {
    return words.length === 1 && words[0]! <= STREAM_MS_MAX ? undefined : "it knows what no datagrams do";
  }
  if (protocol !== PROTOCOL_TCP) return words.length === 0 ? undefined : "it knows more than its protocol";
  if (words.length !== PROTOCOL_WORDS) return `TCP knows ${PROTOCOL_WORDS} words`;
  const packed = words[PROTOCOL_WORDS - 2]!, flags = words[PROTOCOL_WORDS - 1]!;
  for (const shift of [16, 20, 24]) {
    if (((packed >>> shift) & 15) > SCALE_MAX) return "a window is scaled by more than 14 bits";
  }
  if (((packed >>> 28) & 7) > 5) return "its last segment was of no kind";
  const state = (flags >>> 24) & 15;
  return state >= 1 && state <= TCP_STATE_MAX ? undefined : "it is in no state of TCP";
}

function isUint(value: unknown, max: number): boolean {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= max;
}

function isAddress(value: unknown): boolean {
  if (value instanceof Uint8Array) return value.length === 16;
  return isUint(value, 0xefff_ffff); // class E addresses are nobody's
}

/**
 * Puts a flow that `faultOf` has found nothing about into the table, as if its packets had gone by here.
 *
 * @param passedMs Milliseconds since it was frozen.
 * @returns Whether it is there: not when its time is over, when there is no room, or when one of its keys is another's.
 */
export function thawFlow(conntrack: Conntrack, frozen: FrozenFlow, passedMs: number, nowMs: number): boolean {
  const { table, addresses, nat } = conntrack;
  const leftMs = frozen.remainingMs - Math.max(0, passedMs);
  if (leftMs <= 0) return false;
  const { protocol, zone } = frozen;
  const keys: FlowKey[] = [];
  for (const [source, destination, ports] of [frozen.original, frozen.reply]) {
    const key = new FlowKey();
    try {
      key.set(addresses.thaw(source), addresses.thaw(destination), ports, protocol | (zone << 8));
    } catch (error) {
      if (error instanceof RangeError) return false; // no room for another address
      throw error;
    }
    keys.push(key);
  }
  const flow = table.make(keys[0]!, keys[1]!, nowMs);
  if (flow === NO_FLOW) return false;
  table.rememberFor(flow, leftMs / 1000, nowMs);
  table.addStatus(flow, frozen.status & ~CtStatus.confirmed);
  const through = addresses.zoneNames.indexOf(frozen.masquerade) + 1;
  table.addStatus(flow, through << MASQUERADE_SHIFT);
  table.set(flow, Word.mark, frozen.mark);
  if (protocol === PROTOCOL_UDP) table.set(flow, Word.udpStream, table.tick(nowMs + frozen.words[0]!));
  else frozen.words.forEach((word, at) => table.set(flow, Word.tcp + at, word));
  frozen.counters.forEach((count, at) =>
    table.setCounter(flow, (at >> 1) as CtDirection, (at & 1) as 0 | 1, count)
  );
  if ((frozen.status & CtStatus.snatDone) !== 0) nat.sources.add(flow);
  if (frozen.said !== undefined) conntrack.names.thaw(flow, frozen.said);
  if (table.confirm(flow, keys[0]!, nowMs)) return true;
  table.remove(flow);
  return false;
}
