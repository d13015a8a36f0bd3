import type { TcpOptions } from "../tcp/options.ts";
import type { WakePolicy } from "../wake/policy.ts";

/**
 * The shapes of Deno's networking API, so that code written against `Deno.listen` and `Deno.connect`
 * takes ours. A type test compares them with Deno's own declarations.
 */

export interface NetAddr {
  transport: "tcp" | "udp";
  hostname: string;
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
  close(): void;
  closeWrite(): Promise<void>;
  readonly localAddr: NetAddr;
  readonly remoteAddr: NetAddr;
  ref(): void;
  unref(): void;
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly writable: WritableStream<Uint8Array<ArrayBufferLike>>;
  setNoDelay(noDelay?: boolean): void;
  setKeepAlive(keepAlive?: boolean): void;
}

/** `Deno.TcpListener`. */
export interface TcpListener extends AsyncIterable<TcpConn>, Disposable {
  accept(): Promise<TcpConn>;
  close(): void;
  readonly addr: NetAddr;
  ref(): void;
  unref(): void;
  [Symbol.asyncIterator](): AsyncIterableIterator<TcpConn>;
}

/** `Deno.MulticastV4Membership`. */
export interface MulticastV4Membership {
  leave: () => Promise<void>;
  setLoopback: (loopback: boolean) => Promise<void>;
  setTTL: (ttl: number) => Promise<void>;
}

/** `Deno.MulticastV6Membership`. */
export interface MulticastV6Membership {
  leave: () => Promise<void>;
  setLoopback: (loopback: boolean) => Promise<void>;
}

/** `Deno.DatagramConn`. */
export interface DatagramConn extends AsyncIterable<[Uint8Array<ArrayBuffer>, NetAddr]> {
  joinMulticastV4(address: string, networkInterface: string): Promise<MulticastV4Membership>;
  joinMulticastV6(address: string, networkInterface: number): Promise<MulticastV6Membership>;
  receive(p?: Uint8Array): Promise<[Uint8Array<ArrayBuffer>, NetAddr]>;
  send(p: Uint8Array, addr: NetAddr): Promise<number>;
  close(): void;
  readonly addr: NetAddr;
  [Symbol.asyncIterator](): AsyncIterableIterator<[Uint8Array<ArrayBuffer>, NetAddr]>;
}

/** A datagram socket of a host: Deno's, and what the path carries. */
export interface UdpConn extends DatagramConn {
  /** Bytes of the longest datagram that goes to `hostname` in one piece, as far as is known now. */
  payloadMax(hostname: string): number;
}

/** A datagram socket with one peer: `Deno.DatagramConn` whose `send` needs no address. */
export interface ConnectedUdpConn extends UdpConn {
  readonly remoteAddr: NetAddr;
  send(p: Uint8Array, addr?: NetAddr): Promise<number>;
}

export interface DatagramOptions {
  /** 0 or absent: any free port. */
  port?: number;
  /** One of the host's addresses; "0.0.0.0" or absent: all of them. */
  hostname?: string;
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
  hostname: string;
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

export interface ConnectOptions {
  port: number;
  /** An address; absent: this host's own first address. */
  hostname?: string;
  transport?: "tcp";
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
  autoSelectFamilyAttemptDelay?: number;
}
