import { assert } from "../../../base/assert.ts";
import { mqttPings } from "../../../net/socket/asleep/mqtt_pings.ts";
import type { AsleepProtocol } from "../../../net/socket/asleep/protocol.ts";
import { webSocketPings } from "../../../net/socket/asleep/web_socket_pings.ts";
import type { Target } from "../target.ts";

/**
 * A stream, cut in two at a place that the first byte chooses: where it stands is the same, and nothing is answered that
 * is not answered in one piece. Each answer is as long as what it answers, without the mask at most.
 */
function cut(protocol: AsleepProtocol, input: Uint8Array<ArrayBuffer>): void {
  const stream = input.subarray(1);
  const at = (input[0] ?? 0) % (stream.length + 1);
  const whole = protocol.read(protocol.start, stream);
  const first = protocol.read(protocol.start, stream.subarray(0, at));
  const second = protocol.read(first.state, stream.subarray(at));
  for (const { state, answer } of [whole, first, second]) {
    assert(
      state.length < 256 && state.every((each) => Number.isSafeInteger(each) && each >= 0),
      "A small state",
    );
    assert(
      answer === undefined || answer.length <= stream.length,
      "An answer is no longer than its question",
    );
  }
  assert(String(whole.state) === String(second.state), `${whole.state} whole, ${second.state} in parts`);
  if (whole.answer === undefined || at === 0 || at === stream.length) return;
  const parts = first.answer !== undefined && second.answer !== undefined;
  const both = parts ? [...first.answer!, ...second.answer!] : undefined;
  assert(both === undefined || String(both) === String([...whole.answer]), "The same answer in parts");
}

const REQUEST = "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";

export const targets: readonly Target[] = [
  {
    name: "pings/mqtt",
    about: "MQTT while the application sleeps: cut anywhere, the same state and no other answer",
    run: (input) => cut(mqttPings(), input),
    seeds: () => [
      Uint8Array.of(4, 0x10, 2, 4, 5, 0xc0, 0),
      Uint8Array.of(3, 0x10, 0, 0x30, 0x81, 0, 7, 0xc0, 0, 0xe0, 0),
    ],
  },
  {
    name: "pings/web_socket",
    about: "WebSocket while the application sleeps: cut anywhere, the same state and no other answer",
    run: (input) => cut(webSocketPings({ handshake: (input[0] ?? 0) < 128 }), input),
    seeds: () => [
      Uint8Array.of(200, 0x89, 0x81, 1, 2, 3, 4, 5, 0x8a, 0x80, 1, 2, 3, 4),
      Uint8Array.of(200, 0x82, 0xfe, 0, 3, 1, 2, 3, 4, 5, 6, 7, 0x89, 0x80, 1, 2, 3, 4),
      Uint8Array.of(30, ...new TextEncoder().encode(REQUEST), 0x89, 0x80, 1, 2, 3, 4),
    ],
    dictionary: [REQUEST, "\r\n", Uint8Array.of(0x89, 0x80, 0, 0, 0, 0), Uint8Array.of(0x82, 0xff)],
  },
];
