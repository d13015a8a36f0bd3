import { TcpFlag } from "../../wire/tcp.ts";
import { CtDirection, CtState, NO_FLOW } from "../conntrack/state.ts";
import type { NftPacket } from "../nft/packet.ts";
import { FIRST_BYTES_MAX, type FirstBytes, readFirstBytes } from "./first_bytes.ts";

const PROTOCOL_TCP = 6;
/** Flows whose first bytes are kept at a time: 16 MB of them at most. Beyond them the oldest is given up as nameless. */
export const HEARD_MAX = 1_024;
const BUFFER_BYTES = 2_048;

/** What a flow of TCP has said first. */
export interface FlowName {
  readonly kind: FirstBytes["kind"];
  /** Empty where there is none. */
  readonly name: string;
}

/** As it stands in an image. */
export interface FrozenName extends FlowName {
  /** Where the client's data begins, and what of it is kept; empty when it is not needed any more. */
  readonly start: number;
  readonly bytes: Uint8Array;
}

class Heard implements FlowName {
  kind: FirstBytes["kind"] = "pending";
  name = "";
  /** The sequence number of the client's first byte. */
  start: number;
  /** Kept until there is a name and the server has acknowledged it: nobody says it again in other words. */
  buffer: Uint8Array<ArrayBuffer> | undefined = undefined;
  length = 0;
  /** What rules have found about the name, by their number. */
  found: Map<number, boolean> | undefined = undefined;

  constructor(start: number) {
    this.start = start;
  }
}

/**
 * What the flows of a tracker have said first, heard from the packets that pass: they are put in order, never held and
 * never changed. Of a flow without a name everything in order may pass, up to {@linkcode FIRST_BYTES_MAX} bytes; what is out
 * of order comes again. Flows that nobody has seen begin have no name.
 */
export class FlowNames {
  readonly #flows: Map<number, Heard> = new Map();
  /** Those with a buffer, the oldest first. */
  readonly #buffered: Set<Heard> = new Set();

  /** What a flow has said; `undefined` when it has no name and will have none. */
  get(flow: number): FlowName | undefined {
    return this.#flows.get(flow);
  }

  /** Whether a flow's name is one of `patterns`; `matches` is asked once for each flow and `question`. */
  matches(
    flow: number,
    question: number,
    patterns: readonly string[],
    matches: (patterns: readonly string[], name: string) => boolean,
  ): boolean {
    const heard = this.#flows.get(flow)!;
    let found = heard.found?.get(question);
    if (found === undefined) {
      found = matches(patterns, heard.name);
      (heard.found ??= new Map()).set(question, found);
    }
    return found;
  }

  /** Whether data that ends at a sequence number is of those first bytes that have given the name. */
  isFirst(flow: number, end: number): boolean {
    const heard = this.#flows.get(flow);
    return heard?.buffer !== undefined && ((end - heard.start) | 0) <= heard.length;
  }

  /** Other rules ask other questions. */
  forgetAnswers(): void {
    for (const heard of this.#flows.values()) heard.found = undefined;
  }

  /** A flow is gone. */
  remove(flow: number): void {
    const heard = this.#flows.get(flow);
    if (heard === undefined) return;
    this.#buffered.delete(heard);
    this.#flows.delete(flow);
  }

  /**
   * A packet of a flow passes, tracked and with a good checksum.
   * @returns False when it must be dropped: it is ahead of what is being heard, or says something again in other words.
   */
  hear({ protocol, slab, transport, end, track }: NftPacket): boolean {
    const { flow, direction, state } = track;
    if (protocol !== PROTOCOL_TCP || flow === NO_FLOW || state === CtState.related) return true;
    const { view, bytes } = slab;
    const flags = bytes[transport + 13]!;
    const sequence = view.getInt32(transport + 4);
    const dataStart = transport + (bytes[transport + 12]! >>> 4 << 2);
    let heard = this.#flows.get(flow);
    if (direction === CtDirection.reply) {
      if (heard !== undefined) this.#answer(heard, flags, view.getInt32(transport + 8), end - dataStart);
      return true;
    }
    if ((flags & (TcpFlag.SYN | TcpFlag.ACK)) === TcpFlag.SYN) {
      const start = (sequence + 1) | 0;
      if (heard === undefined) {
        heard = new Heard(start);
        this.#flows.set(flow, heard);
      } else if (heard.kind === "pending" && heard.length === 0) heard.start = start; // it asks anew
      return this.#say(heard, start, bytes, dataStart, end); // data with a SYN: RFC 7413
    }
    return heard === undefined || this.#say(heard, sequence, bytes, dataStart, end);
  }

  /** The client says `[from, end)`, from a sequence number on. */
  #say(heard: Heard, sequence: number, bytes: Uint8Array, from: number, end: number): boolean {
    let offset = (sequence - heard.start) | 0;
    if (end <= from || (heard.kind !== "pending" && heard.buffer === undefined)) return true;
    if (offset < 0) { // a keep-alive of a flow that has said nothing yet
      from -= offset;
      offset = 0;
      if (end <= from) return true;
    }
    if (heard.kind === "pending" && offset > heard.length) return false;
    for (; from < end && offset < heard.length; from++, offset++) {
      if (bytes[from] !== heard.buffer![offset]) return false;
    }
    if (from === end || heard.kind !== "pending") return true;
    this.#keep(heard, bytes, from, end);
    return true;
  }

  #keep(heard: Heard, bytes: Uint8Array, from: number, end: number): void {
    const before = heard.length;
    const length = Math.min(before + end - from, FIRST_BYTES_MAX);
    let { buffer } = heard;
    if (buffer === undefined) {
      const [oldest] = this.#buffered;
      if (oldest !== undefined && this.#buffered.size >= HEARD_MAX) this.#end(oldest);
      this.#buffered.add(heard);
    }
    if (buffer === undefined || buffer.length < length) {
      const larger = new Uint8Array(Math.min(FIRST_BYTES_MAX, Math.max(BUFFER_BYTES, 2 * length)));
      if (buffer !== undefined) larger.set(buffer.subarray(0, before));
      heard.buffer = buffer = larger;
    }
    buffer.set(bytes.subarray(from, from + length - before), before);
    heard.length = length;
    const found = readFirstBytes(buffer, length, before);
    if (found.kind === "none" || (found.kind === "pending" && length === FIRST_BYTES_MAX)) this.#end(heard);
    else if (found.kind !== "pending") {
      heard.kind = found.kind;
      heard.name = found.name;
    }
  }

  /** The server answers: an acknowledgment, and `dataBytes` of data. */
  #answer(heard: Heard, flags: number, acknowledgment: number, dataBytes: number): void {
    if (heard.kind === "pending") {
      if (dataBytes > 0) this.#end(heard); // it spoke first: neither TLS nor HTTP
    } else if (
      heard.buffer !== undefined && (flags & TcpFlag.ACK) !== 0 &&
      ((acknowledgment - heard.start) | 0) >= heard.length
    ) {
      heard.buffer = undefined;
      this.#buffered.delete(heard);
    }
  }

  /** There is no name, and there will be none; of what came nothing is kept. */
  #end(heard: Heard): void {
    if (heard.kind === "pending") heard.kind = "none";
    heard.buffer = undefined;
    heard.length = 0;
    this.#buffered.delete(heard);
  }

  /** What is known of a flow, for an image. */
  freeze(flow: number): FrozenName | undefined {
    const heard = this.#flows.get(flow);
    if (heard === undefined) return undefined;
    const { kind, name, start, buffer, length } = heard;
    return { kind, name, start: start >>> 0, bytes: buffer?.slice(0, length) ?? new Uint8Array(0) };
  }

  thaw(flow: number, { kind, name, start, bytes }: FrozenName): void {
    const heard = new Heard(start | 0);
    this.#flows.set(flow, heard);
    if (bytes.length > 0) this.#keep(heard, bytes, 0, bytes.length);
    if (heard.kind !== "pending") return;
    heard.kind = kind;
    heard.name = name;
  }
}

/** What is wrong with a name that comes from outside. */
export function faultOfName({ kind, name, start, bytes }: FrozenName): string | undefined {
  if (!["pending", "tls", "http", "none"].includes(kind)) return "its first bytes are of no kind";
  if (typeof name !== "string" || name.length > 253) return "it names no host";
  if (name !== "" && kind !== "tls" && kind !== "http") return "it names a host without words for it";
  if (!Number.isInteger(start) || start < 0 || start > 0xffff_ffff) return "its data begins nowhere";
  if (!(bytes instanceof Uint8Array) || bytes.length > FIRST_BYTES_MAX) return "its first bytes are too many";
  return undefined;
}
