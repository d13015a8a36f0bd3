import type { Slab } from "../../base/slab.ts";
import { Drop } from "../wire/drop.ts";
import { type Ipv4Record, PROTOCOL_UDP } from "../wire/ipv4.ts";
import { finishUdpChecksum, UDP_HEADER_LENGTH, UdpRecord, writeUdp } from "../wire/udp.ts";
import type { TransportOutput } from "../tcp/tcp.ts";

/** A datagram that waits to be read. */
export interface Datagram {
  readonly address: number;
  readonly port: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Bytes that a socket may hold unread, headers of the queue counted; Linux's default is 212,992. */
export const UDP_QUEUE_BYTES_MAX = 212_992;
/** Bytes in one datagram: what its IPv4 packet's length can count. */
export const UDP_DATA_MAX = 65_507;
/** What a datagram costs beside its bytes, so that empty ones are bounded too. */
const DATAGRAM_OVERHEAD_BYTES = 128;

/** A bound UDP port: plain data, read by the socket layer. */
export class UdpSocket {
  readonly id: number;
  /** Local address (int32), 0 for all. */
  readonly address: number;
  readonly port: number;
  readonly queue: Datagram[] = [];
  queuedBytes = 0;
  drops = 0;

  constructor(id: number, address: number, port: number) {
    this.id = id;
    this.address = address;
    this.port = port;
  }

  /** The oldest datagram, removed from the queue. */
  shift(): Datagram | undefined {
    const datagram = this.queue.shift();
    if (datagram !== undefined) this.queuedBytes -= datagram.bytes.length + DATAGRAM_OVERHEAD_BYTES;
    return datagram;
  }
}

/** The UDP of one stack (RFC 768, RFC 1122 section 4.1). */
export class Udp {
  readonly #sockets = new Map<number, UdpSocket[]>();
  readonly #output: TransportOutput;
  readonly #record: UdpRecord = new UdpRecord();
  readonly #readable: UdpSocket[] = [];
  #nextId = 0;

  constructor(output: TransportOutput) {
    this.#output = output;
  }

  /** @returns The socket, or `undefined` when address and port are taken. */
  bind(address: number, port: number): UdpSocket | undefined {
    const others = this.#sockets.get(port) ?? [];
    if (others.some((other) => other.address === address)) return undefined;
    const socket = new UdpSocket(this.#nextId++, address, port);
    this.#sockets.set(port, address === 0 ? [...others, socket] : [socket, ...others]);
    return socket;
  }

  unbind(socket: UdpSocket): void {
    const others = (this.#sockets.get(socket.port) ?? []).filter((other) => other !== socket);
    if (others.length === 0) this.#sockets.delete(socket.port);
    else this.#sockets.set(socket.port, others);
  }

  find(address: number, port: number): UdpSocket | undefined {
    for (const socket of this.#sockets.get(port) ?? []) {
      if (socket.address === address || socket.address === 0) return socket;
    }
    return undefined;
  }

  /** Queues a datagram that has passed all checks. */
  input(ip: Ipv4Record, record: UdpRecord, slab: Slab): Drop {
    const socket = this.find(ip.destination, record.destinationPort);
    if (socket === undefined) return Drop.UdpNoSocket;
    const bytes = slab.bytes.slice(record.dataStart, record.dataEnd);
    const cost = bytes.length + DATAGRAM_OVERHEAD_BYTES;
    if (socket.queuedBytes + cost > UDP_QUEUE_BYTES_MAX) {
      socket.drops++;
      return Drop.UdpQueueFull;
    }
    socket.queue.push({ address: ip.source, port: record.sourcePort, bytes });
    socket.queuedBytes += cost;
    this.#readable.push(socket);
    return Drop.None;
  }

  /**
   * Sends one datagram, in fragments when the path carries no more (RFC 1122 section 3.3.3: that is IP's
   * choice, not ours); false when it is longer than a datagram can be or was dropped on the way.
   */
  send(
    local: number,
    localPort: number,
    remote: number,
    remotePort: number,
    bytes: Uint8Array,
    nowMs: number,
  ): boolean {
    const { slab, transportStart } = this.#output;
    if (bytes.length > UDP_DATA_MAX) return false;
    const fits = bytes.length + UDP_HEADER_LENGTH + 20 <= this.#output.mtuTowards(remote);
    this.#record.sourcePort = localPort;
    this.#record.destinationPort = remotePort;
    const dataStart = writeUdp(this.#record, slab, transportStart, bytes.length);
    slab.bytes.set(bytes, dataStart);
    const end = dataStart + bytes.length;
    finishUdpChecksum(slab, transportStart, end, local, remote);
    return this.#output.sendTransport(PROTOCOL_UDP, local, remote, end, 0, 64, nowMs, fits);
  }

  get hasEvents(): boolean {
    return this.#readable.length > 0;
  }

  /** Tells once per socket that it has datagrams. */
  drainEvents(readable: (socket: UdpSocket) => void): void {
    const sockets = new Set(this.#readable.splice(0));
    for (const socket of sockets) readable(socket);
  }
}
