import { STATUS_CODES } from "node:http";

/** Statuses whose responses have no body, and no length either (RFC 9110 section 6.4.1). */
const BODILESS = new Set([101, 204, 205, 304]);
/** Fields that are the connection's affair, not the application's. */
const HOP_BY_HOP = new Set(["connection", "keep-alive", "transfer-encoding", "upgrade"]);
const ENCODER = new TextEncoder();

export function hasNoBody(status: number): boolean {
  return BODILESS.has(status);
}

/** A response's head, as Deno writes it: the application's fields, then ours. */
export function responseHead(
  minor: 0 | 1,
  { status, statusText, headers }: {
    status: number;
    statusText?: string;
    headers: Iterable<[string, string]>;
  },
  own: Iterable<readonly [name: string, value: string]>,
): Uint8Array<ArrayBuffer> {
  let text = `HTTP/1.${minor} ${status} ${statusText || STATUS_CODES[status] || ""}\r\n`;
  for (const [name, value] of headers) {
    if (!HOP_BY_HOP.has(name.toLowerCase())) text += `${name}: ${value}\r\n`;
  }
  for (const [name, value] of own) text += `${name}: ${value}\r\n`;
  text += "\r\n";
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at); // Latin-1, as fields are
  return bytes;
}

/** A piece of a body as a chunk (RFC 9112 section 7.1). */
export function chunk(piece: Uint8Array): Uint8Array<ArrayBuffer> {
  const size = ENCODER.encode(`${piece.length.toString(16)}\r\n`);
  const whole = new Uint8Array(size.length + piece.length + 2);
  whole.set(size);
  whole.set(piece, size.length);
  whole.set(LINE_END, size.length + piece.length);
  return whole;
}
const LINE_END = Uint8Array.of(13, 10);

/** Behind the last chunk. */
export const LAST_CHUNK: Uint8Array = ENCODER.encode("0\r\n\r\n");

/** Two pieces in one write, so that they share a segment. */
export function together(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(a.length + b.length);
  whole.set(a);
  whole.set(b, a.length);
  return whole;
}

/** "Sun, 06 Nov 1994 08:49:37 GMT", made once a second. */
export function httpDate(nowMs: number): string {
  const second = Math.floor(nowMs / 1_000);
  if (second !== lastSecond) {
    lastSecond = second;
    lastDate = new Date(second * 1_000).toUTCString();
  }
  return lastDate;
}
let lastSecond = NaN;
let lastDate = "";
