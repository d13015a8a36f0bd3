import type { Connection } from "../../net/socket/connection.ts";

/** What a protocol writes to: a handler's connection, or TLS over one. */
export type Wire = Pick<
  Connection,
  | "id"
  | "localAddr"
  | "remoteAddr"
  | "attachment"
  | "bufferedBytes"
  | "write"
  | "close"
  | "abort"
  | "pause"
  | "resume"
>;

/**
 * Calls `action` with a connection by its id: at once when it is awake, else as soon as it is.
 * @returns False when there is no such connection.
 */
export type Reach = (id: string, action: (wire: Wire) => void) => boolean;
