import mqtt from "mqtt";
import type { StackSocket } from "../../net/socket/stack_socket.ts";

/** A client of mqtt.js that has connected by a socket of ours, and neither pings nor connects again. */
export function mqttClient(connect: () => StackSocket, clientId: string): Promise<mqtt.MqttClient> {
  return new Promise((resolve, reject) => {
    const made = new mqtt.MqttClient(() => connect() as never, {
      clientId,
      keepalive: 0,
      reconnectPeriod: 0,
      manualConnect: true,
    });
    made.once("connect", () => resolve(made)).once("error", reject);
    made.connect();
  });
}
