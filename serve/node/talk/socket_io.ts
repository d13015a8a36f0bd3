import { Buffer } from "node:buffer";
import { Opcode } from "../../websocket/frames.ts";

/** Kinds of packets of socket.io's protocol, version 5. */
const Kind = {
  connect: 0,
  disconnect: 1,
  event: 2,
  ack: 3,
  connectError: 4,
  binaryEvent: 5,
  binaryAck: 6,
} as const;

/** A message of Engine.IO with a packet of socket.io: its kind, attachments to come, namespace and number. */
const PACKET = /^4([0-6])(?:(\d+)-)?(?:(\/[^,]*),?)?(\d+)?/;

/** Answers that are waited for, on one connection: who has more open than that is in the middle of something. */
const DUE_MAX = 1_024;

/** What a client of socket.io has joined and what waits for an answer. The client's answers to pings do not matter. */
export class SocketIo {
  readonly #joined = new Map<string, Uint8Array>(); // by namespace: the packet that joined it
  readonly #due = new Set<string>();
  #joining = 0;
  #opened: boolean;
  #clientBytes = 0;
  #serverBytes = 0;
  /** Set when it cannot be gone on with by somebody who has not heard it. */
  lost = false;

  /** @param joined What an opening has joined already. */
  constructor(joined: readonly Uint8Array[]) {
    this.#opened = joined.length > 0;
    for (const packet of joined) this.#joined.set(parsed(packet)?.namespace ?? "/", packet);
  }

  /** Whether nothing is under way. */
  get between(): boolean {
    return this.#opened && this.#joining === 0 && this.#due.size === 0 &&
      this.#clientBytes === 0 && this.#serverBytes === 0;
  }

  /** The packets that join what it is in. */
  joined(): Uint8Array[] {
    return [...this.#joined.values()];
  }

  clientSays(text: Uint8Array): void {
    const packet = parsed(text);
    if (packet === undefined) return this.#checkOpening(text);
    const { kind, namespace, number } = packet;
    if (kind === Kind.connect) {
      this.#joined.set(namespace, text.slice());
      this.#joining++;
    } else if (kind === Kind.disconnect) this.#joined.delete(namespace);
    else if (kind === Kind.event || kind === Kind.binaryEvent) this.#wants(`client ${namespace},`, number);
    else this.#due.delete(`server ${namespace},${number}`);
    this.#clientBytes += packet.attachments;
  }

  serverSays(text: Uint8Array): void {
    const packet = parsed(text);
    if (packet === undefined) {
      if (text[0] === 0x30) this.#opened = true; // "0": what Engine.IO says first
      return;
    }
    const { kind, namespace, number } = packet;
    if (kind === Kind.connect) this.#joining--;
    else if (kind === Kind.connectError) {
      this.#joining--;
      this.#joined.delete(namespace);
    } else if (kind === Kind.disconnect) this.#joined.delete(namespace);
    else if (kind === Kind.event || kind === Kind.binaryEvent) this.#wants(`server ${namespace},`, number);
    else this.#due.delete(`client ${namespace},${number}`);
    this.#serverBytes += packet.attachments;
  }

  clientSendsBytes(): void {
    this.#clientBytes = Math.max(0, this.#clientBytes - 1);
  }

  serverSendsBytes(): void {
    this.#serverBytes = Math.max(0, this.#serverBytes - 1);
  }

  #wants(who: string, number: string | undefined): void {
    if (number === undefined) return;
    if (this.#due.size < DUE_MAX) this.#due.add(`${who}${number}`);
    else this.lost = true;
  }

  /** "2probe" and "5": it has begun as something else, on other connections, which are not known here. */
  #checkOpening(text: Uint8Array): void {
    if (text[0] === 0x35 || (text[0] === 0x32 && text.length > 1)) this.lost = true;
  }
}

function parsed(text: Uint8Array) {
  const match = PACKET.exec(Buffer.from(text.subarray(0, 512)).toString());
  if (match === null) return undefined;
  const [, kind, attachments = "0", namespace = "/", number] = match;
  return { kind: Number(kind), attachments: Number(attachments), namespace, number };
}

/** A client's frame that joins a namespace. Its mask is zero: nothing between us and the program reads it. */
export function joinPacket(packet: Uint8Array): Uint8Array {
  const { length } = packet;
  const extended = length < 126 ? [] : [length >>> 8, length & 0xff];
  const head = [0x80 | Opcode.text, 0x80 | (length < 126 ? length : 126), ...extended, 0, 0, 0, 0];
  const frame = new Uint8Array(head.length + length);
  frame.set(head);
  frame.set(packet, head.length);
  return frame;
}
