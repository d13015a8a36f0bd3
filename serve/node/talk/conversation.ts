import type { CborValue } from "../../../checkpoint/image/cbor.ts";
import type { Endpoint } from "../../../net/socket/endpoint.ts";
import { BadResource } from "../../../net/socket/errors.ts";
import type { SocketTalk } from "../../../net/socket/socket_talk.ts";
import type { StackSocket } from "../../../net/socket/stack_socket.ts";
import { type Dialogue, type Opening, OpeningRefused, UnknownDialogue } from "./dialogue.ts";
import { HTTP_KEPT, HttpDialogue } from "./http_dialogue.ts";
import { MQTT_KEPT, MqttDialogue, MqttOpening } from "./mqtt_dialogue.ts";
import { WEB_SOCKET_KEPT, WebSocketDialogue, WebSocketOpening } from "./web_socket_dialogue.ts";

/** In an image: something is under way that only the process knew which slept with it. */
const IN_THE_MIDDLE = 1;
/** A program that has not taken an opening up after this never will. */
export const OPENING_MS_MAX = 10_000;

/** Follows what one connection and a program say, and keeps in the image what another program would have to be told. */
export class Conversation implements SocketTalk {
  readonly #endpoint: Endpoint;
  readonly #opening: Opening | undefined;
  #opened: boolean;
  #dialogue: Dialogue | undefined;
  #socket: StackSocket | undefined;
  #sending = 0;
  /** Nothing new is begun: see `holds`. */
  holding = false;
  /** Others have to be known to the program before it hears anything from here. */
  waits = false;
  /** Called once its opening has been taken up. */
  onOpened: (() => void) | undefined;

  private constructor(endpoint: Endpoint, dialogue: Dialogue | undefined, opening?: Opening) {
    this.#endpoint = endpoint;
    this.#dialogue = dialogue;
    this.#opening = opening;
    this.#opened = opening === undefined;
  }

  /** @returns `undefined` where nobody but a process that is gone can go on. */
  static on(endpoint: Endpoint): Conversation | undefined {
    const kept = endpoint.attachment;
    if (kept === undefined) return new Conversation(endpoint, undefined);
    if (kept === HTTP_KEPT) return new Conversation(endpoint, new HttpDialogue());
    if (!Array.isArray(kept) || kept.length !== 3) return undefined;
    const [by, first, more] = kept;
    if (by === WEB_SOCKET_KEPT) {
      return new Conversation(
        endpoint,
        new WebSocketDialogue(first, more),
        new WebSocketOpening(first, more),
      );
    }
    if (by === MQTT_KEPT) {
      return new Conversation(endpoint, new MqttDialogue(first, more), new MqttOpening(first, more));
    }
    return undefined;
  }

  /** Whether a program has to be told of a connection that keeps this before it can have anything to say to it. */
  static wantsOpening(kept: unknown): boolean {
    return Array.isArray(kept) && (kept[0] === WEB_SOCKET_KEPT || kept[0] === MQTT_KEPT);
  }

  /** Lets go of who has waited for others. */
  readOn(): void {
    this.waits = false;
    this.#socket?.readOn();
  }

  /** Says what has to be said again. Call it when the program has the socket. */
  begin(socket: StackSocket): void {
    this.#socket = socket;
    if (this.#opening === undefined) return;
    socket.hear(this.#opening.first);
    const { clock } = this.#endpoint.host;
    const alarm = clock.at(clock.nowMs() + OPENING_MS_MAX, () => {
      if (!this.#opened) socket.resetAndDestroy();
    });
    socket.once("close", () => alarm.cancel());
  }

  /** Whether nobody need wait any longer until a process is exchanged for another one here. */
  get quiet(): boolean {
    if (this.#dialogue?.lost) return true; // nothing comes of waiting
    const { readableLength = 0, writableLength = 0 } = this.#socket ?? {};
    return this.#opened && this.#sending === 0 && readableLength === 0 && writableLength === 0 &&
      this.#between;
  }

  get #between(): boolean {
    return this.#dialogue?.between ?? true;
  }

  get holds(): boolean {
    return !this.#opened || this.waits || (this.holding && this.#between);
  }

  heard(bytes: Uint8Array): void {
    this.#dialogue ??= begun(bytes);
    this.#dialogue.heard(bytes);
    this.#keep();
  }

  said(bytes: Uint8Array): Uint8Array {
    const peer = this.#opened ? bytes : this.#openingSaid(bytes);
    this.#dialogue ??= new UnknownDialogue(); // a server that speaks first
    this.#dialogue.said(peer);
    this.#sending++;
    return peer;
  }

  sent(): void {
    this.#sending = 0;
    this.#keep();
  }

  #openingSaid(bytes: Uint8Array): Uint8Array {
    try {
      const { peer, program, done } = this.#opening!.said(bytes);
      if (program !== undefined) this.#socket!.hear(program);
      if (done) {
        this.#opened = true;
        this.#socket!.readOn();
        this.onOpened?.();
      }
      return peer;
    } catch (error) {
      if (!(error instanceof OpeningRefused)) throw error;
      this.#socket!.resetAndDestroy(); // its client is told, and begins anew
      return new Uint8Array(0);
    }
  }

  /** What the connection's image has from here on. */
  #keep(): void {
    while (this.#dialogue?.next !== undefined) this.#dialogue = this.#dialogue.next;
    const dialogue = this.#dialogue!;
    const kept: CborValue = dialogue.between ? dialogue.kept : IN_THE_MIDDLE;
    if (kept === this.#endpoint.attachment) return;
    try {
      this.#endpoint.attachment = kept;
    } catch (error) {
      if (!(error instanceof BadResource)) throw error; // it has ended, or is asleep and says so itself
    }
  }
}

/** What a client speaks, by its first bytes. */
function begun(bytes: Uint8Array): Dialogue {
  const [first = 0] = bytes;
  if (first === 0x10) return new MqttDialogue(); // CONNECT
  const letter = first >= 0x41 && first <= 0x5a;
  return letter || first === 13 ? new HttpDialogue() : new UnknownDialogue();
}
