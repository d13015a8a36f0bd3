import type { IPublishPacket } from "mqtt-packet";
import type { MqttVersion } from "./packets.ts";

/** Messages of QoS 1 and 2 that may wait for one client's acknowledgement: their numbers are in its image. */
export const IN_FLIGHT_MAX = 1_000;

export type QoS = 0 | 1 | 2;

/** A message. */
export interface MqttMessage {
  topic: string;
  payload: Uint8Array | string;
  qos?: QoS;
  retain?: boolean;
  /** Of MQTT 5; others are not told. */
  properties?: IPublishPacket["properties"];
}

/** Where a client's stream stands, and what is under way. */
export interface MqttState {
  /** 0 until its CONNECT has come. */
  version: MqttVersion | 0;
  clientId: string;
  will: MqttMessage | null;
  /** What has come of a packet: the first `bytes` of `part`. */
  part: Uint8Array | null;
  bytes: number;
  /** Numbers of our messages that wait for PUBACK, PUBREC or (second list) PUBCOMP, and the next one. */
  sent: number[];
  released: number[];
  next: number;
  inFlightMax: number;
  /** Numbers of its messages of QoS 2 that it has not released. */
  got: number[];
  over: boolean;
}

const FIELDS = [
  ...[
    "version",
    "clientId",
    "will",
    "inFlightMax",
    "part",
    "bytes",
    "sent",
    "released",
    "next",
    "got",
    "over",
  ] as const,
];

function newState(): MqttState {
  return {
    version: 0,
    clientId: "",
    will: null,
    part: null,
    bytes: 0,
    sent: [],
    released: [],
    next: 1,
    inFlightMax: IN_FLIGHT_MAX,
    got: [],
    over: false,
  };
}

/** The state as it is in an image: a list that ends where nothing else is to be told. */
export function packState(state: MqttState): unknown {
  const idle = state.sent.length + state.released.length === 0;
  const blank = newState();
  const values: unknown[] = FIELDS.map((name) => name === "next" && idle ? 1 : state[name]);
  while (values.length > 0) {
    const absent = blank[FIELDS[values.length - 1]!];
    const last = values.at(-1);
    if (last !== absent && !(Array.isArray(last) && last.length === 0)) break;
    values.pop();
  }
  return values;
}

/** @throws {TypeError} When it is none. */
export function unpackState(packed: unknown): MqttState {
  const state = newState();
  if (packed === null) return state;
  if (!Array.isArray(packed) || packed.length > FIELDS.length) {
    throw new TypeError("Cannot take a connection over: what is attached to it is not of an MQTT client");
  }
  packed.forEach((value, index) =>
    void ((state as unknown as Record<string, unknown>)[FIELDS[index]!] = value)
  );
  return state;
}
