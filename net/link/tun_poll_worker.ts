/**
 * Waits for a TUN device in poll(2) on behalf of a Bun thread, and wakes that thread: Bun has neither
 * FFI calls that leave the event loop free nor a handle for descriptors that are not sockets.
 */
import { bunFfi } from "./tun_ffi.ts";
import type { PollWorkerStart } from "./tun_wait.ts";

const worker = globalThis as unknown as {
  onmessage: (event: { data: PollWorkerStart }) => void;
  postMessage(message: "ready" | "packets"): void;
  close(): void;
};

type Poll = (fds: Uint8Array, count: number, timeoutMs: number) => number;

const { dlopen } = bunFfi();

worker.onmessage = ({ data: { library, fds, state } }) => {
  const poll = dlopen(library, { poll: { args: ["ptr", "u64", "i32"], returns: "i32" } })
    .symbols["poll"] as Poll;
  for (;;) {
    Atomics.wait(state, 0, 0); // until what was announced has been read
    if (Atomics.load(state, 0) < 0) break;
    if (poll(fds, 2, -1) <= 0) continue; // interrupted by a signal
    if (Atomics.compareExchange(state, 0, 1, 0) < 0) break;
    worker.postMessage("packets");
  }
  worker.close();
};
worker.postMessage("ready"); // Bun loses a message that comes before `onmessage` is set
