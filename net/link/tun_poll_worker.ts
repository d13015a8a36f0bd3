/**
 * Waits for a TUN device in poll(2) on behalf of a Bun thread, and wakes that thread: Bun has neither
 * calls that leave the event loop free nor a handle for descriptors that are not sockets.
 */
import { importBunFfi } from "./tun_ffi.ts";
import type { PollWorkerStart } from "./tun_wait.ts";

const worker = globalThis as unknown as {
  onmessage: (event: { data: PollWorkerStart }) => void;
  postMessage(message: unknown): void;
  close(): void;
};

const { dlopen } = await importBunFfi();
const poll = load();

worker.onmessage = ({ data: { fds, state } }) => {
  while (Atomics.load(state, 0) >= 0) {
    Atomics.wait(state, 0, 0); // until what was announced has been read
    if (Atomics.load(state, 0) < 0) break;
    if ((poll(fds, 2, -1) as number) <= 0) continue; // interrupted by a signal
    if (Atomics.compareExchange(state, 0, 1, 0) < 0) break;
    worker.postMessage(0);
  }
  worker.close();
};

function load(): (...values: unknown[]) => unknown {
  const symbols = { poll: { args: ["ptr", "u64", "i32"], returns: "i32" } };
  try {
    return dlopen("libc.so.6", symbols).symbols["poll"]!;
  } catch {
    return dlopen("libc.so", symbols).symbols["poll"]!;
  }
}
