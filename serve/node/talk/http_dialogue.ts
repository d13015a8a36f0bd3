import { Buffer } from "node:buffer";
import { BodyReader } from "../../http/body.ts";
import { HEAD_BYTES_MAX, headEnd, readHead, type RequestHead } from "../../http/head.ts";
import { together } from "../../http/response.ts";
import { type Dialogue, OPENING_BYTES_MAX, UnknownDialogue } from "./dialogue.ts";
import { WebSocketDialogue } from "./web_socket_dialogue.ts";

/** What an image keeps of HTTP between two requests: nothing but that it is HTTP. */
export const HTTP_KEPT = 0;

/** A request that has no answer yet. */
interface Asked {
  readonly method: string;
  /** The request's head, when it asks for a WebSocket. */
  readonly upgrade: Uint8Array | undefined;
}

/** HTTP/1.1 as somebody follows it who only listens (RFC 9112): it is between when every request has its whole answer. */
export class HttpDialogue implements Dialogue {
  next: Dialogue | undefined;
  readonly kept = HTTP_KEPT;
  readonly lost = false; // then it becomes another one
  readonly #asked: Asked[] = [];
  #request: Uint8Array = NOTHING;
  #requestBody: BodyReader | undefined;
  #answer: Uint8Array = NOTHING;
  #answerBody: BodyReader | undefined;

  /** As {@linkcode Dialogue.between}. */
  get between(): boolean {
    return this.#asked.length === 0 && this.#request.length === 0 && this.#answer.length === 0 &&
      this.#requestBody === undefined && this.#answerBody === undefined;
  }

  heard(bytes: Uint8Array): void {
    try {
      while (bytes.length > 0) {
        if (this.#requestBody !== undefined) {
          bytes = bytes.subarray(this.#requestBody.read(bytes, ignore));
          if (this.#requestBody.done) this.#requestBody = undefined;
          continue;
        }
        const whole = this.#request.length === 0 ? bytes : together(this.#request, bytes);
        const end = headEnd(whole, this.#request.length);
        if (end < 0) {
          if (whole.length > HEAD_BYTES_MAX) return this.#lost();
          this.#request = whole.slice();
          return;
        }
        this.#request = NOTHING;
        const bare = withoutEmptyLines(whole.subarray(0, end));
        const head = readHead(bare);
        if (head.method === "CONNECT") return this.#lost();
        this.#asked.push({ method: head.method, upgrade: asksForWebSocket(head) ? bare.slice() : undefined });
        if (head.body.kind !== "none") this.#requestBody = new BodyReader(head.body);
        bytes = whole.subarray(end);
      }
    } catch { // what we refuse, the program may take; we do not know how
      this.#lost();
    }
  }

  said(bytes: Uint8Array): void {
    try {
      while (bytes.length > 0) {
        if (this.#answerBody !== undefined) {
          bytes = bytes.subarray(this.#answerBody.read(bytes, ignore));
          if (this.#answerBody.done) this.#answerBody = undefined;
          continue;
        }
        const whole = this.#answer.length === 0 ? bytes : together(this.#answer, bytes);
        const end = headEnd(whole, this.#answer.length);
        if (end < 0) {
          if (whole.length > HEAD_BYTES_MAX) return this.#lost();
          this.#answer = whole.slice();
          return;
        }
        this.#answer = NOTHING;
        bytes = whole.subarray(end);
        this.#answered(Buffer.from(whole.buffer, whole.byteOffset, end).toString("latin1"));
        if (this.next !== undefined) return this.next.said(bytes);
      }
    } catch {
      this.#lost();
    }
  }

  /** An answer's head (RFC 9112 section 6.3). */
  #answered(head: string): void {
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1] ?? NaN);
    if (status >= 100 && status < 200 && status !== 101) return; // the answer is still to come
    const asked = this.#asked.shift();
    if (asked === undefined || Number.isNaN(status)) return this.#lost();
    if (status === 101) {
      const extended = /\r\nsec-websocket-extensions:/i.test(head); // may have a state of its own in both directions
      const known = asked.upgrade !== undefined && asked.upgrade.length <= OPENING_BYTES_MAX && !extended;
      this.next = known ? new WebSocketDialogue(asked.upgrade!) : new UnknownDialogue();
      return;
    }
    if (asked.method === "HEAD" || status === 204 || status === 304) return;
    const length = /\r\ncontent-length:[ \t]*(\d+)/i.exec(head)?.[1];
    if (/\r\ntransfer-encoding:[^\r]*chunked/i.test(head)) {
      this.#answerBody = new BodyReader({ kind: "chunked" });
    } else if (length === undefined) this.#lost(); // it ends with the connection
    else if (Number(length) > 0) {
      this.#answerBody = new BodyReader({ kind: "length", bytes: Number(length) });
    }
  }

  #lost(): void {
    this.next = new UnknownDialogue();
  }
}

function asksForWebSocket({ fields }: RequestHead): boolean {
  return fields.some(([name, value]) =>
    name.toLowerCase() === "upgrade" && value.toLowerCase() === "websocket"
  );
}

/** Clients may send an empty line before a request (RFC 9112 section 2.2). */
function withoutEmptyLines(head: Uint8Array): Uint8Array {
  while (head[0] === 13 && head[1] === 10) head = head.subarray(2);
  return head;
}

function ignore(): void {}

const NOTHING = new Uint8Array(0);
