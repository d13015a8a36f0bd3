import { numberOf } from "./constants.ts";
import { type ErrorQueue, Stamping } from "./error_queue.ts";
import { type Expression, type IpVersion, Unsupported } from "./script.ts";

/** The message headers of sendmsg() and recvmsg(), and what recvmsg() writes into them. */

/** A message header as a script writes it. */
export type Header = ReadonlyMap<string, Expression>;

export function readHeader(place: Expression | undefined): Header {
  if (place?.kind !== "struct") throw new Unsupported("message header");
  return new Map(place.items.flatMap((item) => item.kind === "field" ? [[item.name, item.value]] : []));
}

/** Lengths of the pieces in `[{..., 100}, {..., 20}]`. */
export function pieces(list: Expression | undefined): number[] {
  if (list?.kind !== "list") throw new Unsupported("I/O vector");
  return list.items.map((piece) => numberOf((piece as { items: readonly Expression[] }).items[1]!));
}

/** A control message as it was written: fields of its data by name, or one number. */
export interface Control {
  readonly level: number;
  readonly type: number;
  readonly data: number | Readonly<Record<string, number>>;
}

const SOL_SOCKET = 1, SOL_TCP = 6, SCM_TIMESTAMPING = 37, TCP_CM_INQ = 36, ENOMSG = 42;
const RECVERR_4 = { level: 0, type: 11 }, RECVERR_6 = { level: 41, type: 25 };
const ORIGIN_TIMESTAMPING = 4, ORIGIN_ZEROCOPY = 5, CODE_COPIED = 1;
const MSG_ERRQUEUE = 0x2000, MSG_TRUNC = 0x20;

/** TCP_INQ: how much is left to be read. */
export function inqControl(bytes: number): Control {
  return { level: SOL_TCP, type: TCP_CM_INQ, data: bytes };
}

/** The oldest entry of an error queue, as recvmsg() with MSG_ERRQUEUE gives it out. */
export function takeErrorMessage(
  queue: ErrorQueue,
  ip: IpVersion,
): { readonly flags: number; readonly controls: Control[] } | undefined {
  const entry = queue.take();
  if (entry === undefined) return undefined;
  const place = ip === "ipv4" ? RECVERR_4 : RECVERR_6; // by the socket's family
  if (entry.kind === "copies") {
    const data = {
      ee_errno: 0,
      ee_origin: ORIGIN_ZEROCOPY,
      ee_type: 0,
      ee_code: CODE_COPIED, // the stack keeps bytes of its own
      ee_info: entry.first,
      ee_data: entry.last,
    };
    return { flags: MSG_ERRQUEUE, controls: [{ ...place, data }] };
  }
  const data = {
    ee_errno: ENOMSG,
    ee_origin: ORIGIN_TIMESTAMPING,
    ee_type: 0,
    ee_code: 0,
    ee_info: entry.what,
    ee_data: entry.key,
  };
  const stamp: Control = {
    level: SOL_SOCKET,
    type: SCM_TIMESTAMPING,
    data: { scm_sec: Math.floor(entry.atUs / 1e6), scm_nsec: Math.round(entry.atUs % 1e6) * 1000 },
  };
  const controls = (queue.stamping & Stamping.software) !== 0 ? [stamp] : [];
  // The packet comes with it, and there is no room for it.
  return { flags: MSG_ERRQUEUE | MSG_TRUNC, controls: [...controls, { ...place, data }] };
}

/** What of a header differs from what was written there; times may by `toleranceUs`. */
export function compareMessage(
  header: Header,
  flags: number,
  controls: readonly Control[],
  toleranceUs: number,
): string | undefined {
  const wanted = header.get("msg_flags");
  if (wanted !== undefined && wanted.kind !== "any" && numberOf(wanted) !== flags) {
    return `Expected msg_flags 0x${numberOf(wanted).toString(16)} but got 0x${flags.toString(16)}`;
  }
  const list = header.get("msg_control");
  if (list === undefined || list.kind === "any") return undefined;
  if (list.kind !== "list") throw new Unsupported("control messages");
  if (list.items.length !== controls.length) {
    return `Expected ${list.items.length} control messages but got ${controls.length}`;
  }
  for (const [at, item] of list.items.entries()) {
    const difference = compareControl(readHeader(item), controls[at]!, toleranceUs);
    if (difference !== undefined) return `control message ${at + 1}: ${difference}`;
  }
  return undefined;
}

function compareControl(wanted: Header, got: Control, toleranceUs: number): string | undefined {
  const differ = (name: string, expected: number, actual: number): string | undefined =>
    expected === actual ? undefined : `Expected ${name} ${expected} but got ${actual}`;
  const data = wanted.get("cmsg_data")!;
  const head = differ("cmsg_level", numberOf(wanted.get("cmsg_level")!), got.level) ??
    differ("cmsg_type", numberOf(wanted.get("cmsg_type")!), got.type);
  if (head !== undefined) return head;
  if (data.kind !== "struct") {
    if (typeof got.data !== "number") throw new Unsupported("control message without fields");
    return differ("cmsg_data", numberOf(data), got.data);
  }
  const fields = new Map([...readHeader(data)].map(([name, value]) => [name, numberOf(value)]));
  if (fields.has("scm_sec")) {
    const time = (of: (name: string) => number): number => of("scm_sec") * 1e6 + of("scm_nsec") / 1000;
    const expected = time((name) => fields.get(name) ?? 0);
    const actual = time((name) => fieldOf(got, name) ?? 0);
    return Math.abs(expected - actual) <= toleranceUs
      ? undefined
      : `Expected timestamp ${expected} us but got ${actual} us; tolerance ${toleranceUs} us`;
  }
  for (const [name, value] of fields) {
    const actual = fieldOf(got, name);
    if (actual === undefined) throw new Unsupported(`${name} of a control message`);
    const difference = differ(name, value, actual);
    if (difference !== undefined) return difference;
  }
  return undefined;
}

function fieldOf({ data }: Control, name: string): number | undefined {
  return typeof data === "number" ? undefined : data[name];
}
