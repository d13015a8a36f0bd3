import { expect } from "vitest";
import { assert } from "../../../base/assert.ts";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import { Stack, type StackOptions } from "../../../net/stack.ts";
import type { TcpConfig } from "../../../net/tcp/config.ts";
import type { TcpListener } from "../../../net/tcp/listeners.ts";
import { type Tcb, TcpError, TcpEvent, tcpStateNames } from "../../../net/tcp/tcb.ts";
import { tcpAbort, tcpClose, tcpConnect, tcpReceive, tcpSend, tcpShutdown } from "../../../net/tcp/user.ts";
import type { Drop } from "../../../net/wire/drop.ts";
import { parseIpv4 } from "../../../net/wire/address.ts";
import { obviousChecksum, pseudoHeader, type Segment, Watcher, word32 } from "./checker.ts";

export const LOCAL = "10.0.0.1";
export const REMOTE = "10.0.0.2";
export const LOCAL_PORT = 80;
export const REMOTE_PORT = 4000;
const START_MS = 1_700_000_000_000;

const EVENT_NAMES = Object.entries(TcpEvent);
const ERROR_NAMES = Object.keys(TcpError);

/** The byte at `position` of the stream that a peer or we send: every place is told from its neighbours. */
export function streamByte(position: number): number {
  return (position * 7 + (position >>> 8) * 3 + (position >>> 16)) & 0xff;
}

export function streamBytes(from: number, count: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(count);
  for (let at = 0; at < count; at++) bytes[at] = streamByte(from + at);
  return bytes;
}

export interface ScriptOptions {
  tcp?: Partial<TcpConfig>;
  startMs?: number;
  mtu?: number;
  connectionsMax?: number;
  seed?: number;
}

/** The other end of one connection: what it sends is written by hand, what it gets is compared. */
export class Peer {
  readonly port: number;
  /** Its initial sequence number; what stands in scripts is relative to it, and to ours. */
  isn = 1000;
  ourIsn = 0;
  /** Our timestamp at the first segment that had one: `TS` in scripts is relative to it. */
  tsBase: number | undefined;
  window = 65535;
  readonly #script: Script;

  constructor(script: Script, port: number) {
    this.#script = script;
    this.port = port;
  }

  /**
   * A segment arrives: `"P. 1:101 ack 1 win 500 <TS 7 0>"`. Flags as tcpdump has them, `-` for none. Numbers
   * are relative; the data is the stream's at that place. The window stays what it was last.
   */
  in(text: string, ecn = 0): Drop {
    const packet = this.packet(text, ecn);
    this.#script.watcher.received(packet);
    return this.#script.receive(packet);
  }

  /** As `in`, then the end of the turn. */
  turn(text: string, ecn = 0): void {
    this.in(text, ecn);
    this.#script.poll();
  }

  /** The bytes of a segment, with these ECN bits in its IP header. */
  packet(text: string, ecn = 0): Uint8Array<ArrayBuffer> {
    const parsed = /^(\S+) (-?\d+)(?::(-?\d+))?(?: ack (-?\d+))?(?: win (\d+))?(?: urg (\d+))?(?: <(.*)>)?$/
      .exec(text);
    assert(parsed !== null, `Cannot read "${text}"`);
    const [, flags, first, end, ack, win, urg, options] = parsed;
    if (win !== undefined) this.window = Number(win);
    const optionBytes = (options ?? "").split(",").filter((each) => each !== "").flatMap((each) =>
      this.#option(each)
    );
    while (optionBytes.length % 4 > 0) optionBytes.push(0);
    const data = end === undefined
      ? new Uint8Array(0)
      : streamBytes(Number(first) + (flags!.includes("S") ? 1 : 0), Number(end) - Number(first));
    const bits = [..."FSRP.UEW"].reduce(
      (sum, letter, bit) => sum + (flags!.includes(letter) ? 1 << bit : 0),
      0,
    );
    const length = 40 + optionBytes.length + data.length;
    const packet = new Uint8Array(length);
    const view = new DataView(packet.buffer);
    packet.set([0x45, ecn, length >> 8, length & 255, 0, 0, 0x40, 0, 64, 6]);
    view.setInt32(12, parseIpv4(REMOTE)!);
    view.setInt32(16, parseIpv4(LOCAL)!);
    view.setUint16(10, obviousChecksum(packet.subarray(0, 20)));
    view.setUint16(20, this.port);
    view.setUint16(22, this.#script.localPort);
    view.setInt32(24, (this.isn + Number(first)) | 0);
    view.setInt32(28, ack === undefined ? 0 : (this.ourIsn + Number(ack)) | 0);
    view.setUint8(32, (5 + optionBytes.length / 4) << 4);
    view.setUint8(33, bits);
    view.setUint16(34, this.window);
    view.setUint16(38, Number(urg ?? 0));
    packet.set(optionBytes, 40);
    packet.set(data, 40 + optionBytes.length);
    view.setUint16(36, obviousChecksum(pseudoHeader(packet, 6, length - 20), packet.subarray(20)));
    return packet;
  }

  /**
   * Exactly these segments have left since the last time. What an expectation does not mention (the
   * window, options) is not compared; `<>` means no options at all.
   */
  out(...expected: string[]): void {
    const segments = this.#script.take(this.port);
    const found = segments.map(({ segment }, at) => this.show(segment, expected[at] ?? ""));
    expect(found).toEqual(expected);
  }

  /** As `out` with the time since the script's start: `"1000 S 0"`. */
  outAt(...expected: string[]): void {
    const frames = this.#script.take(this.port);
    const found = frames.map(({ segment, atMs }, at) => `${atMs} ${this.show(segment, expected[at] ?? "")}`);
    expect(found).toEqual(expected);
  }

  show(segment: Segment, like: string): string {
    const { flags, data } = segment;
    if (flags.includes("S")) this.ourIsn = segment.sequence;
    const first = (segment.sequence - this.ourIsn) | 0;
    let text = `${flags} ${first}`;
    if (data.length > 0) {
      text += `:${first + data.length}`;
      const start = flags.includes("S") ? first + 1 : first; // a SYN takes the first number
      data.forEach((byte, at) => assert(byte === streamByte(start + at), `Wrong byte at ${start + at}`));
    }
    if (flags.includes(".")) text += ` ack ${(segment.acknowledgment - this.isn) | 0}`;
    if (like.includes("win ")) text += ` win ${segment.window}`;
    if (flags.includes("U")) text += ` urg ${segment.urgentPointer}`;
    const options = segment.options.map((option) => this.#showOption(option)).join(",");
    return like.includes("<") ? `${text} <${options}>` : text;
  }

  #option(text: string): number[] {
    const [name, ...numbers] = text.split(" ");
    const word = (
      value: number,
    ): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
    const [a = 0, b = 0] = numbers.map((each) => Number(each.replace(/m$/, "")));
    switch (name) {
      case "mss":
        return [2, 4, a >> 8, a & 255];
      case "wscale":
        return [3, 3, a];
      case "nop":
        return [1];
      case "eol":
        return [0];
      case "sackOK":
        return [4, 2];
      case "sack": { // blocks of our stream, relative: "sack 1001:2001 3001:4001"
        const edges = text.slice(5).split(/[ :]/).map((edge) => (this.ourIsn + Number(edge)) | 0);
        return [5, 2 + 4 * edges.length, ...edges.flatMap(word)];
      }
      case "TS":
        return [8, 10, ...word(a), ...word(b === 0 ? 0 : (b + (this.tsBase ?? 0)) | 0)];
      case "UTO": // "UTO 100" seconds, "UTO 5m" minutes
        return [28, 4, (a >> 8) | (numbers[0] !== undefined && text.endsWith("m") ? 0x80 : 0), a & 255];
      case "FO": { // a cookie in hexadecimal digits, or none: a request
        const cookie = (text.split(" ")[1] ?? "").match(/../g)?.map((hex) => parseInt(hex, 16)) ?? [];
        return [34, 2 + cookie.length, ...cookie];
      }
      case "FOEXP": {
        const cookie = (text.split(" ")[1] ?? "").match(/../g)?.map((hex) => parseInt(hex, 16)) ?? [];
        return [254, 4 + cookie.length, 0xf9, 0x89, ...cookie];
      }
      case "raw":
        return numbers.map((hex) => parseInt(hex, 16));
      default:
        throw new Error(`Unknown option "${text}"`);
    }
  }

  #showOption([kind, ...body]: [number, ...number[]]): string {
    if (kind === 2) return `mss ${body[0]! * 256 + body[1]!}`;
    if (kind === 3) return `wscale ${body[0]}`;
    if (kind === 8) {
      this.tsBase ??= (word32(body, 0) - 1) | 0;
      return `TS ${(word32(body, 0) - this.tsBase) | 0} ${word32(body, 4)}`;
    }
    if (kind === 4) return "sackOK";
    if (kind === 5) { // blocks of the peer's stream, relative
      const edges = body.length / 4;
      const shown = Array.from({ length: edges }, (_, at) => (word32(body, 4 * at) - this.isn) | 0);
      return `sack ${shown.map((edge, at) => (at % 2 === 0 ? edge : `:${edge} `)).join("").trim()}`;
    }
    if (kind === 28) return `UTO ${(body[0]! & 0x7f) * 256 + body[1]!}${body[0]! >= 0x80 ? "m" : ""}`;
    if (kind === 34) return `FO ${toHex(body)}`.trim();
    if (kind === 254) return `FOEXP ${toHex(body.slice(2))}`.trim();
    return `kind ${kind}`;
  }
}

/** One stack on a wire of bare IP packets, at a clock moved by hand. */
export class Script {
  readonly main: Peer = new Peer(this, REMOTE_PORT);
  readonly stack: Stack;
  readonly watcher: Watcher;
  readonly startMs: number;
  nowMs: number;
  /** What the last `poll` returned. */
  deadlineMs = Infinity;
  localPort = LOCAL_PORT;
  listener: TcpListener | undefined;
  /** The connection that was heard of last. */
  tcb!: Tcb;
  /** News since the last `heard`. */
  #events: string[] = [];
  #frames: { segment: Segment; atMs: number }[] = [];
  /** Packets that are no TCP. */
  readonly others: Uint8Array<ArrayBuffer>[] = [];
  #written = 1;
  #read = 1;

  constructor(options: ScriptOptions = {}) {
    this.startMs = this.nowMs = options.startMs ?? START_MS;
    const { mtu = 1500, seed = 1 } = options;
    this.watcher = new Watcher(mtu);
    const stackOptions: StackOptions = { nowMs: this.nowMs, entropy: new Prng(seed) };
    this.stack = new Stack({
      ...stackOptions,
      ...(options.tcp === undefined ? {} : { tcp: options.tcp }),
      ...(options.connectionsMax === undefined ? {} : { connectionsMax: options.connectionsMax }),
    });
    const send = (slab: Slab, start: number, end: number): boolean => {
      const packet = slab.bytes.slice(start, end);
      if (packet[9] !== 6) this.others.push(packet);
      else this.#frames.push({ segment: this.watcher.sent(packet), atMs: this.nowMs - this.startMs });
      return true;
    };
    this.stack.addInterface({ name: "net0", link: { medium: "ip", mtu, send, flush: () => {} } });
    this.stack.setRoutes({ addresses: [{ address: `${LOCAL}/24`, gateway: "10.0.0.254" }] });
    this.stack.upcalls = {
      tcpEvents: (tcb, events) => this.#tell(tcb, events),
      udpReadable: () => {},
      tcpSuspended: () => {},
      tcpRestored: () => {},
    };
  }

  // The main peer's calls, since most scripts have no other.
  in(text: string, ecn = 0): Drop {
    return this.main.in(text, ecn);
  }
  turn(text: string, ecn = 0): void {
    this.main.turn(text, ecn);
  }
  out(...expected: string[]): void {
    this.main.out(...expected);
  }
  outAt(...expected: string[]): void {
    this.main.outAt(...expected);
  }

  /** Another peer, on another port. */
  peer(port: number): Peer {
    return new Peer(this, port);
  }

  listen(backlog = 8): this {
    this.listener = this.stack.tcp.listeners.add(0, this.localPort, backlog)!;
    return this;
  }

  connect(): this {
    const tcb = tcpConnect(
      this.stack.tcp,
      parseIpv4(LOCAL)!,
      this.localPort,
      parseIpv4(REMOTE)!,
      REMOTE_PORT,
      this.nowMs,
    );
    assert(tcb !== undefined);
    this.tcb = tcb;
    this.poll();
    return this;
  }

  /** A passive open, from SYN to ESTABLISHED; `options` are the SYN's. */
  accepted(options = "mss 1460", window = 65535): this {
    this.listen();
    this.turn(`S 0 win ${window} <${options}>`);
    this.learn();
    const timestamp = /TS (\d+)/.exec(options)?.[1];
    this.turn(`. 1 ack 1${timestamp === undefined ? "" : ` <TS ${timestamp} 1>`}`);
    expect(this.heard()).toEqual(["established writable"]);
    this.out();
    return this;
  }

  /** An active open, from SYN to ESTABLISHED; `options` are the SYN-ACK's. */
  connected(options = "mss 1460", window = 65535): this {
    this.connect();
    this.learn();
    this.turn(`S. 0 ack 1 win ${window} <${options}>`);
    expect(this.heard()).toEqual(["established writable"]);
    this.out(". 1 ack 1");
    return this;
  }

  /** Takes what has left as it is: the main peer learns our ISN and timestamp clock from it. */
  learn(): void {
    this.take(REMOTE_PORT).forEach(({ segment }) => void this.main.show(segment, "<"));
  }

  receive(packet: Uint8Array<ArrayBuffer>): Drop {
    return this.stack.receive(0, new Slab(packet), 0, packet.length, this.nowMs);
  }

  /** Ends the turn. */
  poll(): number {
    return this.deadlineMs = this.stack.poll(this.nowMs);
  }

  /** Time passes; the stack is polled at each of its deadlines, and in between, where it must keep silent. */
  wait(ms: number): this {
    const untilMs = this.nowMs + ms;
    for (let turns = 0;; turns++) {
      assert(turns < 100_000, "The stack asks to be polled for ever");
      const nextMs = Math.min(this.deadlineMs, untilMs);
      const betweenMs = (this.nowMs + nextMs) / 2;
      if (betweenMs < this.deadlineMs && betweenMs > this.nowMs) this.#silent(betweenMs);
      if (this.deadlineMs > untilMs) break;
      this.nowMs = Math.max(this.nowMs, this.deadlineMs);
      this.poll();
    }
    this.nowMs = untilMs;
    return this;
  }

  #silent(atMs: number): void {
    const count = this.#frames.length + this.others.length;
    this.nowMs = atMs;
    this.poll();
    assert(
      this.#frames.length + this.others.length === count,
      "Polled before its deadline, it sent something",
    );
  }

  /** Frames for a port since the last time, for whoever compares by himself. */
  take(port: number): { segment: Segment; atMs: number }[] {
    const taken = this.#frames.filter(({ segment }) => segment.destinationPort === port);
    this.#frames = this.#frames.filter(({ segment }) => segment.destinationPort !== port);
    return taken;
  }

  /** The application writes the next `count` bytes of its stream. Returns how many were taken. */
  write(count: number, tcb: Tcb = this.tcb): number {
    const taken = tcpSend(this.stack.tcp, tcb, streamBytes(this.#written, count), 0, count);
    this.#written += taken;
    this.poll();
    return taken;
  }

  /** The application reads; the bytes must be the stream's. */
  read(limit = 1 << 24): number {
    const target = new Uint8Array(Math.min(limit, this.tcb.receiveQueue.length));
    const count = tcpReceive(this.stack.tcp, this.tcb, target, 0, target.length);
    target.forEach((byte, at) =>
      assert(byte === streamByte(this.#read + at), `Wrong byte at ${this.#read + at}`)
    );
    this.#read += count;
    this.poll();
    return count;
  }

  shutdown(): void {
    tcpShutdown(this.stack.tcp, this.tcb);
    this.poll();
  }

  close(): void {
    tcpClose(this.stack.tcp, this.tcb, this.nowMs);
    this.poll();
  }

  abort(): void {
    tcpAbort(this.stack.tcp, this.tcb, this.nowMs);
    this.poll();
  }

  get state(): string {
    return tcpStateNames[this.tcb.state]!;
  }

  /** News since the last time: "established writable", "closed reset". */
  heard(): string[] {
    return this.#events.splice(0);
  }

  /** Nothing is left: no TCB, no record, no timer. */
  gone(): void {
    expect(this.stack.tcp.awake).toBe(0);
    expect(this.stack.connections.size).toBe(0);
    expect(this.stack.poll(this.nowMs)).toBe(Infinity);
    expect(this.listener?.pending ?? 0).toBe(0);
  }

  drops(): Record<string, number> {
    return this.stack.drops.toJSON();
  }

  #tell(tcb: Tcb, events: number): void {
    if (this.listener !== undefined || tcb === this.tcb) this.tcb = tcb;
    const names = EVENT_NAMES.filter(([, bit]) => (events & bit) !== 0).map(([name]) => name);
    if ((events & TcpEvent.closed) !== 0) names.push(ERROR_NAMES[tcb.error]!);
    this.#events.push(names.join(" "));
  }
}

function toHex(bytes: readonly number[]): string {
  return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
