import { type AsleepProtocol, joined, type ProtocolReading } from "./protocol.ts";

/** `state`: [mode, bytes of the frame's payload that are still to come, bytes of its head or of a line ...]. */
const Mode = {
  /** The HTTP request, and it has not asked for WebSocket. */
  request: 0,
  /** It has. */
  upgrade: 1,
  frames: 2,
  /** After a close frame, or what is no WebSocket: nothing is answered any more. */
  over: 3,
} as const;

/** Of a line in the request's head, as much is looked at. */
const LINE_BYTES_MAX = 128;
const UPGRADE = /^upgrade:.*\bwebsocket\b/;

const FIN = 0x80;
const RESERVED = 0x70;
const OPCODE = 0x0f;
const CLOSE = 8;
const PING = 9;
const PONG = 10;
const MASKED = 0x80;
/** A control frame's payload (RFC 6455 section 5.5). */
const CONTROL_BYTES_MAX = 125;
const LENGTH_16 = 126;
const MASK_BYTES = 4;

/**
 * Answers a client's WebSocket pings with pongs (RFC 6455 sections 5.5.2 and 5.5.3), and ignores its pongs, without
 * waking the application. A connection whose request does not ask for WebSocket is left alone, as is one after a close
 * frame. A ping that comes in pieces, or together with something else, is the application's.
 *
 * @param options.handshake False when connections begin with frames: the request was read by somebody in front.
 * @example
 * ```ts
 * import { MemoryStore, pipe, SleepyHost, webSocketPings } from "@torpor/torpor";
 * const [link] = pipe();
 * using host = new SleepyHost({ interfaces: [{ link }], store: new MemoryStore() });
 * host.serve({ port: 80, asleep: webSocketPings(), data: (connection, bytes) => void connection.write(bytes) });
 * ```
 */
export function webSocketPings({ handshake = true }: { handshake?: boolean } = {}): AsleepProtocol {
  return { id: 1, start: [handshake ? Mode.request : Mode.frames, 0], read };
}

function read(state: readonly number[], bytes: Uint8Array): ProtocolReading {
  let [mode = Mode.over, left = 0] = state as [number?, number?];
  let head = state.slice(2);
  let all = mode === Mode.frames && left === 0 && head.length === 0;
  const answers: Uint8Array[] = [];
  for (let at = 0; at < bytes.length && mode !== Mode.over;) {
    if (mode < Mode.frames) {
      const byte = bytes[at++]!;
      if (byte !== 10) {
        if (head.length < LINE_BYTES_MAX) head.push(byte);
        continue;
      }
      const line = String.fromCharCode(...head).trimEnd().toLowerCase();
      head = [];
      if (line === "") mode = mode === Mode.upgrade ? Mode.frames : Mode.over;
      else if (UPGRADE.test(line)) mode = Mode.upgrade;
      continue;
    }
    if (left > 0) {
      const some = Math.min(left, bytes.length - at);
      left -= some;
      at += some;
      continue;
    }
    head.push(bytes[at++]!);
    if (head.length < headLength(head)) continue;
    const opcode = head[0]! & OPCODE;
    const length = payloadLength(head);
    const masked = (head[1]! & MASKED) !== 0;
    const plain = (head[0]! & (FIN | RESERVED)) === FIN && length <= CONTROL_BYTES_MAX;
    if (!masked || opcode === CLOSE || !Number.isSafeInteger(length)) mode = Mode.over; // a client masks all (5.1)
    const whole = at + length <= bytes.length;
    if (opcode === PING && plain && whole) answers.push(pong(head, bytes.subarray(at, at + length)));
    else if (opcode !== PONG || !plain || !whole) all = false;
    left = length;
    head = [];
  }
  if (mode === Mode.over) return { state: [Mode.over, 0], answer: undefined };
  const whole = all && left === 0 && head.length === 0;
  return { state: [mode, left, ...head], answer: whole ? joined(answers) : undefined };
}

/** How many bytes a frame's head has, as far as those that are there tell. */
function headLength(head: readonly number[]): number {
  if (head.length < 2) return 2;
  const short = head[1]! & 0x7f;
  const extended = short === LENGTH_16 ? 2 : short > LENGTH_16 ? 8 : 0;
  return 2 + extended + ((head[1]! & MASKED) !== 0 ? MASK_BYTES : 0);
}

function payloadLength(head: readonly number[]): number {
  const short = head[1]! & 0x7f;
  if (short < LENGTH_16) return short;
  const bytes = head.slice(2, short === LENGTH_16 ? 4 : 10);
  return bytes.reduce((sum, byte) => sum * 256 + byte, 0);
}

/** The pong to a ping: its payload unmasked (section 5.3), and a server masks nothing. */
function pong(head: readonly number[], masked: Uint8Array): Uint8Array {
  const answer = new Uint8Array(2 + masked.length);
  answer[0] = FIN | PONG;
  answer[1] = masked.length;
  const mask = head.slice(-MASK_BYTES);
  for (let at = 0; at < masked.length; at++) answer[2 + at] = masked[at]! ^ mask[at % MASK_BYTES]!;
  return answer;
}
