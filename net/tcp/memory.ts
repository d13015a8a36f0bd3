import type { ByteRing, RingMeter } from "../../base/ring.ts";
import type { TcpConfig } from "./config.ts";
import type { Tcb } from "./tcb.ts";

/**
 * What every connection may hold in each of its queues, however little memory is left: its writer then always has
 * something in flight whose acknowledgement wakes it. Linux's least tcp_wmem and tcp_rmem.
 */
export const QUEUE_BYTES_MIN = 4_096;
/** Segments of window that are offered under pressure, as in Linux. */
const TIGHT_WINDOW_SEGMENTS = 4;

/**
 * The memory in the queues of all awake connections together, as Linux's tcp_mem has it. Above `memoryPressureBytes`
 * and until it falls below `memoryLowBytes` it is tight: buffers and windows do not grow, and nobody gets more than a
 * fair share. Above `memoryMaxBytes` nothing is taken that can be had again: segments out of order are dropped, writes
 * are held back, SYNs get cookies.
 *
 * It is counted as it is borrowed, in powers of two, so that a segment or a write costs a look at `tight`.
 */
export class TcpMemory implements RingMeter {
  /** Bytes that are borrowed. */
  bytes = 0;
  tight = false;
  /** Awake connections. */
  users = 0;
  /** How often memory became tight. */
  pressures = 0;
  readonly #config: Readonly<TcpConfig>;

  constructor(config: Readonly<TcpConfig>) {
    this.#config = config;
  }

  /** Whether the limit is reached. */
  get full(): boolean {
    return this.bytes >= this.#config.memoryMaxBytes;
  }

  /** Bytes that one connection, which holds `own`, may still borrow; less than 0 when it has more than that. */
  left(own: number): number {
    const { memoryMaxBytes } = this.#config;
    return Math.min(memoryMaxBytes - this.bytes, memoryMaxBytes / Math.max(1, this.users) - own);
  }

  borrowed(bytes: number): void {
    this.bytes += bytes;
    if (!this.tight && this.bytes > this.#config.memoryPressureBytes) {
      this.tight = true;
      this.pressures++;
    } else if (this.tight && this.bytes < this.#config.memoryLowBytes) {
      this.tight = false;
    }
  }
}

/** How long a queue of `tcb` may become: `Infinity` while there is memory enough. */
export function queueBytesMax(tcb: Tcb, queue: ByteRing): number {
  const { memory } = tcb;
  if (memory === undefined || !memory.tight) return Infinity;
  const left = memory.left(tcb.sendQueue.capacity + tcb.receiveQueue.capacity);
  return Math.max(QUEUE_BYTES_MIN, queue.capacityWithin(left));
}

/** The most window that may be offered: what has been offered stays so all the same. */
export function windowBytesMax(tcb: Pick<Tcb, "memory" | "peerMss">): number {
  return tcb.memory?.tight ? TIGHT_WINDOW_SEGMENTS * tcb.peerMss : Infinity;
}
