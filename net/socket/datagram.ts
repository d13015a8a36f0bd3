import { UDP_DATA_MAX, type UdpSocket } from "../udp/udp.ts";
import { formatIpv4, parseIpv4 } from "../wire/address.ts";
import { BadResource, Interrupted, NetworkUnreachable, NotSupported } from "./errors.ts";
import { checkPort } from "./address.ts";
import type { Host } from "./host.ts";
import type { DatagramConn, MulticastV4Membership, MulticastV6Membership, NetAddr } from "./types.ts";

type Received = [Uint8Array<ArrayBuffer>, NetAddr];
type Receiver = { resolve: (received: Received) => void; reject: (error: Error) => void };

/**
 * `Deno.DatagramConn` over a UDP socket of the stack.
 *
 * As on Linux, an unconnected socket is not told of ICMP errors: they are about one of the many that it
 * talks to, and nothing says whom the next `receive` is about. Datagrams beyond the queue's 212,992
 * bytes are dropped and counted.
 */
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

  /** Sends one datagram; what is lost on the way is lost, as UDP is. */
  // deno-lint-ignore require-await -- errors are rejections, as Deno's are
  async send(p: Uint8Array, addr: NetAddr): Promise<number> {
    if (this.#closed) throw new BadResource("Socket has been closed");
    const remote = parseIpv4(addr.hostname);
    if (remote === undefined) throw new TypeError(`"${addr.hostname}" is not an IPv4 address`);
    checkPort(addr.port, 1);
    const { stack, clock } = this.#host;
    const source = this.#socket.address || stack.output.sourceTowards(remote);
    if (source === undefined) throw new NetworkUnreachable(`Cannot send to ${addr.hostname}: no route`);
    if (p.byteLength > UDP_DATA_MAX) {
      throw new RangeError(
        `Cannot send ${p.byteLength} bytes to ${addr.hostname}: a datagram holds at most ${UDP_DATA_MAX}`,
      );
    }
    stack.udp.send(source, this.#socket.port, remote, addr.port, p, clock.nowMs());
    this.#host.kick();
    return p.byteLength;
  }

  joinMulticastV4(_address: string, _networkInterface: string): Promise<MulticastV4Membership> {
    return Promise.reject(new NotSupported("Cannot join a group: multicast is not implemented"));
  }
  joinMulticastV6(_address: string, _networkInterface: number): Promise<MulticastV6Membership> {
    return Promise.reject(new NotSupported("Cannot join a group: IPv6 is not implemented"));
  }

  close(): void {
    if (this.#closed) throw new BadResource("Bad resource ID");
    this.hostClosed();
  }

  hostClosed(): void {
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
