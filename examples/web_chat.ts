/**
 * A chat of 100,000 WebSockets in 1,000 rooms, all asleep. One speaks, its room is woken; pings are answered and wake
 * nobody; then the server is killed with -9, and the next process knows from the images who is in which room.
 */
import { show } from "./sleepers/show.ts";

/** A client's frame, masked (RFC 6455 section 5). */
function frame(opcode: number, text: string): Uint8Array {
  const payload = new TextEncoder().encode(text);
  const mask = [1, 2, 3, 4];
  return Uint8Array.of(
    0x80 | opcode,
    0x80 | payload.length,
    ...mask,
    ...payload.map((byte, at) => byte ^ mask[at % 4]!),
  );
}

const REQUEST = (room: number): string =>
  `GET /chat?room=${room} HTTP/1.1\r\nHost: chat\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

await show({
  name: "web_chat",
  server: "../sleepers/chat_server.ts",
  hello: (_index, room) => new TextEncoder().encode(REQUEST(room)),
  welcomed: (bytes) => new TextDecoder().decode(bytes).endsWith("\r\n\r\n"),
  speak: (_room, text) => frame(1, text),
  ping: frame(9, "ping"),
  isPong: (bytes) => bytes.length === 6 && bytes[0] === 0x8a,
});
