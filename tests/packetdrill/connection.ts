import { TcpFlag } from "../../net/wire/tcp.ts";
import { OptionKind } from "./parse_tcp_options.ts";
import type { PacketAction, TcpOptionSpec } from "./script.ts";
import type { Segment } from "./segment.ts";

/**
 * The connection under test, on the wire: which ports it has, and how the script's sequence numbers and
 * timestamps relate to the real ones.
 */
export class WireConnection {
  localPort: number;
  remotePort: number;
  /** As on the wire and, for the SYN lines, as in the script. */
  localIsn = 0;
  remoteIsn = 0;
  remoteIsnKnown = false;
  /** The number of our SYN in the script. */
  scriptLocalIsn = 0;
  /** Our SYN or SYN-ACK has been seen. */
  localIsnKnown = false;
  /** Our timestamps: the script's -> the real one that was sent in its place. */
  readonly #timestamps = new Map<number, number>();
  #firstTimestamp: { script: number; live: number } | undefined;
  flowLabel: { script: number; live: number } | undefined;

  constructor(localPort: number, remotePort: number) {
    this.localPort = localPort;
    this.remotePort = remotePort;
  }

  learnRemoteIsn(isn: number): void {
    this.remoteIsn = isn;
    this.remoteIsnKnown = true;
  }

  /** What the script means, as a segment on the wire. An unknown timestamp echo gives an error message instead. */
  toLive(action: PacketAction, tsEcrScaled: boolean): Segment | string {
    const syn = (action.flags & TcpFlag.SYN) !== 0;
    const acks = (action.flags & TcpFlag.ACK) !== 0;
    const ours = this.#ourOffset(syn), theirs = syn ? 0 : this.remoteIsn;
    const options: TcpOptionSpec[] = [];
    for (const option of action.options ?? []) {
      if (option.kind === OptionKind.sack) {
        options.push({ kind: option.kind, data: mapWords(option.data, (edge) => edge + ours) });
      } else if (option.kind === OptionKind.timestamp && acks) {
        const [val, ecr] = words(option.data) as [number, number];
        const live = this.#echo(ecr, tsEcrScaled);
        if (live === undefined) {
          return `unable to infer live TS ecr for script TS ecr ${ecr};  no matching or preceding outbound TS val`;
        }
        options.push({ kind: option.kind, data: bytesOf([val, live]) });
      } else {
        options.push(option);
      }
    }
    return {
      sourcePort: action.sourcePort || this.remotePort,
      destinationPort: action.destinationPort || this.localPort,
      sequence: (action.sequence + (action.absoluteSequence ? 0 : theirs)) >>> 0,
      acknowledgment: acks ? (action.acknowledgment + ours) >>> 0 : action.acknowledgment,
      flags: action.flags,
      ae: action.ae,
      reserved: 0,
      window: Math.max(action.window, 0),
      urgent: action.urgent,
      options,
      payload: new Uint8Array(action.length),
      tos: action.ip.tos ?? action.ip.ecn ?? 0,
      ttl: action.ip.ttl ?? 255,
      flowLabel: action.ip.flowLabel ?? 0,
    };
  }

  /** A segment of ours in the script's numbers, but for its timestamps. */
  toScript(live: Segment): Segment {
    const syn = (live.flags & TcpFlag.SYN) !== 0;
    const theirs = syn ? 0 : this.remoteIsn; // a SYN's numbers are the script's own
    const options = live.options.map((option) =>
      option.kind === OptionKind.sack
        ? { kind: option.kind, data: mapWords(option.data, (edge) => edge - theirs) }
        : option
    );
    const acks = (live.flags & TcpFlag.ACK) !== 0;
    return {
      ...live,
      sequence: (live.sequence - this.#ourOffset(syn)) >>> 0,
      acknowledgment: acks ? (live.acknowledgment - theirs) >>> 0 : live.acknowledgment,
      options,
    };
  }

  /** Notes which real timestamp stands for the script's, and gives ours on the script's scale. */
  learnTimestamp(script: number, live: number): number {
    this.#timestamps.set(script, live);
    this.#firstTimestamp ??= { script, live };
    return (this.#firstTimestamp.script + (live - this.#firstTimestamp.live)) >>> 0;
  }

  /** From the script's numbers of our side to the wire's: byte 1 is the first one behind the SYN. */
  #ourOffset(syn: boolean): number {
    return syn ? this.localIsn - this.scriptLocalIsn : this.localIsn;
  }

  #echo(script: number, scaled: boolean): number | undefined {
    const live = this.#timestamps.get(script);
    if (live !== undefined || !scaled || this.#firstTimestamp === undefined) return live;
    return (script - this.#firstTimestamp.script + this.#firstTimestamp.live) >>> 0;
  }
}

export function words(data: readonly number[]): number[] {
  const found: number[] = [];
  for (let at = 0; at + 4 <= data.length; at += 4) {
    found.push(data.slice(at, at + 4).reduce((sum, byte) => sum * 256 + byte, 0));
  }
  return found;
}

export function bytesOf(values: readonly number[]): number[] {
  return values.flatMap((value) => [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff));
}

function mapWords(data: readonly number[], map: (word: number) => number): number[] {
  return bytesOf(words(data).map((word) => map(word) >>> 0));
}
