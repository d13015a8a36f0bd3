/** What both sides say: every byte is known by its stream and its place, so that each can check the other. */

/** Port of the connections that sleep and survive kills; of those that carry much. */
export const PORTS = { sleepy: 7, bulk: 80 } as const;
export const NETWORK = {
  server: "10.88.0.1",
  client: "10.88.0.2",
  prefix: 24,
  interfaceName: "sk0",
} as const;

/** Bytes of a request's head: what follows it, what is wanted in answer, and which stream it is. */
export const HEAD_BYTES = 12;

export function head(upload: number, reply: number, stream: number): Uint8Array {
  const bytes = new Uint8Array(HEAD_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, upload);
  view.setUint32(4, reply);
  view.setUint32(8, stream);
  return bytes;
}

export function readHead(bytes: Uint8Array): { upload: number; reply: number; stream: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return { upload: view.getUint32(0), reply: view.getUint32(4), stream: view.getUint32(8) };
}

/** The answers of a stream are another stream's bytes. */
export function answersOf(stream: number): number {
  return stream + 0x4000_0001;
}

function byteAt(stream: number, at: number): number {
  return (at * 31 + (at >>> 8) * 7 + (at >>> 16) + stream * 13) & 0xff;
}

export function fill(stream: number, at: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = byteAt(stream, at + i);
  return bytes;
}

/** The first place at which `bytes` are not those of the stream from `at` on, or -1. */
export function mismatch(stream: number, at: number, bytes: Uint8Array): number {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== byteAt(stream, at + i)) return i;
  return -1;
}
