import { readFirewallImage } from "../firewall/firewall_image.ts";
import { hash64 } from "../image/hash.ts";
import { type CborValue, encodeCbor } from "../image/cbor.ts";
import { joinEnds } from "../../net/connections/tuple.ts";
import { formatFrozenAddress } from "../../net/ip/address_table.ts";
import { frozenTcbFields } from "../../net/tcp/frozen_tcb.ts";
import { tcpStateNames } from "../../net/tcp/tcb.ts";
import { segmentName } from "../store/segment.ts";
import {
  type LiveRecord,
  type Location,
  locationOf,
  offsetOf,
  segmentOf,
  type Store,
} from "../store/store.ts";
import { type FrozenSocket, readSocketImage } from "./socket_image.ts";
import { isBeside, isStretch, readStretch, stretchesOf } from "./stretch.ts";

/** A connection as its image tells it, for people and programs that look into a store. */
export interface StoredConnection {
  readonly location: Location;
  /** The connection's name, as a host's: local end first. A link-local address has its interface's number. */
  readonly id: string;
  readonly localAddress: string;
  readonly localPort: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** `established`, `closeWait` and so on. */
  readonly state: string;
  /** Since when it sleeps, in milliseconds since 1970. */
  readonly asleepSinceMs: number;
  /** Bytes written and not acknowledged, in flight or not. */
  readonly sendQueueBytes: number;
  /** Bytes received that the application has not read, and those that came ahead of a gap. */
  readonly receiveQueueBytes: number;
  /** Bytes of the attachment in CBOR; 0 when there is none. */
  readonly attachmentBytes: number;
  readonly imageBytes: number;
}

const place = (name: string): number => frozenTcbFields.indexOf(name);
const AT = {
  localAddress: place("localAddress"),
  remoteAddress: place("remoteAddress"),
  localPort: place("localPort"),
  remotePort: place("remotePort"),
  state: place("state"),
  frozenAtMs: place("frozenAtMs"),
  sendQueue: place("sendQueue"),
  receiveQueue: place("receiveQueue"),
  ahead: place("ahead"),
} as const;

/**
 * What an image says of its connection.
 * @throws {ImageError} When it is damaged, or no socket's.
 */
export function describeSocketImage(
  bytes: Uint8Array,
  location: Location = -1,
  stretchOf?: (number: number) => Uint8Array,
): StoredConnection {
  const socket = readSocketImage(bytes, stretchOf);
  const { tcb, attachment } = socket;
  const ahead = tcb[AT.ahead] as [number, Uint8Array][];
  return {
    location,
    id: idOf(socket),
    localAddress: formatFrozenAddress(tcb[AT.localAddress] as number | Uint8Array),
    localPort: tcb[AT.localPort] as number,
    remoteAddress: formatFrozenAddress(tcb[AT.remoteAddress] as number | Uint8Array),
    remotePort: tcb[AT.remotePort] as number,
    state: tcpStateNames[tcb[AT.state] as number]!,
    asleepSinceMs: tcb[AT.frozenAtMs] as number,
    sendQueueBytes: (tcb[AT.sendQueue] as Uint8Array).length,
    receiveQueueBytes: ahead.reduce(
      (sum, [, run]) => sum + run.length,
      (tcb[AT.receiveQueue] as Uint8Array).length,
    ),
    attachmentBytes: attachment === undefined ? 0 : encodeCbor(attachment as CborValue).length,
    imageBytes: bytes.length,
  };
}

/** The name of a frozen connection: as `Stack.idOf`, where no interface is known by its name. */
export function idOf({ tcb }: FrozenSocket): string {
  const [, local, remote, localPort, remotePort] = tcb;
  return joinEnds(formatFrozenAddress(local), localPort, formatFrozenAddress(remote), remotePort);
}

/** A live record whose image cannot be used, or that is the older of two of one connection. */
export interface BadRecord {
  readonly location: Location;
  readonly bytes: Uint8Array;
  readonly why: string;
}

/**
 * Judges every live record of a store, in memory of eight bytes for each: images that cannot be used, and all but
 * the latest of several images of one connection. What opening tells of damage is not told again.
 *
 * @param tell Told of each bad record; its bytes are valid until it returns.
 * @returns How many records are sound.
 */
export function judgeRecords(store: Store, tell: (bad: BadRecord, kind: "image" | "older") => void): number {
  let sound = 0;
  let keys = new Float64Array(1024);
  const stretchOf = stretchesOf(store);
  for (const { location, bytes } of store.live()) {
    if (isBeside(bytes) && isSound(bytes)) continue; // who needs it reads it
    const key = keyOf(bytes, stretchOf);
    if (typeof key === "string") {
      tell({ location, bytes, why: key }, "image");
      continue;
    }
    if (sound === keys.length) keys = grown(keys);
    keys[sound++] = key;
  }
  const sorted = keys.subarray(0, sound).sort();
  const twice = new Set<number>();
  for (let index = 1; index < sorted.length; index++) {
    if (sorted[index] === sorted[index - 1]) twice.add(sorted[index]!);
  }
  return twice.size === 0 ? sound : sound - judgeDoubles(store, twice, (bad) => tell(bad, "older"));
}

/** Of those whose keys are the same: which are of one connection, and which of them is the latest? */
function judgeDoubles(store: Store, twice: ReadonlySet<number>, tell: (bad: BadRecord) => void): number {
  const latest = new Map<string, { location: Location; origin: number }>();
  const stretchOf = stretchesOf(store);
  const visit = (see: (record: LiveRecord, id: string) => void): void => {
    for (const record of store.live()) {
      const key = keyOf(record.bytes, stretchOf);
      if (typeof key !== "string" && twice.has(key)) {
        see(record, idOf(readSocketImage(record.bytes, stretchOf)));
      }
    }
  };
  visit(({ location, origin }, id) => {
    const known = latest.get(id);
    if (known === undefined || origin > known.origin) latest.set(id, { location, origin });
  });
  let older = 0;
  visit(({ location, bytes }, id) => {
    const { location: inForce } = latest.get(id)!;
    if (inForce === location) return;
    older++;
    tell({
      location,
      bytes,
      why: `older image of connection ${id}, the one at ${locationText(inForce)} is in force`,
    });
  });
  return older;
}

/** A number that is as good as different for different connections, or why there is none. */
function keyOf(bytes: Uint8Array, stretchOf: (number: number) => Uint8Array): number | string {
  try {
    return Number(hash64(new TextEncoder().encode(idOf(readSocketImage(bytes, stretchOf)))) >> 11n);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function isSound(image: Uint8Array): boolean {
  try {
    if (isStretch(image)) readStretch(image);
    else readFirewallImage(image);
    return true;
  } catch {
    return false;
  }
}

function grown(old: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> {
  const made = new Float64Array(2 * old.length);
  made.set(old);
  return made;
}

/** `7:4096`: byte 4096 of segment 7. */
export function locationText(location: Location): string {
  return `${segmentOf(location)}:${offsetOf(location)}`;
}

/** The location that `locationText` wrote, or a plain number; `undefined` for any other text. */
export function parseLocation(text: string): Location | undefined {
  const parts = /^(?:(\d{1,7}):)?(\d{1,16})$/.exec(text);
  if (parts === null) return undefined;
  const number = Number(parts[2]);
  const location = parts[1] === undefined ? number : locationOf(Number(parts[1]), number);
  const isOne = Number.isSafeInteger(location) && (parts[1] === undefined || number === offsetOf(location));
  return isOne ? location : undefined;
}

/** The file of a location, and the byte in it. */
export function placeOf(location: Location): { file: string; offset: number } {
  return { file: segmentName(segmentOf(location)), offset: offsetOf(location) };
}
