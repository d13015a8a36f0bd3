import koffi from "koffi";

/** The socket calls of the C library, made where they stand: a helper process would answer later than the kernel. */
export interface SocketCalls {
  socket(family: number, type: number, protocol: number): number;
  bind(fd: number, address: Uint8Array, length: number): number;
  listen(fd: number, backlog: number): number;
  accept4(fd: number, address: Uint8Array, length: Uint8Array, flags: number): number;
  connect(fd: number, address: Uint8Array, length: number): number;
  send(fd: number, bytes: Uint8Array, length: number, flags: number): number;
  recv(fd: number, bytes: Uint8Array, length: number, flags: number): number;
  shutdown(fd: number, how: number): number;
  close(fd: number): number;
  setsockopt(fd: number, level: number, name: number, value: Uint8Array, length: number): number;
  errno(): number;
}

export function loadSocketCalls(library: string): SocketCalls {
  const libc = koffi.load(library);
  return {
    socket: libc.func("int socket(int family, int type, int protocol)"),
    bind: libc.func("int bind(int fd, void *address, uint32_t length)"),
    listen: libc.func("int listen(int fd, int backlog)"),
    accept4: libc.func("int accept4(int fd, void *address, void *length, int flags)"),
    connect: libc.func("int connect(int fd, void *address, uint32_t length)"),
    send: libc.func("int send(int fd, void *bytes, size_t length, int flags)"),
    recv: libc.func("int recv(int fd, void *bytes, size_t length, int flags)"),
    shutdown: libc.func("int shutdown(int fd, int how)"),
    close: libc.func("int close(int fd)"),
    setsockopt: libc.func("int setsockopt(int fd, int level, int name, void *value, uint32_t length)"),
    errno: () => koffi.errno(),
  };
}

export const SOCK = { inet: 2, stream: 1, nonblock: 0o4000, cloexec: 0o2000000 } as const;
export const SOL_SOCKET = 1;
export const SO = { linger: 13, oobInline: 10, reuseAddress: 2 } as const;
export const IPPROTO_TCP = 6;
export const TCP_CONGESTION = 13;
export const SHUT_WR = 1;
export const MSG_NOSIGNAL = 0x4000;

const NAMES: Readonly<Record<number, string>> = {
  11: "EAGAIN",
  32: "EPIPE",
  104: "ECONNRESET",
  107: "ENOTCONN",
  110: "ETIMEDOUT",
  111: "ECONNREFUSED",
  113: "EHOSTUNREACH",
  115: "EINPROGRESS",
};

export function errnoName(errno: number): string {
  return NAMES[errno] ?? `errno ${errno}`;
}

/** `struct sockaddr_in`. */
export function sockaddr(address: Uint8Array, port: number): Uint8Array {
  return Uint8Array.of(SOCK.inet, 0, port >>> 8, port & 0xff, ...address, 0, 0, 0, 0, 0, 0, 0, 0);
}
