/**
 * The kernel's sockets by their system calls: node:net takes 4 KB of this process for each, and a million of them
 * have to fit beside a million in the kernel.
 */
import { assert } from "../../base/assert.ts";

const AF_INET = 2;
/** SOCK_STREAM, not blocking, closed on exec. */
const SOCKET_TYPE = 1 | 0o4000 | 0o2000000;
const IPPROTO_IP = 0;
/** The port is chosen when the destination is known: one address may use a port for each. */
const IP_BIND_ADDRESS_NO_PORT = 24;
const SOCKADDR_BYTES = 16;
const POLLFD_BYTES = 8;

/** What `poll` asks and answers. */
export const Poll = { readable: 1, writable: 4, error: 8, hangUp: 16 } as const;

type Call = (...args: unknown[]) => number;
type Calls = Record<"socket" | "bind" | "connect" | "setsockopt" | "send" | "recv" | "poll", Call>;

/** Sockets of IPv4 that do not block. */
export class Sockets {
  readonly #calls: Calls;
  readonly #one = new Uint8Array(4);

  private constructor(calls: Calls) {
    this.#calls = calls;
    new DataView(this.#one.buffer).setInt32(0, 1, true);
  }

  /** Through koffi: on Node. */
  static async load(): Promise<Sockets> {
    const koffi = (await import("koffi")).default;
    const libc = koffi.load("libc.so.6");
    const make = (signature: string): Call => libc.func(signature) as unknown as Call;
    return new Sockets({
      socket: make("int socket(int domain, int type, int protocol)"),
      bind: make("int bind(int fd, void *address, uint32_t length)"),
      connect: make("int connect(int fd, void *address, uint32_t length)"),
      setsockopt: make("int setsockopt(int fd, int level, int name, void *value, uint32_t length)"),
      send: make("int send(int fd, void *bytes, uint32_t length, int flags)"),
      recv: make("int recv(int fd, void *bytes, uint32_t length, int flags)"),
      poll: make("int poll(void *fds, unsigned long count, int timeout)"),
    });
  }

  /** Begins to connect; the descriptor is writable once that is done. */
  connect(from: string, to: string, port: number): number {
    const fd = this.#calls.socket(AF_INET, SOCKET_TYPE, 0);
    assert(fd >= 0, "There is a descriptor");
    this.#calls.setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, this.#one, 4);
    assert(
      this.#calls.bind(fd, sockaddr(from, 0), SOCKADDR_BYTES) === 0,
      `${from} is an address of this host`,
    );
    this.#calls.connect(fd, sockaddr(to, port), SOCKADDR_BYTES);
    return fd;
  }

  /** Bytes that the kernel took, or -1. */
  send(fd: number, bytes: Uint8Array): number {
    return this.#calls.send(fd, bytes, bytes.length, 0);
  }

  /** Bytes received, 0 at the end, or -1. */
  receive(fd: number, into: Uint8Array): number {
    return this.#calls.recv(fd, into, into.length, 0);
  }

  /**
   * Waits until one of `fds` is as asked, in trouble, or `timeoutMs` are over.
   * @returns What is true of each.
   */
  poll(fds: ArrayLike<number>, asked: number, timeoutMs: number): Int16Array {
    const view = new DataView(new ArrayBuffer(POLLFD_BYTES * fds.length));
    for (let at = 0; at < fds.length; at++) {
      view.setInt32(POLLFD_BYTES * at, fds[at]!, true);
      view.setInt16(POLLFD_BYTES * at + 4, asked, true);
    }
    this.#calls.poll(new Uint8Array(view.buffer), fds.length, timeoutMs);
    return Int16Array.from({ length: fds.length }, (_, at) => view.getInt16(POLLFD_BYTES * at + 6, true));
  }

  /** Waits until every one of `fds` is as asked; returns those that are, the others being in trouble or late. */
  waitForAll(fds: readonly number[], asked: number, timeoutMs: number): number[] {
    const untilMs = performance.now() + timeoutMs;
    const good: number[] = [];
    for (let waiting = fds; waiting.length > 0;) {
      const leftMs = untilMs - performance.now();
      if (leftMs <= 0) break;
      const events = this.poll(waiting, asked, leftMs);
      const is = (at: number, mask: number): boolean => (events[at]! & mask) !== 0;
      for (const [at, fd] of waiting.entries()) {
        if (is(at, asked) && !is(at, Poll.error | Poll.hangUp)) good.push(fd);
      }
      waiting = waiting.filter((_, at) => events[at] === 0);
    }
    return good;
  }
}

function sockaddr(address: string, port: number): Uint8Array {
  const bytes = new Uint8Array(SOCKADDR_BYTES);
  bytes[0] = AF_INET;
  bytes.set([port >> 8, port & 255, ...address.split(".").map(Number)], 2);
  return bytes;
}
