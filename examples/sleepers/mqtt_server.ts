/** A broker of MQTT: what a client has subscribed to is in its attachment, that is in its image. */
import { matches } from "../../serve/mqtt/packets.ts";
import { serveMqtt } from "../../serve/mqtt/mqtt_server.ts";
import type { MqttMessage } from "../../serve/mqtt/state.ts";
import { PORT } from "./crowd.ts";
import { runServer } from "./server.ts";

await runServer((host) => {
  const exact = new Map<string, Set<string>>(); // filters without wildcards, which are most: looked up
  const wild = new Map<string, Set<string>>(); // and the others: gone through
  const retained = new Map<string, MqttMessage>();
  const indexOf = (filter: string) => /[+#]/.test(filter) ? wild : exact;
  const add = (filter: string, id: string): void => {
    const index = indexOf(filter);
    index.set(filter, (index.get(filter) ?? new Set()).add(id));
  };
  const remove = (filter: string, id: string): void => {
    const ids = indexOf(filter).get(filter);
    if (ids?.delete(id) && ids.size === 0) indexOf(filter).delete(filter);
  };
  const broadcast = (message: MqttMessage): void => {
    const ids = new Set(exact.get(message.topic));
    for (const [filter, those] of wild) {
      if (matches(filter, message.topic)) those.forEach((id) => ids.add(id));
    }
    for (const id of ids) {
      broker.with(id, (client) => {
        const qos = client.attachment.reduce(
          (most, [filter, granted]) => matches(filter, message.topic) ? Math.max(most, granted) : most,
          0,
        );
        client.publish({ ...message, qos: Math.min(qos, message.qos ?? 0) as 0 | 1 | 2, retain: false });
      });
    }
  };
  const broker = serveMqtt<[filter: string, qos: number][]>(host, {
    port: PORT,
    tcpBacklog: 4_096,
    connect: (client) => void (client.attachment = []),
    publish(_client, message) {
      if (message.retain && message.payload.length === 0) retained.delete(message.topic);
      else if (message.retain) retained.set(message.topic, message);
      broadcast(message);
    },
    subscribe(client, { filter, qos }) {
      client.attachment = [...client.attachment.filter(([each]) => each !== filter), [filter, qos]];
      add(filter, client.id);
      return qos;
    },
    subscribed(client, { filter }) {
      for (const message of retained.values()) {
        if (matches(filter, message.topic)) client.publish({ ...message, retain: true });
      }
    },
    unsubscribe(client, filter) {
      client.attachment = client.attachment.filter(([each]) => each !== filter);
      remove(filter, client.id);
    },
    close(client, will) {
      for (const [filter] of client.attachment) remove(filter, client.id);
      if (will !== undefined) broadcast(will);
    },
  });
  for (const [id, filters] of broker.attachments()) for (const [filter] of filters) add(filter, id); // they sleep on
  return {
    get awake() {
      return broker.awake;
    },
    get answers() {
      return broker.answers;
    },
    known: () => [...exact.values(), ...wild.values()].reduce((sum, ids) => sum + ids.size, 0),
  };
});
