/**
 * A broker of MQTT with 100,000 subscribers to 1,000 topics, all asleep. One publishes, who subscribed is woken; PINGREQ
 * is answered and wakes nobody; then the broker is killed with -9, and the next process knows the subscriptions from the
 * images.
 */
import mqtt from "mqtt-packet";
import { show } from "./sleepers/show.ts";

function bytes(...packets: mqtt.Packet[]): Uint8Array {
  return Uint8Array.from(packets.flatMap((packet) => [...mqtt.generate(packet)]));
}

await show({
  name: "mqtt_broker",
  server: "../sleepers/mqtt_server.ts",
  hello: (index, topic) =>
    bytes(
      {
        cmd: "connect",
        clientId: `client${index}`,
        protocolId: "MQTT",
        protocolVersion: 4,
        clean: true,
        keepalive: 0,
      },
      { cmd: "subscribe", messageId: 1, subscriptions: [{ topic: `clock/${topic}`, qos: 0 }] },
    ),
  welcomed: (answer) => answer.length === 9, // CONNACK and SUBACK
  speak: (topic, text) =>
    bytes({ cmd: "publish", topic: `clock/${topic}`, payload: text, qos: 0, retain: false, dup: false }),
  ping: bytes({ cmd: "pingreq" }),
  isPong: (answer) => answer.length === 2 && answer[0] === 0xd0,
});
