import { Buffer } from "node:buffer";
import type { CborValue } from "../../../checkpoint/image/cbor.ts";
import { headEnd } from "../../http/head.ts";
import { together } from "../../http/response.ts";
import { Opcode } from "../../websocket/frames.ts";
import {
  type Dialogue,
  type Opening,
  OPENING_BYTES_MAX,
  OpeningRefused,
  type OpeningStep,
} from "./dialogue.ts";
import { pieceEnd, type PieceFormat, PieceScanner } from "./scanner.ts";
import { joinPacket, SocketIo } from "./socket_io.ts";

/** In an image: a WebSocket. Then the request that asked for it, and what a client of socket.io joined. */
export const WEB_SOCKET_KEPT = 2;

const FIN = 0x80;
const OPCODE = 0x0f;
const MASKED = 0x80;
/** Of a text as much as tells what socket.io means by it; a namespace may be joined with a token of this length. */
const TEXT_BYTES_MAX = 4_096;

/** Frames of RFC 6455 section 5.2, of either side. */
const FRAMES: PieceFormat = {
  measure(head) {
    if (head.length < 2) return undefined;
    const short = head[1]! & 0x7f;
    const extended = short === 126 ? 2 : short === 127 ? 8 : 0;
    const bytes = 2 + extended + ((head[1]! & MASKED) !== 0 ? 4 : 0);
    if (head.length < bytes) return undefined;
    return extended === 0 ? short : head.slice(2, 2 + extended).reduce((sum, byte) => sum * 256 + byte, 0);
  },
  wanted: (head) => (head[0]! & OPCODE) <= Opcode.binary ? TEXT_BYTES_MAX : 0,
};

/** One side's messages, whole or in fragments. */
class Messages {
  readonly #scanner: PieceScanner;
  #open = false;

  constructor(told: (opcode: number, payload: Uint8Array, whole: boolean) => void) {
    this.#scanner = new PieceScanner(FRAMES, (head, payload) => {
      const opcode = head[0]! & OPCODE;
      const last = (head[0]! & FIN) !== 0;
      if (opcode <= Opcode.binary) this.#open = !last;
      if (opcode !== Opcode.continuation) told(opcode, unmasked(head, payload), last);
    });
  }

  get between(): boolean {
    return this.#scanner.between && !this.#open;
  }

  feed(bytes: Uint8Array): void {
    this.#scanner.feed(bytes);
  }
}

/** A WebSocket as somebody follows it who only listens, and socket.io over it, where it is that. */
export class WebSocketDialogue implements Dialogue {
  readonly #request: Uint8Array;
  readonly #socketIo: SocketIo | undefined;
  readonly #client: Messages;
  readonly #server: Messages;
  #closing = false;

  /** @param request The head of the request that asked for it. */
  constructor(request: Uint8Array, joined: readonly Uint8Array[] = []) {
    this.#request = request;
    const socketIo = this.#socketIo = isSocketIo(request) ? new SocketIo(joined) : undefined;
    this.#client = new Messages((opcode, payload) => {
      if (opcode === Opcode.close) this.#closing = true;
      else if (opcode === Opcode.text) socketIo?.clientSays(payload);
      else if (opcode === Opcode.binary) socketIo?.clientSendsBytes();
    });
    this.#server = new Messages((opcode, payload) => {
      if (opcode === Opcode.close) this.#closing = true;
      else if (opcode === Opcode.text) socketIo?.serverSays(payload);
      else if (opcode === Opcode.binary) socketIo?.serverSendsBytes();
    });
  }

  /** As {@linkcode Dialogue.lost}. */
  get lost(): boolean {
    return this.#closing || (this.#socketIo?.lost ?? false) || this.#bytes > OPENING_BYTES_MAX;
  }

  /** As {@linkcode Dialogue.between}. */
  get between(): boolean {
    return !this.lost && this.#client.between && this.#server.between && (this.#socketIo?.between ?? true);
  }

  get #bytes(): number {
    return this.#request.length +
      (this.#socketIo?.joined() ?? []).reduce((sum, { length }) => sum + length, 0);
  }

  /** As {@linkcode Dialogue.kept}. */
  get kept(): CborValue {
    return [WEB_SOCKET_KEPT, this.#request, this.#socketIo?.joined() ?? []];
  }

  heard(bytes: Uint8Array): void {
    this.#client.feed(bytes);
  }

  said(bytes: Uint8Array): void {
    this.#server.feed(bytes);
  }
}

/** The request for a WebSocket once more; its answer is nothing new to the peer. Then what it joined of socket.io. */
export class WebSocketOpening implements Opening {
  readonly first: Uint8Array;
  readonly #joins: Uint8Array[];
  #expects: "head" | "open" | "joined" = "head";
  #bytes: Uint8Array = new Uint8Array(0);

  constructor(request: Uint8Array, joined: readonly Uint8Array[]) {
    this.first = request;
    this.#joins = [...joined];
    this.#isSocketIo = isSocketIo(request);
  }

  readonly #isSocketIo: boolean;

  said(bytes: Uint8Array): OpeningStep {
    this.#bytes = together(this.#bytes, bytes);
    let peer: Uint8Array = new Uint8Array(0);
    if (this.#expects === "head") {
      const end = headEnd(this.#bytes);
      if (end < 0) return { peer, done: false };
      const status = Buffer.from(this.#bytes.subarray(0, end)).toString("latin1").slice(9, 12);
      if (status !== "101") {
        throw new OpeningRefused(`The program answers ${status} to the request for a WebSocket`);
      }
      this.#bytes = this.#bytes.slice(end);
      if (!this.#isSocketIo) return { peer: this.#bytes, done: true };
      this.#expects = "open";
    }
    for (let end; (end = pieceEnd(FRAMES, this.#bytes)) >= 0;) {
      const piece = this.#bytes.slice(0, end);
      this.#bytes = this.#bytes.slice(end);
      const text = textOf(piece);
      const expected = this.#expects === "open" ? "0" : "40";
      if (text.startsWith("44")) {
        throw new OpeningRefused(`The program refuses to be joined: ${text.slice(2, 200)}`);
      }
      if (!text.startsWith(expected)) {
        peer = together(peer, piece);
        continue;
      }
      const join = this.#joins.shift();
      if (join === undefined) return { peer: together(peer, this.#bytes), done: true };
      this.#expects = "joined";
      return { peer, program: joinPacket(join), done: false };
    }
    return { peer, done: false };
  }
}

/** The text of a server's frame, as far as it tells what it is. */
function textOf(piece: Uint8Array): string {
  if ((piece[0]! & OPCODE) !== Opcode.text) return "";
  const short = piece[1]! & 0x7f;
  return Buffer.from(piece.subarray(short === 126 ? 4 : short === 127 ? 10 : 2)).toString();
}

/** Engine.IO 4 that has begun as a WebSocket: nothing of it was said on another connection. */
function isSocketIo(request: Uint8Array): boolean {
  const target = Buffer.from(request).toString("latin1").split(" ", 2)[1] ?? "";
  return /[?&]EIO=4(&|$)/.test(target) && /[?&]transport=websocket(&|$)/.test(target);
}

function unmasked(head: readonly number[], payload: Uint8Array): Uint8Array {
  if ((head[1]! & MASKED) === 0) return payload;
  const mask = head.slice(-4);
  return payload.map((byte, at) => byte ^ mask[at & 3]!);
}
