import { Prng } from "../../base/random.ts";
import type { Slab } from "../../base/slab.ts";
import { RecordState } from "../../net/connections/connection_map.ts";
import type { CapturedPacket } from "../../net/link/pcapng_reader.ts";
import type { Stack } from "../../net/stack.ts";
import type { TcpConfig } from "../../net/tcp/config.ts";
import { type Tcb, TcpEvent } from "../../net/tcp/tcb.ts";
import { canWrite } from "../../net/tcp/user.ts";
import type { UdpSocket } from "../../net/udp/udp.ts";
import { parseIpv4 } from "../../net/wire/address.ts";
import { formatIpv6, parseIpv6 } from "../../net/wire/ipv6_address.ts";
import { TCP_HEADER_LENGTH, TcpFlag } from "../../net/wire/tcp.ts";
import { CapturedIp, type CapturedTcp } from "./captured_packet.ts";
import { Recorder, type RecorderOptions } from "./recorder.ts";

/** How a capture is fed to a stack. */
export interface CaptureOptions extends Pick<RecorderOptions, "write" | "about"> {
  /** The addresses of the host whose place the stack takes. */
  readonly host: readonly string[];
  readonly tcp?: Partial<TcpConfig>;
}

/** What became of a capture. */
export interface CaptureFed {
  /** What happened, as if it had been recorded; closed. */
  readonly recorder: Recorder;
  /** Packets for the host, fed to the stack. */
  readonly fed: number;
  /** Packets of the host, which tell what its applications did. */
  readonly followed: number;
  /** Packets of others, and what is no IP. */
  readonly skipped: number;
  /** Packets for the host that the capture cut short, as tcpdump -s does: not fed. */
  readonly cut: number;
  /** Packets that the stack has sent. */
  readonly sent: number;
  /** Connections whose beginning is in the capture, and all others. */
  readonly connections: number;
  readonly unbegun: number;
}

/** A connection as the capture has it, beside the stack's own. */
interface Followed {
  readonly remote: string;
  readonly remotePort: number;
  readonly local: string;
  readonly localPort: number;
  /** The first sequence number and timestamp of the captured host, and of our stack. */
  theirs: { iss: number; stamp: number | undefined } | undefined;
  ours: { iss: number; stamp: number | undefined } | undefined;
  /** Bytes of the host's stream that its application is known to have written. */
  written: number;
  /** Those that our stack has not taken yet. */
  readonly pending: Uint8Array[];
  finished: boolean;
}

/** Unless the host says by its MSS that its link carries more. */
const MTU_MIN = 1_500;
const MTU_MAX = 65_535;
const BACKLOG = 1 << 16;
const READ_BYTES = 1 << 16;
/** Turns at one moment; a stack that wants more is left to the next packet. */
const TURNS_MAX = 1_000;

/**
 * Feeds what a capture has for one host to a stack in its place, at the capture's times. The stack listens on the
 * ports that SYNs go to and connects, writes and closes where the captured host did. Sequence numbers and
 * timestamps that peers acknowledge are translated to the stack's own, and checksums are computed anew.
 */
export function feedCapture(packets: Iterable<CapturedPacket>, options: CaptureOptions): CaptureFed {
  const all: { ip: CapturedIp; timeMs: number }[] = [];
  let skipped = 0;
  for (const packet of packets) {
    const ip = CapturedIp.of(packet);
    if (ip === undefined) skipped++;
    else all.push({ ip, timeMs: packet.timeMs });
  }
  const feeder = new Feeder(
    options,
    all[0]?.timeMs ?? 0,
    mtuOf(all.map(({ ip }) => ip), options.host.map(canonical)),
  );
  feeder.listen(all.map(({ ip }) => ip));
  for (const { ip, timeMs } of all) feeder.take(ip, timeMs);
  return feeder.finish(skipped);
}

/** Whose place a stack could take: the addresses that SYNs go to, or else all that packets go to; the busiest first. */
export function hostsOf(packets: Iterable<CapturedPacket>): string[] {
  const servers = new Map<string, number>(), others = new Map<string, number>();
  for (const packet of packets) {
    const ip = CapturedIp.of(packet);
    if (ip === undefined) continue;
    const { tcp, destination } = ip;
    const counts = tcp?.has(TcpFlag.SYN) && !tcp.has(TcpFlag.ACK) ? servers : others;
    counts.set(destination, (counts.get(destination) ?? 0) + 1);
  }
  const busiest = servers.size > 0 ? servers : others;
  return [...busiest].sort(([, a], [, b]) => b - a).map(([address]) => address);
}

/** What the host's link carries, as its SYNs say. */
function mtuOf(packets: readonly CapturedIp[], host: readonly string[]): number {
  let mtu = MTU_MIN;
  for (const { tcp, at, source } of packets) {
    if (!tcp?.has(TcpFlag.SYN) || !host.includes(source)) continue;
    mtu = Math.max(mtu, (tcp.mss ?? 0) + at + TCP_HEADER_LENGTH);
  }
  return Math.min(mtu, MTU_MAX);
}

class Feeder {
  readonly #recorder: Recorder;
  readonly #stack: Stack;
  readonly #host: ReadonlySet<string>;
  readonly #connections = new Map<string, Followed>();
  readonly #active = new Set<Followed>(); // with something to write or to close
  readonly #unbegun = new Set<string>();
  readonly #sockets = new Map<string, UdpSocket>();
  readonly #buffer = new Uint8Array(READ_BYTES);
  #nowMs: number;
  #deadlineMs = Infinity;
  #fed = 0;
  #followed = 0;
  #skipped = 0;
  #cut = 0;
  #sent = 0;

  constructor({ host, tcp, ...options }: CaptureOptions, startMs: number, mtu: number) {
    this.#host = new Set(host.map(canonical));
    this.#nowMs = startMs;
    this.#recorder = new Recorder(options);
    this.#stack = this.#recorder.stack({
      nowMs: startMs,
      entropy: new Prng(1),
      ...(tcp === undefined ? {} : { tcp }),
    });
    this.#stack.upcalls = {
      tcpEvents: (tcb, events) => this.#tcpEvents(tcb, events),
      udpReadable: (socket) => {
        while (this.#stack.udp.take(socket) !== undefined);
      },
      tcpSuspended() {},
      tcpRestored() {},
    };
    const link = {
      medium: "ip",
      mtu,
      send: (slab: Slab, start: number, end: number) => this.#sending(slab.bytes.slice(start, end)),
      flush() {},
    } as const;
    this.#stack.addInterface({ name: "capture", link });
    this.#stack.setRoutes({
      addresses: host.map((address) => ({ address: `${address}/${address.includes(":") ? 128 : 32}` })),
      routes: [{ destination: "0.0.0.0/0" }, { destination: "::/0" }],
    });
  }

  /** Whom the capture shows to be listening. */
  listen(packets: readonly CapturedIp[]): void {
    const { addresses, tcp: { listeners }, udp } = this.#stack;
    for (const { tcp, udp: datagram, source, destination } of packets) {
      if (tcp?.has(TcpFlag.SYN) && !tcp.has(TcpFlag.ACK) && this.#host.has(destination)) {
        const address = addresses.parse(destination)!;
        if (listeners.find(address, tcp.destinationPort) === undefined) {
          listeners.add(address, tcp.destinationPort, BACKLOG);
        }
      }
      if (datagram === undefined || !this.#host.has(source)) continue;
      const place = `${source} ${datagram.sourcePort}`; // who sends from a port hears there
      if (this.#sockets.has(place)) continue;
      const socket = udp.bind(addresses.parse(source)!, datagram.sourcePort);
      if (socket !== undefined) this.#sockets.set(place, socket);
    }
  }

  take(ip: CapturedIp, timeMs: number): void {
    this.#advance(timeMs);
    const forUs = this.#host.has(ip.destination);
    const fromUs = this.#host.has(ip.source);
    if (forUs && !fromUs) this.#feed(ip);
    else if (fromUs && !forUs) this.#follow(ip);
    else this.#skipped++;
    this.#turn();
  }

  finish(skipped: number): CaptureFed {
    this.#recorder.close();
    return {
      recorder: this.#recorder,
      fed: this.#fed,
      followed: this.#followed,
      skipped: skipped + this.#skipped,
      cut: this.#cut,
      sent: this.#sent,
      connections: this.#connections.size,
      unbegun: this.#unbegun.size,
    };
  }

  #advance(timeMs: number): void {
    for (let turns = 0; this.#deadlineMs <= timeMs && turns < TURNS_MAX; turns++) {
      this.#nowMs = Math.max(this.#nowMs, this.#deadlineMs);
      this.#turn();
    }
    this.#nowMs = Math.max(this.#nowMs, timeMs); // captures of several queues may step back
  }

  #turn(): void {
    for (const followed of this.#active) this.#write(followed);
    this.#deadlineMs = this.#stack.poll(this.#nowMs);
  }

  #feed(ip: CapturedIp): void {
    if (ip.cut) {
      this.#cut++;
      return;
    }
    const { tcp } = ip;
    if (tcp !== undefined) this.#translate(ip, tcp);
    ip.finishChecksums();
    this.#fed++;
    this.#stack.receive(0, ip.slab, 0, ip.slab.bytes.length, this.#nowMs);
  }

  #translate(ip: CapturedIp, tcp: CapturedTcp): void {
    const key = keyOf(ip.source, tcp.sourcePort, ip.destination, tcp.destinationPort);
    if (tcp.has(TcpFlag.SYN) && !tcp.has(TcpFlag.ACK)) {
      const known = this.#connections.get(key);
      if (known?.theirs === undefined || known.finished) {
        this.#connections.set(key, followedOf(ip, tcp, true));
      }
      return;
    }
    const followed = this.#connections.get(key);
    if (followed === undefined) {
      this.#unbegun.add(key);
      return;
    }
    if (!tcp.has(TcpFlag.ACK) || followed.ours === undefined) return;
    followed.theirs ??= { iss: (tcp.acknowledgment - 1) | 0, stamp: tcp.timestamps?.echo }; // its SYN-ACK was missed
    const { ours, theirs } = followed;
    tcp.translate((ours.iss - theirs.iss) | 0, ((ours.stamp ?? 0) - (theirs.stamp ?? 0)) | 0);
    const tcb = this.#tcbOf(followed);
    if (tcb !== undefined) tcp.acknowledgeAtMost(tcb.sndMax); // the captured host may have been faster
  }

  /** What the captured host sends tells what its applications have done. */
  #follow(ip: CapturedIp): void {
    this.#followed++;
    const { tcp, udp } = ip;
    if (udp !== undefined) {
      const socket = this.#sockets.get(`${ip.source} ${udp.sourcePort}`);
      const remote = this.#stack.addresses.parse(ip.destination);
      const local = this.#stack.addresses.parse(ip.source);
      if (socket === undefined || remote === undefined || local === undefined) return;
      this.#stack.udp.send(local, udp.sourcePort, remote, udp.destinationPort, udp.data, this.#nowMs, socket);
    }
    if (tcp === undefined) return;
    const key = keyOf(ip.destination, tcp.destinationPort, ip.source, tcp.sourcePort);
    let followed = this.#connections.get(key);
    if (tcp.has(TcpFlag.SYN)) {
      if (!tcp.has(TcpFlag.ACK)) {
        if (followed !== undefined && !followed.finished) return; // it goes again
        this.#connections.set(key, followed = followedOf(ip, tcp, false));
        followed.theirs = { iss: tcp.sequence, stamp: tcp.timestamps?.value };
        return this.#connect(followed);
      }
      if (followed !== undefined) followed.theirs ??= { iss: tcp.sequence, stamp: tcp.timestamps?.value };
      return;
    }
    if (followed?.theirs === undefined) return;
    if (tcp.has(TcpFlag.RST)) {
      const tcb = this.#tcbOf(followed);
      if (tcb !== undefined) this.#stack.calls.abort(this.#stack.tcp, tcb, this.#nowMs);
      followed.finished = true;
      return;
    }
    const offset = (tcp.sequence - followed.theirs.iss - 1) | 0;
    const { data } = tcp;
    if (!ip.cut && offset <= followed.written && offset + data.length > followed.written) {
      followed.pending.push(data.slice(followed.written - offset));
      followed.written = offset + data.length;
    }
    if (tcp.has(TcpFlag.FIN) && offset + data.length === followed.written) followed.finished = true;
    if (followed.pending.length > 0 || followed.finished) this.#active.add(followed);
  }

  #connect(followed: Followed): void {
    const { addresses, calls, tcp } = this.#stack;
    const local = addresses.parse(followed.local)!, remote = addresses.parse(followed.remote)!;
    calls.connect(tcp, local, followed.localPort, remote, followed.remotePort, this.#nowMs);
  }

  /** Writes what the captured application has written, and closes where it has. */
  #write(followed: Followed): void {
    const tcb = this.#tcbOf(followed);
    if (tcb === undefined || !canWrite(tcb)) return;
    const { calls, tcp } = this.#stack;
    while (followed.pending.length > 0) {
      const bytes = followed.pending[0]!;
      const count = calls.send(tcp, tcb, bytes, 0, bytes.length);
      if (count < bytes.length) {
        followed.pending[0] = bytes.subarray(count);
        return;
      }
      followed.pending.shift();
    }
    this.#active.delete(followed);
    if (followed.finished) calls.shutdown(tcp, tcb);
  }

  #tcbOf({ local, localPort, remote, remotePort }: Followed): Tcb | undefined {
    const { addresses, connections } = this.#stack;
    const record = connections.find(addresses.parse(local)!, addresses.parse(remote)!, localPort, remotePort);
    return record >= 0 && connections.state(record) === RecordState.awake
      ? this.#stack.awakeTcb(record)
      : undefined;
  }

  #tcpEvents(tcb: Tcb, events: number): void {
    const { calls, tcp } = this.#stack;
    const entry = tcp.listeners.byId(tcb.listener);
    if ((events & TcpEvent.established) !== 0 && entry !== undefined) tcp.listeners.taken(entry);
    if ((events & TcpEvent.closed) !== 0) return;
    while (calls.receive(tcp, tcb, this.#buffer, 0, READ_BYTES) > 0);
  }

  #sending(bytes: Uint8Array<ArrayBuffer>): boolean {
    this.#sent++;
    const ip = CapturedIp.of({ bytes, linkType: 101 } as CapturedPacket);
    const tcp = ip?.tcp;
    if (tcp?.has(TcpFlag.SYN)) {
      const followed = this.#connections.get(
        keyOf(ip!.destination, tcp.destinationPort, ip!.source, tcp.sourcePort),
      );
      if (followed !== undefined) followed.ours = { iss: tcp.sequence, stamp: tcp.timestamps?.value };
    }
    return true;
  }
}

function followedOf({ source, destination }: CapturedIp, tcp: CapturedTcp, incoming: boolean): Followed {
  const { sourcePort, destinationPort } = tcp;
  return {
    remote: incoming ? source : destination,
    remotePort: incoming ? sourcePort : destinationPort,
    local: incoming ? destination : source,
    localPort: incoming ? destinationPort : sourcePort,
    theirs: undefined,
    ours: undefined,
    written: 0,
    pending: [],
    finished: false,
  };
}

function keyOf(remote: string, remotePort: number, local: string, localPort: number): string {
  return `${remote} ${remotePort} ${local} ${localPort}`;
}

/** An address as packets' are written. @throws {TypeError} */
function canonical(text: string): string {
  if (parseIpv4(text) !== undefined) return text;
  const words = parseIpv6(text);
  if (words === undefined) throw new TypeError(`"${text}" is no address`);
  return formatIpv6(...words);
}
