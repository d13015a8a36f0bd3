import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { Buffer } from "node:buffer";
import { type AddressInfo, createServer } from "node:net";
import { promisify } from "node:util";
import mqtt from "mqtt";
import mqttPacket from "mqtt-packet";
import { expect, onTestFinished, test } from "vitest";
import type { TcpConn } from "../../net/socket/types.ts";
import { type MqttHandlers, type MqttService, serveMqtt } from "../../serve/mqtt/mqtt_server.ts";
import { isFilter, isTopic, matches, MqttError, readPacket } from "../../serve/mqtt/packets.ts";
import { type SleepyPair, sleepyPair } from "../dropin/world.ts";
import { SleepWorld } from "../checkpoint/sleep_world.ts";
import { judge } from "../support/judge.ts";

interface Kept {
  filters: [filter: string, qos: number][];
  heard: number;
}

/** A broker of a few lines: what each wants is in its own image. */
function broker(host: SleepyPair["server"], more: Partial<MqttHandlers<Kept>> & { durable?: boolean } = {}) {
  const log: string[] = [];
  const wants = new Map<string, Kept["filters"]>();
  const service: MqttService<Kept> = serveMqtt<Kept>(host, {
    port: 1883,
    connect(client, { clientId, password }) {
      if (password !== undefined && `${new TextDecoder().decode(password)}` !== "secret") {
        return "badCredentials";
      }
      log.push(`connect ${clientId} ${client.version}`);
      client.attachment = { filters: [], heard: 0 };
      return undefined;
    },
    publish(client, { topic, payload, qos, retain }) {
      client.attachment.heard++;
      log.push(`publish ${topic} ${qos} ${payload.length} (${client.attachment.heard})`);
      for (const [id, filters] of wants) {
        for (const [filter, granted] of filters) {
          if (!matches(filter, topic)) continue;
          service.with(id, (to) => {
            to.publish({ topic, payload, qos: Math.min(qos, granted) as 0, retain: false });
          });
        }
      }
      void retain;
    },
    subscribe(client, { filter, qos }) {
      if (filter === "forbidden") return "refused";
      client.attachment.filters.push([filter, qos]);
      wants.set(client.id, client.attachment.filters);
      return qos;
    },
    unsubscribe(client, filter) {
      client.attachment.filters = client.attachment.filters.filter(([each]) => each !== filter);
      wants.set(client.id, client.attachment.filters);
    },
    close: (client, will) => {
      wants.delete(client.id);
      log.push(`close ${client.clientId}${will === undefined ? "" : ` will ${will.topic}`}`);
    },
    packetBytesMax: 100_000,
    ...more,
  });
  return { service, log, wants };
}

for (const protocolVersion of [4, 5] as const) {
  test(`mqtt.js (version ${protocolVersion}): every QoS to and fro between clients that sleep in between`, async () => {
    const pair = sleepyPair();
    const { service, log } = broker(pair.server);
    const client = (clientId: string): Promise<mqtt.MqttClient> =>
      new Promise((resolve, reject) => {
        const made = new mqtt.MqttClient(() => pair.connect(1883) as never, {
          clientId,
          protocolVersion,
          keepalive: 0,
          reconnectPeriod: 0,
          manualConnect: true,
          will: { topic: `will/${clientId}`, payload: Buffer.from("gone"), qos: 0, retain: false },
        });
        made.once("connect", () => resolve(made)).once("error", reject);
        made.connect();
      });
    const [sensor, screen] = await Promise.all([client("sensor"), client("screen")]);
    onTestFinished(() => void screen.end(true));
    const granted = await screen.subscribeAsync({ "temperature/+": { qos: 2 }, "#": { qos: 0 } });
    expect(granted.map(({ topic, qos }) => [topic, qos])).toEqual([["temperature/+", 2], ["#", 0]]);
    await screen.unsubscribeAsync("#");
    for (const [qos, text] of [[0, "21"], [1, "22"], [2, "23"], [2, "x".repeat(50_000)]] as const) {
      await pair.sleep(2);
      const heard = new Promise((resolve) =>
        screen.once("message", (topic, payload, packet) => resolve([topic, `${payload}`, packet.qos]))
      );
      await sensor.publishAsync("temperature/kitchen", text, { qos });
      expect(await heard).toEqual(["temperature/kitchen", text, qos]);
    }
    await pair.sleep(2);
    const answers = service.answers;
    (sensor as unknown as { sendPing(): void }).sendPing();
    for (let turn = 0; service.answers === answers && turn < 500; turn++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(service.answers, "a ping was answered asleep").toBe(answers + 1);
    await sensor.endAsync();
    screen.stream.destroy();
    for (let turn = 0; log.at(-1) !== "close screen will will/screen" && turn < 500; turn++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(log.filter((line) => line.startsWith("close")).sort()).toEqual([
      "close screen will will/screen",
      "close sensor",
    ]);
  });
}

judge("mosquitto's clients, both versions, through sleep", ["mosquitto_sub", "mosquitto_pub"], async () => {
  const pair = sleepyPair();
  const { wants } = broker(pair.server);
  const door = createServer((kernel) => { // which know only the kernel's sockets
    const ours = pair.connect(1883);
    kernel.pipe(ours).pipe(kernel);
    kernel.on("error", () => ours.destroy());
    ours.on("error", () => kernel.destroy());
  });
  await new Promise<void>((resolve) => void door.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void door.close());
  const where = ["-h", "127.0.0.1", "-p", `${(door.address() as AddressInfo).port}`];
  for (const version of ["311", "5"]) {
    const about = ["-V", `mqttv${version}`, ...where, "-q", "2", "-t", `news/${version}`];
    const screen = spawn("mosquitto_sub", [...about, "-C", "2", "-v"]);
    onTestFinished(() => void screen.kill());
    const ended = once(screen, "close");
    let out = "";
    screen.stdout.on("data", (text) => out += text);
    const subscribed = (): boolean =>
      [...wants.values()].some((filters) => filters.some(([filter]) => filter === `news/${version}`));
    for (let turn = 0; !subscribed() && turn < 1_000; turn++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await pair.sleep();
    for (const text of ["one", "two"]) {
      await promisify(execFile)("mosquitto_pub", [...about, "-m", text]);
      if (text === "one") await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const [code] = await ended;
    expect([code, out.match(/^news\/\d+ \w+$/gm)]).toEqual([0, [
      `news/${version} one`,
      `news/${version} two`,
    ]]);
  }
  const refused = promisify(execFile)("mosquitto_pub", [
    ...where,
    "-t",
    "x",
    "-m",
    "y",
    "-u",
    "me",
    "-P",
    "wrong",
  ]);
  await expect(refused).rejects.toMatchObject({
    stderr: expect.stringMatching(/not authori|bad user name|refused/i),
  });
});

/** A client that says what the test wants, in virtual time. */
class Peer {
  readonly #world: SleepWorld;
  readonly #conn: TcpConn;
  readonly packets: mqttPacket.Packet[] = [];
  over = "";

  private constructor(world: SleepWorld, conn: TcpConn, protocolVersion: number) {
    this.#world = world;
    this.#conn = conn;
    const parser = mqttPacket.parser({ protocolVersion } as never);
    parser.on("packet", (packet: mqttPacket.Packet) => this.packets.push(packet));
    const buffer = new Uint8Array(65_536);
    void (async () => {
      for (let count; (count = await conn.read(buffer)) !== null;) {
        parser.parse(Buffer.from(buffer.subarray(0, count)));
      }
      this.over = "end";
    })().catch((error) => void (this.over = error.name));
  }

  static async connect(world: SleepWorld, version = 4): Promise<Peer> {
    const opening = world.client.connect({ hostname: "10.0.0.1", port: 1883 });
    await world.clock.advance(100);
    return new Peer(world, await opening, version);
  }

  async raw(bytes: Uint8Array): Promise<void> {
    await this.#conn.write(bytes);
    await this.#world.clock.advance(100);
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  async say(packet: object, protocolVersion = 4): Promise<void> {
    await this.raw(bytesOf(packet, protocolVersion));
  }
  /** What has come, in short. */
  take(): string[] {
    return this.packets.splice(0).map((packet) => {
      const { cmd, messageId, returnCode, reasonCode, payload } = packet as never as Record<string, unknown>;
      return [cmd, messageId, returnCode ?? reasonCode, payload].filter((each) => each !== undefined).join(
        " ",
      ).trimEnd();
    });
  }
}

function bytesOf(packet: object, protocolVersion = 4): Uint8Array {
  return mqttPacket.generate(packet as mqttPacket.Packet, { protocolVersion } as never);
}
const CONNECT = {
  cmd: "connect",
  clientId: "ann",
  protocolId: "MQTT",
  protocolVersion: 4,
  clean: true,
  keepalive: 0,
};
const publish = (qos: number, messageId?: number): object => ({
  cmd: "publish",
  topic: "a/b",
  payload: "hi",
  qos,
  retain: false,
  dup: false,
  messageId,
});

async function kill(world: SleepWorld): Promise<void> {
  await world.clock.advance(5_000);
  expect(world.process.host.counts, "asleep").toMatchObject({ awake: 0, waking: 0 });
  world.process.kill();
  world.start();
}

test("a packet sleeps in the middle of any of its bytes, and a QoS 2 exchange in the middle, through kill -9: once and whole", async () => {
  const stream = Uint8Array.from([
    ...bytesOf(CONNECT),
    ...bytesOf({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "a/#", qos: 2 }] }),
    ...bytesOf(publish(2, 7)),
    ...bytesOf(publish(2, 7)), // sent again
    ...bytesOf({ cmd: "pubrel", messageId: 7 }),
  ]);
  for (let cut = 1; cut < stream.length; cut += 9) {
    const world = new SleepWorld();
    world.start();
    const first = broker(world.process.host);
    const peer = await Peer.connect(world);
    await peer.raw(stream.subarray(0, cut));
    await kill(world);
    const second = broker(world.process.host);
    for (const [id, filters] of first.wants) second.wants.set(id, filters);
    await peer.raw(stream.subarray(cut));
    expect(peer.take().sort(), `cut at ${cut}`).toEqual(
      ["connack 0", "suback 1", "publish 1 hi", "pubrec 7", "pubrec 7", "pubcomp 7"].sort(),
    );
    expect([...first.log, ...second.log]).toEqual(["connect ann 4", "publish a/b 2 2 (1)"]);
    await kill(world); // our own message waits for its PUBREC
    broker(world.process.host);
    await peer.say({ cmd: "pubrec", messageId: 1 });
    expect(peer.take()).toEqual(["pubrel 1"]);
    await kill(world);
    broker(world.process.host);
    await peer.say({ cmd: "pubcomp", messageId: 1 });
    await peer.raw(Uint8Array.of(0xc0, 0));
    expect([peer.take(), peer.over]).toEqual([["pingresp"], ""]);
  }
});

test("what MQTT forbids ends the connection; MQTT 5 is told why", async () => {
  const cases: [name: string, said: (Uint8Array | object)[], heard: string[]][] = [
    ["no CONNECT", [Uint8Array.of(0xc0, 0)], []],
    ["CONNECT twice", [CONNECT, CONNECT], ["connack 0"]],
    ["a version that is none", [{ ...CONNECT, protocolVersion: 6 }], ["connack 1"]],
    ["no name and an old session", [Uint8Array.of(0x10, 12, 0, 4, 77, 81, 84, 84, 4, 0, 0, 0, 0, 0)], [
      "connack 2",
    ]],
    ["a wrong password", [{ ...CONNECT, username: "me", password: "wrong" }], ["connack 4"]],
    ["a wildcard in a topic", [CONNECT, Uint8Array.of(0x30, 4, 0, 1, 35, 65)], ["connack 0"]],
    ["a packet without its flags", [CONNECT, Uint8Array.of(0x80, 2, 0, 1)], ["connack 0"]],
    ["a length of five bytes", [CONNECT, Uint8Array.of(0x30, 0x80, 0x80, 0x80, 0x80, 1)], ["connack 0"]],
    ["a packet that is too long", [CONNECT, Uint8Array.of(0x30, 0xa1, 0x8d, 6)], ["connack 0"]],
    ["a string longer than its packet", [CONNECT, Uint8Array.of(0x30, 3, 0, 9, 65)], ["connack 0"]],
    ["a topic that is no UTF-8", [CONNECT, Uint8Array.of(0x30, 5, 0, 2, 0xc3, 0x28, 65)], ["connack 0"]],
    ["half a surrogate pair", [CONNECT, Uint8Array.of(0x30, 6, 0, 3, 0xed, 0xa0, 0x80, 65)], ["connack 0"]],
    ["a name with a NUL", [{ ...CONNECT, clientId: "a\0b" }], []],
    ["what only a server says", [CONNECT, Uint8Array.of(0xd0, 0)], ["connack 0"]],
  ];
  for (const [name, said, heard] of cases) {
    const world = new SleepWorld();
    world.start();
    broker(world.process.host);
    const peer = await Peer.connect(world);
    for (const each of said) {
      const bytes = each instanceof Uint8Array ? each : Buffer.from(bytesOf({ ...each, protocolVersion: 4 }));
      if ("protocolVersion" in each && each.protocolVersion === 6) bytes[8] = 6;
      await peer.raw(bytes);
    }
    await world.clock.advance(100);
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(peer.take(), name).toEqual(heard);
    expect(peer.over, name).toMatch(/^(end|ConnectionReset)$/);
  }
  const world = new SleepWorld();
  world.start();
  broker(world.process.host);
  const connect5 = { ...CONNECT, protocolVersion: 5, properties: { receiveMaximum: 2 } };
  const told = await Peer.connect(world, 5);
  await told.say(connect5, 5);
  await told.say({ cmd: "subscribe", messageId: 3, subscriptions: [{ topic: "$share/g/a", qos: 0 }] }, 5);
  await told.say({ cmd: "subscribe", messageId: 4, subscriptions: [{ topic: "forbidden", qos: 0 }] }, 5);
  expect((told.packets.slice(1) as { granted: number[] }[]).map(({ granted }) => granted[0])).toEqual([
    0x9e,
    0x87,
  ]);
  told.take();
  await told.raw(Uint8Array.of(0x30, 0xa1, 0x8d, 6));
  expect(told.take()).toEqual(["disconnect 149"]);
});

test("a client has so many messages in flight, as it says, and no more are sent to it", async () => {
  const world = new SleepWorld();
  world.start();
  const { service } = broker(world.process.host);
  const peer = await Peer.connect(world, 5);
  await peer.say({ ...CONNECT, protocolVersion: 5, properties: { receiveMaximum: 2 } }, 5);
  const sent: boolean[] = [];
  const [id] = [...service.connections()];
  for (let count = 0; count < 3; count++) {
    service.with(id!, (client) => sent.push(client.publish({ topic: "a", payload: `${count}`, qos: 1 })));
  }
  await world.clock.advance(100);
  await peer.say({ cmd: "puback", messageId: 1 }, 5);
  service.with(id!, (client) => sent.push(client.publish({ topic: "a", payload: "3", qos: 1 })));
  expect(sent).toEqual([true, true, false, true]);
  expect(() => service.with(id!, (client) => client.publish({ topic: "a/#", payload: "" }))).toThrow(
    TypeError,
  );
});

test("a silent client is asked by TCP when its keep-alive is over, asleep, and given up; then its will is told", async () => {
  const world = new SleepWorld();
  world.start();
  const { log } = broker(world.process.host);
  const peer = await Peer.connect(world);
  await peer.say({
    ...CONNECT,
    keepalive: 20,
    will: { topic: "will/ann", payload: "gone", qos: 0, retain: false },
  });
  await world.clock.advance(300_000);
  expect(log, "it answers").toEqual(["connect ann 4"]);
  world.client.close(); // which resets
  await world.clock.advance(120_000);
  expect(log).toEqual(["connect ann 4", "close ann will will/ann"]);
});

test("durable: a message of QoS 1 counts once for what was acknowledged, whenever the process is killed", async () => {
  const world = new SleepWorld();
  const start = () => {
    world.start({ idleMs: 1e9 });
    return broker(world.process.host, { durable: true });
  };
  start();
  const peer = await Peer.connect(world);
  await peer.say(CONNECT);
  for (let round = 1; round < 6; round++) {
    const { log } = round % 2 === 0 ? (world.process.kill(), start()) : { log: undefined };
    await peer.say(publish(1, round));
    expect(peer.take().at(-1)).toBe(`puback ${round}`);
    if (log !== undefined) expect(log).toEqual([`publish a/b 1 2 (${round})`]);
  }
});

test("text is UTF-8, in every place where MQTT has text (sections 1.5.3 and 1.5.4)", () => {
  const publish = (...topic: number[]): Uint8Array =>
    Uint8Array.of(0x30, 2 + topic.length, 0, topic.length, ...topic);
  expect(readPacket(publish(0xef, 0xbf, 0xbd, 0xc3, 0xa9), 4)).toMatchObject({ topic: "\ufffdé" }); // U+FFFD itself is text
  for (
    const wrong of [
      [0xff],
      [0xc3],
      [0xe2, 0x82],
      [0xc0, 0x80],
      [0xed, 0xa0, 0x80],
      [0xf4, 0x90, 0x80, 0x80],
      [97, 0],
    ]
  ) {
    expect(() => readPacket(publish(...wrong), 4), `${wrong}`).toThrow(MqttError);
  }
  const whole = {
    ...CONNECT,
    protocolVersion: 5,
    username: "ME",
    will: { topic: "WI", payload: Buffer.of(0xff), qos: 0, retain: false },
  };
  const connect = (properties: object): Buffer =>
    Buffer.from(bytesOf({ ...whole, clientId: "ID", properties }, 5));
  const properties = { userProperties: { NA: "VA" } };
  expect(readPacket(connect(properties), 4)).toMatchObject({ clientId: "ID", username: "ME" });
  for (const text of ["ID", "ME", "WI", "NA", "VA"]) {
    const bytes = connect(properties);
    bytes[bytes.indexOf(text)] = 0xff;
    expect(() => readPacket(bytes, 4), text).toThrow("Text that is not UTF-8");
  }
});

test("topics and filters (section 4.7)", () => {
  for (const topic of ["a", "/", "a//b", "$SYS/x", " "]) expect(isTopic(topic), topic).toBe(true);
  for (const topic of ["", "a+", "#", "a\0"]) expect(isTopic(topic), topic).toBe(false);
  for (const filter of ["#", "+", "a/#", "+/a/+", "/", "a/b"]) expect(isFilter(filter), filter).toBe(true);
  for (const filter of ["", "a#", "#/a", "a+", "a/b+/c", "\0"]) expect(isFilter(filter), filter).toBe(false);
  const cases: [filter: string, topic: string, fits: boolean][] = [
    ["sport/tennis/player1/#", "sport/tennis/player1", true],
    ["sport/tennis/player1/#", "sport/tennis/player1/ranking", true],
    ["sport/#", "sport", true],
    ["#", "a/b", true],
    ["sport/tennis/+", "sport/tennis/player1", true],
    ["sport/tennis/+", "sport/tennis/player1/ranking", false],
    ["sport/+", "sport", false],
    ["sport/+", "sport/", true],
    ["+/+", "/finance", true],
    ["/+", "/finance", true],
    ["+", "/finance", false],
    ["#", "$SYS/x", false],
    ["+/x", "$SYS/x", false],
    ["$SYS/#", "$SYS/x", true],
    ["a/b", "a/B", false],
  ];
  for (const [filter, topic, fits] of cases) expect(matches(filter, topic), `${filter} ${topic}`).toBe(fits);
});
