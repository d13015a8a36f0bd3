/**
 * Frames of a WebSocket connection, a server's side (RFC 6455 section 5): what a client sends is masked, what we send is
 * not. No extension is agreed on, so no reserved bit may be set.
 *
 * @module
 */

/** Kinds of frames (section 5.2). */
export const Opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;
const FIN = 0x80;
const RESERVED = 0x70;
const OPCODE = 0x0f;
const MASKED = 0x80;
const CONTROL = 0x08;
/** A control frame's payload (section 5.5). */
export const CONTROL_BYTES_MAX = 125;
const LENGTH_16 = 126;
const LENGTH_64 = 127;
const MASK_BYTES = 4;

/** Reasons to close (section 7.4.1). */
export const CloseCode = {
  normal: 1000,
  goingAway: 1001,
  protocolError: 1002,
  unsupportedData: 1003,
  none: 1005,
  abnormal: 1006,
  invalidPayload: 1007,
  tooBig: 1009,
  internalError: 1011,
} as const;

/** Where a client's stream stands between two calls: plain data, part of the image. */
export interface FrameState {
  /** Bytes of a frame's head, as far as it has come. */
  head: number[];
  /** Bytes of its payload still to come. */
  left: number;
  /** How many have come, for the mask. */
  at: number;
  /** What has come of the message under way: the first `bytes` of `data`, which grows as it is needed. */
  data: Uint8Array;
  bytes: number;
  /** And of a control frame's payload. */
  control: number[];
  /** What the message under way is, 0 when there is none. */
  message: number;
  /** A close frame has been sent: only the peer's is waited for. */
  closing: boolean;
}

/** What a stream's next bytes have brought. */
export type FrameEvent =
  | { kind: "message"; text: boolean; data: Uint8Array }
  | { kind: "ping" | "pong"; data: Uint8Array }
  | { kind: "close"; code: number; reason: string }
  | { kind: "error"; code: number; reason: string };

/** A stream at the border of two messages. */
export function newFrames(): FrameState {
  return { head: [], left: 0, at: 0, data: NOTHING, bytes: 0, control: [], message: 0, closing: false };
}

const NOTHING = new Uint8Array(0);

/** Whether the next byte begins a message: then there is nothing to keep. */
export function isBetweenMessages(state: FrameState): boolean {
  return state.head.length === 0 && state.message === 0 && !state.closing;
}

/**
 * Reads a client's next bytes. Payloads that are given are copies. After a close frame or an error the rest is nothing.
 * @param messageBytesMax Bytes of the longest message that is taken.
 */
export function readFrames(state: FrameState, bytes: Uint8Array, messageBytesMax: number): FrameEvent[] {
  const events: FrameEvent[] = [];
  const fail = (code: number, reason: string): FrameEvent[] => {
    events.push({ kind: "error", code, reason });
    return events;
  };
  for (let at = 0; at < bytes.length;) {
    if (state.left === 0) {
      state.head.push(bytes[at++]!);
      if (state.head.length < headLength(state.head)) continue;
      const wrong = headMistake(state, messageBytesMax);
      if (wrong !== undefined) return fail(...wrong);
      state.left = payloadLength(state.head);
      state.at = 0;
      if ((state.head[0]! & CONTROL) === 0 && (state.head[0]! & OPCODE) !== 0) {
        state.message = state.head[0]! & OPCODE;
      }
    }
    const some = Math.min(state.left, bytes.length - at);
    if (some > 0) {
      takePayload(state, bytes.subarray(at, at + some));
      state.left -= some;
      state.at += some;
      at += some;
    }
    if (state.left > 0) break; // the rest has not come
    const [first = 0] = state.head.splice(0);
    if ((first & CONTROL) !== 0) {
      const event = controlEvent(first & OPCODE, Uint8Array.from(state.control.splice(0)));
      events.push(event);
      if (event.kind === "close" || event.kind === "error") return events;
    } else if ((first & FIN) !== 0) {
      const text = state.message === Opcode.text;
      const data = state.bytes === state.data.length ? state.data : state.data.slice(0, state.bytes);
      state.data = NOTHING;
      state.bytes = state.message = 0;
      if (text && decodeText(data) === undefined) {
        return fail(CloseCode.invalidPayload, "Text that is not UTF-8");
      }
      events.push({ kind: "message", text, data });
    }
  }
  return events;
}

/** A server's frame. */
export function frame(opcode: number, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const { length } = payload;
  const extended = length < LENGTH_16 ? 0 : length < 65_536 ? 2 : 8;
  const whole = new Uint8Array(2 + extended + length);
  whole[0] = FIN | opcode;
  whole[1] = extended === 0 ? length : extended === 2 ? LENGTH_16 : LENGTH_64;
  const view = new DataView(whole.buffer);
  if (extended === 2) view.setUint16(2, length);
  if (extended === 8) view.setBigUint64(2, BigInt(length));
  whole.set(payload, 2 + extended);
  return whole;
}

/** A close frame. A reason is cut to what fits, between characters. */
export function closeFrame(code: number, reason = ""): Uint8Array<ArrayBuffer> {
  if (code === CloseCode.none) return frame(Opcode.close, new Uint8Array(0));
  const text = new Uint8Array(CONTROL_BYTES_MAX - 2);
  const { written } = new TextEncoder().encodeInto(reason, text);
  return frame(Opcode.close, Uint8Array.of(code >>> 8, code & 0xff, ...text.subarray(0, written)));
}

/** Whether a peer may be told `code` (sections 7.4.1 and 7.4.2). */
export function isCloseCode(code: number): boolean {
  return (code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006) ||
    (code >= 3000 && code <= 4999);
}

/** Text, or `undefined` when it is not UTF-8. */
export function decodeText(bytes: Uint8Array): string | undefined {
  try {
    return UTF8.decode(bytes);
  } catch {
    return undefined;
  }
}
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What is wrong with a head that is whole. */
function headMistake(state: FrameState, messageBytesMax: number): [code: number, reason: string] | undefined {
  const [first = 0, second = 0] = state.head;
  const opcode = first & OPCODE;
  const length = payloadLength(state.head);
  const { protocolError } = CloseCode;
  if ((first & RESERVED) !== 0) return [protocolError, "A reserved bit is set"];
  if ((second & MASKED) === 0) return [protocolError, "A client's frame must be masked"];
  if ((opcode > Opcode.binary && opcode < Opcode.close) || opcode > Opcode.pong) {
    return [protocolError, `Opcode ${opcode} is reserved`];
  }
  if ((opcode & CONTROL) !== 0) {
    if ((first & FIN) === 0) return [protocolError, "A control frame is in fragments"];
    return length > CONTROL_BYTES_MAX ? [protocolError, "A control frame is too long"] : undefined;
  }
  if (opcode === Opcode.continuation && state.message === 0) {
    return [protocolError, "A continuation of nothing"];
  }
  if (opcode !== Opcode.continuation && state.message !== 0) {
    return [protocolError, "A message inside another one"];
  }
  return state.bytes + length > messageBytesMax
    ? [CloseCode.tooBig, `A message has at most ${messageBytesMax} bytes`]
    : undefined;
}

function controlEvent(opcode: number, data: Uint8Array): FrameEvent {
  if (opcode === Opcode.ping) return { kind: "ping", data };
  if (opcode === Opcode.pong) return { kind: "pong", data };
  if (data.length === 0) return { kind: "close", code: CloseCode.none, reason: "" };
  const code = data.length < 2 ? 0 : data[0]! << 8 | data[1]!;
  if (!isCloseCode(code)) {
    return {
      kind: "error",
      code: CloseCode.protocolError,
      reason: "A close frame without a code that may be sent",
    };
  }
  const reason = decodeText(data.subarray(2));
  return reason === undefined
    ? { kind: "error", code: CloseCode.invalidPayload, reason: "A reason that is not UTF-8" }
    : { kind: "close", code, reason };
}

/** How many bytes a frame's head has, as far as those that are there tell. */
function headLength(head: readonly number[]): number {
  if (head.length < 2) return 2;
  const short = head[1]! & 0x7f;
  const extended = short === LENGTH_16 ? 2 : short === LENGTH_64 ? 8 : 0;
  return 2 + extended + ((head[1]! & MASKED) !== 0 ? MASK_BYTES : 0);
}

function payloadLength(head: readonly number[]): number {
  const short = head[1]! & 0x7f;
  if (short < LENGTH_16) return short;
  const bytes = head.slice(2, short === LENGTH_16 ? 4 : 10);
  return bytes.reduce((sum, byte) => sum * 256 + byte, 0);
}

/** Unmasks a piece of a frame's payload (section 5.3) behind what has come of it. */
function takePayload(state: FrameState, masked: Uint8Array): void {
  const { head, at } = state;
  const mask = head.slice(-MASK_BYTES);
  if ((head[0]! & CONTROL) !== 0) {
    masked.forEach((byte, index) => state.control.push(byte ^ mask[(at + index) & 3]!));
    return;
  }
  const end = state.bytes + masked.length;
  if (end > state.data.length) { // a length that was only announced takes no memory
    const room = state.bytes === 0 ? end : Math.max(end, 2 * state.data.length);
    const data = new Uint8Array(room);
    data.set(state.data.subarray(0, state.bytes));
    state.data = data;
  }
  for (let index = 0; index < masked.length; index++) {
    state.data[state.bytes + index] = masked[index]! ^ mask[(at + index) & 3]!;
  }
  state.bytes = end;
}
