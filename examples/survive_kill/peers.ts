import { connect, type Socket } from "node:net";
import { Host, type Link, type TcpConn } from "../../mod.ts";
import { NETWORK, serverAddressOf } from "./talk.ts";

/** One connection of the client. */
export interface Peer {
  /** Says `bytes` and waits for as many in answer. */
  exchange(bytes: Uint8Array): Promise<Uint8Array>;
  close(): void;
}

/** Connections of a host of our own, on the other end of `link`. */
export function userspacePeers(link: Link): (index: number) => Promise<Peer> {
  const host = new Host({
    interfaces: [{ link }],
    addresses: [{ address: `${NETWORK.clientAddress}/${NETWORK.prefixLength}` }],
    routes: [{ destination: NETWORK.serverSubnet, gateway: NETWORK.serverAddress }],
  });
  return async (index) => {
    const conn: TcpConn = await host.connect({ hostname: serverAddressOf(index), port: NETWORK.port });
    conn.setNoDelay();
    return { exchange: (bytes) => exchange(conn, bytes), close: () => conn.close() };
  };
}

async function exchange(conn: TcpConn, bytes: Uint8Array): Promise<Uint8Array> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
  const answer = new Uint8Array(bytes.length);
  for (let at = 0; at < answer.length;) {
    const count = await conn.read(answer.subarray(at));
    if (count === null) throw new Error(`the connection ended after ${at} of ${answer.length} bytes`);
    at += count;
  }
  return answer;
}

/** A connection of the kernel's. */
export function kernelPeer(address: string): Promise<Peer> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect({ host: address, port: NETWORK.port });
    let answer = new Uint8Array(0);
    let filled = 0;
    let ended: Error | undefined;
    let settle: { resolve: (answer: Uint8Array) => void; reject: (error: Error) => void } | undefined;
    const end = (error: Error): void => {
      ended ??= error;
      settle?.reject(ended);
      reject(ended);
    };
    socket.setNoDelay(true);
    socket.on("error", end);
    socket.on("close", () => end(new Error("the connection has been closed")));
    socket.on("data", (bytes: Uint8Array) => {
      if (filled + bytes.length > answer.length) return end(new Error("more came than was asked for"));
      answer.set(bytes, filled);
      filled += bytes.length;
      if (filled === answer.length) settle?.resolve(answer);
    });
    socket.once("connect", () => {
      resolve({
        exchange: (bytes) =>
          new Promise((resolve, reject) => {
            if (ended !== undefined) return reject(ended);
            settle = { resolve, reject };
            answer = new Uint8Array(bytes.length);
            filled = 0;
            socket.write(bytes);
          }),
        close: () => socket.end(),
      });
    });
  });
}
