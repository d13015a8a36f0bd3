/** The bytes with which a client's stream begins: the connection's number, so that whoever reads knows whose it is. */
export const ID_BYTES = 4;

/** Whose bytes: a client's or a server's. */
export type Side = "client" | "server";

/**
 * The byte at `offset` of one side's stream on connection `id`. A client's first four say `id`. Neighbours
 * differ, and so do connections and sides: a byte that is lost, doubled or somebody else's shows.
 */
export function contentByte(id: number, side: Side, offset: number): number {
  if (side === "client" && offset < ID_BYTES) return (id >>> (24 - 8 * offset)) & 0xff;
  const salt = id * 37 + (side === "client" ? 101 : 13);
  return (salt + offset * 7 + (offset >>> 8) * 3 + (offset >>> 16)) & 0xff;
}

/** `count` bytes of a stream from `from` on. */
export function content(id: number, side: Side, from: number, count: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(count);
  for (let at = 0; at < count; at++) bytes[at] = contentByte(id, side, from + at);
  return bytes;
}

/** The first index at which `bytes` are not the stream's at `from`, or -1. */
export function firstWrong(id: number, side: Side, from: number, bytes: Uint8Array): number {
  for (let at = 0; at < bytes.length; at++) if (bytes[at] !== contentByte(id, side, from + at)) return at;
  return -1;
}

/** The number in a client's first bytes. */
export function idOfClient(bytes: Uint8Array): number {
  return ((bytes[0]! << 24) | (bytes[1]! << 16) | (bytes[2]! << 8) | bytes[3]!) >>> 0;
}
