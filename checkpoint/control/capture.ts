import { Slab } from "../../base/slab.ts";
import { RecordState } from "../../net/connections/connection_map.ts";
import { PcapngWriter } from "../../net/link/pcapng_writer.ts";
import type { PacketWatcher } from "../../net/socket/packet_watch.ts";
import { Drop, dropNames } from "../../net/wire/drop.ts";
import { ETHERNET_HEADER_LENGTH } from "../../net/wire/ethernet.ts";
import { Ipv4Record, PROTOCOL_TCP, readIpv4 } from "../../net/wire/ipv4.ts";
import { IPV6_HEADER_LENGTH } from "../../net/wire/ipv6.ts";
import type { SleepingHost } from "../sleeping_host.ts";
import { firewallCounts } from "../telemetry/families.ts";

/** A TCP segment's ends, seen from this host, and which connection's record that is, or -1. */
interface Segment {
  readonly localPort: number;
  readonly remotePort: number;
  readonly record: number;
}

/**
 * Records a running host's packets as pcapng, with what they meant as their comments: what they woke, why they were
 * dropped and by which rule, what was answered from the record of a sleeper. What is no packet, such as falling asleep,
 * stands between them as a line of syslog.
 */
export class Capture implements PacketWatcher {
  readonly #host: SleepingHost;
  readonly #writer: PcapngWriter;
  readonly #port: number | undefined;
  readonly #events: number;
  readonly #stop: (() => void)[] = [];
  /** Says how much of the capture waits to be read: with too much, packets are left out. */
  readonly #isFull: () => boolean;
  #missed = 0;
  /** The packet at hand: copied, because whoever reads it may change it. */
  #slab = Slab.of(2_048);
  #length = 0;
  #interface = 0;
  #atMs = 0;
  #wasAsleep = false;
  /** Frames that left in answer before it was judged: they come behind it. `undefined` between packets. */
  #answers: (() => void)[] | undefined;
  #rules: { rule: string; packets: number }[] = [];

  constructor(
    host: SleepingHost,
    write: (bytes: Uint8Array<ArrayBuffer>) => void,
    options: { readonly port?: number; readonly isFull?: () => boolean } = {},
  ) {
    this.#host = host;
    this.#port = options.port;
    this.#isFull = options.isFull ?? (() => false);
    this.#writer = new PcapngWriter(write);
    for (const { name, link } of host.stack.output.interfaces) this.#writer.addInterface(link.medium, name);
    this.#events = this.#writer.addEvents("torpor");
    const tell = (id: string, text: string): void => {
      if (this.#port === undefined || id.includes(`:${this.#port}-`)) this.event(`${id} ${text}`);
    };
    const suspended = ({ id, imageBytes }: { id: string; imageBytes: number }): void =>
      tell(id, `sleeps in ${imageBytes} bytes`);
    const restored = ({ id, reason }: { id: string; reason?: string }): void =>
      tell(id, reason === undefined ? "is awake" : `is awake, by ${reason}`);
    const lost = ({ id, error }: { id: string; error: Error }): void => tell(id, `is lost: ${error.message}`);
    const { sleeper } = host;
    sleeper.on("suspended", suspended).on("restored", restored).on("seenLost", lost);
    this.#stop.push(() =>
      void sleeper.off("suspended", suspended).off("restored", restored).off("seenLost", lost)
    );
    this.#stop.push(host.watchPackets(this));
    this.#writer.flush();
  }

  /** Lines of a TLS key log, by which what follows can be read. */
  secrets(keyLog: Uint8Array): void {
    this.#writer.secrets(keyLog);
    this.#writer.flush();
  }

  /** Something that happened. */
  event(text: string): void {
    if (this.#full()) return;
    this.#writer.event(this.#events, this.#host.clock.nowMs(), text);
    this.#writer.flush();
  }

  arrived(interfaceIndex: number, slab: Slab, start: number, end: number): void {
    this.#length = end - start;
    if (this.#slab.bytes.length < this.#length) this.#slab = Slab.of(this.#length);
    this.#slab.bytes.set(slab.bytes.subarray(start, end));
    this.#interface = interfaceIndex;
    this.#atMs = this.#host.clock.nowMs();
    this.#answers = [];
    const { record } = this.#segmentOf(this.#slab, 0, this.#length, true) ?? { record: -1 };
    this.#wasAsleep = record >= 0 && this.#host.stack.connections.state(record) === RecordState.asleep;
    this.#rules = firewallCounts(this.#host);
  }

  judged(drop: Drop): void {
    const answers = this.#answers ?? [];
    this.#answers = undefined;
    this.#judged(drop);
    for (const write of answers) write();
    this.#writer.flush();
  }

  #judged(drop: Drop): void {
    const segment = this.#segmentOf(this.#slab, 0, this.#length, true);
    if (!this.#concerns(segment)) return;
    const words: string[] = [];
    const record = segment?.record ?? -1;
    const { connections } = this.#host.stack;
    if (record >= 0 && this.#wasAsleep) {
      const id = this.#host.stack.idOf(record);
      if (connections.state(record) === RecordState.asleep) words.push(`${id} sleeps on`);
      else words.push(`wakes ${id}`);
    }
    if (drop !== Drop.None) words.push(`dropped: ${dropNames[drop]}${this.#ruleOf(drop)}`);
    this.#packet("in", this.#interface, this.#atMs, this.#slab, 0, this.#length, words);
  }

  left(interfaceIndex: number, slab: Slab, start: number, end: number): void {
    const segment = this.#segmentOf(slab, start, end, false, interfaceIndex);
    if (!this.#concerns(segment)) return;
    const record = segment?.record ?? -1;
    const asleep = record >= 0 && this.#host.stack.connections.state(record) === RecordState.asleep;
    const words = asleep ? [`${this.#host.stack.idOf(record)} sleeps: said for it`] : [];
    const nowMs = this.#host.clock.nowMs();
    if (this.#answers !== undefined) {
      const copy = new Slab(slab.bytes.slice(start, end));
      this.#answers.push(() => this.#packet("out", interfaceIndex, nowMs, copy, 0, copy.bytes.length, words));
      return;
    }
    this.#packet("out", interfaceIndex, nowMs, slab, start, end, words);
    this.#writer.flush();
  }

  /** Ends it; what was recorded is written. Idempotent. */
  close(): void {
    for (const stop of this.#stop.splice(0)) stop();
    this.#writer.flush();
  }

  #packet(
    direction: "in" | "out",
    interfaceIndex: number,
    timeMs: number,
    slab: Slab,
    start: number,
    end: number,
    words: readonly string[],
  ): void {
    if (this.#full()) return;
    const comment = words.length === 0 ? undefined : words.join("; ");
    this.#writer.packet(interfaceIndex, direction, timeMs, slab, start, end, comment);
  }

  #full(): boolean {
    if (this.#isFull()) {
      this.#missed++;
      return true;
    }
    if (this.#missed > 0) {
      const missed = this.#missed;
      this.#missed = 0;
      this.event(`${missed} packets and events are missing here: the capture was not read fast enough`);
    }
    return false;
  }

  #concerns(segment: Segment | undefined): boolean {
    return this.#port === undefined || segment?.localPort === this.#port ||
      segment?.remotePort === this.#port;
  }

  /** The rule that has refused the packet at hand: the one that has counted it. */
  #ruleOf(drop: Drop): string {
    if (drop !== Drop.Firewall && drop !== Drop.FirewallReject) return "";
    const counted = firewallCounts(this.#host).find(({ packets }, index) =>
      packets !== this.#rules[index]?.packets
    );
    if (counted === undefined) return "";
    const { rule, comment } = counted;
    return ` by rule ${comment === undefined ? rule : `${rule} ${comment}`}`;
  }

  #segmentOf(
    slab: Slab,
    start: number,
    end: number,
    incoming: boolean,
    interfaceIndex = this.#interface,
  ): Segment | undefined {
    const { output, addresses, connections } = this.#host.stack;
    const { medium } = output.interfaces[interfaceIndex]!.link;
    const at = start + (medium === "ethernet" ? ETHERNET_HEADER_LENGTH : 0);
    const { bytes, view } = slab;
    if (at + 20 > end) return undefined;
    let source: number, destination: number, ports: number;
    if (bytes[at]! >>> 4 === 4) {
      const ip = new Ipv4Record();
      if (
        readIpv4(slab, at, end, ip) !== Drop.None || ip.protocol !== PROTOCOL_TCP || ip.fragmentOffset > 0
      ) {
        return undefined;
      }
      ({ source, destination, dataStart: ports } = ip);
    } else {
      ports = at + IPV6_HEADER_LENGTH;
      if (bytes[at]! >>> 4 !== 6 || ports > end || bytes[at + 6] !== PROTOCOL_TCP) return undefined;
      source = addresses.lookup(slab, at + 8, interfaceIndex + 1);
      destination = addresses.lookup(slab, at + 24, interfaceIndex + 1);
    }
    if (ports + 4 > end) return undefined;
    const [sourcePort, destinationPort] = [view.getUint16(ports), view.getUint16(ports + 2)];
    const [local, remote, localPort, remotePort] = incoming
      ? [destination, source, destinationPort, sourcePort]
      : [source, destination, sourcePort, destinationPort];
    const known = local !== 0 && remote !== 0;
    return {
      localPort,
      remotePort,
      record: known ? connections.find(local, remote, localPort, remotePort) : -1,
    };
  }
}
