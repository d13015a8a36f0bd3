import type { Socket } from "node:net";
import { setTimeout } from "node:timers";
import { assert } from "../../base/assert.ts";
import { Slab } from "../../base/slab.ts";
import { copyTail, type Tail } from "../../base/tail.ts";
import { frameBytesMax } from "./frame_limit.ts";
import { LENGTH_BYTES, LengthReader } from "./length_framing.ts";
import { LinkError } from "./link_error.ts";
import { type Link, type LinkCounters, linkCounters, type LinkSink, type Medium } from "./link.ts";

/** One write's worth of frames: 85 full Ethernet frames, or two of the largest there are. */
const GATHER_BYTES = 131_072;

/**
 * Writes under way at once. Beyond this the far end does not keep up and frames are dropped, as a
 * network would: a far end that is stuck holds 2 MB of ours, however much is sent to it.
 */
export const WRITES_MAX = 16;

/** How long close() waits for a far end to read what was sent to it. */
const CLOSE_MS_MAX = 1_000;

/** A link over a connected stream socket, framed as `LengthReader` reads it. */
export class StreamLink implements Link {
  readonly medium: Medium;
  readonly mtu: number;
  readonly counters: LinkCounters = linkCounters();
  readonly #socket: Socket;
  readonly #frameBytesMax: number;
  readonly #reader: LengthReader;
  readonly #written: () => void;
  readonly #free: Slab[] = [];
  /** Slabs that the socket is writing, oldest first. */
  readonly #writing: Slab[] = [];
  #gather: Slab | undefined;
  #gatherBytes = 0;
  #sink: LinkSink | undefined;
  #error: Error | undefined;
  #closed = false;
  #told = false;

  constructor(socket: Socket, medium: Medium, mtu: number) {
    this.medium = medium;
    this.mtu = mtu;
    this.#socket = socket;
    this.#frameBytesMax = frameBytesMax(medium, mtu);
    this.#reader = new LengthReader(
      this.#frameBytesMax,
      (slab, start, end) => this.#deliver(slab, start, end),
    );
    this.#written = () => {
      const slab = this.#writing.shift();
      if (slab !== undefined) this.#free.push(slab);
    };
    socket.on("error", (error) => this.#error ??= error);
    socket.on("close", () => this.#ended());
    socket.pause();
  }

  open(sink: LinkSink): void {
    assert(this.#sink === undefined, "A link belongs to one sink for its whole life");
    this.#sink = sink;
    if (this.#closed) {
      if (this.#socket.closed) setTimeout(() => this.#ended(), 0);
      return;
    }
    this.#socket.on("data", (chunk) => this.#read(chunk as Buffer<ArrayBuffer>));
    this.#socket.on("end", () => this.#ending());
    this.#socket.resume();
  }

  ref(): void {
    this.#socket.ref();
  }
  unref(): void {
    this.#socket.unref();
  }

  send(slab: Slab, start: number, end: number): boolean {
    return this.sendGathered(slab, start, end, 0);
  }

  /** What TCP has in its ring goes from there to what is written next. */
  sendGathered(slab: Slab, start: number, end: number, _segmentBytes: number, tail?: Tail): boolean {
    const length = end - start;
    assert(length > 0 && start >= 0 && end <= slab.bytes.length, "A frame lies inside its slab");
    if (this.#closed || length > this.#frameBytesMax) {
      this.counters.dropsOut++;
      return false;
    }
    if (this.#gatherBytes + LENGTH_BYTES + length > GATHER_BYTES) this.flush();
    const gather = this.#gather ??= this.#takeSlab();
    if (gather === undefined) {
      this.counters.dropsOut++;
      return false;
    }
    gather.view.setUint32(this.#gatherBytes, length);
    const at = this.#gatherBytes + LENGTH_BYTES;
    const headersEnd = tail === undefined ? end : end - tail.bytes;
    gather.bytes.set(slab.bytes.subarray(start, headersEnd), at);
    if (tail !== undefined) copyTail(tail, gather, at + headersEnd - start);
    this.#gatherBytes += LENGTH_BYTES + length;
    this.counters.framesOut++;
    this.counters.bytesOut += length;
    return true;
  }

  flush(): void {
    const slab = this.#gather;
    if (slab === undefined || this.#closed) return;
    this.#writing.push(slab);
    const bytes = slab.bytes.subarray(0, this.#gatherBytes);
    this.#gather = undefined;
    this.#gatherBytes = 0;
    this.#socket.write(bytes, this.#written);
  }

  close(): void {
    if (this.#closed) return;
    this.flush();
    this.#closed = true;
    if (this.#writing.length === 0 || this.#error !== undefined) this.#socket.destroy();
    else {
      this.#socket.destroySoon();
      setTimeout(() => this.#socket.destroy(), CLOSE_MS_MAX).unref();
    }
  }

  #ending(): void {
    if (this.#reader.insideFrame) {
      this.counters.dropsIn++;
      this.#error ??= new LinkError("protocol", "The far end closed the stream inside a frame");
    }
    this.close();
  }

  /** A slab to gather frames in; none while too many are being written. */
  #takeSlab(): Slab | undefined {
    const slab = this.#free.pop();
    if (slab !== undefined) return slab;
    return this.#writing.length < WRITES_MAX ? Slab.of(GATHER_BYTES) : undefined;
  }

  #read(chunk: Buffer<ArrayBuffer>): void {
    if (this.#closed) return;
    const framesBefore = this.counters.framesIn;
    try {
      this.#reader.read(
        new Slab(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)),
        chunk.byteLength,
      );
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      this.counters.dropsIn++;
      this.#error ??= error;
    }
    if (this.counters.framesIn > framesBefore && !this.#closed) this.#sink!.flush();
    if (this.#error !== undefined) this.close();
  }

  #deliver(slab: Slab, start: number, end: number): boolean {
    this.counters.framesIn++;
    this.counters.bytesIn += end - start;
    this.#sink!.receive(slab, start, end);
    return !this.#closed;
  }

  #ended(): void {
    this.#closed = true;
    if (this.#sink === undefined || this.#told) return;
    this.#told = true;
    this.#sink.closed(this.#error);
  }
}
