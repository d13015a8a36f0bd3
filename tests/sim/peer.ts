import type { VirtualClock } from "../../base/clock.ts";
import type { Prng } from "../../base/random.ts";
import { obviousChecksum, pseudoHeader, readSegment, type Segment } from "../net/tcp/checker.ts";
import { type Plug, setWord } from "./fabric.ts";

/** What a connection of a `SimplePeer` tells its application. */
export interface PeerEvents {
  opened(): void;
  data(bytes: Uint8Array): void;
  /** There may be more to send, or to end: see `pull`. */
  ended(): void;
  /** RST, or nobody answered the SYN. */
  broken(why: string): void;
}

const RTO_MS = 1_000;
const RTO_MS_MAX = 20_000;
const SYNS_MAX = 8;
/** Segments in flight: it is a simple peer. */
const FLIGHT_MAX = 4;
/** How long a connection that is over answers old segments. */
const LINGER_MS = 60_000;

/**
 * A second TCP, written for tests from RFC 9293 alone: no option but MSS, everything in order or not at all,
 * go-back-N by one timer. It shares no code with the stack, and it believes nothing.
 */
export class SimplePeer {
  readonly address: string;
  readonly #clock: VirtualClock;
  readonly #plug: Plug;
  readonly #prng: Prng;
  readonly #conns = new Map<number, PeerConn>(); // by our port
  #nextPort: number;

  constructor(clock: VirtualClock, plug: Plug, address: string, prng: Prng) {
    this.#clock = clock;
    this.#plug = plug;
    this.#prng = prng;
    this.address = address;
    this.#nextPort = 20_000 + prng.below(10_000);
    plug.onPacket = (packet) => this.#receive(packet);
  }

  /** Connections that still have a timer or an open end. */
  get size(): number {
    return this.#conns.size;
  }

  connect(server: string, port: number, events: PeerEvents): PeerConn {
    const localPort = this.#nextPort++;
    const conn: PeerConn = new PeerConn({
      clock: this.#clock,
      isn: this.#prng.uint32(),
      mss: this.#prng.pick([536, 1000, 1460]),
      windowMax: this.#prng.pick([2_000, 8_000, 65_535]),
      events,
      send: (segment) => this.#send(server, port, localPort, segment),
      gone: () => void this.#conns.delete(localPort),
    });
    this.#conns.set(localPort, conn);
    conn.open();
    return conn;
  }

  #receive(packet: Uint8Array): void {
    if (packet[0] !== 0x45 || packet[9] !== 6) return;
    let segment: Segment;
    try {
      segment = readSegment(packet);
    } catch {
      return;
    }
    const conn = this.#conns.get(segment.destinationPort);
    if (conn !== undefined) return conn.receive(segment);
    if (segment.flags.includes("R")) return;
    const server = [...packet.subarray(12, 16)].join(".");
    const ack = segment.flags.includes(".");
    // RFC 9293 section 3.10.7.1
    this.#send(server, segment.sourcePort, segment.destinationPort, {
      sequence: ack ? segment.acknowledgment : 0,
      acknowledgment: ack ? undefined : segment.sequence + segment.data.length +
        (segment.flags.includes("S") ? 1 : 0) + (segment.flags.includes("F") ? 1 : 0),
      flags: "R",
      window: 0,
      data: new Uint8Array(0),
    });
  }

  #send(server: string, port: number, localPort: number, out: Outgoing): void {
    const options = out.mss === undefined ? [] : [2, 4, out.mss >> 8, out.mss & 255];
    const length = 40 + options.length + out.data.length;
    const packet = new Uint8Array(length);
    packet.set([0x45, 0, length >> 8, length & 255, 0, 0, 0x40, 0, 64, 6]);
    packet.set(this.address.split(".").map(Number), 12);
    packet.set(server.split(".").map(Number), 16);
    setWord(packet, 10, obviousChecksum(packet.subarray(0, 20)));
    setWord(packet, 20, localPort);
    setWord(packet, 22, port);
    setLong(packet, 24, out.sequence);
    setLong(packet, 28, out.acknowledgment ?? 0);
    packet[32] = (5 + options.length / 4) << 4;
    const letters = out.flags + (out.acknowledgment === undefined ? "" : ".");
    packet[33] = [..."FSRP."].reduce(
      (bits, letter, bit) => bits | (letters.includes(letter) ? 1 << bit : 0),
      0,
    );
    setWord(packet, 34, out.window);
    packet.set(options, 40);
    packet.set(out.data, 40 + options.length);
    setWord(packet, 36, obviousChecksum(pseudoHeader(packet, 6, length - 20), packet.subarray(20)));
    this.#plug.transmit(packet);
  }
}

interface Outgoing {
  sequence: number;
  acknowledgment: number | undefined;
  flags: string;
  window: number;
  data: Uint8Array;
  mss?: number;
}

interface PeerConnOptions {
  clock: VirtualClock;
  isn: number;
  mss: number;
  windowMax: number;
  events: PeerEvents;
  send(segment: Outgoing): void;
  gone(): void;
}

/** One connection of a `SimplePeer`. Positions count from the SYN: byte 1 is the first of a stream. */
export class PeerConn {
  /** Gives the bytes of our stream from `from` on, at most `count`. */
  pull: (from: number, count: number) => Uint8Array = () => new Uint8Array(0);
  readonly #o: PeerConnOptions;
  #state: "opening" | "open" | "over" = "opening";
  #theirIsn = 0;
  #una = 0; // oldest byte of ours that is not acknowledged
  #nxt = 0; // next to send
  #max = 0; // behind the last that was ever sent
  #rcv = 0; // next of theirs
  #window = 0; // theirs
  #theirMss = 536;
  #ending = false;
  #finAt: number | undefined; // where our FIN stands
  #theirFin = false;
  #unread = 0;
  #paused = false;
  #kept: Uint8Array[] = [];
  /** Both streams are over and acknowledged: TIME-WAIT. */
  #lingers = false;
  #rtoMs = RTO_MS;
  #tries = 0;
  #alarm: { cancel(): void } | undefined;

  constructor(options: PeerConnOptions) {
    this.#o = options;
  }

  open(): void {
    this.#nxt = this.#max = 1;
    this.#sendSyn();
  }

  /** There is more to send. */
  kick(): void {
    if (this.#state === "open") this.#output();
  }

  /** FIN behind all that `pull` gives. */
  end(): void {
    this.#ending = true;
    this.kick();
  }

  /** What arrives from here on stays in the window. */
  pause(): void {
    this.#paused = true;
  }
  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    const kept = this.#kept.splice(0);
    const was = this.#room();
    this.#unread = 0;
    if (this.#state === "open" && this.#room() > was) this.#ack();
    for (const bytes of kept) this.#o.events.data(bytes);
    if (this.#theirFin && (this.#state !== "over" || this.#lingers)) this.#o.events.ended();
  }

  abort(): void {
    if (this.#state === "over") return;
    this.#say("R", this.#nxt, new Uint8Array(0));
    this.#over();
  }

  receive(segment: Segment): void {
    const { flags } = segment;
    if (this.#state === "opening") return this.#receiveOpening(segment);
    const start = (segment.sequence - this.#theirIsn) | 0;
    if (flags.includes("R")) {
      // RFC 5961 section 3.2: only the very next number resets
      if (start === this.#rcv) {
        if (this.#lingers) this.#over();
        else this.#break("reset");
      }
      if (start > this.#rcv && start < this.#rcv + this.#room()) this.#ack();
      return;
    }
    if (flags.includes("S")) return this.#ack();
    if (!flags.includes(".")) return;
    const ack = (segment.acknowledgment - this.#o.isn) | 0;
    if (ack > this.#max) return this.#ack();
    if (ack > this.#una) {
      this.#una = ack;
      if (this.#nxt < ack) this.#nxt = ack;
      this.#rtoMs = RTO_MS;
      this.#arm();
    }
    if (ack >= this.#una) this.#window = segment.window;
    this.#takeData(segment, start);
    this.#output();
    if (this.#theirFin && this.#finAt !== undefined && this.#una > this.#finAt) this.#linger();
  }

  #receiveOpening(segment: Segment): void {
    const { flags } = segment;
    const ack = (segment.acknowledgment - this.#o.isn) | 0;
    if (!flags.includes(".") || ack !== 1) return;
    if (flags.includes("R")) return this.#break("refused");
    if (!flags.includes("S")) return;
    this.#theirIsn = segment.sequence;
    this.#rcv = 1;
    this.#una = 1;
    this.#window = segment.window;
    const mss = segment.options.find(([kind]) => kind === 2);
    if (mss !== undefined) this.#theirMss = mss[1]! * 256 + mss[2]!;
    this.#state = "open";
    this.#rtoMs = RTO_MS;
    this.#arm();
    this.#ack();
    this.#o.events.opened();
    this.#output();
  }

  #takeData(segment: Segment, start: number): void {
    const fin = segment.flags.includes("F");
    if (segment.data.length === 0 && !fin) {
      if (start !== this.#rcv) this.#ack(); // a keep-alive, or nonsense: say where we are
      return;
    }
    const fresh = segment.data.subarray(Math.max(0, this.#rcv - start));
    const inOrder = start <= this.#rcv && start + segment.data.length >= this.#rcv;
    if (inOrder && !this.#theirFin && fresh.length <= this.#room()) {
      this.#rcv += fresh.length;
      if (fresh.length > 0) {
        if (this.#paused) {
          this.#unread += fresh.length;
          this.#kept.push(fresh.slice());
        } else this.#o.events.data(fresh);
      }
      if (fin && this.#state !== "over") {
        this.#theirFin = true;
        this.#rcv++;
        if (!this.#paused) this.#o.events.ended();
      }
    }
    this.#ack();
  }

  #room(): number {
    return this.#o.windowMax - this.#unread;
  }

  #ack(): void {
    if (this.#state !== "over") this.#say("", this.#nxt, new Uint8Array(0));
  }

  #say(flags: string, at: number, data: Uint8Array): void {
    this.#o.send({
      sequence: this.#o.isn + at,
      acknowledgment: this.#theirIsn + this.#rcv,
      flags,
      window: this.#room(),
      data,
    });
  }

  #sendSyn(): void {
    if (this.#tries++ >= SYNS_MAX) return this.#break("nobody answers");
    this.#o.send({
      sequence: this.#o.isn,
      acknowledgment: undefined,
      flags: "S",
      window: this.#o.windowMax,
      data: new Uint8Array(0),
      mss: this.#o.mss,
    });
    this.#arm();
  }

  #output(): void {
    const mss = Math.min(this.#theirMss, this.#o.mss, 536);
    while (this.#state === "open") {
      const flight = this.#nxt - this.#una;
      const room = Math.min(this.#window, FLIGHT_MAX * mss) - flight;
      const data = this.#finAt !== undefined && this.#nxt > this.#finAt
        ? new Uint8Array(0)
        : this.pull(this.#nxt - 1, Math.min(mss, Math.max(room, 0)));
      if (data.length > 0) {
        this.#say("P", this.#nxt, data);
        this.#nxt += data.length;
      } else if (
        this.#ending && room > 0 && this.pull(this.#nxt - 1, 1).length === 0 &&
        (this.#finAt === undefined || this.#nxt === this.#finAt)
      ) {
        this.#finAt = this.#nxt;
        this.#say("F", this.#nxt, data);
        this.#nxt++;
      } else break;
      this.#max = Math.max(this.#max, this.#nxt);
    }
    if (this.#alarm === undefined) this.#arm();
  }

  /** One timer for everything: what is in flight, and a window that may have opened unheard. */
  #arm(): void {
    this.#alarm?.cancel();
    this.#alarm = undefined;
    const wants = this.#state === "opening" || this.#max > this.#una ||
      this.#ending && this.#finAt === undefined ||
      this.#state === "open" && this.pull(this.#nxt - 1, 1).length > 0;
    if (!wants || this.#state === "over") return;
    this.#alarm = this.#o.clock.at(this.#o.clock.nowMs() + this.#rtoMs, () => {
      this.#alarm = undefined;
      this.#rtoMs = Math.min(2 * this.#rtoMs, RTO_MS_MAX);
      if (this.#state === "opening") return this.#sendSyn();
      this.#nxt = this.#una; // everything again
      if (this.#window === 0) {
        const probe = this.pull(this.#nxt - 1, 1);
        if (probe.length > 0) {
          this.#say("", this.#nxt, probe);
          this.#max = Math.max(this.#max, this.#nxt + 1);
        } else this.#ack();
      }
      this.#output();
    });
  }

  #break(why: string): void {
    this.#over();
    this.#o.events.broken(why);
  }

  #linger(): void {
    this.#lingers = true;
    this.#alarm?.cancel();
    this.#alarm = this.#o.clock.at(this.#o.clock.nowMs() + LINGER_MS, () => this.#over());
  }

  #over(): void {
    this.#state = "over";
    this.#alarm?.cancel();
    this.#alarm = undefined;
    this.#o.gone();
  }
}

function setLong(bytes: Uint8Array, at: number, value: number): void {
  setWord(bytes, at, (value >>> 16) & 0xffff);
  setWord(bytes, at + 2, value & 0xffff);
}
