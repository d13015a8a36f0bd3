import {
  FROZEN_TCB_ALWAYS,
  FrozenFlag,
  type FrozenTcb,
  frozenTcbDefaults,
  frozenTcbFields,
} from "../../net/tcp/frozen_tcb.ts";
import { ImageError } from "../image/image_error.ts";
import { Kind, registerKind } from "../image/kinds.ts";
import { readImage } from "../image/read.ts";
import { writeEncoded } from "../image/write.ts";
import { recordOf } from "../store/bare.ts";
import type { Kept } from "../store/store.ts";
import { decodeSocket } from "./decode.ts";
import { encodeSocket } from "./encode.ts";
import { mistakeIn } from "./check.ts";
import { plain } from "./plain.ts";
import { rowOf } from "./rows.ts";
import { joined, readStretch, type Stretches } from "./stretch.ts";

/**
 * Version 3: the fields of `FrozenTcb` that every connection has, the attachment (an array of it, empty when
 * there is none), then a list of the other fields that are not at their defaults: how many places were passed over,
 * value, and so on; rows are as rows.ts has them. In version 2 that was a map, place => value, 0 being the first after
 * the attachment; in version 1 those fields were in the array itself, up to the last that was no default.
 * image.cddl is the schema.
 */
export const SOCKET_VERSION = 3;
const ATTACHMENT_AT = FROZEN_TCB_ALWAYS;
const LATER_AT = ATTACHMENT_AT + 1;
const STRETCHES_AT = LATER_AT + 1;
registerKind(
  Kind.Socket,
  SOCKET_VERSION,
  [...frozenTcbFields.slice(0, ATTACHMENT_AT), "attachment", "later", "stretches"],
  frozenTcbFields.slice(FROZEN_TCB_ALWAYS),
);

/** A connection as its image holds it. */
export interface FrozenSocket {
  readonly tcb: FrozenTcb;
  /** The application's own data; `undefined` when there is none. */
  readonly attachment: unknown;
  /** Of a durable connection's log: where the front of its queues is. */
  readonly stretches?: Stretches | undefined;
}

/**
 * The image of a suspended connection, or of a durable one as it is logged; then `stretches` say where the front of its
 * queues is, and `tcb` has only what follows.
 *
 * @throws {TypeError} When the attachment is something that CBOR cannot hold.
 */
export function writeSocketImage(
  tcb: FrozenTcb,
  attachment: unknown,
  stretches?: Stretches,
): Uint8Array<ArrayBuffer> {
  return writeEncoded(
    { kind: Kind.Socket, version: SOCKET_VERSION },
    encodeSocket(tcb, attachment, stretches),
  );
}

/**
 * Reads the image of a suspended connection, or of a durable one as it was logged: `stretchOf` then gives the images of
 * its stretches by their numbers, and throws for those that there are not.
 *
 * @throws {ImageError} When the bytes are damaged, or are not a socket's image.
 */
export function readSocketImage(
  bytes: Uint8Array,
  stretchOf: (number: number) => Uint8Array = noStretch,
): FrozenSocket {
  const image = readImage(bytes);
  if (image.kind !== Kind.Socket) {
    throw new ImageError(
      "header",
      5,
      `Cannot restore connection: the image is of kind ${image.kind}, need socket`,
    );
  }
  const body = image.body as unknown[];
  const listed = image.version === 1;
  const most = listed ? frozenTcbFields.length + 1 : STRETCHES_AT + 1;
  if (!Array.isArray(body) || body.length <= ATTACHMENT_AT || body.length > most) {
    const found = Array.isArray(body) ? `${body.length} fields` : "no fields";
    throw new ImageError(
      "body",
      0,
      `Cannot restore connection: the body has ${found}, need ${ATTACHMENT_AT + 1} to ${most}`,
    );
  }
  const attached = body[ATTACHMENT_AT];
  if (!Array.isArray(attached) || attached.length > 1) throw wrongType("attachment");
  const attachment = attached.length === 1 ? plain(attached[0]) : undefined;
  const tcb = [...body.slice(0, FROZEN_TCB_ALWAYS), ...frozenTcbDefaults] as unknown[];
  const later = listed
    ? body.slice(LATER_AT).entries()
    : image.version === 2
    ? mapped(body[LATER_AT])
    : passed(body[LATER_AT]);
  for (const [place, value] of later) tcb[FROZEN_TCB_ALWAYS + place] = value;
  const stretches = listed ? undefined : stretchesOf(body[STRETCHES_AT]);
  if (stretches !== undefined) joinStretches(tcb, stretches, stretchOf);
  const mistake = mistakeIn(tcb);
  if (mistake !== undefined) throw wrongType(mistake);
  return { tcb: tcb as FrozenTcb, attachment, stretches };
}

/**
 * As `readSocketImage`, of what a store has kept and checked: kind, version and body (bare.ts), or the whole image.
 *
 * @throws {ImageError} When it is not a socket's image.
 */
export function readKeptSocket(
  { bytes, isBare }: Kept,
  stretchOf: (number: number) => Uint8Array = noStretch,
): FrozenSocket {
  if (!isBare) return readSocketImage(bytes, stretchOf);
  const read = decodeSocket(bytes, SOCKET_VERSION);
  if (read === undefined || mistakeIn(read.tcb) !== undefined) {
    return readSocketImage(recordOf(bytes), stretchOf);
  }
  const { tcb, attachment } = read;
  return { tcb, attachment: attachment === undefined ? undefined : plain(attachment), stretches: undefined };
}

/** The numbers of the stretches that a sound image names. */
export function stretchesIn(image: Uint8Array): number[] {
  const { body } = readImage(image);
  const stretches = stretchesOf((body as unknown[])[STRETCHES_AT]);
  return stretches === undefined ? [] : [...stretches.sent, ...stretches.unread];
}

/** Whether this is a durable connection's (net/tcp/durable.ts). */
export function isDurableImage(tcb: FrozenTcb): boolean {
  return ((tcb[FLAGS_AT] as number) & FrozenFlag.durable) !== 0;
}

function stretchesOf(value: unknown): Stretches | undefined {
  if (value === undefined) return undefined;
  const [sent, unread, unreadStart] = Array.isArray(value) ? value as unknown[] : [];
  const known = areNumbers(sent) && areNumbers(unread) && Number.isInteger(unreadStart);
  if (!known) throw wrongType("stretches");
  return { sent: sent as number[], unread: unread as number[], unreadStart: (unreadStart as number) | 0 };
}

function areNumbers(list: unknown): boolean {
  return Array.isArray(list) && list.every((each) => Number.isSafeInteger(each));
}

/** Puts the stretches in front of what the image has of the two queues itself. */
function joinStretches(
  tcb: unknown[],
  { sent, unread, unreadStart }: Stretches,
  stretchOf: (number: number) => Uint8Array,
): void {
  const ends = [[SEND_QUEUE_AT, tcb[SND_UNA_AT], sent], [RECEIVE_QUEUE_AT, unreadStart, unread]] as const;
  for (const [place, start, numbers] of ends) {
    if (numbers.length === 0) continue;
    const tail = tcb[place];
    if (!(tail instanceof Uint8Array) || typeof start !== "number") throw wrongType("stretches");
    tcb[place] = joined(start | 0, numbers.map((number) => readStretch(stretchOf(number), number)), tail);
  }
}

const FLAGS_AT = frozenTcbFields.indexOf("flags");
const SND_UNA_AT = frozenTcbFields.indexOf("sndUna");
const SEND_QUEUE_AT = frozenTcbFields.indexOf("sendQueue");
const RECEIVE_QUEUE_AT = frozenTcbFields.indexOf("receiveQueue");

function noStretch(number: number): Uint8Array {
  throw new ImageError("body", 0, `Cannot restore connection: stretch ${number} of its stream is missing`);
}

/** The places that are no default, and their values. A Torpor that knows more may not be guessed at. */
function passed(later: unknown): (readonly [number, unknown])[] {
  if (later === undefined) return [];
  if (!Array.isArray(later) || later.length % 2 !== 0) throw wrongType("later");
  const known: [number, unknown][] = [];
  let place = 0;
  for (let at = 0; at < later.length; at += 2) {
    const skipped = later[at] as unknown;
    if (typeof skipped !== "number" || !Number.isInteger(skipped) || skipped < 0) throw wrongType("later");
    place += skipped;
    if (place >= frozenTcbDefaults.length) throw wrongType("later");
    let value = later[at + 1] as unknown;
    if (Array.isArray(value) && place !== AHEAD_AT) {
      value = rowOf(value);
      if (value === undefined) throw wrongType(frozenTcbFields[FROZEN_TCB_ALWAYS + place]!);
    }
    known.push([place++, value]);
  }
  return known;
}

const AHEAD_AT = frozenTcbFields.indexOf("ahead") - FROZEN_TCB_ALWAYS;

/** As `passed`, of version 2: a map of places. */
function mapped(later: unknown): ReadonlyMap<number, unknown> {
  if (later === undefined) return new Map();
  const known = later instanceof Map && [...later.keys()].every((place) => {
    return Number.isInteger(place) && place >= 0 && place < frozenTcbDefaults.length;
  });
  if (!known) throw wrongType("later");
  return later;
}

function wrongType(field: string): ImageError {
  return new ImageError("body", 0, `Cannot restore connection: field "${field}" has the wrong type or value`);
}
