import { assert } from "../../../base/assert.ts";
import { BodyReader } from "../../../serve/http/body.ts";
import { headEnd, readHead, RequestError } from "../../../serve/http/head.ts";
import { type FrameEvent, newFrames, readFrames } from "../../../serve/websocket/frames.ts";
import type { Dialogue } from "../../../serve/node/talk/dialogue.ts";
import { HttpDialogue } from "../../../serve/node/talk/http_dialogue.ts";
import { MqttDialogue } from "../../../serve/node/talk/mqtt_dialogue.ts";
import { isTopic, MqttError, packetLength, readPacket } from "../../../serve/mqtt/packets.ts";
import { orRefuses } from "../refuses.ts";
import type { Target } from "../target.ts";

const MESSAGE_BYTES_MAX = 300;

/** A client's frames, in one piece and in two: the same events, and the same place where it stands. */
function frames(input: Uint8Array<ArrayBuffer>): void {
  const stream = input.subarray(1);
  const at = (input[0] ?? 0) % (stream.length + 1);
  const [whole, parts] = [newFrames(), newFrames()];
  const once = readFrames(whole, stream, MESSAGE_BYTES_MAX);
  const twice = readFrames(parts, stream.subarray(0, at), MESSAGE_BYTES_MAX);
  if (!twice.some(isLast)) twice.push(...readFrames(parts, stream.subarray(at), MESSAGE_BYTES_MAX));
  assert(shown(once) === shown(twice), `${shown(once)} whole, ${shown(twice)} in parts`);
  assert(
    whole.bytes <= MESSAGE_BYTES_MAX && whole.head.length <= 14 && whole.control.length <= 125,
    "Limits",
  );
  if (once.some(isLast)) return;
  const standing = (state: typeof whole): string =>
    [state.head, state.left, state.message, state.data.subarray(0, state.bytes), state.control].join();
  assert(standing(whole) === standing(parts), "It stands elsewhere in parts");
}

function isLast({ kind }: FrameEvent): boolean {
  return kind === "close" || kind === "error";
}
function shown(events: readonly FrameEvent[]): string {
  return events.map((event) =>
    "data" in event ? `${event.kind} ${event.data}` : `${event.kind} ${event.code}`
  ).join();
}

/** A request and its body, in one piece and in two: the same request, the same body, the same end, or refused. */
function request(input: Uint8Array<ArrayBuffer>): void {
  const stream = input.subarray(1);
  const end = headEnd(stream);
  for (let at = 0; at <= stream.length && at < 40; at++) {
    const found = headEnd(stream.subarray(0, at));
    assert(found < 0 || found === end, "A head ends in one place");
    if (found < 0) assert(headEnd(stream, at) === end, "Looking on finds what looking again does");
  }
  if (end < 0) return;
  const { value: head } = orRefuses(RequestError, () => readHead(stream.subarray(0, end)));
  if (head === undefined) return;
  assert(/^[^\s:]+$/.test(head.method) && /^\S+$/.test(head.target), "A method and a target");
  for (const [name, value] of head.fields) new Headers([[name, value]]);
  const rest = stream.subarray(end);
  const at = (input[0] ?? 0) % (rest.length + 1);
  const read = (pieces: readonly Uint8Array[]): string => {
    const reader = new BodyReader(head.body);
    const got: number[] = [];
    let used = 0;
    const { error } = orRefuses(RequestError, () => {
      for (const piece of pieces) used += reader.read(piece, (bytes) => got.push(...bytes));
    });
    return error === undefined ? `${got} ${used} ${reader.done}` : "refused";
  };
  const [once, twice] = [read([rest]), read([rest.subarray(0, at), rest.subarray(at)])];
  assert(once === twice, `${once} whole, ${twice} in parts`);
}

/** An MQTT packet of either version: read, or refused, whatever mqtt-packet thinks of it. */
function mqttPacket(input: Uint8Array<ArrayBuffer>): void {
  const stream = input.subarray(1);
  const { value: length } = orRefuses(MqttError, () => packetLength(stream));
  if (length === undefined || length > stream.length) return;
  const version = input[0]! % 2 === 0 ? 4 : 5;
  const { value: packet } = orRefuses(MqttError, () => readPacket(stream.subarray(0, length), version));
  if (packet?.cmd === "publish" && isTopic(packet.topic)) {
    assert(packet.topic.length < length && packet.payload.length < length, "No longer than the packet");
  }
}

/** Turns of a dialogue that may take place in one input. */
const TURNS_MAX = 64;

/**
 * A dialogue: each byte of length says how much who says next. Said in one piece or byte by byte it stands at the same
 * place, and keeps the same.
 */
function dialogue(begin: () => Dialogue, input: Uint8Array<ArrayBuffer>): void {
  const [whole, parts] = [{ at: begin() }, { at: begin() }];
  const say = (to: { at: Dialogue }, client: boolean, bytes: Uint8Array): void => {
    if (client) to.at.heard(bytes);
    else to.at.said(bytes);
    while (to.at.next !== undefined) to.at = to.at.next;
  };
  for (let at = 0, turn = 0; at < input.length && turn < TURNS_MAX; turn++) {
    const length = input[at]! & 0x7f;
    const client = (input[at]! & 0x80) === 0;
    const bytes = input.subarray(at + 1, at + 1 + length);
    at += 1 + length;
    say(whole, client, bytes);
    for (let each = 0; each < bytes.length; each++) say(parts, client, bytes.subarray(each, each + 1));
    const standing = ({ at: { between, lost, kept } }: typeof whole): string =>
      JSON.stringify([between, lost, between ? kept : 0]);
    assert(standing(whole) === standing(parts), `${standing(whole)} whole, ${standing(parts)} in parts`);
    assert(!whole.at.between || !whole.at.lost, "Who is lost is never between");
  }
}

/** What client and server say in turn, as `dialogue` takes it. */
function turns(...said: (string | Uint8Array)[]): Uint8Array {
  return Uint8Array.from(said.flatMap((each, index) => {
    const bytes = typeof each === "string" ? text(each) : each;
    const pieces: number[] = [];
    for (let at = 0; at < bytes.length; at += 0x7f) {
      const piece = bytes.subarray(at, at + 0x7f);
      pieces.push(piece.length | (index % 2 === 0 ? 0 : 0x80), ...piece);
    }
    return pieces;
  }));
}

const text = (of: string): Uint8Array => new TextEncoder().encode(of);

export const targets: readonly Target[] = [
  {
    name: "serve/frames",
    about: "a WebSocket client's frames: cut anywhere, the same messages",
    run: frames,
    seeds: () => [
      Uint8Array.of(3, 0x81, 0x82, 1, 2, 3, 4, 0x69, 0x6b),
      Uint8Array.of(9, 0x01, 0x81, 0, 0, 0, 0, 65, 0x89, 0x80, 0, 0, 0, 0, 0x80, 0x81, 0, 0, 0, 0, 66),
      Uint8Array.of(9, 0x82, 0xfe, 0, 2, 0, 0, 0, 0, 1, 2, 0x88, 0x82, 0, 0, 0, 0, 3, 0xe8),
    ],
    dictionary: [Uint8Array.of(0x81, 0x80, 0, 0, 0, 0), Uint8Array.of(0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 1)],
  },
  {
    name: "serve/request",
    about: "an HTTP request: cut anywhere, the same one with the same body, or refused",
    run: request,
    seeds: () => [
      text("\x05GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
      text("\x02POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET"),
      text("\x07PUT * HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
      text(
        "\x07PUT /a HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: u\r\n\r\n",
      ),
    ],
    dictionary: [
      "\r\n",
      "\r\n\r\n",
      "HTTP/1.1",
      "Content-Length: ",
      "Transfer-Encoding: chunked\r\n",
      "Host: a\r\n",
    ],
  },
  {
    name: "serve/mqtt",
    about: "MQTT packets of a client: read, or refused with an error of ours",
    run: mqttPacket,
    seeds: () => [
      Uint8Array.of(0, 0x10, 13, 0, 4, 77, 81, 84, 84, 4, 2, 0, 60, 0, 1, 97),
      Uint8Array.of(1, 0x10, 16, 0, 4, 77, 81, 84, 84, 5, 2, 0, 60, 3, 0x21, 0, 9, 0, 0),
      Uint8Array.of(1, 0x32, 8, 0, 1, 97, 0, 7, 0, 104, 105),
      Uint8Array.of(0, 0x82, 6, 0, 1, 0, 1, 35, 1),
      Uint8Array.of(1, 0xe0, 2, 4, 0),
    ],
  },
  {
    name: "serve/dialogue",
    about: "HTTP and what it becomes, overheard: in pieces it stands where it stands whole",
    run: (input) => dialogue(() => new HttpDialogue(), input),
    seeds: () => [
      turns("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
      turns(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
      ),
      turns(
        "GET /?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 OK\r\n\r\n\x81\x020{",
        Uint8Array.of(0x81, 0x82, 0, 0, 0, 0, 0x34, 0x30),
        "\x81\x0240",
        Uint8Array.of(0x81, 0x84, 1, 2, 3, 4, 0x35, 0x30, 0x34, 0x5f),
        "\x81\x03430",
      ),
    ],
    dictionary: [
      "\r\n\r\n",
      "HTTP/1.1 204 x\r\n\r\n",
      "Upgrade: websocket\r\n",
      "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
  },
  {
    name: "serve/mqtt_dialogue",
    about: "MQTT, overheard: in pieces it stands where it stands whole",
    run: (input) => dialogue(() => new MqttDialogue(), input),
    seeds: () => [
      turns(
        Uint8Array.of(0x10, 13, 0, 4, 77, 81, 84, 84, 4, 2, 0, 60, 0, 1, 97),
        Uint8Array.of(0x20, 2, 0, 0),
        Uint8Array.of(0x82, 6, 0, 1, 0, 1, 35, 1),
        Uint8Array.of(0x90, 3, 0, 1, 1, 0x32, 8, 0, 1, 97, 0, 7, 0, 104, 105),
        Uint8Array.of(0x40, 2, 0, 7, 0xc0, 0, 0x34, 7, 0, 1, 98, 0, 9, 1, 2),
        Uint8Array.of(0xd0, 0, 0x50, 2, 0, 9, 0x70, 2, 0, 9),
        Uint8Array.of(0xa2, 5, 0, 2, 0, 1, 35, 0xe0, 0),
      ),
    ],
  },
];
