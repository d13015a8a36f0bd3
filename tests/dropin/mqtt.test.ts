import { Aedes } from "aedes";
import type mqtt from "mqtt";
import { expect, onTestFinished, test } from "vitest";
import { nodeServer } from "../../net/socket/stack_socket.ts";
import { mqttClient } from "./mqtt_client.ts";
import { sleepyPair } from "./world.ts";

test("mqtt.js and aedes: a broker and two clients that sleep between their messages", async () => {
  const { server, connect, sleep } = sleepyPair();
  const broker = await Aedes.createBroker();
  nodeServer(server.listen({ port: 1883 }), (socket) => void broker.handle(socket as never));
  const [sensor, screen] = await Promise.all(
    ["sensor", "screen"].map((name) => mqttClient(() => connect(1883), name)),
  ) as [
    mqtt.MqttClient,
    mqtt.MqttClient,
  ];
  onTestFinished(async () => {
    await Promise.all([sensor.endAsync(true), screen.endAsync(true)]);
    await new Promise<void>((resolve) => broker.close(() => resolve()));
  });
  await screen.subscribeAsync("temperature", { qos: 1 });
  for (const text of ["21", "22", "x".repeat(50_000)]) {
    await sleep(2);
    const heard = new Promise((resolve) =>
      screen.once("message", (_topic, payload) => resolve(`${payload}`))
    );
    await sensor.publishAsync("temperature", text, { qos: 1 });
    expect(await heard).toBe(text);
  }
});
