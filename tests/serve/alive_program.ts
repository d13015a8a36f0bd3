/**
 * A program that says what keeps it alive, for alive.test.ts: `alive_program.ts NETWORK CASE SOCKET`,
 * where SOCKET may be "tun" for the interface tor0. It prints "waits"
 * when it has nothing left to do but wait, and ends when nothing keeps it.
 */
import * as node from "node:net";
import process from "node:process";
import { openTun } from "../../net/link/tun.ts";
import { connectUnix } from "../../net/link/unix.ts";
import { Host } from "../../net/socket/host.ts";
import { StackSocket } from "../../net/socket/stack_socket.ts";
import { denoApi } from "../../serve/deno/deno_api.ts";
import { createStackServer } from "../../serve/node/server.ts";

const [network, kind, path] = process.argv.slice(2) as [string, string, string];
const ours = network === "ours" || network === "our net"
  ? new Host({
    interfaces: [{
      link: await (path === "tun" ? openTun({ name: "tor0" }) : connectUnix({ path, medium: "ip" })),
    }],
    addresses: [{ address: "10.0.0.1/24" }],
  })
  : undefined;
const hostname = ours === undefined ? "127.0.0.1" : "10.0.0.1";

if (network === "ours" || network === "Deno") await likeDeno();
else likeNode();

async function likeDeno(): Promise<void> {
  const { listen, connect } = ours === undefined
    ? (globalThis as unknown as { Deno: ReturnType<typeof denoApi> }).Deno
    : denoApi(ours);
  const listener = listen({ hostname, port: 0 });
  if (kind === "listener") {
    listener.accept().catch(() => {});
    listener.unref();
  } else if (kind === "again") {
    listener.accept().catch(() => {});
    listener.unref();
    listener.ref();
  } else {
    const accepting = listener.accept();
    const here = await connect({ hostname, port: listener.addr.port });
    const there = await accepting;
    listener.accept().catch(() => {});
    listener.unref();
    there.read(new Uint8Array(1)).catch(() => {});
    here.read(new Uint8Array(1)).catch(() => {});
    there.unref();
    if (kind === "connections") here.unref();
  }
  console.log("waits");
}

function likeNode(): void {
  const onConnection = (there: node.Socket): void => {
    there.resume().unref();
    if (kind === "connections") here!.unref();
    console.log("waits");
  };
  const server =
    (ours === undefined
      ? node.createServer(onConnection)
      : createStackServer(ours, onConnection as never)) as node.Server;
  let here: node.Socket | undefined;
  server.listen(0, hostname, () => {
    if (kind === "listener" || kind === "again") {
      server.unref();
      if (kind === "again") server.ref();
      console.log("waits");
      return;
    }
    const { port } = server.address() as node.AddressInfo;
    if (ours === undefined) here = node.connect(port, hostname);
    else {
      here = new StackSocket(ours) as never as node.Socket;
      here.connect({ port, host: hostname });
    }
    here.resume();
    server.unref();
  });
}
