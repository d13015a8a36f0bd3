import { lstat, unlink } from "node:fs/promises";
import { connect, type Server, type Socket } from "node:net";
import { LinkError } from "./link_error.ts";

/**
 * Lets `server` listen on a unix-domain socket. The file of a process that has died is replaced; one that answers
 * is not.
 *
 * @returns How to stop listening and delete the file. Idempotent.
 * @throws {LinkError} `busy`, `denied`, `missing` (no such folder) or `io`.
 */
export async function listenAt(server: Server, path: string): Promise<() => Promise<void>> {
  checkSocketPath("listen on", path);
  try {
    await listen(server, path);
  } catch (error) {
    if (errorCode(error) !== "EADDRINUSE") throw listenError(path, error);
    await removeStale(path);
    await listen(server, path).catch((cause) => {
      throw listenError(path, cause);
    });
  }
  server.on("error", () => {}); // accept() ran out of file descriptors: later connections still come
  const { ino: inode } = await lstat(path).catch((cause) => {
    server.close();
    throw listenError(path, cause);
  });
  let closing: Promise<void> | undefined;
  return () =>
    closing ??= (async () => {
      server.close();
      // The runtime may have deleted it already, and somebody else may listen there by now.
      const now = await lstat(path).catch(() => undefined);
      if (now?.ino === inode) await unlink(path).catch(() => {});
    })();
}

/**
 * Node cuts a path that the kernel has no room for, and goes on with another one.
 *
 * @throws {LinkError} `io`.
 */
export function checkSocketPath(doing: string, path: string): void {
  const { length } = new TextEncoder().encode(path);
  if (length <= SOCKET_PATH_BYTES_MAX) return;
  throw new LinkError(
    "io",
    `Cannot ${doing} "${path}": the path of a unix socket has ${SOCKET_PATH_BYTES_MAX} bytes at most, ` +
      `not ${length}; a relative one may be shorter`,
  );
}

/** `sun_path` of unix(7), and the zero behind it. */
const SOCKET_PATH_BYTES_MAX = 107;

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ path }, () => {
      server.removeListener("error", reject);
      resolve();
    });
  });
}

/** Deletes the socket file of a listener that is gone. */
async function removeStale(path: string): Promise<void> {
  const file = await lstat(path).catch(() => undefined);
  if (file === undefined) return; // gone since: the second attempt will say
  if (!file.isSocket()) {
    throw new LinkError("busy", `Cannot listen on "${path}": a file that is not a socket is there`);
  }
  if (await answers(path)) throw new LinkError("busy", `Cannot listen on "${path}": somebody listens there`);
  await unlink(path).catch((error) => {
    if (errorCode(error) !== "ENOENT") throw listenError(path, error);
  });
}

/** Whether somebody listens; in doubt (no permission, backlog full) somebody does. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket: Socket = connect({ path });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", (error) => {
      const code = errorCode(error);
      resolve(code !== "ECONNREFUSED" && code !== "ENOENT");
    });
  });
}

function listenError(path: string, cause: unknown): LinkError {
  const code = errorCode(cause);
  const kind = code === "EACCES" || code === "EPERM" || code === "EROFS"
    ? "denied"
    : code === "ENOENT" || code === "ENOTDIR"
    ? "missing"
    : code === "EADDRINUSE"
    ? "busy"
    : "io";
  return new LinkError(kind, `Cannot listen on "${path}": ${message(cause)}`, { cause });
}

export function errorCode(error: unknown): string | undefined {
  return (error as { code?: string }).code;
}

export function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
