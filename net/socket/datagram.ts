import { UDP_DATA_MAX, UdpError, type UdpReport, type UdpSocket } from "../udp/udp.ts";
import { isIpv6Handle, isMulticast, isUnspecified } from "../wire/address.ts";
import { ipHeaderLength } from "../wire/ipv6.ts";
import { UDP_HEADER_LENGTH } from "../wire/udp.ts";
import { addressOf, checkPort, netAddr } from "./address.ts";
import {
  BadResource,
  ConnectionRefused,
  HostUnreachable,
  Interrupted,
  NetworkUnreachable,
} from "./errors.ts";
import type { Host } from "./host.ts";
import type { Hold } from "./liveness.ts";
import { Memberships } from "./memberships.ts";
import { throwLater } from "./throw_later.ts";
import type {
  ConnectedUdpConn,
  DatagramOptions,
  MulticastV4Membership,
  MulticastV6Membership,
  NetAddr,
  UdpConn,
} from "./types.ts";

type SocketWishes = Pick<DatagramOptions, "dontFragment" | "onError" | "loopback">;
type Received = [Uint8Array<ArrayBuffer>, NetAddr];
type Receiver = { resolve: (received: Received) => void; reject: (error: Error) => void };

/**
 * `Deno.DatagramConn` over a UDP socket of the stack.
 *
 * As on Linux, a connected socket's next `receive` or `send` rejects with what ICMP says of an earlier
 * datagram, port unreachable above all; an unconnected socket is not told, unless it has an `onError`: it
 * talks to many, and nothing says whom the next `receive` is about. Datagrams beyond the queue's 212,992
 * bytes are dropped and counted.
 */
export class Datagrams implements UdpConn {
  readonly addr: NetAddr;
  readonly #host: Host;
  readonly #socket: UdpSocket;
  readonly #unbind: () => void;
  readonly #onError: DatagramOptions["onError"];
  readonly #memberships: Memberships;
  readonly #waiting: Receiver[] = [];
  readonly #hold: Hold;
  #closed = false;

  constructor(host: Host, socket: UdpSocket, options: SocketWishes, unbind: () => void) {
    this.#host = host;
    this.#socket = socket;
    this.#unbind = unbind;
    this.#onError = options.onError?.bind(options);
    host.stack.udp.configure(socket, {
      wantsReports: this.#onError !== undefined,
      dontFragment: options.dontFragment ?? false,
      groupLoopback: options.loopback ?? false,
    });
    this.#hold = host.liveness.open();
    this.#memberships = new Memberships(host, socket);
    this.addr = this.addrOf({ address: socket.address, port: socket.port });
  }

  async receive(p?: Uint8Array): Promise<Received> {
    if (this.#closed) throw new BadResource("Socket has been closed");
    this.#throwReport();
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
    const remote = this.#remoteOf(addr.hostname);
    checkPort(addr.port, 0);
    if (addr.port === 0) throw new TypeError("Port 0 is nobody's: Invalid argument (os error 22)");
    this.#throwReport();
    const { stack, clock } = this.#host;
    const { address } = this.#socket;
    const source = isUnspecified(address) || isMulticast(address)
      ? stack.output.sourceTowards(remote)
      : address;
    if (source === undefined || isIpv6Handle(source) !== isIpv6Handle(remote)) {
      throw new NetworkUnreachable(`Cannot send to ${addr.hostname}: no route`);
    }
    const room = this.#socket.dontFragment ? this.payloadMax(addr.hostname) : UDP_DATA_MAX;
    if (p.byteLength > room) {
      throw new RangeError(
        `Cannot send ${p.byteLength} bytes to ${addr.hostname}: a datagram ${
          room < UDP_DATA_MAX ? `there holds ${room}` : `holds at most ${room}`
        }`,
      );
    }
    stack.udp.send(source, this.#socket.port, remote, addr.port, p, clock.nowMs(), this.#socket);
    this.#host.kick();
    return p.byteLength;
  }

  payloadMax(hostname: string): number {
    const remote = this.#remoteOf(hostname);
    const mtu = this.#host.stack.output.mtuTowards(remote);
    return Math.min(mtu - ipHeaderLength(remote) - UDP_HEADER_LENGTH, UDP_DATA_MAX);
  }

  /**
   * Joins an IPv4 group on the interface that has the address `networkInterface`, or that name; "0.0.0.0"
   * stands for the one that the route says. Closing the socket leaves its groups.
   */
  // deno-lint-ignore require-await -- errors are rejections, as Deno's are
  async joinMulticastV4(address: string, networkInterface: string): Promise<MulticastV4Membership> {
    if (this.#closed) throw new BadResource("Socket has been closed");
    return this.#memberships.joinV4(address, networkInterface);
  }
  /**
   * Joins an IPv6 group on the interface with that number, from 0. Closing the socket leaves its groups.
   */
  // deno-lint-ignore require-await -- errors are rejections, as Deno's are
  async joinMulticastV6(address: string, networkInterface: number): Promise<MulticastV6Membership> {
    if (this.#closed) throw new BadResource("Socket has been closed");
    return this.#memberships.joinV6(address, networkInterface);
  }

  close(): void {
    if (this.#closed) throw new BadResource("Bad resource ID");
    this.hostClosed();
  }

  hostClosed(): void {
    this.#closed = true;
    this.#hold.close();
    this.#memberships.leaveAll();
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

  /** Datagrams or reports have arrived. */
  readable(): void {
    while (this.#onError !== undefined || this.#waiting.length > 0) {
      const report = this.#host.stack.udp.takeReport(this.#socket);
      if (report === undefined) break;
      if (this.#onError === undefined) this.#waiting.shift()!.reject(this.#errorOf(report));
      else this.#tell(report, this.#onError);
    }
    while (this.#waiting.length > 0) {
      const received = this.#shift();
      if (received === undefined) return;
      this.#waiting.shift()!.resolve(received);
    }
  }

  #tell(report: UdpReport, onError: NonNullable<DatagramOptions["onError"]>): void {
    try {
      onError(this.#errorOf(report), this.addrOf(report));
    } catch (mistake) {
      throwLater(mistake); // the turn has others to tell yet
    }
  }

  #throwReport(): void {
    const report = this.#onError === undefined ? this.#host.stack.udp.takeReport(this.#socket) : undefined;
    if (report !== undefined) throw this.#errorOf(report);
  }

  #shift(): Received | undefined {
    const datagram = this.#host.stack.udp.take(this.#socket);
    if (datagram === undefined) return undefined;
    return [datagram.bytes, this.addrOf(datagram)];
  }

  /** An end as this socket sees it. */
  protected addrOf({ address, port }: { readonly address: number; readonly port: number }): NetAddr {
    return netAddr("udp", address, port, this.#socket.address, this.#host.stack.addresses);
  }

  #errorOf(report: UdpReport): Error {
    return errorOf(report, this.addrOf(report));
  }

  #remoteOf(hostname: string): number {
    return addressOf(hostname, this.#host.stack.addresses);
  }
}

/** A datagram socket with one peer. */
export class ConnectedDatagrams extends Datagrams implements ConnectedUdpConn {
  readonly remoteAddr: NetAddr;

  constructor(host: Host, socket: UdpSocket, options: SocketWishes, unbind: () => void) {
    super(host, socket, options, unbind);
    this.remoteAddr = this.addrOf({ address: socket.remoteAddress, port: socket.remotePort });
  }

  /** Sends one datagram to the peer; as with Linux, another address may be named. */
  override send(p: Uint8Array, addr: NetAddr = this.remoteAddr): Promise<number> {
    return super.send(p, addr);
  }
}

function errorOf(report: UdpReport, { hostname, port }: NetAddr): Error {
  const what = `A datagram to ${hostname}:${port} was not delivered`;
  switch (report.error) {
    case UdpError.Refused:
      return new ConnectionRefused(`${what}: connection refused`);
    case UdpError.NetworkUnreachable:
      return new NetworkUnreachable(`${what}: the network cannot be reached`);
    case UdpError.TooBig:
      return new RangeError(`${what}: the path carries packets of ${report.mtu} bytes`);
    default:
      return new HostUnreachable(`${what}: the host cannot be reached`);
  }
}
