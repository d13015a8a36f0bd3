import type { VirtualClock } from "../../base/clock.ts";
import { readSegment, type Segment, Watcher, word32 } from "../net/tcp/checker.ts";
import { contentByte, ID_BYTES, idOfClient, type Side } from "./content.ts";
import type { Tap } from "./fabric.ts";
import { Intervals } from "./intervals.ts";
import { judgeManners, judgeReports, learnHeard, learnSyn, Manners } from "./laws.ts";
import { PORTS } from "./server_world.ts";
import { must, Violation } from "./violation.ts";

/** What one end of a connection has said and heard, counted from its SYN: byte 1 is the first of its stream. */
export interface HalfFlow {
  isn: number | undefined;
  /** The other's, as it reached this end: a server that has forgotten its SYN-ACK may send another. */
  heard: number | undefined;
  scale: number | undefined;
  /** One behind the last byte that it has sent, FIN included. */
  end: number;
  /** Where its FIN stands. */
  fin: number | undefined;
  /** Where it has heard the other's FIN, if it has. */
  heardFin: number | undefined;
  /** The largest acknowledgment that it has sent, of the other's bytes. */
  acked: number;
  /** The right edge that has reached it: how far it may send. */
  granted: number;
  tsVal: number | undefined;
  tsAtMs: number;
  /** What has reached it of the other's bytes. */
  readonly arrived: Intervals;
  readonly manners: Manners;
}

/** A connection as the packets show it. */
export interface Flow {
  readonly client: HalfFlow;
  readonly server: HalfFlow;
  readonly clientPort: number;
  readonly serverPort: number;
  readonly clientAddress: Uint8Array;
  readonly serverAddress: Uint8Array;
  id: number | undefined;
  /** A power failure may have brought an old image back: nothing is certain any more (decision 4). */
  forgiven: boolean;
  readonly firstBytes: Uint8Array;
  firstBytesKnown: number;
}

/** Ports below are services: who has one is the server. */
const SERVICE_PORT_MAX = 1023;
/** After so much silence a timestamp proves nothing (RFC 7323 section 5.5). */
const TIMESTAMPS_MS = 24 * 86_400_000;

function half(): HalfFlow {
  return {
    isn: undefined,
    heard: undefined,
    scale: undefined,
    end: 1,
    fin: undefined,
    heardFin: undefined,
    acked: 1,
    granted: 1,
    tsVal: undefined,
    tsAtMs: 0,
    arrived: new Intervals(),
    manners: new Manners(),
  };
}

/**
 * Sees every packet of the machines under test and knows what no TCP may ever do: send bytes that nobody
 * wrote, or others than the last time; acknowledge what has not come; send more than was granted, or behind
 * its own FIN; take back a window; let its timestamps run backward; and what laws.ts has. It shares no code with the
 * stack.
 */
export class Judge {
  readonly flows: Map<string, Flow> = new Map();
  readonly #watcher = new Watcher();
  /** First sequence numbers of all connections, and whose they are: nobody may guess them (RFC 6528). */
  readonly #starts = new Map<number, string>();
  readonly #clock: VirtualClock;
  segments = 0;
  /** A clock was set back behind the back of more than one process (docs/limits.md). */
  timestampsMayFall = false;
  /** Of all that was sent, in order: two runs that sent the same have the same. */
  hash = 0x811c9dc5;
  /** Called with what every sent segment says, for the story. */
  onSegment: ((who: string, segment: Segment) => void) | undefined;

  readonly #fail: (violation: unknown) => void;

  /** @param fail Is told what may not be: a packet's sender is no place to throw at. */
  constructor(clock: VirtualClock, fail: (violation: unknown) => void) {
    this.#clock = clock;
    this.#fail = fail;
  }

  tap(name: string): Tap {
    return {
      sent: (packet) => this.#guarded(() => this.#sent(name, packet)),
      delivered: (packet) => this.#guarded(() => this.#delivered(packet)),
    };
  }

  #guarded(judge: () => void): void {
    try {
      judge();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** The newest flow of connection `id`. */
  flow(id: number): Flow | undefined {
    for (const flow of this.flows.values()) if (flow.id === id) return flow;
    return undefined;
  }

  #sent(name: string, packet: Uint8Array<ArrayBuffer>): void {
    this.#mix(packet);
    if (!isTcp(packet)) return;
    this.segments++;
    let segment: Segment;
    const known = this.#flowOf(packet, false);
    try {
      segment = known?.forgiven ? readSegment(packet) : this.#watcher.sent(packet);
    } catch (error) {
      throw new Violation(
        `${name} sent what no TCP may send: ${(error as Error).message}; ${describe(packet, known)}`,
      );
    }
    this.onSegment?.(name, segment);
    const flow = this.#learn(packet, segment);
    if (flow === undefined || flow.forgiven || segment.flags.includes("R")) return;
    const fromClient = segment.sourcePort > SERVICE_PORT_MAX;
    const mine = fromClient ? flow.client : flow.server;
    if (mine.isn === undefined) return;
    const at = (): string => `${name} ${describe(packet, flow)}`;
    const start = (segment.sequence - mine.isn) | 0;
    this.#judgeData(flow, mine, fromClient ? "client" : "server", start, segment, at);
    const theirs = fromClient ? flow.server : flow.client;
    const payload = packet.length - (packet[0]! >> 4 === 6 ? 40 : 20) - 20;
    judgeManners(mine.manners, theirs.manners, segment, payload, start + segment.data.length, at);
    if (segment.flags.includes(".") && mine.heard !== undefined) {
      // The log of a durable connection knows nothing of what came ahead of a hole.
      this.#judgeAck(mine, segment, at, fromClient || segment.sourcePort !== PORTS.durable);
    }
    const ts = segment.options.find(([kind]) => kind === 8);
    if (ts !== undefined) {
      const tsVal = word32(ts, 1) | 0;
      const nowMs = this.#clock.nowMs();
      const around = nowMs - mine.tsAtMs > TIMESTAMPS_MS; // more than half: nobody can tell any more
      must(
        this.timestampsMayFall || mine.tsVal === undefined || around || ((tsVal - mine.tsVal) | 0) >= 0,
        () => `${at()}: its timestamp ran backward by ${(mine.tsVal! - tsVal) | 0}`,
      );
      mine.tsVal = tsVal;
      mine.tsAtMs = nowMs;
    }
  }

  #judgeData(
    flow: Flow,
    mine: HalfFlow,
    side: Side,
    start: number,
    segment: Segment,
    at: () => string,
  ): void {
    const { data, flags } = segment;
    const syn = flags.includes("S") ? 1 : 0;
    const end = start + syn + data.length + (flags.includes("F") ? 1 : 0);
    must(syn === 1 || start <= mine.end, () => `${at()}: it left bytes ${mine.end} to ${start} out`);
    if (flags.includes("F")) {
      const fin = end - 1;
      must(
        mine.fin === undefined || mine.fin === fin,
        () => `${at()}: its FIN moved from ${mine.fin} to ${fin}`,
      );
      mine.fin = fin;
    }
    must(mine.fin === undefined || end <= mine.fin + 1, () => `${at()}: bytes behind its FIN at ${mine.fin}`);
    if (data.length > 0) {
      // A probe of a closed window is the one byte behind it (RFC 9293 section 3.8.6.1).
      const probe = data.length === 1 && start === mine.granted;
      must(
        end <= mine.granted || probe || syn === 1,
        () => `${at()}: bytes up to ${end}, where ${mine.granted} is the edge that it knows`,
      );
      const from = start + syn - 1;
      if (side === "client") learnId(flow, from, data);
      must(
        side === "client" || flow.id !== undefined,
        () => `${at()}: a server spoke before it was spoken to`,
      );
      if (flow.id !== undefined) {
        for (let index = 0; index < data.length; index++) {
          const right = from + index >= 0 && data[index] === contentByte(flow.id, side, from + index);
          must(right, () => `${at()}: byte ${from + index} is not what was written there`);
        }
      }
    }
    if (end > mine.end) mine.end = end;
  }

  #judgeAck(mine: HalfFlow, segment: Segment, at: () => string, keepsAhead: boolean): void {
    const ack = (segment.acknowledgment - mine.heard!) | 0;
    const arrived = mine.arrived.endOf(1);
    must(ack <= arrived, () => `${at()}: it acknowledges ${ack}, and only ${arrived} has come`);
    must(ack >= mine.acked, () => `${at()}: it acknowledges ${ack}, after ${mine.acked}`);
    mine.acked = ack;
    if (keepsAhead) judgeReports(mine.manners, ack, at);
    for (const [kind, ...body] of segment.options) {
      if (kind !== 5) continue;
      for (let index = 0; index + 8 <= body.length; index += 8) {
        const left = (word32(body, index) - mine.heard!) | 0;
        const right = (word32(body, index + 4) - mine.heard!) | 0;
        must(
          left < right && mine.arrived.has(Math.max(left, 1), right),
          () => `${at()}: it reports ${left} to ${right} as arrived, which they have not`,
        );
        if (keepsAhead) mine.manners.reported.add(left, right);
      }
    }
  }

  #delivered(packet: Uint8Array<ArrayBuffer>): void {
    if (!isTcp(packet)) return;
    let segment: Segment;
    try {
      segment = readSegment(packet);
    } catch {
      return; // broken on the way
    }
    this.#watcher.received(packet);
    const flow = this.#learn(packet, segment);
    if (flow === undefined) return;
    const toServer = segment.sourcePort > SERVICE_PORT_MAX;
    const [mine, theirs] = toServer ? [flow.server, flow.client] : [flow.client, flow.server];
    learnHeard(mine.manners, segment, mine.isn ?? 0, mine.end);
    const syn = segment.flags.includes("S") ? 1 : 0;
    const answers = !toServer && segment.flags.includes(".") &&
      segment.acknowledgment - (mine.isn ?? 0) === 1;
    if (syn === 1 && (toServer || answers)) mine.heard ??= segment.sequence;
    if (mine.heard === undefined) return;
    const start = (segment.sequence - mine.heard) | 0;
    if (toServer) learnId(flow, start + syn - 1, segment.data); // peers without a tap
    const end = start + syn + segment.data.length + (segment.flags.includes("F") ? 1 : 0);
    if (end > start) mine.arrived.add(start, end);
    // One that nobody forged: those lie far outside.
    if (segment.flags.includes("F") && end - mine.arrived.endOf(1) < 0x1000_0000) mine.heardFin = end - 1;
    if (segment.flags.includes(".") && mine.isn !== undefined) {
      const shift = syn === 0 && mine.scale !== undefined && theirs.scale !== undefined ? theirs.scale : 0;
      const edge = ((segment.acknowledgment - mine.isn) | 0) + segment.window * 2 ** shift;
      if (edge > mine.granted) mine.granted = edge;
    }
  }

  /** The flow of a segment, begun anew by a SYN of another start. */
  #learn(packet: Uint8Array, segment: Segment): Flow | undefined {
    const syn = segment.flags.includes("S");
    const fromClient = segment.sourcePort > SERVICE_PORT_MAX;
    let flow = this.#flowOf(packet, syn && fromClient);
    if (flow === undefined) return undefined;
    const isOpening = syn && fromClient && !segment.flags.includes(".");
    if (isOpening && flow.client.isn !== undefined && flow.client.isn !== segment.sequence) {
      this.flows.delete(keyOf(packet, fromClient));
      flow = this.#flowOf(packet, true)!;
    }
    const half = fromClient ? flow.client : flow.server;
    if (syn && (isOpening || segment.flags.includes("."))) {
      // A server may answer one SYN with several numbers: when it has forgotten the first (cookies, a restart).
      if (half.isn !== segment.sequence) {
        half.isn = segment.sequence;
        if (fromClient) half.heard = undefined;
        half.end = 1;
        half.fin = half.tsVal = undefined;
        half.manners.restart();
        this.#judgeStart(packet, segment, flow);
      }
      learnSyn(half.manners, segment);
      half.scale = segment.options.find(([kind]) => kind === 3)?.[1];
    }
    return flow;
  }

  #judgeStart(packet: Uint8Array, segment: Segment, flow: Flow): void {
    const whose = `${keyOf(packet, segment.sourcePort > SERVICE_PORT_MAX)} ${segment.sourcePort}`;
    const known = this.#starts.get(segment.sequence);
    must(
      known === undefined || known === whose || flow.forgiven,
      () => `${describe(packet, flow)}: it starts from the number of ${known}`,
    );
    this.#starts.set(segment.sequence, whose);
  }

  #flowOf(packet: Uint8Array, create: boolean): Flow | undefined {
    const [sourceAt, length, header] = packet[0]! >> 4 === 6 ? [8, 16, 40] : [12, 4, 20];
    const sourcePort = packet[header]! * 256 + packet[header + 1]!;
    const destinationPort = packet[header + 2]! * 256 + packet[header + 3]!;
    const fromClient = sourcePort > SERVICE_PORT_MAX;
    const key = keyOf(packet, fromClient);
    let flow = this.flows.get(key);
    if (flow === undefined && create) {
      const source = packet.slice(sourceAt, sourceAt + length);
      const destination = packet.slice(sourceAt + length, sourceAt + 2 * length);
      flow = {
        client: half(),
        server: half(),
        clientPort: fromClient ? sourcePort : destinationPort,
        serverPort: fromClient ? destinationPort : sourcePort,
        clientAddress: fromClient ? source : destination,
        serverAddress: fromClient ? destination : source,
        id: undefined,
        forgiven: false,
        firstBytes: new Uint8Array(ID_BYTES),
        firstBytesKnown: 0,
      };
      this.flows.set(key, flow);
    }
    return flow;
  }

  #mix(packet: Uint8Array): void {
    let hash = this.hash ^ Math.round(this.#clock.nowMs() % 1e6 * 1e3);
    for (let at = 0; at < packet.length; at++) hash = Math.imul(hash ^ packet[at]!, 0x01000193);
    this.hash = hash >>> 0;
  }
}

function learnId(flow: Flow, from: number, data: Uint8Array): void {
  if (flow.id !== undefined || from < 0 || from >= ID_BYTES) return;
  for (let at = from; at < ID_BYTES && at - from < data.length; at++) {
    flow.firstBytes[at] = data[at - from]!;
    flow.firstBytesKnown |= 1 << at;
  }
  if (flow.firstBytesKnown === (1 << ID_BYTES) - 1) flow.id = idOfClient(flow.firstBytes);
}

function isTcp(packet: Uint8Array): boolean {
  return packet[0]! >> 4 === 6 ? packet[6] === 6 : packet[9] === 6 && (packet[6]! & 0x3f) === 0;
}

function keyOf(packet: Uint8Array, fromClient: boolean): string {
  const [at, length, header] = packet[0]! >> 4 === 6 ? [8, 16, 40] : [12, 4, 20];
  const source = packet.subarray(at, at + length).join(".");
  const destination = packet.subarray(at + length, at + 2 * length).join(".");
  const ports = [
    packet[header]! * 256 + packet[header + 1]!,
    packet[header + 2]! * 256 + packet[header + 3]!,
  ];
  return fromClient
    ? `${source}:${ports[0]}-${destination}:${ports[1]}`
    : `${destination}:${ports[1]}-${source}:${ports[0]}`;
}

/** What a packet says, with numbers as `HalfFlow` counts them. */
function describe(packet: Uint8Array, flow: Flow | undefined): string {
  try {
    const segment = readSegment(packet);
    const fromClient = segment.sourcePort > SERVICE_PORT_MAX;
    const [mine, theirs] = fromClient ? [flow?.client, flow?.server] : [flow?.server, flow?.client];
    const start = (segment.sequence - (mine?.isn ?? 0)) | 0;
    const ack = (segment.acknowledgment - (theirs?.isn ?? 0)) | 0;
    return `${segment.sourcePort} > ${segment.destinationPort} ${segment.flags} ${start}:${
      start + segment.data.length
    } ack ${ack} win ${segment.window} (connection ${flow?.id})`;
  } catch (error) {
    return String(error);
  }
}
