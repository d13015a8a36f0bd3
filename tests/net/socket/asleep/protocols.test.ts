import { expect, test } from "vitest";
import { Prng } from "../../../../base/random.ts";
import { mqttPings } from "../../../../net/socket/asleep/mqtt_pings.ts";
import { type AsleepProtocol, joined } from "../../../../net/socket/asleep/protocol.ts";
import { webSocketPings } from "../../../../net/socket/asleep/web_socket_pings.ts";

const REQUEST =
  "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n";

function text(of: string): Uint8Array {
  return new TextEncoder().encode(of);
}

function join(...parts: Uint8Array[]): Uint8Array {
  return joined(parts);
}

/** A client's frame. */
function frame(opcode: number, payload: Uint8Array, options: { fin?: boolean; masked?: boolean } = {}) {
  const { fin = true, masked = true } = options;
  const mask = [0x37, 0xfa, 0x21, 0x3d];
  const length = payload.length < 126
    ? [payload.length]
    : payload.length < 65_536
    ? [126, payload.length >> 8, payload.length & 255]
    : [
      127,
      0,
      0,
      0,
      0,
      payload.length >>> 24,
      (payload.length >> 16) & 255,
      (payload.length >> 8) & 255,
      payload.length & 255,
    ];
  length[0]! |= masked ? 0x80 : 0;
  const body = masked ? payload.map((byte, at) => byte ^ mask[at % 4]!) : payload;
  return Uint8Array.of((fin ? 0x80 : 0) | opcode, ...length, ...(masked ? mask : []), ...body);
}

function packet(type: number, body: number): Uint8Array {
  const length: number[] = [];
  for (let left = body; length.length === 0 || left > 0; left = Math.floor(left / 128)) {
    if (length.length > 0) length[length.length - 1]! |= 0x80;
    length.push(left % 128);
  }
  return Uint8Array.of(type, ...length, ...new Uint8Array(body).fill(0xc0));
}

/** Reads all parts one after the other; what was answered to each of them. */
function answers(protocol: AsleepProtocol, parts: readonly Uint8Array[]): (number[] | undefined)[] {
  let state = protocol.start;
  return parts.map((part) => {
    const reading = protocol.read(state, part);
    state = reading.state;
    return reading.answer && [...reading.answer];
  });
}

test("pings of a WebSocket client are answered with pongs, its pongs with nothing (RFC 6455 sections 5.5.2, 5.5.3)", () => {
  const hello = text("Hello");
  const got = answers(webSocketPings(), [
    text(REQUEST),
    frame(9, hello), // the RFC's example, section 5.7
    frame(9, new Uint8Array(0)),
    frame(10, hello),
    join(frame(9, Uint8Array.of(1)), frame(10, hello), frame(9, Uint8Array.of(2))),
    frame(9, new Uint8Array(125)),
    frame(1, hello),
    frame(9, hello),
  ]);
  expect(got).toEqual([
    undefined,
    [0x8a, 5, ...hello],
    [0x8a, 0],
    [],
    [0x8a, 1, 1, 0x8a, 1, 2],
    [0x8a, 125, ...new Uint8Array(125)],
    undefined,
    [0x8a, 5, ...hello],
  ]);
});

test("whatever is no whole ping of a WebSocket client is the application's", () => {
  const ping = frame(9, text("ab"));
  const cases: [name: string, bytes: Uint8Array][] = [
    ["a part of a ping", ping.subarray(0, 3)],
    ["a ping and a part of another", join(ping, ping.subarray(0, 1))],
    ["a ping and data", join(ping, frame(1, text("x")))],
    ["data and a ping", join(frame(1, text("x")), ping)],
    ["a fragment of a ping", frame(9, text("ab"), { fin: false })],
    ["126 bytes of payload", frame(9, new Uint8Array(126))],
    ["a reserved bit", Uint8Array.of(0xc9, ...ping.subarray(1))],
    ["no mask", frame(9, text("ab"), { masked: false })],
    ["a close frame", frame(8, text("ab"))],
    ["a fragment of data", frame(2, text("x"), { fin: false })],
  ];
  for (const [name, bytes] of cases) {
    expect(answers(webSocketPings(), [text(REQUEST), bytes])[1], name).toBeUndefined();
  }
  const after = (bytes: Uint8Array): unknown => answers(webSocketPings(), [text(REQUEST), bytes, ping])[2];
  expect(after(frame(8, text("ab"))), "behind a close frame").toBeUndefined();
  expect(after(frame(9, text("ab"), { masked: false })), "behind what no client sends").toBeUndefined();
  expect(after(frame(2, text("x"), { fin: false })), "between fragments").toEqual([0x8a, 2, 97, 98]);
  // In the middle of a payload nothing is a ping, though it looks like one.
  const inside = frame(2, new Uint8Array(40));
  expect(answers(webSocketPings(), [text(REQUEST), inside.subarray(0, 20), ping, inside.subarray(28)]))
    .toEqual(
      Array(4).fill(undefined),
    );
  expect(answers(webSocketPings(), [text("POST / HTTP/1.1\r\nHost: a\r\n\r\n"), ping])[1]).toBeUndefined();
  expect(answers(webSocketPings(), [text("POST / HTTP/1.1\r\nX-Upgrade: websocket\r\n\r\n"), ping])[1])
    .toBeUndefined();
  expect(answers(webSocketPings({ handshake: false }), [ping])[0]).toEqual([0x8a, 2, 97, 98]);
});

test("PINGREQ is answered with PINGRESP, in MQTT 3.1.1 and 5 (section 3.12), behind CONNECT only", () => {
  const ping = Uint8Array.of(0xc0, 0);
  expect(answers(mqttPings(), [packet(0x10, 20), ping, join(ping, ping), packet(0x30, 300), ping])).toEqual([
    undefined,
    [0xd0, 0],
    [0xd0, 0, 0xd0, 0],
    undefined,
    [0xd0, 0],
  ]);
  const cases: [name: string, bytes: Uint8Array][] = [
    ["half of one", Uint8Array.of(0xc0)],
    ["with flags", Uint8Array.of(0xc1, 0)],
    ["with a body", packet(0xc0, 2)],
    ["with data", join(ping, packet(0x30, 5))],
    ["with the start of data", join(ping, Uint8Array.of(0x30))],
    ["a length of five bytes", Uint8Array.of(0x30, 0x80, 0x80, 0x80, 0x80, 1)],
    ["DISCONNECT", Uint8Array.of(0xe0, 0)],
  ];
  for (const [name, bytes] of cases) {
    expect(answers(mqttPings(), [packet(0x10, 20), bytes])[1], name).toBeUndefined();
  }
  expect(answers(mqttPings(), [ping])).toEqual([undefined]);
  expect(answers(mqttPings(), [packet(0x10, 9), Uint8Array.of(0xe0, 0), ping])[2]).toBeUndefined();
  // A payload full of what looks like pings, cut wherever it may be.
  const publish = packet(0x30, 400);
  for (const cut of [1, 2, 3, 5, 200, 401]) {
    const parts = [packet(0x10, 4), publish.subarray(0, cut), publish.subarray(cut), ping];
    expect(answers(mqttPings(), parts), `${cut}`).toEqual([undefined, undefined, undefined, [0xd0, 0]]);
  }
});

test("however a stream is cut, what is answered are the pings that came alone, and where it stands is the same", () => {
  const prng = new Prng(3);
  for (const kind of ["mqtt", "ws"] as const) {
    const protocol = kind === "mqtt" ? mqttPings() : webSocketPings();
    for (let run = 0; run < 150; run++) {
      const messages: [bytes: Uint8Array, answer: number[] | undefined][] = [];
      messages.push([kind === "mqtt" ? packet(0x10, prng.below(40)) : text(REQUEST), undefined]);
      for (let count = prng.between(1, 12); count > 0; count--) {
        const payload = new Uint8Array(prng.pick([0, 1, 5, 125, 126, 300, 70_000]));
        prng.fill(payload);
        if (prng.chance(0.5)) {
          messages.push([kind === "mqtt" ? packet(0x30, payload.length) : frame(2, payload), undefined]);
        } else if (kind === "mqtt") {
          messages.push([Uint8Array.of(0xc0, 0), [0xd0, 0]]);
        } else {
          const short = payload.subarray(0, Math.min(125, payload.length));
          messages.push([frame(9, short), [0x8a, short.length, ...short]]);
        }
      }
      const whole = join(...messages.map(([bytes]) => bytes));
      const ends = new Map<number, number>(); // where a message begins -> its number
      messages.reduce((at, [bytes], index) => (ends.set(at, index), at + bytes.length), 0);
      let state = protocol.start;
      for (let at = 0; at < whole.length;) {
        const first = ends.get(at);
        const to = first !== undefined && prng.chance(0.7)
          ? at +
            messages.slice(first, first + prng.between(1, 3)).reduce((sum, [bytes]) => sum + bytes.length, 0)
          : Math.min(whole.length, at + prng.pick([1, 2, 3, 7, 200]));
        const reading = protocol.read(state, whole.subarray(at, to));
        state = reading.state;
        expect(state.length).toBeLessThan(256);
        let expected: number[] | undefined = first === undefined ? undefined : [];
        for (let next = at, index = first ?? 0; expected !== undefined && next < to; index++) {
          const [bytes, answer] = messages[index]!;
          next += bytes.length;
          expected = answer === undefined || next > to ? undefined : [...expected, ...answer];
        }
        const answer = reading.answer && [...reading.answer];
        if (String(answer) !== String(expected)) expect(answer, `${kind} ${run} at ${at}`).toEqual(expected);
        at = to;
      }
      expect(state).toEqual(protocol.read(protocol.start, whole).state);
    }
  }
});
