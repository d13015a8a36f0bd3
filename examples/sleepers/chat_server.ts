/** The chat's server: WebSockets whose room is in their attachment, that is in their image. */
import { serveHttp } from "../../serve/http/http_server.ts";
import { PORT } from "./crowd.ts";
import { runServer } from "./server.ts";

await runServer((host) => {
  const rooms = new Map<string, Set<string>>(); // who is in which, by the connections' ids
  const enter = (room: string, id: string): void => {
    const ids = rooms.get(room) ?? new Set();
    rooms.set(room, ids.add(id));
  };
  const server = serveHttp<string>(host, {
    port: PORT,
    tcpBacklog: 4_096,
    fetch(request, client) {
      client.attachment = new URL(request.url).searchParams.get("room") ?? "lobby";
      return client.upgrade();
    },
    webSocket: {
      open: (client) => enter(client.attachment, client.id),
      message(client, text) {
        for (const id of rooms.get(client.attachment) ?? []) server.send(id, text); // wakes who sleeps
      },
      close: (client) => void rooms.get(client.attachment)?.delete(client.id),
    },
  });
  for (const [id, room] of server.attachments()) enter(room, id); // of an earlier process; they sleep on
  return {
    get awake() {
      return server.awake;
    },
    get answers() {
      return server.answers;
    },
    known: () => [...rooms.values()].reduce((sum, ids) => sum + ids.size, 0),
  };
});
