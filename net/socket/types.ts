import type { TcpOptions } from "../tcp/options.ts";
import type { WakePolicy } from "../wake/policy.ts";

/**
 * The shapes of Deno's networking API, so that code written against `Deno.listen` and `Deno.connect`
 * takes ours. A type test compares them with Deno's own declarations.
 */

export interface NetAddr {
  /** TCP or UDP. */
  transport: "tcp" | "udp";
  /** An address, or a name that is looked up. */
  hostname: string;
  /** 0 to 65,535. */
  port: number;
}

/** `Deno.TcpConn`. */
export interface TcpConn extends Disposable {
  /**
   * Reads up to `p.byteLength` bytes.
   * @returns How many, or `null` at the end of the stream.
   */
  read(p: Uint8Array): Promise<number | null>;
  /** Writes from the start of `p`; resolves to how many bytes were taken, which may be fewer than all. */
  write(p: Uint8Array): Promise<number>;
  /** Closes it. */
  close(): void;
  /** Says that nothing more comes from here; reading goes on. */
  closeWrite(): Promise<void>;
  /** Our end. */
  readonly localAddr: NetAddr;
  /** The peer's end. */
  readonly remoteAddr: NetAddr;
  /** Does nothing: it keeps no process alive. */
  ref(): void;
  /** Does nothing: it keeps no process alive. */
  unref(): void;
  /** What the peer says. */
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  /** What is said to the peer. */
  readonly writable: WritableStream<Uint8Array<ArrayBufferLike>>;
  /** Sends what is written at once, or waits for more (Nagle's algorithm). */
  setNoDelay(noDelay?: boolean): void;
  /** Probes a silent peer, or does not. */
  setKeepAlive(keepAlive?: boolean): void;
}

/** `Deno.TcpListener`. */
export interface TcpListener extends AsyncIterable<TcpConn>, Disposable {
  /** The next connection. */
  accept(): Promise<TcpConn>;
  /** Closes it. */
  close(): void;
  /** Where it listens. */
  readonly addr: NetAddr;
  /** Does nothing: it keeps no process alive. */
  ref(): void;
  /** Does nothing: it keeps no process alive. */
  unref(): void;
  /** One after the other, until it is closed. */
  [Symbol.asyncIterator](): AsyncIterableIterator<TcpConn>;
}

/** `Deno.MulticastV4Membership`. */
export interface MulticastV4Membership {
  /** Ends the membership. */
  leave: () => Promise<void>;
  /** Whether what is sent to the group is heard here as well. */
  setLoopback: (loopback: boolean) => Promise<void>;
  /** How many routers what is sent to groups may pass. */
  setTTL: (ttl: number) => Promise<void>;
}

/** `Deno.MulticastV6Membership`. */
export interface MulticastV6Membership {
  /** Ends the membership. */
  leave: () => Promise<void>;
  /** Whether what is sent to the group is heard here as well. */
  setLoopback: (loopback: boolean) => Promise<void>;
}

/** `Deno.DatagramConn`. */
export interface DatagramConn extends AsyncIterable<[Uint8Array<ArrayBuffer>, NetAddr]> {
  /** Becomes a member of an IPv4 group on an interface. */
  joinMulticastV4(address: string, networkInterface: string): Promise<MulticastV4Membership>;
  /** Becomes a member of an IPv6 group on an interface. */
  joinMulticastV6(address: string, networkInterface: number): Promise<MulticastV6Membership>;
  /** The next datagram, and who has sent it. */
  receive(p?: Uint8Array): Promise<[Uint8Array<ArrayBuffer>, NetAddr]>;
  /** Sends a datagram; how many bytes it has. */
  send(p: Uint8Array, addr: NetAddr): Promise<number>;
  /** Closes it. */
  close(): void;
  /** Where it listens. */
  readonly addr: NetAddr;
  /** One after the other, until it is closed. */
  [Symbol.asyncIterator](): AsyncIterableIterator<[Uint8Array<ArrayBuffer>, NetAddr]>;
}

/** A datagram socket of a host: Deno's, and what the path carries. */
export interface UdpConn extends DatagramConn {
  /** Bytes of the longest datagram that goes to `hostname` in one piece, as far as is known now. */
  payloadMax(hostname: string): number;
}

/** A datagram socket with one peer: `Deno.DatagramConn` whose `send` needs no address. */
export interface ConnectedUdpConn extends UdpConn {
  /** The peer's end. */
  readonly remoteAddr: NetAddr;
  /** Sends a datagram; how many bytes it has. */
  send(p: Uint8Array, addr?: NetAddr): Promise<number>;
}

/** How a UDP port is bound: `Deno.listenDatagram`, and more. */
export interface DatagramOptions {
  /** 0 or absent: any free port. */
  port?: number;
  /** One of the host's addresses; "0.0.0.0" or absent: all of them. */
  hostname?: string;
  /** TCP or UDP. */
  transport?: "udp";
  /**
   * Sends nothing in fragments: what is longer than the path carries is refused with a `RangeError`, and when
   * the path turns out to carry less, that is an error of the socket's like the others.
   */
  dontFragment?: boolean;
  /**
   * Is told of ICMP errors about datagrams of this socket: `ConnectionRefused`, `NetworkUnreachable`,
   * `HostUnreachable`, or `RangeError` for what is too long. Then `receive` and `send` do not reject with them.
   */
  onError?(error: Error, addr: NetAddr): void;
  /** Shares the port with other sockets that say so: all of them get what is sent to a group. Default false. */
  reuseAddress?: boolean;
  /** Whether sockets of this host that are in a group get what this one sends to it. Default false. */
  loopback?: boolean;
}

/** How to connect a datagram socket: where to, and from where. */
export interface ConnectDatagramOptions extends Pick<DatagramOptions, "dontFragment" | "onError"> {
  /** An address, or a name that is looked up. */
  hostname: string;
  /** 0 to 65,535. */
  port: number;
  /** Default: any free one. */
  localPort?: number;
  /** One of the host's addresses; default: the one that the route says. */
  localHostname?: string;
}

/** Why delivery has become doubtful. The connection goes on trying (RFC 9293 sections 3.8.3 and 3.9.1.8). */
export interface Trouble {
  /** Retransmissions in a row without an answer. */
  retransmits: number;
  /** The last soft ICMP error about the connection, when there was one. */
  icmp: { type: number; code: number } | undefined;
}

/** How to listen: `Deno.listen`, and more. */
export interface ListenOptions {
  /** 0 or absent: any free port. */
  port?: number;
  /** One of the stack's addresses; "0.0.0.0" or absent: all IPv4 ones; "::": all of both families. */
  hostname?: string;
  /** Connections that may wait to be accepted. */
  tcpBacklog?: number;
  /** Taken for Deno's sake; a port of this host has one listener. */
  reusePort?: boolean;
  /**
   * Nothing that a peer of theirs has been told is ever forgotten: data is acknowledged when it is in the store, and
   * sent when it is there. `kill -9` and power failures then lose nothing in either direction, at the price of a sync
   * of the disk before each answer. Needs a host with a store, and goes without Fast Open. See `docs/durable.md`.
   */
  durable?: boolean;
  /** What holds for its connections, from their first packet on. */
  tcpOptions?: TcpOptions;
  /**
   * TCP Fast Open (RFC 7413): connections are accepted, with their first data, on the SYN of whoever was here before;
   * so many at a time, until their handshake is over. A SYN may come twice: only for requests that may come twice, too.
   */
  fastOpen?: number;
  /** What wakes its sleeping connections, and how many at a time. Default: all news, at once. */
  wake?: WakePolicy;
}

/** How to connect: `Deno.connect`, and more. */
export interface ConnectOptions {
  /** 0 to 65,535. */
  port: number;
  /** An address; absent: this host's own first address. */
  hostname?: string;
  /** TCP or UDP. */
  transport?: "tcp";
  /** The address of this host to connect from; absent: the one that the route says. */
  localHostname?: string;
  /** The port to connect from, 1 to 65,535; absent or 0: a free one. */
  localPort?: number;
  /** Ends the attempt; `connect` then rejects with the signal's reason. */
  signal?: AbortSignal;
  /** As `ListenOptions.durable`, from the SYN on. */
  durable?: boolean;
  /** What holds for the connection, from its SYN on. */
  tcpOptions?: TcpOptions;
  /**
   * First data, which travels in the SYN where the server allows it and we were there before (TCP Fast Open, RFC 7413).
   * It arrives like data written at once after `connect`, but the server may see it twice.
   */
  fastOpen?: Uint8Array;
  /** Taken for Deno's sake: an address is of one family. */
  autoSelectFamily?: boolean;
  /** Milliseconds between attempts at one address and the next. */
  autoSelectFamilyAttemptDelay?: number;
}
