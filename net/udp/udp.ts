import type { Slab } from "../../base/slab.ts";
import { TurnQueue } from "../../base/turn_queue.ts";
import { Drop } from "../wire/drop.ts";
import type { AddressHolder } from "../ip/address_table.ts";
import { bindsClash, hears, isIpv6Handle, isMulticast, isUnspecified } from "../wire/address.ts";
import { type Ipv4Record, PROTOCOL_UDP } from "../wire/ipv4.ts";
import { ipHeaderLength } from "../wire/ipv6.ts";
import { UDP_HEADER_LENGTH, UdpRecord, writeUdp } from "../wire/udp.ts";
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

/** What an ICMP error says of a datagram that was sent. */
export const UdpError = {
  /** Nobody has that port. */
  Refused: 0,
  /** No way to the network; perhaps only for now. */
  NetworkUnreachable: 1,
  /** The host does not answer, or somebody on the way lets nothing through. */
  HostUnreachable: 2,
  /** Longer than the path carries, and not to be fragmented: `mtu` says what it carries. */
  TooBig: 3,
} as const;
export type UdpError = (typeof UdpError)[keyof typeof UdpError];

/** An ICMP error about a datagram of a socket's. */
export interface UdpReport {
  readonly error: UdpError;
  /** Whom the datagram was for. */
  readonly address: number;
  readonly port: number;
  /** Bytes of the largest IP packet that the path carries, for `TooBig`; else 0. */
  readonly mtu: number;
}

/** Reports that a socket keeps; the next are dropped, as the application does not look. */
export const UDP_REPORTS_MAX = 16;

/** A bound UDP port: plain data, read by the socket layer. */
export class UdpSocket {
  readonly id: number;
  /** Local address (int32), 0 for all IPv4 ones, `IPV6_ANY` for all of both families. */
  readonly address: number;
  readonly port: number;
  /** Whom it is connected to: the only one it hears. Port 0: anybody. */
  readonly remoteAddress: number;
  readonly remotePort: number;
  readonly queue: Datagram[] = [];
  readonly reports: UdpReport[] = [];
  queuedBytes = 0;
  /** Its owner will be told that there is something. */
  hasNews = false;
  drops = 0;
  /** Hears of every ICMP error. Without, as on Linux, a connected socket hears of the final ones, another of none. */
  wantsReports = false;
  /** Sends nothing in fragments, and is told what the path carries: Linux's IP_PMTUDISC_DO. */
  dontFragment = false;
  timeToLive = 64;
  /** The same for groups (RFC 1112 section 6.1: not beyond this link, unless asked). */
  groupTimeToLive = 1;
  /** Whether members of a group on this stack get what this socket sends to it. */
  groupLoopback = false;
  /** Shares its address and port with others that allow it as well (SO_REUSEADDR). */
  readonly shared: boolean;
  readonly #holder: AddressHolder;

  constructor(
    id: number,
    address: number,
    port: number,
    remoteAddress: number,
    remotePort: number,
    shared: boolean,
    holder: AddressHolder,
  ) {
    this.#holder = holder;
    this.id = id;
    this.address = address;
    this.port = port;
    this.remoteAddress = remoteAddress;
    this.remotePort = remotePort;
    this.shared = shared;
  }

  get connected(): boolean {
    return this.remotePort !== 0;
  }

  /** The oldest datagram, removed from the queue. */
  shift(): Datagram | undefined {
    const datagram = this.queue.shift();
    if (datagram !== undefined) {
      this.queuedBytes -= datagram.bytes.length + DATAGRAM_OVERHEAD_BYTES;
      this.#holder.release(datagram.address);
    }
    return datagram;
  }
}

/** What a socket may wish for. */
export type UdpWishes = Partial<
  Pick<
    UdpSocket,
    "wantsReports" | "dontFragment" | "timeToLive" | "groupTimeToLive" | "groupLoopback"
  >
>;

/** The UDP of one stack (RFC 768, RFC 1122 section 4.1). */
export class Udp {
  readonly #sockets = new Map<number, UdpSocket[]>();
  readonly #output: TransportOutput;
  readonly #holder: AddressHolder;
  readonly #record: UdpRecord = new UdpRecord();
  readonly #readable = new TurnQueue<UdpSocket>();
  #told: ((socket: UdpSocket) => void) | undefined;
  #nextId = 0;

  constructor(output: TransportOutput, holder: AddressHolder) {
    this.#output = output;
    this.#holder = holder;
  }

  /**
   * Binds a port; with a remote address and port, for one peer alone. Of several that share it the latest
   * hears what is sent to the host, and all of them what is sent to groups, as on Linux.
   * @returns The socket, or `undefined` when address and port are taken.
   */
  bind(
    address: number,
    port: number,
    remoteAddress = 0,
    remotePort = 0,
    shared = false,
  ): UdpSocket | undefined {
    const others = this.#sockets.get(port) ?? [];
    const mayShare = (other: UdpSocket): boolean => shared && other.shared;
    if (others.some((other) => bindsClash(other.address, address) && !mayShare(other))) return undefined;
    const id = this.#nextId++;
    const socket = new UdpSocket(id, address, port, remoteAddress, remotePort, shared, this.#holder);
    this.#holder.retain(address);
    this.#holder.retain(remoteAddress);
    const all = [socket, ...others]; // who wants one address goes before who wants all
    all.sort((a, b) => Number(isUnspecified(a.address)) - Number(isUnspecified(b.address)));
    this.#sockets.set(port, all);
    return socket;
  }

  unbind(socket: UdpSocket): void {
    while (socket.shift() !== undefined);
    this.#holder.release(socket.address);
    this.#holder.release(socket.remoteAddress);
    const others = (this.#sockets.get(socket.port) ?? []).filter((other) => other !== socket);
    if (others.length === 0) this.#sockets.delete(socket.port);
    else this.#sockets.set(socket.port, others);
  }

  /** Takes over what is named. */
  configure(socket: UdpSocket, wishes: UdpWishes): void {
    Object.assign(socket, wishes);
  }

  /** The oldest datagram, removed from the socket's queue. */
  take(socket: UdpSocket): Datagram | undefined {
    return socket.shift();
  }
  /** The oldest report of an ICMP error, likewise. */
  takeReport(socket: UdpSocket): UdpReport | undefined {
    return socket.reports.shift();
  }

  /** The socket for what `remote` sends to `address`, or has sent back from there. */
  find(address: number, port: number, remote: number, remotePort: number): UdpSocket | undefined {
    const sockets = this.#sockets.get(port);
    if (sockets === undefined) return undefined;
    for (const socket of sockets) {
      if (!hears(socket.address, address)) continue;
      if (!socket.connected || (socket.remoteAddress === remote && socket.remotePort === remotePort)) {
        return socket;
      }
    }
    return undefined;
  }

  /**
   * An ICMP error about a datagram that `socket` sent (RFC 1122 section 4.1.3.3).
   * @param hard It will not pass by itself.
   */
  report(socket: UdpSocket, report: UdpReport, hard: boolean): void {
    const heard = socket.wantsReports || (socket.connected && hard);
    if (!heard || socket.reports.length >= UDP_REPORTS_MAX) return;
    socket.reports.push(report);
    this.#news(socket);
  }

  /** Queues a datagram that has passed all checks. */
  input(ip: Ipv4Record, record: UdpRecord, slab: Slab): Drop {
    const socket = this.find(ip.destination, record.destinationPort, ip.source, record.sourcePort);
    return socket === undefined ? Drop.UdpNoSocket : this.#queue(socket, ip, record, slab);
  }

  /** As `input`, for a datagram to a group or to everyone: all who listen there get it. */
  inputGroup(ip: Ipv4Record, record: UdpRecord, slab: Slab): Drop {
    let result: Drop = Drop.UdpNoSocket;
    for (const socket of this.#sockets.get(record.destinationPort) ?? []) {
      const { remoteAddress, remotePort } = socket;
      if (!hears(socket.address, ip.destination)) continue;
      if (socket.connected && (remoteAddress !== ip.source || remotePort !== record.sourcePort)) continue;
      result = this.#queue(socket, ip, record, slab);
    }
    return result;
  }

  #queue(socket: UdpSocket, ip: Ipv4Record, record: UdpRecord, slab: Slab): Drop {
    const bytes = slab.bytes.slice(record.dataStart, record.dataEnd);
    const cost = bytes.length + DATAGRAM_OVERHEAD_BYTES;
    if (socket.queuedBytes + cost > UDP_QUEUE_BYTES_MAX) {
      socket.drops++;
      return Drop.UdpQueueFull;
    }
    this.#holder.retain(ip.source);
    socket.queue.push({ address: ip.source, port: record.sourcePort, bytes });
    socket.queuedBytes += cost;
    this.#news(socket);
    return Drop.None;
  }

  /**
   * Sends one datagram, in fragments when the path carries no more (RFC 1122 section 3.3.3: that is IP's
   * choice, not ours); false when it is longer than a datagram can be or was dropped on the way. `socket`
   * may have wishes of its own.
   */
  send(
    local: number,
    localPort: number,
    remote: number,
    remotePort: number,
    bytes: Uint8Array,
    nowMs: number,
    socket?: UdpSocket,
  ): boolean {
    const { slab, transportStart } = this.#output;
    if (bytes.length > UDP_DATA_MAX) return false;
    const fits = bytes.length + UDP_HEADER_LENGTH + ipHeaderLength(remote) <= this.#output.mtuTowards(remote);
    this.#record.sourcePort = localPort;
    this.#record.destinationPort = remotePort;
    const dataStart = writeUdp(this.#record, slab, transportStart, bytes.length);
    slab.bytes.set(bytes, dataStart);
    const end = dataStart + bytes.length;
    if (!fits && socket?.dontFragment) return false;
    const group = isMulticast(remote) || (isIpv6Handle(remote) && !this.#output.isHost(remote));
    const timeToLive = group ? socket?.groupTimeToLive ?? 1 : socket?.timeToLive ?? 64;
    if (group && socket?.groupLoopback) this.#output.loopBack(PROTOCOL_UDP, local, remote, end);
    return this.#output.sendTransport(PROTOCOL_UDP, local, remote, end, 0, timeToLive, nowMs, fits);
  }

  /** Sends one datagram to everyone on an interface, even from nobody (0): for who has no address yet. */
  broadcast(
    interfaceIndex: number,
    local: number,
    localPort: number,
    remotePort: number,
    bytes: Uint8Array,
    nowMs: number,
  ): boolean {
    const { slab, transportStart } = this.#output;
    this.#record.sourcePort = localPort;
    this.#record.destinationPort = remotePort;
    const dataStart = writeUdp(this.#record, slab, transportStart, bytes.length);
    slab.bytes.set(bytes, dataStart);
    return this.#output.sendBroadcast(PROTOCOL_UDP, interfaceIndex, local, dataStart + bytes.length, nowMs);
  }

  get hasEvents(): boolean {
    return this.#readable.length > 0;
  }

  #news(socket: UdpSocket): void {
    if (socket.hasNews) return;
    socket.hasNews = true;
    this.#readable.push(socket);
  }

  /** Tells once per socket that it has datagrams or reports. */
  drainEvents(readable: (socket: UdpSocket) => void): void {
    this.#told = readable;
    this.#readable.drain(this.#tell);
  }

  readonly #tell = (socket: UdpSocket): void => {
    socket.hasNews = false;
    if (socket.queue.length + socket.reports.length > 0) this.#told!(socket);
  };
}
