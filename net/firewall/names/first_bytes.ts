import { parseNamePattern } from "./pattern.ts";

/** What the first bytes of a flow have said so far. */
export type FirstBytes =
  /** Not enough of them to know. */
  | { readonly kind: "pending" }
  /** A ClientHello, or the head of an HTTP request, is complete; `name` is empty where it names nobody, or not clearly. */
  | { readonly kind: "tls" | "http"; readonly name: string }
  /** Something else, or more of it than is looked at. */
  | { readonly kind: "none" };

/** Bytes that are looked at: the longest TLS record (RFC 8446 section 5.1), and more than servers take as a request's head. */
export const FIRST_BYTES_MAX = 16_384;

const PENDING: FirstBytes = { kind: "pending" };
const NONE: FirstBytes = { kind: "none" };

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const RECORD_HEADER = 5;
const MESSAGE_HEADER = 4;
/** Letters of the longest registered method, and some. */
const METHOD_MAX = 24;

/**
 * Reads which host a client wants from what it says first, as far as it has come: the server name of a TLS ClientHello (RFC
 * 6066 section 3), the host of an HTTP/1 request (RFC 9112 section 3.2). Whatever two readers might understand differently
 * (two names, a bare line feed, a folded line) names nobody.
 *
 * @param bytes What came, in order, in its first `length` bytes.
 * @param before How many of them a call before this one has seen, that found nothing yet.
 * @example
 * ```ts
 * import { readFirstBytes } from "@torpor/torpor/net/firewall/names/first_bytes.ts";
 * import assert from "node:assert/strict";
 * const head = new TextEncoder().encode("GET / HTTP/1.1\r\nHost: API.example.com:8080\r\n\r\n");
 * assert.deepEqual(readFirstBytes(head, head.length, 0), { kind: "http", name: "api.example.com" });
 * assert.deepEqual(readFirstBytes(head, head.length - 1, 0), { kind: "pending" });
 * ```
 */
export function readFirstBytes(bytes: Uint8Array, length: number, before: number): FirstBytes {
  if (length === 0) return PENDING;
  return bytes[0] === HANDSHAKE ? readTls(bytes, length) : readHttp(bytes, length, before);
}

/** The handshake message may lie in several records, each with a header between its bytes. */
function readTls(bytes: Uint8Array, length: number): FirstBytes {
  let size = 0; // of the whole message, once it is known
  let have = 0;
  const pieces: Uint8Array[] = [];
  for (let at = 0;;) {
    if (length - at >= 1 && bytes[at] !== HANDSHAKE) return NONE;
    if (length - at >= 2 && bytes[at + 1] !== 3) return NONE;
    if (length - at < RECORD_HEADER) return PENDING;
    const record = (bytes[at + 3]! << 8) | bytes[at + 4]!;
    if (record === 0 || record > FIRST_BYTES_MAX) return NONE; // no empty handshake records (section 5.1)
    at += RECORD_HEADER;
    const piece = bytes.subarray(at, Math.min(at + record, length));
    pieces.push(piece);
    have += piece.length;
    if (size === 0 && have >= MESSAGE_HEADER) {
      const head = joined(pieces, have);
      if (head[0] !== CLIENT_HELLO) return NONE;
      size = MESSAGE_HEADER + ((head[1]! << 16) | (head[2]! << 8) | head[3]!);
      if (size > FIRST_BYTES_MAX) return NONE;
    }
    if (size > 0 && have >= size) {
      return { kind: "tls", name: serverName(joined(pieces, have).subarray(MESSAGE_HEADER, size)) };
    }
    if (piece.length < record) return PENDING;
    at += record;
  }
}

function joined(pieces: readonly Uint8Array[], length: number): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** The server name of a ClientHello without its message header; empty for none, several, or a broken message. */
function serverName(hello: Uint8Array): string {
  const view = new DataView(hello.buffer, hello.byteOffset, hello.length);
  const short = (at: number): number => at + 2 <= hello.length ? view.getUint16(at) : NaN;
  let at = 2 + 32; // version, random
  at += 1 + (hello[at] ?? NaN); // session
  at += 2 + short(at); // cipher suites
  at += 1 + (hello[at] ?? NaN); // compression
  const end = at + 2 + short(at);
  if (end !== hello.length) return ""; // also NaN
  let name: string | undefined;
  for (at += 2; at < end;) {
    const type = short(at);
    const next = at + 4 + short(at + 2);
    if (!(next <= end)) return "";
    if (type === SERVER_NAME) {
      if (name !== undefined) return "";
      // One list of one entry, of type host_name: there has never been another type.
      const size = short(at + 7);
      if (short(at + 4) !== size + 3 || at + 9 + size !== next || hello[at + 6] !== 0) return "";
      name = hostName(ascii(hello, at + 9, next));
    }
    at = next;
  }
  return name ?? "";
}

function readHttp(bytes: Uint8Array, length: number, before: number): FirstBytes {
  for (let at = 0;; at++) {
    if (at === length) return PENDING;
    const char = bytes[at]!;
    if (char === 0x20 && at > 0) break;
    if (at === METHOD_MAX || char < 0x41 || char > 0x5a) return NONE;
  }
  for (let at = Math.max(3, before); at < length; at++) {
    if (bytes[at] !== 0x0a || bytes[at - 1] !== 0x0d || bytes[at - 2] !== 0x0a) continue;
    if (bytes[at - 3] === 0x0d) return { kind: "http", name: hostOf(ascii(bytes, 0, at - 3)) };
  }
  return PENDING;
}

/** The host of a request's head, without the empty line at its end. */
function hostOf(head: string): string {
  const lines = head.split("\r\n");
  if (lines.some(hasControls)) return ""; // a bare CR or LF among them
  const [, method, target] = /^([A-Z]+) ([^ ]+) HTTP\/1\.[01]$/.exec(lines[0]!) ?? [];
  if (target === undefined) return "";
  let host: string | undefined;
  for (const line of lines.slice(1)) {
    const [, field, value] = /^([^\s:]+):[ \t]*(.*?)[ \t]*$/.exec(line) ?? [];
    if (field === undefined) return ""; // folded, or no field at all
    if (field.toLowerCase() !== "host") continue;
    if (host !== undefined) return "";
    host = authorityHost(value!);
  }
  if (target.startsWith("/") || target === "*") return host ?? "";
  // A server goes by the target and not by Host (section 3.2.2): they must be of one mind.
  const [, authority] = /^https?:\/\/([^/?#]*)/i.exec(target) ?? [];
  const named = authorityHost(method === "CONNECT" ? target : authority ?? "");
  return host === undefined || host === named ? named : "";
}

function hasControls(line: string): boolean {
  for (let at = 0; at < line.length; at++) {
    const code = line.charCodeAt(at);
    if (code === 0x7f || (code < 0x20 && code !== 0x09)) return true;
  }
  return false;
}

/** The host of an authority without user names; its port is not looked at. */
function authorityHost(authority: string): string {
  const [, host] = /^([^:@[\]]+)(?::\d{0,5})?$/.exec(authority) ?? [];
  return host === undefined ? "" : hostName(host);
}

/** A name in its one form; empty for what is no domain name. */
function hostName(text: string): string {
  const name = parseNamePattern(text);
  return name === undefined || name.startsWith("*") ? "" : name;
}

function ascii(bytes: Uint8Array, start: number, end: number): string {
  let text = "";
  for (let at = start; at < end; at++) text += String.fromCharCode(bytes[at]!);
  return text;
}
