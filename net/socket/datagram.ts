import type { UdpSocket } from "../udp/udp.ts";
import { formatIpv4, parseIpv4 } from "../wire/address.ts";
import { BadResource, HostUnreachable, Interrupted } from "./errors.ts";
import type { Host } from "./host.ts";
import type { DatagramConn, NetAddr } from "./types.ts";

type Received = [Uint8Array<ArrayBuffer>, NetAddr];
type Receiver = { resolve: (received: Received) => void; reject: (error: Error) => void };

/** `Deno.DatagramConn` over a UDP socket of the stack. */
export class Datagrams implements DatagramConn {
  readonly addr: NetAddr;
  readonly #host: Host;
  readonly #socket: UdpSocket;
  readonly #unbind: () => void;
  readonly #waiting: Receiver[] = [];
  #closed = false;

  constructor(host: Host, socket: UdpSocket, unbind: () => void) {
    this.#host = host;
    this.#socket = socket;
    this.#unbind = unbind;
    this.addr = { transport: "udp", hostname: formatIpv4(socket.address), port: socket.port };
  }

  async receive(p?: Uint8Array): Promise<Received> {
    if (this.#closed) throw new BadResource("Socket has been closed");
    const received = this.#shift() ??
      await new Promise<Received>((resolve, reject) => void this.#waiting.push({ resolve, reject }));
    if (p === undefined) return received;
    const count = Math.min(p.byteLength, received[0].byteLength); // the rest is cut, as everywhere
    p.set(received[0].subarray(0, count));
    return [p.subarray(0, count) as Uint8Array<ArrayBuffer>, received[1]];
  }

  send(p: Uint8Array, addr: NetAddr): Promise<number> {
    return new Promise((resolve) => {
      if (this.#closed) throw new BadResource("Socket has been closed");
      const remote = parseIpv4(addr.hostname);
      if (remote === undefined) throw new TypeError(`"${addr.hostname}" is not an IPv4 address`);
      const { stack, clock } = this.#host;
      const source = this.#socket.address || stack.output.sourceTowards(remote);
      if (source === undefined) throw new HostUnreachable(`Cannot send to ${addr.hostname}: no route`);
      const room = stack.output.mtuTowards(remote) - 28;
      if (p.byteLength > room) {
        throw new RangeError(
          `Cannot send ${p.byteLength} bytes to ${addr.hostname}: a datagram there holds ${room}`,
        );
      }
      stack.udp.send(source, this.#socket.port, remote, addr.port, p, clock.nowMs());
      this.#host.kick();
      resolve(p.byteLength);
    });
  }

  close(): void {
    if (this.#closed) throw new BadResource("Bad resource ID");
    this.#closed = true;
    this.#unbind();
    for (const { reject } of this.#waiting.splice(0)) reject(new Interrupted("operation canceled"));
  }

  async *[Symbol.asyncIterator](): AsyncIterableIterator<Received> {
    while (!this.#closed) {
      try {
        yield await this.receive();
      } catch (error) {
        if (this.#closed) return;
        throw error;
      }
    }
  }

  /** Datagrams have arrived. */
  readable(): void {
    while (this.#waiting.length > 0) {
      const received = this.#shift();
      if (received === undefined) return;
      this.#waiting.shift()!.resolve(received);
    }
  }

  #shift(): Received | undefined {
    const datagram = this.#socket.shift();
    if (datagram === undefined) return undefined;
    return [
      datagram.bytes,
      { transport: "udp", hostname: formatIpv4(datagram.address), port: datagram.port },
    ];
  }
}
