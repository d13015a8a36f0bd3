import type { CborValue } from "../image/cbor.ts";
import { CborError, decodeCbor } from "../image/cbor.ts";
import { scanCbor } from "../image/cbor_scan.ts";
import { readFrame } from "../image/frame.ts";
import { HASH_BYTES } from "../image/hash.ts";
import { Kind, kindName } from "../image/kinds.ts";
import { measureImage } from "../image/measure.ts";
import { type Image, readImage } from "../image/read.ts";
import { EventCode, inFile, isEvent, ReplayError, type ReplayEvent } from "./event.ts";
import "./segments.ts"; // which registers the kind

/** Where a recording is read from. */
export interface ReplaySource {
  /** Bytes `[at, at + length)`, fewer at the end. */
  read(at: number, length: number): Uint8Array;
}

/** Bytes of an image that are asked for at first: most of a segment. */
const READ_BYTES = 1 << 20;

/** Reads a recording from its beginning, in the memory of one segment. */
export class ReplayReader {
  /** What the recording says about itself. */
  readonly about: ReadonlyMap<string, CborValue>;
  /** Where the recording was cut short, if it was: bytes from there on are no whole segment. */
  cutAt: number | undefined;
  /** Why nothing more was recorded, once that has been read: `closed`, `limit`; `undefined` when it was cut short. */
  endedBecause: string | undefined;
  readonly #source: ReplaySource;
  #at = 0; // of the next segment
  #segment = 0;
  #events = 0;
  #previous: Uint8Array = new Uint8Array(HASH_BYTES);

  /** Reads its beginning. @throws {ReplayError} When this is no recording, or not even its first segment is whole. */
  constructor(source: ReplaySource | Uint8Array) {
    this.#source = source instanceof Uint8Array ? inMemory(source) : source;
    const first = this.#next();
    if (first === undefined) throw new ReplayError(this.cutAt ?? 0, "it ends within its first segment");
    this.about = first.about;
  }

  /** Segments read so far. */
  get segments(): number {
    return this.#segment;
  }
  /** Bytes read so far. */
  get bytesRead(): number {
    return this.#at;
  }

  /**
   * The events from the beginning on; once.
   * @throws {ReplayError} While iterating, at the first byte that is not what was recorded.
   */
  *events(): Generator<ReplayEvent, void, void> {
    for (let segment = this.#next(); segment !== undefined; segment = this.#next()) {
      const { data, offsetOf } = segment;
      for (let at = 0; at < data.length;) {
        let value: CborValue;
        const start = at;
        try {
          at = scanCbor(data, start).end;
          value = decodeCbor(data.subarray(start, at));
        } catch (error) {
          if (!(error instanceof CborError)) throw error;
          throw new ReplayError(offsetOf(start), `an event is no CBOR: ${error.message}`, { cause: error });
        }
        if (!isEvent(value)) throw new ReplayError(offsetOf(start), "there is something that is no event");
        this.#events++;
        if (value[0] === EventCode.End) this.endedBecause = String(value[1]);
        yield { value, offset: offsetOf(start) };
      }
    }
  }

  #next(): Segment | undefined {
    const start = this.#at;
    const bytes = this.#whole(start);
    if (bytes === undefined) return undefined;
    let image: Image;
    try {
      image = readImage(bytes);
    } catch (error) {
      throw inFile(start, error);
    }
    if (image.kind !== Kind.Replay) {
      throw new ReplayError(start, `it is an image of kind ${kindName(image.kind)}, need replay`);
    }
    const [segment, eventsBefore, previous, about] = bodyOf(image.body, start);
    if (segment !== this.#segment || eventsBefore !== this.#events || !same(previous, this.#previous)) {
      throw new ReplayError(
        start,
        `segment ${segment} of some recording, behind ${eventsBefore} events, does not continue this one, which needs ` +
          `segment ${this.#segment} behind ${this.#events} events`,
      );
    }
    this.#segment++;
    this.#at += bytes.length;
    this.#previous = bytes.slice(bytes.length - HASH_BYTES);
    const starts = readFrame(bytes).chunks.map((chunk) => start + chunk.start);
    return { about, data: joined(image.chunks), offsetOf: (at) => offsetIn(image.chunks, starts, at) };
  }

  /** The image at `start`, or `undefined` at the end; an image that is cut short is the end as well. */
  #whole(start: number): Uint8Array | undefined {
    for (let length = READ_BYTES;; length *= 4) {
      const bytes = this.#source.read(start, length);
      if (bytes.length === 0) return undefined;
      let size: number | undefined;
      try {
        size = measureImage(bytes);
      } catch (error) {
        throw inFile(start, error);
      }
      if (size !== undefined) return bytes.subarray(0, size);
      if (bytes.length === length) continue;
      this.cutAt = start;
      return undefined;
    }
  }
}

interface Segment {
  readonly about: ReadonlyMap<string, CborValue>;
  readonly data: Uint8Array;
  /** The byte of the file where byte `at` of the data is. */
  offsetOf(at: number): number;
}

function bodyOf(
  body: CborValue,
  start: number,
): [number, number, Uint8Array, ReadonlyMap<string, CborValue>] {
  const parts: readonly CborValue[] = Array.isArray(body) ? body : [];
  const [segment, events, previous, about] = parts;
  const right = Number.isSafeInteger(segment) && Number.isSafeInteger(events) &&
    previous instanceof Uint8Array &&
    about instanceof Map && parts.length === 4;
  if (!right) throw new ReplayError(start, "its body is not that of a recording");
  return [segment as number, events as number, previous, about as ReadonlyMap<string, CborValue>];
}

function inMemory(bytes: Uint8Array): ReplaySource {
  return { read: (at, length) => bytes.subarray(at, at + length) };
}

function joined(chunks: readonly Uint8Array[]): Uint8Array {
  if (chunks.length === 1) return chunks[0]!;
  const whole = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

function offsetIn(chunks: readonly Uint8Array[], starts: readonly number[], at: number): number {
  let index = 0;
  while (index < chunks.length - 1 && at >= chunks[index]!.length) at -= chunks[index++]!.length;
  return (starts[index] ?? 0) + at;
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
