/** Node's codes for the errors that Deno has classes for. */
const CODES: Readonly<Record<string, string>> = {
  AddrInUse: "EADDRINUSE",
  AddrNotAvailable: "EADDRNOTAVAIL",
  BadResource: "EBADF",
  BrokenPipe: "EPIPE",
  ConnectionAborted: "ECONNABORTED",
  ConnectionRefused: "ECONNREFUSED",
  ConnectionReset: "ECONNRESET",
  HostUnreachable: "EHOSTUNREACH",
  Interrupted: "ECANCELED",
  NetworkUnreachable: "ENETUNREACH",
  TimedOut: "ETIMEDOUT",
};

/** An error as Node's sockets emit them. */
export interface NodeError extends Error {
  code?: string;
  syscall?: string;
}

/** Gives an error of ours the `code` and `syscall` that code written for Node looks at. */
export function nodeError(error: unknown, syscall: string): NodeError {
  const known: NodeError = error instanceof Error ? error : new Error(String(error));
  const code = CODES[known.name];
  return code === undefined ? known : Object.assign(known, { code, syscall });
}
