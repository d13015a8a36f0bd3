import type { CborValue } from "../image/cbor.ts";
import { ImageError } from "../image/image_error.ts";

/**
 * What stands at the head of each event of a recording. Events nest as the calls of a program do: what happened
 * between a call and its return happened inside it.
 */
export const EventCode = {
  /** The outside asks the stack for something: `[0, code of the call, arguments]`. */
  Call: 0,
  /** It has answered: `[1, result]`. */
  Returned: 1,
  /** It has refused: `[2, message]`. */
  Threw: 2,
  /** The stack drew entropy: `[3, bytes]`. */
  Drew: 3,
  /** The stack sent a frame: `[4, interface, frame, whether the link took it]`. */
  Sent: 4,
  /** The stack tells the outside something, or asks: `[5, code of the upcall, arguments]`. */
  Told: 5,
  /** The outside has heard it: `[6, answer]`. */
  Heard: 6,
  /** The outside threw: `[7, message]`. */
  Failed: 7,
  /** A link carries longer or shorter packets from here on: `[8, interface, bytes]`. */
  Mtu: 8,
  /** Somebody's remark about what was going on: `[9, text]`. */
  Note: 9,
  /** Nothing more was recorded: `[10, why]`. */
  End: 10,
} as const;
/** What an event is of. */
export type EventCode = (typeof EventCode)[keyof typeof EventCode];

/** An event as it was recorded. */
export type EventValue = readonly [code: EventCode, ...CborValue[]];

/** What stands behind each code, by place; `any` may be missing at the end. */
const SHAPES: readonly (readonly ("number" | "string" | "bytes" | "list" | "any")[])[] = [
  ["number", "list"],
  ["any"],
  ["string"],
  ["bytes"],
  ["number", "bytes", "any"],
  ["number", "list"],
  ["any"],
  ["string"],
  ["number", "number"],
  ["string"],
  ["string"],
];

/** Whether a value out of a recording is an event: its code is known and what stands behind it is of its type. */
export function isEvent(value: CborValue): value is EventValue {
  if (!Array.isArray(value)) return false;
  const [code, ...rest] = value as CborValue[];
  const shape = typeof code === "number" ? SHAPES[code] : undefined;
  if (shape === undefined || rest.length > shape.length) return false;
  return shape.every((type, at) => {
    const part = rest[at];
    if (type === "bytes") return part instanceof Uint8Array;
    if (type === "list") return Array.isArray(part);
    return type === "any" || typeof part === type;
  });
}

/** An event in its place. */
export interface ReplayEvent {
  /** What happened. */
  readonly value: EventValue;
  /** The byte of the file at which it starts. */
  readonly offset: number;
}

/** A recording that cannot be read. `offset` is the byte of the file at which reading stopped. */
export class ReplayError extends Error {
  /** What `Error.prototype.name` says. */
  override name = "ReplayError";
  /** The byte of the recording at which reading stopped. */
  readonly offset: number;
  /** `why` says what cannot be read. */
  constructor(offset: number, why: string, options?: ErrorOptions) {
    super(`Cannot read recording at byte ${offset}: ${why}`, options);
    this.offset = offset;
  }
}

/** The same for an image of the recording that starts at byte `start`. */
export function inFile(start: number, error: unknown): unknown {
  if (!(error instanceof ImageError)) return error;
  const why = error.message.replace(/^Cannot open image: /, "").replace(/ at byte \d+/g, (text) => {
    return ` at byte ${start + Number(text.slice(" at byte ".length))}`;
  });
  return new ReplayError(start + error.offset, why, { cause: error });
}
