import { Slab } from "../../base/slab.ts";
import type { Link, LinkSink } from "../../net/link/link.ts";

/** A sink that keeps a copy of everything it is told, for asserts. */
export class RecordingSink implements LinkSink {
  readonly frames: Uint8Array[] = [];
  /** How many frames had arrived at each flush. */
  readonly flushes: number[] = [];
  readonly ends: (Error | undefined)[] = [];
  /** Called with every frame after it was recorded, still inside `receive`. */
  onFrame: ((bytes: Uint8Array) => void) | undefined;

  receive(slab: Slab, start: number, end: number): void {
    const bytes = slab.bytes.slice(start, end);
    this.frames.push(bytes);
    this.onFrame?.(bytes);
  }

  flush(): void {
    this.flushes.push(this.frames.length);
  }

  closed(error?: Error): void {
    this.ends.push(error);
  }

  /** The frames as hexadecimal text. */
  get hex(): string[] {
    return this.frames.map((frame) => Buffer.from(frame).toString("hex"));
  }
}

/** Sends bytes that a test holds loose, from a slab offset that is not 0. */
export function sendBytes(link: Link, bytes: Uint8Array | readonly number[]): boolean {
  const slab = Slab.of(bytes.length + 3);
  slab.bytes.set(bytes, 3);
  return link.send(slab, 3, 3 + bytes.length);
}

/** Waits until `done()` is true, turning the event loop; throws after `limitMs`. */
export async function until(done: () => boolean, what: string, limitMs = 30_000): Promise<void> {
  const deadlineMs = performance.now() + limitMs;
  while (!done()) {
    if (performance.now() > deadlineMs) throw new Error(`Waited ${limitMs} ms in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
