import { Buffer } from "node:buffer";

/** Bytes of a request's head, as Node has it: a client that says more is not served. */
export const HEAD_BYTES_MAX = 16 * 1024;
/** Fields of a head, as Apache has it. */
export const FIELDS_MAX = 100;

/** How the end of a request's body is known (RFC 9112 section 6). */
export type BodyFraming = { kind: "none" } | { kind: "length"; bytes: number } | { kind: "chunked" };

/** A request's head. */
export interface RequestHead {
  readonly method: string;
  /** As the client wrote it. */
  readonly target: string;
  /** 0 for HTTP/1.0, 1 for HTTP/1.1. */
  readonly minor: 0 | 1;
  /** Names as they were written, values without the space around them. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  readonly body: BodyFraming;
  /** Whether the connection may be used again. */
  readonly keepAlive: boolean;
  /** The client waits for "100 Continue" before it sends the body. */
  readonly expectsContinue: boolean;
}

/** A request that is not served, with the status that says why. */
export class RequestError extends Error {
  override name = "RequestError";
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const TARGET = /^[!-~]+$/;
// All but control characters; bytes beyond ASCII are opaque (RFC 9110 section 5.5).
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/**
 * Where a head ends: the byte behind its empty line, or -1 when that has not come.
 * @param from Bytes before this have been looked at.
 */
export function headEnd(bytes: Uint8Array, from = 0): number {
  for (let at = Math.max(0, from - 3); (at = bytes.indexOf(13, at)) >= 0; at++) {
    if (bytes[at + 1] === 10 && bytes[at + 2] === 13 && bytes[at + 3] === 10) return at + 4;
  }
  return -1;
}

/**
 * Reads a request's head (RFC 9112 sections 2 to 6), its empty line included.
 *
 * What two readers could understand in two ways is refused, so that nothing in front of us and we see different
 * requests: lengths that are there twice, a length beside chunks, codings that are not chunks, lines that are folded,
 * space before a colon, line ends without CR.
 * @throws {RequestError}
 */
export function readHead(bytes: Uint8Array): RequestHead {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length - 4).toString("latin1");
  const [first = "", ...lines] = text.split("\r\n");
  const [method = "", target = "", version = "", ...more] = first.split(" ");
  if (more.length > 0 || !TOKEN.test(method) || !TARGET.test(target)) {
    throw new RequestError(400, "The request line is none");
  }
  if (!/^HTTP\/\d\.\d$/.test(version)) throw new RequestError(400, "The request line has no version");
  if (!version.startsWith("HTTP/1.")) throw new RequestError(505, `${version} is not spoken here`);
  const minor = version === "HTTP/1.0" ? 0 : 1;
  if (lines.length > FIELDS_MAX) throw new RequestError(431, `More than ${FIELDS_MAX} fields`);
  const fields = lines.map(readField);
  const all = (name: string): string[] =>
    fields.filter(([each]) => each.toLowerCase() === name).map(([, value]) => value);
  const hosts = all("host");
  if (hosts.length > 1 || (hosts.length === 0 && minor === 1)) {
    throw new RequestError(400, "There must be one Host"); // RFC 9112 section 3.2
  }
  const connection = all("connection").join(",").toLowerCase().split(",").map((token) => token.trim());
  const expectations = all("expect").join(",").toLowerCase();
  if (expectations !== "" && expectations !== "100-continue") {
    throw new RequestError(417, "An unknown expectation");
  }
  return {
    method,
    target,
    minor,
    fields,
    body: bodyFraming(minor, all("transfer-encoding"), all("content-length")),
    keepAlive: minor === 1 ? !connection.includes("close") : connection.includes("keep-alive"),
    expectsContinue: expectations !== "" && minor === 1,
  };
}

function readField(line: string): [name: string, value: string] {
  const colon = line.indexOf(":");
  const name = line.slice(0, Math.max(colon, 0));
  const value = line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, "");
  if (!TOKEN.test(name)) throw new RequestError(400, "A field has no name");
  if (!VALUE.test(value)) throw new RequestError(400, `Field "${name}" has a value that may not be`);
  return [name, value];
}

function bodyFraming(minor: number, codings: string[], lengths: string[]): BodyFraming {
  if (codings.length > 0) {
    if (minor === 0 || lengths.length > 0) {
      throw new RequestError(400, "The length of the body is said twice");
    }
    if (codings.length > 1 || codings[0]!.toLowerCase() !== "chunked") {
      throw new RequestError(501, `Coding "${codings.join(", ")}" is not known here`);
    }
    return { kind: "chunked" };
  }
  if (lengths.length === 0) return { kind: "none" };
  const bytes = Number(lengths[0]);
  if (lengths.length > 1 || !/^\d+$/.test(lengths[0]!) || !Number.isSafeInteger(bytes)) {
    throw new RequestError(400, "The length of the body is no number");
  }
  return bytes === 0 ? { kind: "none" } : { kind: "length", bytes };
}
