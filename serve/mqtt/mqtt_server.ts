import type {
  IConnectPacket,
  IDisconnectPacket,
  IPublishPacket,
  ISubscribePacket,
  IUnsubscribePacket,
  Packet,
} from "mqtt-packet";
import { mqttPings } from "../../net/socket/asleep/mqtt_pings.ts";
import type { Connection } from "../../net/socket/connection.ts";
import type { HandlerServer } from "../../net/socket/handlers.ts";
import type { Host } from "../../net/socket/host.ts";
import type { ListenOptions, NetAddr } from "../../net/socket/types.ts";
import { type AttachmentOptions, attachments, Keeping, KeptBy } from "../hibernation/kept.ts";
import { listenOptions } from "../http/http_server.ts";
import {
  IN_FLIGHT_MAX,
  type MqttMessage,
  type MqttState,
  packState,
  type QoS,
  unpackState,
} from "./state.ts";
import {
  asBuffer,
  isFilter,
  isTopic,
  MqttError,
  type MqttVersion,
  packetBytes,
  packetLength,
  readPacket,
  Reason,
} from "./packets.ts";

/** Bytes of a packet by default: it is gathered before it is given on, and kept in the image until then. */
const PACKET_BYTES_MAX = 256 * 1024;
/** How often a silent client is asked by TCP before it is given up, and how far apart. */
const PROBES = 3;
const PROBE_INTERVAL_MS = 10_000;
/** MQTT's patience with a silent client, in units of its keep-alive (section 3.1.2.10). */
const KEEP_ALIVE_FACTOR = 1.5;

/** What a client has said in its CONNECT. */
export interface MqttConnect {
  clientId: string;
  version: MqttVersion;
  /** It wants no old session. Here a session ends with its connection, so it never gets one. */
  clean: boolean;
  /** Seconds; 0 for never. */
  keepAlive: number;
  username: string | undefined;
  password: Uint8Array | undefined;
  will: MqttMessage | undefined;
}

/** Why a client is not served. */
export type MqttRefusal = "notAuthorized" | "badCredentials" | "unavailable";

/** How a client asks for messages. */
export interface MqttSubscription {
  filter: string;
  qos: QoS;
  /** MQTT 5: not its own messages; `retain` as it was published; 0 to 2, whether retained ones come. */
  noLocal: boolean;
  retainAsPublished: boolean;
  retainHandling: number;
}

/** What a server of MQTT does with its clients. */
export interface MqttHandlers<A> extends AttachmentOptions<A> {
  /** A client wants to be served; nothing, or why not. */
  connect?(client: MqttClient<A>, connect: MqttConnect): MqttRefusal | undefined | void;
  /** A message has come: once, also with QoS 2. It is acknowledged when this returns. */
  publish(
    client: MqttClient<A>,
    message: Required<Omit<MqttMessage, "payload">> & { payload: Uint8Array },
  ): void;
  /** What it may have: the QoS granted, or "refused". Its answer is sent when this returns for all its filters. */
  subscribe?(client: MqttClient<A>, subscription: MqttSubscription): QoS | "refused";
  /** The answer to a subscription is on its way: time for retained messages. */
  subscribed?(client: MqttClient<A>, subscription: MqttSubscription): void;
  unsubscribe?(client: MqttClient<A>, filter: string): void;
  /** A client that was served is gone. `will` is to be published when it did not say goodbye. Called once. */
  close?(client: MqttClient<A>, will: MqttMessage | undefined): void;
  /** Bytes of the longest packet that is taken. Default 256 KiB. */
  packetBytesMax?: number;
}

interface Held<A> {
  readonly connection: Connection;
  readonly keeping: Keeping<A>;
  readonly state: MqttState;
}

/** A client while its connection is awake. Keep its `id`, not the object. */
export class MqttClient<A> {
  readonly #held: Held<A>;

  constructor(held: Held<A>) {
    this.#held = held;
  }

  /** The connection's stable name, through sleep and restart. */
  get id(): string {
    return this.#held.connection.id;
  }
  get remoteAddr(): NetAddr {
    return this.#held.connection.remoteAddr;
  }
  get clientId(): string {
    return this.#held.state.clientId;
  }
  get version(): MqttVersion {
    return this.#held.state.version || 4;
  }
  /** Bytes written and not yet acknowledged. */
  get bufferedBytes(): number {
    return this.#held.connection.bufferedBytes;
  }

  /**
   * Data kept with the connection and, while it sleeps, in its image: anything that CBOR can hold.
   * @throws {RangeError} When it is longer than `attachmentBytesMax`. {BadResource} When the connection sleeps.
   */
  get attachment(): A {
    return this.#held.keeping.attachment;
  }
  set attachment(value: A) {
    this.#held.keeping.attachment = value;
  }

  /**
   * Sends a message to this client.
   * @returns False when it was not sent: as many of QoS 1 and 2 as may be wait for its acknowledgement.
   * @throws {TypeError} When the topic is none. {BrokenPipe} {RangeError} As `Connection.write`.
   */
  publish({ topic, payload, qos = 0, retain = false, properties }: MqttMessage): boolean {
    const { state, keeping, connection } = this.#held;
    if (!isTopic(topic)) throw new TypeError(`"${topic}" is not a topic`);
    if (state.over) return true; // it is on its way out
    let messageId: number | undefined;
    if (qos > 0) {
      if (state.sent.length + state.released.length >= state.inFlightMax) return false;
      do {
        messageId = state.next;
        state.next = state.next === 0xffff ? 1 : state.next + 1;
      } while (state.sent.includes(messageId) || state.released.includes(messageId));
      state.sent.push(messageId);
    }
    const packet = {
      cmd: "publish",
      topic,
      payload: typeof payload === "string" ? payload : asBuffer(payload),
      qos,
      retain,
      dup: false,
      ...(messageId === undefined ? {} : { messageId }),
      ...(properties === undefined || state.version !== 5 ? {} : { properties }),
    } as IPublishPacket;
    connection.write(packetBytes(packet, this.version));
    if (qos > 0) keeping.state = packState(state);
    return true;
  }

  /** Ends the connection; a client of MQTT 5 is told why (section 2.4). Its will is not published. */
  disconnect(reasonCode = 0): void {
    const { state, connection, keeping } = this.#held;
    if (state.over) return;
    state.over = true;
    state.will = null;
    keeping.state = packState(state);
    if (state.version === 5) connection.write(packetBytes({ cmd: "disconnect", reasonCode } as Packet, 5));
    connection.close();
  }
}

/**
 * Serves MQTT 3.1.1 and 5 by handlers: while a client sleeps nothing of it is left in memory but its map slot; PINGREQ is
 * answered without waking the application. Packets are mqtt-packet's affair, which has to be installed beside this.
 *
 * A session is as long as its connection, and that lives through restarts: `sessionPresent` is never true. Who is silent
 * for longer than its keep-alive allows is asked by TCP's own keep-alive, which is sent asleep too, since pings that are
 * answered asleep are heard by nobody. No shared subscriptions, no subscription identifiers, no topic aliases, no AUTH.
 *
 * @throws {AddrInUse} {AddrNotAvailable} {TypeError} {RangeError} As `Host.serve`.
 * @example
 * ```ts
 * import { MemoryStore, pipe, SleepyHost } from "@torpor/torpor";
 * import { serveMqtt } from "@torpor/torpor/serve/mqtt/mqtt_server.ts";
 * const [link] = pipe();
 * using host = new SleepyHost({ interfaces: [{ link }], store: new MemoryStore() });
 * serveMqtt<{ heard: number }>(host, {
 *   port: 1883,
 *   connect: (client) => void (client.attachment = { heard: 0 }),
 *   publish: (client, message) => {
 *     client.attachment.heard++;
 *     client.publish({ topic: "echo", payload: message.payload });
 *   },
 * });
 * ```
 */
export function serveMqtt<A = unknown>(host: Host, options: MqttHandlers<A> & ListenOptions): MqttService<A> {
  return new MqttService(host, options);
}

/** A server of MQTT by handlers; its clients are reached by their ids, asleep or awake. */
export class MqttService<A> {
  readonly #host: Host;
  readonly #server: HandlerServer;
  readonly #handlers: MqttHandlers<A>;
  readonly #held = new WeakMap<Connection, Held<A>>();

  constructor(host: Host, options: MqttHandlers<A> & ListenOptions) {
    this.#host = host;
    this.#handlers = options;
    this.#server = host.serve({
      ...listenOptions(options),
      asleep: mqttPings(),
      data: (connection, bytes) => this.#data(connection, bytes),
      end: (connection) => connection.close(),
      close: (connection) => this.#closed(connection),
    });
  }

  get addr(): NetAddr {
    return this.#server.addr;
  }
  /** Ids of all connections, awake and asleep. */
  connections(): IterableIterator<string> {
    return this.#server.connections();
  }
  /** How many connections are awake. */
  get awake(): number {
    return this.#server.awake;
  }
  /** How often a ping was answered, and the application left alone. */
  get answers(): number {
    return this.#server.answers;
  }

  /**
   * Calls `action` with a client by its connection's id, at once when it is awake, else as soon as it is.
   * @returns False when there is no such connection. One that has not said CONNECT yet is left alone.
   */
  with(id: string, action: (client: MqttClient<A>) => void): boolean {
    return this.#server.with(id, (connection) => {
      const held = this.#hold(connection);
      if (held.state.version !== 0 && !held.state.over) action(new MqttClient(held));
    });
  }

  /**
   * What is attached to each client, without waking anybody: who wants what, after a restart.
   * @throws {TypeError} When the host's connections do not sleep, or an attachment is of a version that nothing migrates.
   */
  attachments(): IterableIterator<[id: string, attachment: A]> {
    return attachments(this.#host, this.connections(), [KeptBy.mqtt], this.#handlers);
  }

  /** Takes no new connections. Those that there are live on, and sleeping ones come back to these handlers. */
  close(): void {
    this.#server.close();
  }
  [Symbol.dispose](): void {
    this.close();
  }

  #hold(connection: Connection): Held<A> {
    let held = this.#held.get(connection);
    if (held === undefined) {
      const keeping = new Keeping<A>(connection, this.#handlers, KeptBy.mqtt);
      held = { connection, keeping, state: unpackState(keeping.state) };
      this.#held.set(connection, held);
    }
    return held;
  }

  #data(connection: Connection, bytes: Uint8Array): void {
    const held = this.#hold(connection);
    const { state, keeping } = held;
    if (state.over) return;
    try {
      let rest = bytes;
      while (rest.length > 0) {
        const whole = this.#gather(state, rest);
        if (whole === undefined) break;
        rest = whole.rest;
        this.#packet(held, whole.packet);
        if (state.over) break;
      }
    } catch (error) {
      if (!(error instanceof MqttError)) throw error;
      this.#refuse(held, error);
    }
    keeping.check();
    keeping.state = packState(state);
  }

  /** The next whole packet, and what comes behind it. What is not whole is kept. */
  #gather(state: MqttState, bytes: Uint8Array): { packet: Uint8Array; rest: Uint8Array } | undefined {
    const { packetBytesMax = PACKET_BYTES_MAX } = this.#handlers;
    if (state.part === null) {
      const length = packetLength(bytes);
      if (length !== undefined && length > packetBytesMax) throw tooBig(packetBytesMax);
      if (length !== undefined && bytes.length >= length) {
        return { packet: bytes.subarray(0, length), rest: bytes.subarray(length) };
      }
      state.part = bytes.slice();
      state.bytes = bytes.length;
      return undefined;
    }
    let used = 0;
    for (;;) { // the length first, byte by byte, then all that belongs to it
      const length = packetLength(state.part.subarray(0, state.bytes));
      if (length !== undefined && length > packetBytesMax) throw tooBig(packetBytesMax);
      const missing = length === undefined ? 1 : length - state.bytes;
      if (missing === 0) {
        const packet = state.part.subarray(0, state.bytes);
        state.part = null;
        state.bytes = 0;
        return { packet, rest: bytes.subarray(used) };
      }
      const some = Math.min(missing, bytes.length - used);
      if (some === 0) return undefined;
      append(state, bytes.subarray(used, used + some));
      used += some;
    }
  }

  #packet(held: Held<A>, bytes: Uint8Array): void {
    const { state, connection } = held;
    const first = bytes[0]! >>> 4;
    if ((state.version === 0) !== (first === 1)) {
      throw new MqttError(Reason.protocolError, "CONNECT comes once, and first"); // sections 3.1.0-1 and 3.1.0-2
    }
    const packet = readPacket(bytes, state.version || 4);
    const send = (answer: Packet): boolean => connection.write(packetBytes(answer, state.version || 4));
    switch (packet.cmd) {
      case "connect":
        return this.#connect(held, packet);
      case "publish":
        return this.#publish(held, packet, send);
      case "pubrel": {
        const at = state.got.indexOf(packet.messageId!);
        if (at >= 0) state.got.splice(at, 1);
        return void send({ cmd: "pubcomp", messageId: packet.messageId! } as Packet);
      }
      case "puback":
        return take(state.sent, packet.messageId!);
      case "pubrec":
        take(state.sent, packet.messageId!);
        if ("reasonCode" in packet && (packet.reasonCode as number) >= 0x80) return; // it will not have it
        if (!state.released.includes(packet.messageId!)) state.released.push(packet.messageId!);
        return void send({ cmd: "pubrel", messageId: packet.messageId! } as Packet);
      case "pubcomp":
        return take(state.released, packet.messageId!);
      case "subscribe":
        return this.#subscribe(held, packet, send);
      case "unsubscribe":
        return this.#unsubscribe(held, packet, send);
      case "pingreq":
        return void send({ cmd: "pingresp" });
      case "disconnect":
        return this.#disconnect(held, packet);
      default:
        throw new MqttError(Reason.protocolError, `A client sends no ${packet.cmd}`);
    }
  }

  #connect(held: Held<A>, packet: IConnectPacket): void {
    const { state, connection } = held;
    const version = (packet.protocolVersion ?? 4) as MqttVersion;
    const refuse = (code: number, code5: number): void => {
      const code4 = version === 5 ? {} : { returnCode: code };
      connection.write(
        packetBytes(
          { cmd: "connack", sessionPresent: false, reasonCode: code5, ...code4 } as Packet,
          version,
        ),
      );
      state.over = true;
      state.version = 0; // nobody hears that it is gone
      connection.close();
    };
    const { clientId, clean = true, keepalive = 0, username, password, will, properties } = packet;
    if (clientId === "" && version < 5 && !clean) return refuse(2, Reason.badClientId); // section 3.1.3-8
    if (will !== undefined && !isTopic(will.topic)) return refuse(5, Reason.badTopic);
    state.version = version;
    state.clientId = clientId === "" ? `auto-${connection.id}` : clientId;
    state.inFlightMax = Math.min(properties?.receiveMaximum ?? IN_FLIGHT_MAX, IN_FLIGHT_MAX);
    state.will = will === undefined ? null : {
      topic: will.topic,
      payload: typeof will.payload === "string" ? will.payload : Uint8Array.from(will.payload),
      qos: (will.qos ?? 0) as QoS,
      retain: will.retain ?? false,
    };
    const client = new MqttClient(held);
    const refusal = this.#handlers.connect?.(client, {
      clientId: state.clientId,
      version,
      clean,
      keepAlive: keepalive,
      username,
      password: password === undefined ? undefined : Uint8Array.from(password),
      will: state.will ?? undefined,
    });
    if (refusal) {
      state.will = null;
      return refuse(...REFUSALS[refusal]);
    }
    if (keepalive > 0) {
      connection.setKeepAlive(true, keepalive * KEEP_ALIVE_FACTOR * 1_000, PROBE_INTERVAL_MS, PROBES);
    }
    const properties5 = {
      sessionExpiryInterval: 0,
      maximumPacketSize: this.#handlers.packetBytesMax ?? PACKET_BYTES_MAX,
      sharedSubscriptionAvailable: false,
      subscriptionIdentifiersAvailable: false,
      ...(clientId === "" ? { assignedClientIdentifier: state.clientId } : {}),
    };
    const accepted = version === 5 ? { reasonCode: 0, properties: properties5 } : { returnCode: 0 };
    connection.write(packetBytes({ cmd: "connack", sessionPresent: false, ...accepted } as Packet, version));
  }

  #publish(held: Held<A>, packet: IPublishPacket, send: (answer: Packet) => boolean): void {
    const { state } = held;
    const { topic, qos, retain, messageId } = packet;
    if (!isTopic(topic) || packet.properties?.topicAlias !== undefined) {
      throw new MqttError(topic === "" ? Reason.protocolError : Reason.badTopic, "A topic that is none");
    }
    if (qos > 0 && !messageId) throw new MqttError(Reason.protocolError, "A message without its number"); // 2.3.1-1
    if (qos < 2 || !state.got.includes(messageId!)) {
      if (qos === 2 && state.got.length >= IN_FLIGHT_MAX) {
        throw new MqttError(Reason.quotaExceeded, "Too many messages that are not released");
      }
      const payload = Uint8Array.from(typeof packet.payload === "string" ? [] : packet.payload);
      this.#handlers.publish(new MqttClient(held), {
        topic,
        payload,
        qos: qos as QoS,
        retain,
        properties: packet.properties ?? {},
      });
      if (qos === 2) state.got.push(messageId!);
    }
    if (qos > 0) send({ cmd: qos === 1 ? "puback" : "pubrec", messageId: messageId! } as Packet);
  }

  #subscribe(held: Held<A>, packet: ISubscribePacket, send: (answer: Packet) => boolean): void {
    const client = new MqttClient(held);
    const v5 = held.state.version === 5;
    if (packet.properties?.subscriptionIdentifier !== undefined) {
      throw new MqttError(Reason.subscriptionIdsNotSupported, "Subscription identifiers are not known here");
    }
    const granted: MqttSubscription[] = [];
    const codes = packet.subscriptions.map(({ topic, qos, nl = false, rap = false, rh = 0 }) => {
      if (!isFilter(topic)) return v5 ? Reason.badFilter : 0x80;
      if (topic.startsWith("$share/")) return v5 ? Reason.sharedNotSupported : 0x80;
      const wanted = {
        filter: topic,
        qos: qos as QoS,
        noLocal: nl,
        retainAsPublished: rap,
        retainHandling: rh,
      };
      const answer = this.#handlers.subscribe?.(client, wanted) ?? "refused";
      if (answer === "refused") return v5 ? Reason.notAuthorized : 0x80;
      granted.push({ ...wanted, qos: Math.min(answer, qos) as QoS });
      return Math.min(answer, qos);
    });
    send({ cmd: "suback", messageId: packet.messageId!, granted: codes } as Packet);
    for (const subscription of granted) this.#handlers.subscribed?.(client, subscription);
  }

  #unsubscribe(held: Held<A>, packet: IUnsubscribePacket, send: (answer: Packet) => boolean): void {
    const client = new MqttClient(held);
    for (const filter of packet.unsubscriptions) this.#handlers.unsubscribe?.(client, filter);
    const granted = packet.unsubscriptions.map(() => 0);
    send({ cmd: "unsuback", messageId: packet.messageId!, granted } as Packet);
  }

  #disconnect({ state, connection }: Held<A>, packet: IDisconnectPacket): void {
    state.over = true;
    if (packet.reasonCode !== 4) state.will = null; // 4: goodbye, and with the will (section 3.14.2.1)
    connection.close();
  }

  #refuse(held: Held<A>, error: MqttError): void {
    const { state, connection } = held;
    const { version } = state;
    state.over = true;
    if (version === 5) {
      connection.write(packetBytes({ cmd: "disconnect", reasonCode: error.reasonCode } as Packet, 5));
    } else if (version === 0 && /protocol ?version/i.test(error.message)) {
      connection.write(packetBytes({ cmd: "connack", returnCode: 1, sessionPresent: false } as Packet, 4)); // 3.1.2-2
    }
    connection.close();
  }

  #closed(connection: Connection): void {
    if (connection.attachment === undefined) return; // it has said nothing
    const held = this.#hold(connection);
    const { state } = held;
    if (state.version === 0) return;
    state.over = true;
    this.#handlers.close?.(new MqttClient(held), state.will ?? undefined);
  }
}

const REFUSALS: Readonly<Record<MqttRefusal, [number, number]>> = {
  notAuthorized: [5, Reason.notAuthorized],
  badCredentials: [4, Reason.badCredentials],
  unavailable: [3, Reason.unavailable],
};

function tooBig(bytes: number): MqttError {
  return new MqttError(Reason.tooBig, `A packet has at most ${bytes} bytes`);
}

function take(list: number[], value: number): void {
  const at = list.indexOf(value);
  if (at >= 0) list.splice(at, 1);
}

function append(state: MqttState, bytes: Uint8Array): void {
  const end = state.bytes + bytes.length;
  if (end > state.part!.length) {
    const grown = new Uint8Array(Math.max(end, 2 * state.part!.length));
    grown.set(state.part!.subarray(0, state.bytes));
    state.part = grown;
  }
  state.part!.set(bytes, state.bytes);
  state.bytes = end;
}
