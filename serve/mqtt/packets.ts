import { Buffer } from "node:buffer";
import mqtt, { type Packet } from "mqtt-packet";

/** 4 is MQTT 3.1.1, 3 is 3.1. */
export type MqttVersion = 3 | 4 | 5;

/** Bytes that are no MQTT packet, or not one that may come. */
export class MqttError extends Error {
  override name = "MqttError";
  /** What MQTT 5 says to it (section 2.4). */
  readonly reasonCode: number;
  constructor(reasonCode: number, message: string) {
    super(message);
    this.reasonCode = reasonCode;
  }
}

/** Reasons of MQTT 5 that are said here (section 2.4). */
export const Reason = {
  malformed: 0x81,
  protocolError: 0x82,
  badClientId: 0x85,
  badCredentials: 0x86,
  notAuthorized: 0x87,
  unavailable: 0x88,
  sessionTakenOver: 0x8e,
  badFilter: 0x8f,
  badTopic: 0x90,
  tooBig: 0x95,
  quotaExceeded: 0x97,
  sharedNotSupported: 0x9e,
  subscriptionIdsNotSupported: 0xa1,
} as const;

/** A parser for each version, used by all connections: packets are given to it whole, so that nothing stays in it. */
const parsers = new Map<MqttVersion, ReturnType<typeof mqtt.parser>>();
let parsed: Packet | undefined;
let failed: Error | undefined;

/**
 * Reads one whole packet.
 * @param version What the client's CONNECT has said; 4 for that itself.
 * @throws {MqttError}
 */
export function readPacket(bytes: Uint8Array, version: MqttVersion): Packet {
  let parser = parsers.get(version);
  if (parser === undefined) {
    parser = mqtt.parser({ protocolVersion: version } as never);
    parser.on("packet", (packet: Packet) => void (parsed = packet));
    parser.on("error", (error: Error) => void (failed = error));
    parsers.set(version, parser);
  }
  parsed = failed = undefined;
  let left: number;
  try {
    left = parser.parse(Buffer.from(bytes)); // a copy: handlers may keep a payload
  } catch (error) { // what it has not thought of
    parsers.delete(version);
    throw new MqttError(Reason.malformed, (error as Error).message);
  }
  if (failed !== undefined || parsed === undefined || left !== 0) {
    parsers.delete(version);
    throw new MqttError(
      Reason.malformed,
      (failed as Error | undefined)?.message ?? "A packet is not as long as it says",
    );
  }
  checkTexts(parsed, bytes);
  return parsed;
}

/**
 * Whoever sends text that is no UTF-8, or has a NUL in it, is not spoken with (MQTT 3.1.1 section 1.5.3, MQTT 5 section
 * 1.5.4). The parser has put U+FFFD in the place of what it could not read; where it stood there, its own bytes are found.
 */
function checkTexts(value: unknown, bytes: Uint8Array): void {
  if (typeof value === "string") {
    if (value.includes("\0")) throw new MqttError(Reason.malformed, "Text with a NUL");
    if (value.includes("\ufffd") && !hasText(bytes, value)) {
      throw new MqttError(Reason.malformed, "Text that is not UTF-8");
    }
  } else if (typeof value === "object" && value !== null && !(value instanceof Uint8Array)) {
    for (const [name, each] of Object.entries(value)) {
      checkTexts(name, bytes); // of a user property
      checkTexts(each, bytes);
    }
  }
}

function hasText(bytes: Uint8Array, text: string): boolean {
  const encoded = Buffer.from(text);
  const whole = Buffer.concat([Uint8Array.of(encoded.length >>> 8, encoded.length & 0xff), encoded]);
  return asBuffer(bytes).includes(whole);
}

/** The same bytes as mqtt-packet wants them. */
export function asBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
}

/** A packet's bytes. */
export function packetBytes(packet: Packet, version: MqttVersion): Uint8Array {
  return mqtt.generate(packet, { protocolVersion: version } as never);
}

/**
 * How long the packet is that `bytes` begin with; `undefined` when they do not tell yet.
 * @throws {MqttError}
 */
export function packetLength(bytes: Uint8Array): number | undefined {
  let length = 0;
  for (let at = 1; at < bytes.length; at++) {
    length += (bytes[at]! & 0x7f) * 128 ** (at - 1);
    if (bytes[at]! < 0x80) return 1 + at + length;
    if (at === 4) throw new MqttError(Reason.malformed, "A length of more than four bytes"); // section 2.1.4
  }
  return undefined;
}

/** Whether a message may have this topic (section 4.7): no wildcards, no NUL, not empty. */
export function isTopic(topic: string): boolean {
  return topic !== "" && !/[+#\0]/.test(topic);
}

/** Whether a subscription may have this filter: `+` is a whole level, `#` the last one. */
export function isFilter(filter: string): boolean {
  if (filter === "" || filter.includes("\0")) return false;
  const levels = filter.split("/");
  return levels.every((level, index) =>
    level === "+" || (level === "#" ? index === levels.length - 1 : !/[+#]/.test(level))
  );
}

/** Whether a topic is one that a filter asks for. Topics that begin with `$` are not for wildcards at the beginning. */
export function matches(filter: string, topic: string): boolean {
  if (topic.startsWith("$") && /^[+#]/.test(filter)) return false;
  const [levels, wanted] = [topic.split("/"), filter.split("/")];
  for (const [index, level] of wanted.entries()) {
    if (level === "#") return true;
    if (index >= levels.length || (level !== "+" && level !== levels[index])) return false;
  }
  return levels.length === wanted.length;
}
