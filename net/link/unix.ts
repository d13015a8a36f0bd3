import { connect, createServer } from "node:net";
import { checkMtu } from "./frame_limit.ts";
import { LinkError } from "./link_error.ts";
import type { Link, Medium } from "./link.ts";
import { StreamLink } from "./stream_link.ts";
import { checkSocketPath, errorCode, listenAt, message } from "./unix_listen.ts";

/** Where the socket is and what its links carry. */
export interface UnixOptions {
  /** The socket's file. Linux takes at most 107 bytes. */
  path: string;
  /** What its frames are. Default: Ethernet. */
  medium?: Medium;
  /** The largest IP packet, in bytes; a frame longer than it allows ends the link. */
  mtu?: number;
  /** Ends the attempt to connect, or the listening; links that exist live on. */
  signal?: AbortSignal;
}

/** Where to accept links, and what to do with them. */
export interface ListenUnixOptions extends UnixOptions {
  /** Takes each link as it arrives; it must open it, or close it. */
  onLink: (link: Link) => void;
}

/** A unix-domain socket that accepts links. */
export interface UnixListener {
  /** The socket's file. */
  readonly path: string;
  /** Stops accepting and deletes the socket's file. Links that exist live on. Idempotent. */
  close(): Promise<void>;
}

/**
 * Accepts links on a unix-domain stream socket, framed as QEMU's `-netdev stream` does: 4 bytes of
 * big-endian length, then the frame. passt and `qemu -netdev stream,addr.type=unix` can connect.
 *
 * A socket file left behind by a process that has died is replaced; one that answers is not.
 *
 * @throws {LinkError} `busy` when somebody listens there or the file is not a socket, `denied`, `missing`
 * (no such folder) or `io`.
 * @example
 * ```ts
 * import { connectUnix, listenUnix } from "@torpor/torpor/net/link/unix.ts";
 * const path = `/tmp/torpor-${crypto.randomUUID()}.sock`;
 * const listener = await listenUnix({ path, onLink: (link) => link.close() });
 * const link = await connectUnix({ path });
 * link.open({ receive: () => {}, flush: () => {}, closed: () => void listener.close() });
 * ```
 */
export async function listenUnix(options: ListenUnixOptions): Promise<UnixListener> {
  const { path, signal, onLink } = options;
  const medium = options.medium ?? "ethernet";
  const mtu = checkMtu(options.mtu ?? 1500);
  signal?.throwIfAborted();
  const server = createServer((socket) => onLink(new StreamLink(socket, medium, mtu)));
  const stop = await listenAt(server, path);
  const close = (): Promise<void> => {
    signal?.removeEventListener("abort", onAbort);
    return stop();
  };
  const onAbort = (): void => void close();
  signal?.addEventListener("abort", onAbort);
  if (signal?.aborted) await close();
  return { path, close };
}

/**
 * Connects to a unix-domain stream socket with the framing of `listenUnix`.
 *
 * @throws {LinkError} `missing` when nobody listens there, `denied` or `io`.
 * @throws The signal's reason, when aborted before the connection stands.
 */
export async function connectUnix(options: UnixOptions): Promise<Link> {
  const { path, signal } = options;
  const medium = options.medium ?? "ethernet";
  const mtu = checkMtu(options.mtu ?? 1500);
  signal?.throwIfAborted();
  checkSocketPath("connect to", path);
  const socket = connect({ path });
  const onAbort = (): void => void socket.destroy(signal!.reason as Error);
  signal?.addEventListener("abort", onAbort);
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
      socket.once("close", () => reject(signal?.reason ?? new Error("closed")));
    });
    signal?.throwIfAborted();
  } catch (error) {
    socket.on("error", () => {});
    socket.destroy();
    signal?.throwIfAborted();
    const code = errorCode(error);
    if (code === "ENOENT" || code === "ECONNREFUSED") {
      throw new LinkError("missing", `Cannot connect to "${path}": nobody listens there`, { cause: error });
    }
    if (code === "EACCES" || code === "EPERM") {
      throw new LinkError("denied", `Cannot connect to "${path}": not permitted`, { cause: error });
    }
    throw new LinkError("io", `Cannot connect to "${path}": ${message(error)}`, { cause: error });
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
  return new StreamLink(socket, medium, mtu);
}
