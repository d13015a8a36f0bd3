/**
 * The C library as a TUN link needs it, on each runtime: Deno.dlopen, bun:ffi, koffi on Node.
 */
import process from "node:process";
import { runtime } from "../../base/runtime.ts";
import { LinkError } from "./link_error.ts";

/** Calls return what the C library does; after -1, `errno()` says why, until the next call. */
export interface Libc {
  /** The file it was loaded from. */
  readonly library: string;
  open(path: Uint8Array, flags: number): number;
  close(fd: number): number;
  read(fd: number, into: Uint8Array, length: number): number;
  write(fd: number, from: Uint8Array, length: number): number;
  /** `iov` is an array of `struct iovec`. */
  writev(fd: number, iov: Uint8Array, count: number): number;
  /** Where `bytes` lie. Memory of WebAssembly does not move. */
  addressOf(bytes: Uint8Array): number;
  ioctl(fd: number, request: number, argument: Uint8Array): number;
  /** The same for requests that take their argument by value. */
  ioctlValue(fd: number, request: number, argument: number): number;
  fcntl(fd: number, command: number, argument: number): number;
  eventfd(initial: number, flags: number): number;
  /** Blocks a thread that is not this one. `fds` is an array of `struct pollfd`. */
  pollAsync: ((fds: Uint8Array, count: number, timeoutMs: number) => Promise<number>) | undefined;
  errno(): number;
}

/** Values of `errno` on Linux that a TUN link tells apart. */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  ENXIO: 6,
  EAGAIN: 11,
  EACCES: 13,
  EBUSY: 16,
  ENODEV: 19,
  EINVAL: 22,
} as const;

/** The C library's file: glibc's name, then musl's. */
const LIBRARIES = [
  "libc.so.6",
  "libc.musl-x86_64.so.1",
  "libc.musl-aarch64.so.1",
];

let loaded: Promise<Libc> | undefined;

/**
 * The C library, loaded once.
 * @throws {LinkError} `unsupported`, when the runtime cannot load it.
 */
export function loadLibc(): Promise<Libc> {
  return loaded ??= (async () => {
    const load = { deno: loadDeno, node: loadNode, bun: loadBun }[runtime];
    let cause: unknown;
    for (const library of LIBRARIES) {
      try {
        return await load(library);
      } catch (error) {
        cause ??= error;
      }
    }
    const advice = {
      deno: "run Deno with --allow-ffi, or -A",
      node: "install the package koffi (npm install koffi)",
      bun: "use a Bun that has bun:ffi",
    }[runtime];
    throw new LinkError("unsupported", `Cannot load the C library through FFI on ${runtime}: ${advice}`, {
      cause,
    });
  })();
}

type Calls = Record<string, (...values: unknown[]) => unknown>;
type DenoFfi = {
  dlopen(library: string, symbols: Record<string, object>): { symbols: Calls };
  UnsafePointerView: new (pointer: unknown) => { getInt32(): number };
};

function loadDeno(library: string): Promise<Libc> {
  const ffi = (globalThis as unknown as { Deno: DenoFfi }).Deno;
  const poll = { name: "poll", parameters: ["buffer", "u64", "i32"], result: "i32", nonblocking: true };
  // u32 lengths and i32 results keep BigInt out of every packet.
  const { symbols } = ffi.dlopen(library, {
    open: { parameters: ["buffer", "i32"], result: "i32" },
    close: { parameters: ["i32"], result: "i32" },
    read: { parameters: ["i32", "buffer", "u32"], result: "i32" },
    write: { parameters: ["i32", "buffer", "u32"], result: "i32" },
    writev: { parameters: ["i32", "buffer", "i32"], result: "i32" },
    memmove: { parameters: ["buffer", "buffer", "usize"], result: "u64" },
    ioctl: { parameters: ["i32", "u64", "buffer"], result: "i32" },
    ioctlValue: { name: "ioctl", parameters: ["i32", "u64", "u64"], result: "i32" },
    fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
    eventfd: { parameters: ["u32", "i32"], result: "i32" },
    pollAsync: poll,
    __errno_location: { parameters: [], result: "pointer" },
  });
  const errno = symbols["__errno_location"]!;
  const own = {
    addressOf: (bytes: Uint8Array) => Number(symbols["memmove"]!(bytes, bytes, 0)),
    errno: () => new ffi.UnsafePointerView(errno()).getInt32(),
  };
  return Promise.resolve({ library, ...symbols, ...own } as unknown as Libc);
}

async function loadNode(library: string): Promise<Libc> {
  const koffi = (await import("koffi")).default;
  const libc = koffi.load(library);
  const poll = libc.func("int poll(void *fds, unsigned long count, int timeout)");
  const memmove = libc.func("uint64_t memmove(void *to, void *from, size_t length)"); // returns `to`
  return {
    library,
    open: libc.func("int open(void *path, int flags)"),
    close: libc.func("int close(int fd)"),
    read: libc.func("int read(int fd, void *into, uint32_t length)"),
    write: libc.func("int write(int fd, void *from, uint32_t length)"),
    writev: libc.func("int writev(int fd, void *iov, int count)"),
    addressOf: (bytes) => Number(memmove(bytes, bytes, 0)),
    ioctl: libc.func("int ioctl(int fd, unsigned long request, void *argument)"),
    ioctlValue: libc.func("int ioctl(int fd, unsigned long request, unsigned long argument)"),
    fcntl: libc.func("int fcntl(int fd, int command, int argument)"),
    eventfd: libc.func("int eventfd(uint32_t initial, int flags)"),
    pollAsync: (fds, count, timeoutMs) =>
      new Promise((resolve, reject) => {
        poll.async(fds, count, timeoutMs, (error: unknown, result: number) =>
          error ? reject(error) : resolve(result));
      }),
    errno: () => koffi.errno(),
  };
}

/** The part of bun:ffi that we use; Bun's own types are not needed to build. */
export type BunFfi = {
  dlopen(library: string, symbols: Record<string, { args: string[]; returns: string }>): { symbols: Calls };
  read: { i32(pointer: unknown, offset: number): number };
};

/** Bun's own module, asked for in a way that other runtimes' checkers and bundlers do not follow. */
export function bunFfi(): BunFfi {
  const { getBuiltinModule } = process as unknown as { getBuiltinModule(name: string): unknown };
  return getBuiltinModule("bun:ffi") as BunFfi;
}

function loadBun(library: string): Promise<Libc> {
  const { dlopen, read } = bunFfi();
  const { symbols } = dlopen(library, {
    open: { args: ["ptr", "i32"], returns: "i32" },
    close: { args: ["i32"], returns: "i32" },
    read: { args: ["i32", "ptr", "u32"], returns: "i32" },
    write: { args: ["i32", "ptr", "u32"], returns: "i32" },
    writev: { args: ["i32", "ptr", "i32"], returns: "i32" },
    memmove: { args: ["ptr", "ptr", "u64"], returns: "u64" },
    ioctl: { args: ["i32", "u64", "ptr"], returns: "i32" },
    fcntl: { args: ["i32", "i32", "i32"], returns: "i32" },
    eventfd: { args: ["u32", "i32"], returns: "i32" },
    __errno_location: { args: [], returns: "ptr" },
  });
  const byValue =
    dlopen(library, { ioctl: { args: ["i32", "u64", "u64"], returns: "i32" } }).symbols["ioctl"];
  const errno = symbols["__errno_location"]!;
  const libc = {
    library,
    ...symbols,
    ioctlValue: byValue,
    addressOf: (bytes: Uint8Array) => Number(symbols["memmove"]!(bytes, bytes, 0)),
    pollAsync: undefined,
    errno: () => read.i32(errno(), 0),
  };
  return Promise.resolve(libc as unknown as Libc);
}
