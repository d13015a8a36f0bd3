import { Buffer } from "node:buffer";
import type { CborValue } from "../../../checkpoint/image/cbor.ts";
import { together } from "../../http/response.ts";
import {
  type Dialogue,
  type Opening,
  OPENING_BYTES_MAX,
  OpeningRefused,
  type OpeningStep,
} from "./dialogue.ts";
import { pieceEnd, type PieceFormat, PieceScanner } from "./scanner.ts";

/** In an image: MQTT. Then the packet CONNECT, and each subscription: its filter's bytes and its QoS. */
export const MQTT_KEPT = 3;

/** Packets of MQTT 3.1.1 section 2.2.1. */
const Packet = {
  connect: 1,
  connack: 2,
  publish: 3,
  puback: 4,
  pubcomp: 7,
  subscribe: 8,
  suback: 9,
  unsubscribe: 10,
  unsuback: 11,
  pingreq: 12,
  pingresp: 13,
  disconnect: 14,
} as const;

/** A topic's length, the topic and a number: what of a PUBLISH says which one it is. */
const PUBLISH_BYTES_MAX = 2 + 65_535 + 2;
/** MQTT 3.1 and 3.1.1. Version 5 has aliases of topics, which only the broker knows that has heard them. */
const LEVELS: readonly number[] = [3, 4];

const PACKETS: PieceFormat = {
  measure(head) {
    if (head.length < 2) return undefined;
    if ((head.at(-1)! & 0x80) !== 0) return head.length < 5 ? undefined : -1;
    return head.slice(1).reduceRight((sum, byte) => sum * 128 + (byte & 0x7f), 0);
  },
  wanted: (head) => head[0]! >>> 4 === Packet.publish ? PUBLISH_BYTES_MAX : OPENING_BYTES_MAX + 1,
};

/** MQTT 3.1.1 as somebody follows it who only listens: it is between when nothing waits for its acknowledgement. */
export class MqttDialogue implements Dialogue {
  readonly #client: PieceScanner;
  readonly #server: PieceScanner;
  readonly #due = new Set<string>();
  readonly #filters = new Map<string, [filter: Uint8Array, qos: number]>();
  readonly #asked = new Map<number, [filter: Uint8Array, qos: number][]>(); // subscriptions, by their packets' numbers
  #connect: Uint8Array | undefined;
  #over = false;

  constructor(connect?: Uint8Array, filters: readonly [Uint8Array, number][] = []) {
    this.#connect = connect;
    for (const each of filters) this.#filters.set(keyOf(each[0]), each);
    this.#client = new PieceScanner(PACKETS, (head, body) => this.#clientSays(head, body));
    this.#server = new PieceScanner(PACKETS, (head, body) => this.#serverSays(head, body));
  }

  /** As {@linkcode Dialogue.lost}. */
  get lost(): boolean {
    return this.#over || this.#bytes > OPENING_BYTES_MAX || this.#client.broken || this.#server.broken;
  }

  /** As {@linkcode Dialogue.between}. */
  get between(): boolean {
    return this.#connect !== undefined && !this.lost && this.#due.size === 0 && this.#client.between &&
      this.#server.between;
  }

  get #bytes(): number {
    return [...this.#filters.values()].reduce(
      (sum, [filter]) => sum + filter.length,
      this.#connect?.length ?? 0,
    );
  }

  /** As {@linkcode Dialogue.kept}. */
  get kept(): CborValue {
    return [MQTT_KEPT, this.#connect!, [...this.#filters.values()]];
  }

  heard(bytes: Uint8Array): void {
    this.#client.feed(bytes);
  }

  said(bytes: Uint8Array): void {
    this.#server.feed(bytes);
  }

  #clientSays(head: readonly number[], body: Uint8Array): void {
    const id = numberAt(body, 0);
    switch (head[0]! >>> 4) {
      case Packet.connect: {
        const level = body[2 + numberAt(body, 0)]!;
        if (body.length > OPENING_BYTES_MAX || !LEVELS.includes(level)) this.#over = true;
        this.#connect = together(Uint8Array.from(head), body);
        this.#due.add("connect");
        return;
      }
      case Packet.publish:
        return this.#published("client", head, body);
      case Packet.puback:
      case Packet.pubcomp:
        return void this.#due.delete(`server ${id}`);
      case Packet.subscribe:
        this.#asked.set(id, filtersOf(body));
        return void this.#due.add(`subscribe ${id}`);
      case Packet.unsubscribe:
        for (let at = 2; at + 2 <= body.length; at += 2 + numberAt(body, at)) {
          this.#filters.delete(keyOf(body.subarray(at + 2, at + 2 + numberAt(body, at))));
        }
        return void this.#due.add(`unsubscribe ${id}`);
      case Packet.pingreq:
        return void this.#due.add("ping");
      case Packet.disconnect:
        this.#over = true;
    }
  }

  #serverSays(head: readonly number[], body: Uint8Array): void {
    const id = numberAt(body, 0);
    switch (head[0]! >>> 4) {
      case Packet.connack:
        if (body[1] !== 0) this.#over = true;
        return void this.#due.delete("connect");
      case Packet.publish:
        return this.#published("server", head, body);
      case Packet.puback:
      case Packet.pubcomp:
        return void this.#due.delete(`client ${id}`);
      case Packet.suback:
        this.#due.delete(`subscribe ${id}`);
        (this.#asked.get(id) ?? []).forEach((each, index) => {
          if (body[2 + index]! < 0x80) this.#filters.set(keyOf(each[0]), each);
        });
        return void this.#asked.delete(id);
      case Packet.unsuback:
        return void this.#due.delete(`unsubscribe ${id}`);
      case Packet.pingresp:
        return void this.#due.delete("ping");
    }
  }

  #published(by: "client" | "server", head: readonly number[], body: Uint8Array): void {
    if ((head[0]! & 0x06) !== 0) this.#due.add(`${by} ${numberAt(body, 2 + numberAt(body, 0))}`);
  }
}

/** CONNECT once more, and every subscription; what the broker answers the client has heard already. */
export class MqttOpening implements Opening {
  readonly first: Uint8Array;
  readonly #filters: readonly (readonly [Uint8Array, number])[];
  #left: number;
  #connected = false;
  #bytes: Uint8Array = new Uint8Array(0);

  constructor(connect: Uint8Array, filters: readonly (readonly [Uint8Array, number])[]) {
    this.first = connect;
    this.#filters = filters;
    this.#left = filters.length;
  }

  said(bytes: Uint8Array): OpeningStep {
    this.#bytes = together(this.#bytes, bytes);
    let peer: Uint8Array = new Uint8Array(0);
    for (let end; (end = pieceEnd(PACKETS, this.#bytes)) >= 0;) {
      const piece = this.#bytes.slice(0, end);
      this.#bytes = this.#bytes.slice(end);
      const kind = piece[0]! >>> 4;
      if (!this.#connected) {
        if (kind !== Packet.connack || piece[3] !== 0) {
          throw new OpeningRefused("The broker does not take CONNECT again");
        }
        this.#connected = true;
        if (this.#left > 0) return { peer, program: subscriptions(this.#filters), done: false };
        return { peer: this.#bytes, done: true };
      }
      if (kind !== Packet.suback) peer = together(peer, piece);
      else if (--this.#left === 0) return { peer: together(peer, this.#bytes), done: true };
    }
    return { peer, done: false };
  }
}

/** A packet SUBSCRIBE for each. */
function subscriptions(filters: readonly (readonly [Uint8Array, number])[]): Uint8Array {
  return filters.reduce<Uint8Array>((all, [filter, qos], index) => {
    const body = together(Uint8Array.of(...twoBytes(index + 1), ...twoBytes(filter.length)), filter);
    const length = body.length + 1;
    const lengthBytes = length < 128 ? [length] : [length & 0x7f | 0x80, length >>> 7];
    const head = Uint8Array.of(Packet.subscribe << 4 | 2, ...lengthBytes);
    return together(together(all, head), together(body, Uint8Array.of(qos)));
  }, new Uint8Array(0));
}

function filtersOf(body: Uint8Array): [filter: Uint8Array, qos: number][] {
  const filters: [Uint8Array, number][] = [];
  for (let at = 2; at + 2 < body.length;) {
    const end = at + 2 + numberAt(body, at);
    filters.push([body.slice(at + 2, end), body[end]! & 3]);
    at = end + 1;
  }
  return filters;
}

function keyOf(filter: Uint8Array): string {
  return Buffer.from(filter).toString("latin1");
}

function numberAt(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) << 8 | (bytes[at + 1] ?? 0);
}

function twoBytes(value: number): [number, number] {
  return [value >>> 8, value & 0xff];
}
