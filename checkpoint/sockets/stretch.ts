import { readFrame } from "../image/frame.ts";
import { ImageError } from "../image/image_error.ts";
import { Kind, registerKind } from "../image/kinds.ts";
import { readImage } from "../image/read.ts";
import { writeImage } from "../image/write.ts";
import type { Location, Store } from "../store/store.ts";

registerKind(Kind.Stretch, 1, ["number", "start", "bytes"]);

/** Where the log of a durable connection has the front of its queues, by the numbers of stretches. */
export interface Stretches {
  /** From SND.UNA on; the first may begin before it. */
  readonly sent: readonly number[];
  /** From `unreadStart` on, a sequence number. */
  readonly unread: readonly number[];
  readonly unreadStart: number;
}

/** A stretch of one direction's stream. */
export interface Stretch {
  readonly number: number;
  /** Sequence number of the first byte. */
  readonly start: number;
  readonly bytes: Uint8Array;
}

/** The image of a stretch: bytes that are written once, whatever else changes about their connection. */
export function writeStretch({ number, start, bytes }: Stretch): Uint8Array<ArrayBuffer> {
  return writeImage({ kind: Kind.Stretch, body: [number, start >>> 0, bytes] });
}

/**
 * Reads the image of a stretch.
 *
 * @param expected The number that it must have.
 * @throws {ImageError} When the bytes are damaged, or are no stretch, or another one.
 */
export function readStretch(image: Uint8Array, expected?: number): Stretch {
  const { kind, body } = readImage(image);
  const [number, start, bytes] = kind === Kind.Stretch && Array.isArray(body) ? body : [];
  const sound = Number.isSafeInteger(number) && typeof start === "number" && bytes instanceof Uint8Array;
  if (!sound || (expected !== undefined && number !== expected)) {
    throw new ImageError("body", 0, `Cannot restore connection: this is not stretch ${expected ?? "at all"}`);
  }
  return { number: number as number, start: start | 0, bytes };
}

/** Whether an image, sound or not, lies in a store beside the connections: a stretch of one, or a part of the firewall. */
export function isBeside(image: Uint8Array): boolean {
  try {
    const { kind } = readFrame(image);
    return kind === Kind.Stretch || kind === Kind.Firewall;
  } catch {
    return false;
  }
}

/** Whether an image is one of a stretch, sound or not. */
export function isStretch(image: Uint8Array): boolean {
  try {
    return readFrame(image).kind === Kind.Stretch;
  } catch {
    return false;
  }
}

/**
 * Gives the stretches of a store that nobody changes by their numbers, for `readSocketImage`; it looks through the store
 * when the first is asked for.
 */
export function stretchesOf(store: Store): (number: number) => Uint8Array {
  let known: Map<number, Location> | undefined;
  return (number) => {
    known ??= new Map(numbersOf(store));
    const location = known.get(number);
    if (location !== undefined) return store.read(location);
    throw new ImageError("body", 0, `Cannot restore connection: stretch ${number} of its stream is missing`);
  };
}

/**
 * The bytes of a queue from sequence number `start` on: those of its stretches, one behind the other, then `tail`.
 *
 * @throws {ImageError} When they do not follow one another.
 */
export function joined(start: number, stretches: readonly Stretch[], tail: Uint8Array): Uint8Array {
  const last = stretches.at(-1)!;
  const length = (last.start + last.bytes.length - start) | 0;
  const whole = new Uint8Array(Math.max(0, length) + tail.length);
  let at = 0;
  for (const { number, start: from, bytes } of stretches) {
    const known = (start + at - from) | 0; // of the first one the front is acknowledged
    if (known < 0 || known >= bytes.length || (at > 0 && known > 0)) {
      throw new ImageError(
        "body",
        0,
        `Cannot restore connection: stretch ${number} of its stream is out of place`,
      );
    }
    whole.set(bytes.subarray(known), at);
    at += bytes.length - known;
  }
  whole.set(tail, at);
  return whole;
}

function* numbersOf(store: Store): IterableIterator<[number, Location]> {
  for (const { location, bytes } of store.live()) {
    if (!isStretch(bytes)) continue;
    try {
      yield [readStretch(bytes).number, location];
    } catch { /* damaged: whoever needs it will miss it */ }
  }
}
