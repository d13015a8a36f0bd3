import { type BodyFraming, RequestError } from "./head.ts";

/** Bytes of a line between chunks, and of all trailers: nobody needs more. */
const LINE_BYTES_MAX = 256;
const TRAILER_BYTES_MAX = 4 * 1024;

/** Finds the bytes of a request's body, and its end (RFC 9112 sections 6 and 7.1). */
export class BodyReader {
  #left: number;
  #chunked: "size" | "data" | "end" | "trailer" | undefined;
  #line = "";
  #trailerBytes = 0;
  done: boolean;

  constructor(framing: BodyFraming) {
    this.done = framing.kind === "none";
    this.#left = framing.kind === "length" ? framing.bytes : 0;
    this.#chunked = framing.kind === "chunked" ? "size" : undefined;
  }

  /** Bytes that are certainly still to come. */
  get left(): number {
    return this.#left;
  }

  /**
   * Reads on.
   * @param take Gets each piece; it is valid until it returns.
   * @returns How many bytes are the body's: fewer than all when it has ended.
   * @throws {RequestError}
   */
  read(bytes: Uint8Array, take: (piece: Uint8Array) => void): number {
    let at = 0;
    while (at < bytes.length && !this.done) {
      if (this.#left > 0) {
        const some = Math.min(this.#left, bytes.length - at);
        this.#left -= some;
        if (this.#left === 0 && this.#chunked === undefined) this.done = true;
        take(bytes.subarray(at, at + some));
        at += some;
        if (this.#left === 0 && this.#chunked !== undefined) this.#chunked = "end";
        continue;
      }
      const byte = bytes[at++]!;
      this.#line += String.fromCharCode(byte);
      if (byte !== 10) {
        if (this.#line.length > (this.#chunked === "trailer" ? TRAILER_BYTES_MAX : LINE_BYTES_MAX)) {
          throw new RequestError(400, "A line between chunks is too long");
        }
        continue;
      }
      if (!this.#line.endsWith("\r\n")) throw new RequestError(400, "A line ends without CR");
      const line = this.#line.slice(0, -2);
      this.#line = "";
      this.#take(line);
    }
    return at;
  }

  #take(line: string): void {
    if (this.#chunked === "end") {
      if (line !== "") throw new RequestError(400, "A chunk is longer than it says");
      this.#chunked = "size";
    } else if (this.#chunked === "size") {
      const size = /^([0-9a-fA-F]{1,13})[ \t]*(?:;[\t\x20-\x7e]*)?$/.exec(line)?.[1];
      if (size === undefined) throw new RequestError(400, "The size of a chunk is no number");
      this.#left = parseInt(size, 16);
      this.#chunked = this.#left === 0 ? "trailer" : "data";
    } else if (line === "") {
      this.done = true;
    } else if ((this.#trailerBytes += line.length) > TRAILER_BYTES_MAX) {
      throw new RequestError(400, "The trailer is too long");
    }
  }
}
