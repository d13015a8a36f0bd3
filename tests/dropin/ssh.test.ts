import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { expect, onTestFinished, test } from "vitest";
import ssh2 from "ssh2";
import { nodeServer } from "../../net/socket/stack_socket.ts";
import { sleepyPair } from "./world.ts";

test("ssh2: a session over a connection that sleeps between its commands", async () => {
  const { server, connect, sleep } = sleepyPair();
  const { privateKey } = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    privateKeyEncoding: { type: "pkcs1", format: "pem" },
    publicKeyEncoding: { type: "pkcs1", format: "pem" },
  });
  const daemon = new ssh2.Server({ hostKeys: [privateKey] }, (client) => {
    client.on("authentication", (context) => context.accept());
    client.on("session", (accept) => {
      accept().on("exec", (acceptCommand, _reject, { command }) => {
        const stream = acceptCommand();
        stream.write(`ran ${command}`);
        stream.exit(0);
        stream.end();
      });
    });
    client.on("error", () => {});
  });
  nodeServer(server.listen({ port: 22 }), (socket) => void daemon.injectSocket(socket as never));
  const client = new ssh2.Client();
  onTestFinished(() => void client.destroy());
  client.connect({ sock: connect(22) as never, username: "somebody", password: "anything" });
  await once(client, "ready");
  const run = (command: string): Promise<string> =>
    new Promise((resolve, reject) => {
      client.exec(command, (error, stream) => {
        if (error) return reject(error);
        let text = "";
        stream.on("data", (piece: Uint8Array) => void (text += piece)).on("close", () => resolve(text));
      });
    });
  for (const command of ["one", "two"]) {
    expect(await run(command)).toBe(`ran ${command}`);
    await sleep();
  }
});
