/**
 * How the event loop learns that a TUN device has packets, without spinning.
 */
import process from "node:process";
import { keepAlive } from "../../base/clock.ts";
import { runtime } from "../../base/runtime.ts";
import { Errno, type Libc } from "./tun_ffi.ts";

/**
 * - `pipe`: the runtime's own epoll loop, through the handle that its pipes use (Node, Deno).
 * - `poll`: poll(2) on a thread of the FFI's pool, a round trip per batch (Node, Deno).
 * - `worker`: poll(2) in a worker that wakes this thread (Bun).
 */
export type TunWait = "pipe" | "poll" | "worker";

/** Watches one descriptor, which it owns. */
export interface Readiness {
  /**
   * Starts watching. `onReady` runs in a later turn when packets may be there: `length` bytes of the
   * first are already in the buffer, or 0 when none was read; negative is an errno.
   */
  start(onReady: (length: number) => void): void;
  /** What `onReady` announced was read, or at least a batch of it. */
  rearm(): void;
  /** Whether waiting keeps the process alive; it does by default. Absent where it must. */
  keepAlive?(alive: boolean): void;
  /** Stops, closes the descriptor and then calls back, in a later turn. */
  close(onClosed: () => void): void;
}

/** The ways to wait on this runtime, best first. */
export function waysToWait(): TunWait[] {
  return runtime === "bun" ? ["worker"] : ["pipe", "poll"];
}

/** Watches `fd` the given way; undefined when this runtime cannot. */
export function watch(way: TunWait, libc: Libc, fd: number, buffer: Uint8Array): Readiness | undefined {
  if (way === "pipe") {
    const pipe = watchPipe(fd, buffer);
    return runtime === "deno" && pipe !== undefined ? alsoLook(pipe) : pipe;
  }
  if (way === "poll") return libc.pollAsync === undefined ? undefined : new PollReadiness(libc, fd);
  return runtime === "bun" ? new WorkerReadiness(libc, fd) : undefined;
}

/** What we use of the handle behind `net.Socket` and of how it tells the length it read. */
type PipeHandle = {
  open(fd: number): number;
  useUserBuffer(buffer: Uint8Array): void;
  readStart(): number;
  ref(): void;
  unref(): void;
  close(onClosed: () => void): void;
  onread: () => void;
};
type PipeBinding = { Pipe: new (type: number) => PipeHandle };
type StreamBinding = { streamBaseState: Int32Array; kReadBytesOrError: number };

/** `process.binding` is not documented, so every step may be missing: then there is another way. */
function watchPipe(fd: number, buffer: Uint8Array): Readiness | undefined {
  try {
    const { binding } = process as unknown as { binding(name: string): unknown };
    const { Pipe } = binding.call(process, "pipe_wrap") as PipeBinding;
    const { streamBaseState, kReadBytesOrError } = binding.call(process, "stream_wrap") as StreamBinding;
    if (streamBaseState === undefined || kReadBytesOrError === undefined) return undefined;
    const handle = new Pipe(0);
    if (typeof handle.useUserBuffer !== "function" || handle.open(fd) !== 0) return undefined;
    handle.useUserBuffer(buffer);
    return {
      start(onReady) {
        handle.onread = () => onReady(streamBaseState[kReadBytesOrError]!);
        handle.readStart();
      },
      rearm() {}, // epoll reports as long as packets are there
      keepAlive: (alive) => alive ? handle.ref() : handle.unref(),
      close: (onClosed) => handle.close(onClosed),
    };
  } catch {
    return undefined;
  }
}

/** How soon Deno finds that an interface is gone: one read per second costs nothing to speak of. */
const LOOK_MS = 1_000;

/** Deno's pipes report packets, but not the error state in which a deleted interface leaves its descriptor. */
function alsoLook(pipe: Readiness): Readiness {
  let timer: ReturnType<typeof setInterval> | undefined;
  let isAlive = true;
  return {
    start(onReady) {
      pipe.start(onReady);
      timer = setInterval(() => onReady(0), LOOK_MS);
      keepAlive(timer, isAlive);
    },
    keepAlive(alive) {
      isAlive = alive;
      pipe.keepAlive?.(alive);
      if (timer !== undefined) keepAlive(timer, alive);
    },
    rearm: () => pipe.rearm(),
    close(onClosed) {
      clearInterval(timer);
      const awake = setInterval(() => {}, 1); // Deno's loop may go to sleep, or end, before it says that a handle is closed
      pipe.close(() => {
        clearInterval(awake);
        onClosed();
      });
    },
  };
}

const POLLIN = 1;
/** EFD_CLOEXEC | EFD_NONBLOCK */
const EVENTFD_FLAGS = 0o2004000;

/** Two `struct pollfd`: the device, and an eventfd by which close() ends the wait. */
function pollFds(fd: number, endFd: number): Uint8Array {
  const fds = new DataView(new ArrayBuffer(16));
  fds.setInt32(0, fd, true);
  fds.setInt16(4, POLLIN, true);
  fds.setInt32(8, endFd, true);
  fds.setInt16(12, POLLIN, true);
  return new Uint8Array(fds.buffer);
}

/** Adds one to the eventfd that a poll watches beside the device. */
function wakePoll(libc: Libc, endFd: number): void {
  libc.write(endFd, new Uint8Array(new BigUint64Array([1n]).buffer), 8);
}

class PollReadiness implements Readiness {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #endFd: number;
  readonly #fds: Uint8Array;
  #onReady: (length: number) => void = () => {};
  #waiting = false;
  #onClosed: (() => void) | undefined;

  constructor(libc: Libc, fd: number) {
    this.#libc = libc;
    this.#fd = fd;
    this.#endFd = libc.eventfd(0, EVENTFD_FLAGS);
    this.#fds = pollFds(fd, this.#endFd);
  }

  start(onReady: (length: number) => void): void {
    this.#onReady = onReady;
    this.rearm();
  }

  rearm(): void {
    if (this.#waiting || this.#onClosed !== undefined) return;
    this.#waiting = true;
    void this.#libc.pollAsync!(this.#fds, 2, -1).then((count) => {
      this.#waiting = false;
      if (this.#onClosed !== undefined) this.#free();
      else if (count < 0) this.rearm(); // interrupted by a signal
      else this.#onReady(0);
    });
  }

  close(onClosed: () => void): void {
    this.#onClosed = onClosed;
    if (this.#waiting) wakePoll(this.#libc, this.#endFd);
    else setTimeout(() => this.#free(), 0);
  }

  #free(): void {
    this.#libc.close(this.#fd);
    this.#libc.close(this.#endFd);
    this.#onClosed!();
  }
}

/** The worker's file: beside this one, and like this one TypeScript, or what a package made of it. */
const POLL_WORKER = import.meta.url.endsWith(".ts") ? "./tun_poll_worker.ts" : "./tun_poll_worker.js";

/** What this thread and the poll worker share: `state[0]` is 1 while the worker shall wait, -1 to end. */
export interface PollWorkerStart {
  library: string;
  fds: Uint8Array;
  state: Int32Array<SharedArrayBuffer>;
}

class WorkerReadiness implements Readiness {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #endFd: number;
  readonly #state = new Int32Array(new SharedArrayBuffer(4));
  #worker: Worker | undefined;
  #closing = false;

  constructor(libc: Libc, fd: number) {
    this.#libc = libc;
    this.#fd = fd;
    this.#endFd = libc.eventfd(0, EVENTFD_FLAGS);
  }

  start(onReady: (length: number) => void): void {
    this.#worker = new Worker(new URL(POLL_WORKER, import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }) => {
      if (data === "ready") {
        const begin: PollWorkerStart = {
          library: this.#libc.library,
          fds: pollFds(this.#fd, this.#endFd),
          state: this.#state,
        };
        this.#worker!.postMessage(begin);
      } else if (!this.#closing) onReady(0);
    };
    this.#worker.onerror = (event) => {
      if (!this.#closing) onReady(-Errno.ENXIO);
      event.preventDefault();
    };
    Atomics.store(this.#state, 0, 1);
  }

  keepAlive(alive: boolean): void {
    const worker = this.#worker as unknown as { ref(): void; unref(): void } | undefined; // as Bun's are
    if (alive) worker?.ref();
    else worker?.unref();
  }

  rearm(): void {
    if (this.#closing) return;
    Atomics.store(this.#state, 0, 1);
    Atomics.notify(this.#state, 0);
  }

  close(onClosed: () => void): void {
    this.#closing = true;
    const worker = this.#worker;
    const free = (): void => {
      this.#libc.close(this.#fd);
      this.#libc.close(this.#endFd);
      onClosed();
    };
    if (worker === undefined) {
      setTimeout(free, 0);
      return;
    }
    // Only a worker that is out of poll(2) may lose the descriptors: their numbers are used again.
    worker.addEventListener("close", free);
    Atomics.store(this.#state, 0, -1);
    Atomics.notify(this.#state, 0);
    wakePoll(this.#libc, this.#endFd);
  }
}
