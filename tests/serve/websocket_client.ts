/** A client's frame (RFC 6455 section 5), for tests that want to say what no library says. */
export function clientFrame(
  opcode: number,
  payload: Uint8Array | string = "",
  { fin = true, masked = true, reserved = 0 }: { fin?: boolean; masked?: boolean; reserved?: number } = {},
): Uint8Array<ArrayBuffer> {
  const plain = typeof payload === "string" ? new TextEncoder().encode(payload) : payload;
  const { length } = plain;
  const head = [(fin ? 0x80 : 0) | reserved << 4 | opcode];
  if (length < 126) head.push(length);
  else if (length < 65_536) head.push(126, length >> 8, length & 255);
  else head.push(127, 0, 0, 0, 0, length >>> 24, (length >> 16) & 255, (length >> 8) & 255, length & 255);
  const mask = [0x37, 0xfa, 0x21, 0x3d];
  const whole = new Uint8Array(head.length + (masked ? 4 : 0) + length);
  whole.set(head);
  if (!masked) {
    whole.set(plain, head.length);
    return whole;
  }
  whole[1]! |= 0x80;
  whole.set(mask, head.length);
  for (let at = 0; at < length; at++) whole[head.length + 4 + at] = plain[at]! ^ mask[at & 3]!;
  return whole;
}

/** A server's frame as text: "1 hello" for text, "8 1000 why" for a close. */
export function serverFrames(bytes: Uint8Array): string[] {
  const frames: string[] = [];
  for (let at = 0; at + 2 <= bytes.length;) {
    const opcode = bytes[at]! & 15;
    const short = bytes[at + 1]!;
    const [length, start] = short < 126
      ? [short, at + 2]
      : short === 126
      ? [bytes[at + 2]! << 8 | bytes[at + 3]!, at + 4]
      : [new DataView(bytes.buffer, bytes.byteOffset + at + 6, 4).getUint32(0), at + 10];
    const payload = bytes.subarray(start, start + length);
    at = start + length;
    if (opcode === 8) {
      const code = length < 2 ? "" : `${payload[0]! << 8 | payload[1]!}`;
      frames.push(`8 ${code} ${new TextDecoder().decode(payload.subarray(2))}`.trimEnd());
    } else frames.push(`${opcode} ${new TextDecoder().decode(payload)}`);
  }
  return frames;
}

/** A request for WebSocket with the RFC's own key. */
export const UPGRADE = (path = "/chat", fields = ""): string =>
  `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
  `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${fields}\r\n`;
/** And the RFC's answer to it (section 1.3). */
export const ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
