import { assert } from "../../../base/assert.ts";
import type { TcpConfig } from "../../../net/tcp/config.ts";
import { checkTcpOptions, type TcpOptions, tcpSetOptions } from "../../../net/tcp/options.ts";
import { sendEnd, type Tcb } from "../../../net/tcp/tcb.ts";
import {
  canWrite,
  tcpAbort,
  tcpClose,
  tcpConnect,
  tcpSendUrgent,
  tcpSetNoDelay,
  tcpShutdown,
} from "../../../net/tcp/user.ts";
import { TcpFlag } from "../../../net/wire/tcp.ts";
import { streamByte } from "../../net/tcp/script.ts";
import { Dice } from "../dice.ts";
import { equalBytes } from "../equal.ts";
import { hex, mendPacket } from "../packets.ts";
import { type AddressBytes, ipPacket, segmentPacket, word } from "../segment_bytes.ts";
import { segmentOf, Subject } from "../subject.ts";
import type { Target } from "../target.ts";

const LISTENING = 80;
const FAST_OPEN = 81;
const PEER_PORTS = [4000, 4001, 4002, 9] as const;
const LOCAL4 = [10, 0, 0, 1];
const REMOTE4 = [10, 0, 0, 2];
const LOCAL6 = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const REMOTE6 = LOCAL6.with(15, 2);

/** Settings by the first bytes of a script. */
function configOf(dice: Dice): Partial<TcpConfig> {
  const bits = dice.byte();
  return {
    timestamps: (bits & 1) === 0,
    sack: (bits & 2) === 0,
    congestionControl: (bits & 4) === 0 ? "cubic" : "newreno",
    synCookies: (bits & 8) === 0 ? 1 : 2,
    fastOpen: (bits & 16) === 0 ? 3 : 0x607,
    icmpEndsHandshake: (bits & 32) !== 0,
    mtuProbing: (bits & 64) === 0 ? 0 : 2,
    ecn: dice.below(6),
    ...((bits & 128) === 0 ? {} : { receiveBufferBytes: 4_000, sendBufferBytes: 5_000 }),
    timeWaitsMax: 4,
    synBacklogMax: 4,
    timeWaitReuse: 1,
  };
}

/** Packets by their ports, those of a connection as they left; without identification and what follows from it. */
function inOrder(packets: readonly Uint8Array[]): Uint8Array[] {
  const masked = packets.map((packet) => {
    const ipv6 = packet[0]! >> 4 === 6;
    const bytes = packet.slice();
    if (!ipv6) [4, 5, 10, 11].forEach((at) => bytes[at] = 0);
    const at = ipv6 ? 40 : 20;
    return { bytes, ports: bytes.subarray(at, at + 4).join() };
  });
  return masked.sort((a, b) => a.ports < b.ports ? -1 : a.ports > b.ports ? 1 : 0).map(({ bytes }) => bytes);
}

/** A script read out of bytes, and the two lives that it is played to. */
class Play {
  readonly #dice: Dice;
  readonly #awake: Subject;
  readonly #napping: Subject;
  readonly #local: AddressBytes;
  readonly #remote: AddressBytes;
  /** The packet that left last: what ICMP errors are about. */
  #last: Uint8Array = new Uint8Array(0);
  #port: number = PEER_PORTS[0];
  #localPort = LISTENING;
  #step = 0;

  constructor(input: Uint8Array<ArrayBuffer>) {
    const dice = this.#dice = new Dice(input);
    const tcp = configOf(dice);
    const mtu = dice.pick([1500, 576, 1280, 9000]);
    const ipv6 = dice.chance(96) && mtu >= 1280;
    this.#local = ipv6 ? LOCAL6 : LOCAL4;
    this.#remote = ipv6 ? REMOTE6 : REMOTE4;
    const options = { tcp, mtu, seed: 1 + dice.byte() };
    this.#awake = new Subject({ ...options, naps: 0 });
    this.#napping = new Subject({ ...options, naps: 0.5 });
    this.#both((subject) => {
      const { listeners } = subject.stack.tcp;
      listeners.add(0, LISTENING, 4);
      listeners.add(0, FAST_OPEN, 4)!.fastOpenMax = 2;
      subject.stack.udp.bind(0, 53);
    });
  }

  /** Both lives, one after the other; what `act` says must be the same. */
  #both<T>(act: (subject: Subject) => T): T {
    const one = act(this.#awake);
    const other = act(this.#napping);
    assert(
      Object.is(one, other) || typeof one === "object",
      `Step ${this.#step}: ${String(one)} awake, ${String(other)} with naps`,
    );
    return one;
  }

  /**
   * What left and what was told since the last time is the same in both, connection by connection: which of two
   * that are due in one millisecond goes first is nobody's promise.
   */
  #compare(): void {
    const [a, b] = [this.#awake, this.#napping];
    const [ones, others] = [inOrder(a.sent), inOrder(b.sent)];
    for (let at = 0; at < Math.max(ones.length, others.length); at++) {
      const [one, other] = [ones[at], others[at]];
      assert(
        one !== undefined && other !== undefined,
        `Step ${this.#step}: ${ones.length} packets awake, ${others.length} with naps`,
      );
      equalBytes(one, other, `step ${this.#step}, packet ${at}`);
    }
    const [told, toldOther] = [a.heard.toSorted().join(), b.heard.toSorted().join()];
    assert(told === toldOther, `Step ${this.#step}: told ${told} and ${toldOther}`);
    this.#last = a.sent.at(-1) ?? this.#last;
    a.sent = [];
    b.sent = [];
    a.heard = [];
    b.heard = [];
  }

  get #tcb(): Tcb | undefined {
    return this.#awake.tcb(this.#localPort, this.#port);
  }

  /** The connection at hand in each life. */
  #withTcb(act: (subject: Subject, tcb: Tcb) => unknown): void {
    if (this.#tcb === undefined) return;
    this.#both((subject) => {
      const tcb = subject.tcb(this.#localPort, this.#port);
      assert(tcb !== undefined, `Step ${this.#step}: the connection is there in both lives`);
      return act(subject, tcb);
    });
  }

  run(): void {
    const dice = this.#dice;
    while (!dice.done) {
      this.#step++;
      this.#act(dice.below(16));
      if (!dice.chance(48)) this.#both((subject) => void subject.poll());
      this.#compare();
    }
    this.#end();
  }

  #act(kind: number): void {
    const dice = this.#dice;
    switch (kind) {
      case 0:
      case 1:
      case 2:
        return this.#receive(this.#segment());
      case 3:
      case 4:
        return this.#obey();
      case 5: {
        const ms = dice.pick([0, 1, 5, 40, 41, 200, 201, 1_000, 3_000, 60_000, 120_000, 7_200_000]);
        return void this.#both((subject) => subject.pass(ms));
      }
      case 6: {
        const count = dice.pick([1, 10, 536, 1_460, 4_000, 20_000]);
        return this.#withTcb((subject, tcb) => canWrite(tcb) ? subject.write(tcb, count) : -1);
      }
      case 7: {
        const count = dice.pick([1, 100, 2_000, 100_000]);
        return this.#withTcb((subject, tcb) => subject.read(tcb, count));
      }
      case 8:
        return this.#finish();
      case 9:
        return this.#set();
      case 10:
        return this.#connect();
      case 11:
        this.#port = dice.pick(PEER_PORTS);
        this.#localPort = dice.pick([LISTENING, LISTENING, FAST_OPEN, 5_000, 5_001, 7]);
        return;
      case 12:
        return this.#icmp();
      case 13:
        return this.#receive(
          ipPacket(
            this.#remote,
            this.#local,
            dice.pick([6, 17, 1, 58, 2, 0, 44, 60]),
            dice.take(dice.below(64)),
            dice.below(4),
          ),
        );
      case 14:
        return this.#receive(this.#fragment());
      default:
        return this.#rare();
    }
  }

  /** What happens seldom: to the link, to packets, to what an application writes. */
  #rare(): void {
    const dice = this.#dice;
    switch (dice.below(5)) {
      case 0:
        if (this.#last.length > 0) this.#receive(this.#last.slice() as Uint8Array<ArrayBuffer>); // it comes back
        return;
      case 1: {
        const packets = 1 + dice.below(4);
        return void this.#both((subject) => void (subject.linkFullFor = packets));
      }
      case 2: {
        const mtu = dice.pick([576, 1_280, 1_400, 1_500]);
        return void this.#both(({ stack }) => stack.limitMtu(0, mtu));
      }
      default: {
        const how = dice.pick(["more", "record"] as const);
        const count = dice.pick([1, 10, 536, 1_460, 4_000]);
        this.#withTcb((subject, tcb) => canWrite(tcb) ? subject.write(tcb, count, how) : -1);
      }
    }
  }

  #receive(packet: Uint8Array<ArrayBuffer>): void {
    this.#both((subject) => subject.receive(packet));
  }

  /** What a peer would send that does as it is told: completes handshakes, acknowledges all, sends what is next. */
  #obey(): void {
    const dice = this.#dice;
    const { tcb } = { tcb: this.#tcb };
    const what = dice.byte();
    const length = dice.pick([0, 0, 1, 100, 536, 1_460]);
    if (tcb === undefined) {
      const options = [
        2,
        4,
        5,
        0xb4,
        ...((what & 1) === 0 ? [4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0] : []),
        ...((what & 2) === 0 ? [3, 3, 7, 1] : []),
      ];
      const flags = TcpFlag.SYN | ((what & 12) === 12 ? TcpFlag.ECE | TcpFlag.CWR : 0);
      return this.#receive(this.#compose(dice.uint16(), 0, flags, 60_000, 0, options, 0));
    }
    const stamps = tcb.timestamps || tcb.state < 3
      ? [1, 1, 8, 10, ...word(tcb.tsRecent + 1), ...this.#echo(tcb)]
      : [];
    if (tcb.state === 1) {
      const options = [2, 4, 5, 0xb4, ...((what & 1) === 0 ? [...stamps, 4, 2, 3, 3, 5, 1] : [])];
      return this.#receive(this.#compose(77, tcb.sndMax, TcpFlag.SYN | TcpFlag.ACK, 60_000, 0, options, 0));
    }
    const flags = TcpFlag.ACK | ((what & 7) === 7 ? TcpFlag.FIN : 0);
    this.#receive(
      this.#compose(tcb.rcvNxt, tcb.sndMax, flags, (what & 24) === 24 ? 0 : 50_000, length, stamps, 0),
    );
  }

  /** The timestamp that our last segment had. */
  #echo(tcb: Tcb): number[] {
    const options = segmentOf(this.#last)?.options ?? [];
    const [, ...body] = options.find(([kind]) => kind === 8) ?? [];
    return body.length === 8 ? body.slice(0, 4) : word(tcb.tsOffset);
  }

  /** A segment with anything in it, near where it matters. */
  #segment(): Uint8Array<ArrayBuffer> {
    const dice = this.#dice;
    const tcb = this.#tcb;
    const { ACK, PSH, SYN, FIN, RST, URG, ECE, CWR } = TcpFlag;
    const flags = dice.pick([
      ACK,
      ACK,
      ACK | PSH,
      SYN,
      SYN | ACK,
      FIN | ACK,
      RST,
      RST | ACK,
      ACK | URG,
      0,
      ACK | ECE,
      ACK | CWR,
      SYN | ECE | CWR,
      SYN | FIN,
      dice.uint16() & 511,
    ]);
    const length = dice.pick([0, 0, 0, 1, 10, 536, 1_200]);
    const window = tcb === undefined ? 0 : (tcb.rcvAdv - tcb.rcvNxt) | 0;
    const sequence = (tcb?.rcvNxt ?? 0) +
      dice.pick([
        0,
        0,
        0,
        1,
        -1,
        -length,
        -length - 1,
        length,
        600,
        1_300,
        window,
        window - 1,
        window + 1,
        dice.uint32(),
      ]);
    const base = dice.chance(128) ? tcb?.sndMax ?? 0 : tcb?.sndUna ?? 0;
    const acknowledgment = base +
      dice.pick([0, 0, 0, 1, -1, 500, -500, 1_460, 2_000, -70_000, dice.uint32()]);
    const urgent = dice.pick([0, 0, 1, length, length + 1, dice.uint16()]);
    return this.#compose(
      sequence,
      acknowledgment,
      flags,
      dice.pick([0, 1, 100, 1_000, 65_535]),
      length,
      this.#options(tcb),
      urgent,
    );
  }

  #options(tcb: Tcb | undefined): number[] {
    const dice = this.#dice;
    const kinds = dice.byte();
    const options: number[] = [];
    if ((kinds & 1) !== 0) {
      const recent = (tcb?.tsRecent ?? 0) + dice.pick([0, 1, -1, 1_000, 0x7fff_ffff, -0x8000_0000]);
      const echo = tcb === undefined || dice.chance(64) ? word(dice.uint32()) : this.#echo(tcb);
      options.push(1, 1, 8, 10, ...word(recent), ...echo);
    }
    if ((kinds & 2) !== 0) {
      const blocks = 1 + dice.below(3);
      options.push(1, 1, 5, 2 + 8 * blocks);
      for (let block = 0; block < blocks; block++) {
        const start = (tcb?.sndUna ?? 0) +
          dice.pick([0, 1, 536, 1_448, 1_460, 2_896, 2_920, 5_000, -536, -1]) * (1 + dice.below(4));
        options.push(
          ...word(start),
          ...word(start + dice.pick([1, 536, 1_448, 1_460, 2_896, 0, -5, 40_000])),
        );
      }
    }
    if ((kinds & 4) !== 0) options.push(2, 4, dice.byte(), dice.byte());
    if ((kinds & 8) !== 0) options.push(3, 3, dice.below(20), 1);
    if ((kinds & 16) !== 0) options.push(4, 2, 1, 1);
    if ((kinds & 32) !== 0) options.push(34, 2 + dice.pick([0, 8, 4]), ...dice.take(8));
    if ((kinds & 64) !== 0) options.push(172, 11, ...dice.take(9), 1);
    if ((kinds & 128) !== 0) options.push(...dice.take(dice.below(41)));
    return options;
  }

  /** A segment whose data is the stream's at that place. */
  #compose(
    sequence: number,
    acknowledgment: number,
    flags: number,
    window: number,
    length: number,
    options: number[],
    urgentPointer: number,
  ): Uint8Array<ArrayBuffer> {
    const tcb = this.#tcb;
    const syn = (flags & TcpFlag.SYN) !== 0;
    const first = syn ? 0 : (sequence - (tcb?.irs ?? 0) - 1) | 0;
    const data = new Uint8Array(length);
    for (let at = 0; at < length; at++) data[at] = streamByte(first + at);
    return segmentPacket({
      source: this.#remote,
      destination: this.#local,
      sourcePort: this.#port,
      destinationPort: this.#localPort,
      sequence,
      acknowledgment,
      flags,
      window,
      urgentPointer,
      options,
      data,
      ecn: this.#dice.pick([0, 0, 2, 3, 1]),
    });
  }

  #finish(): void {
    const how = this.#dice.below(4);
    this.#withTcb((subject, tcb) => {
      if (how < 2) tcpShutdown(subject.stack.tcp, tcb);
      else if (how === 2) tcpClose(subject.stack.tcp, tcb, subject.nowMs);
      else tcpAbort(subject.stack.tcp, tcb, subject.nowMs);
    });
  }

  #set(): void {
    const dice = this.#dice;
    const value = dice.uint16();
    const options: TcpOptions = dice.pick<TcpOptions>([
      { noDelay: true },
      { noDelay: false },
      { cork: true },
      { cork: false },
      { quickAck: true },
      {
        keepAlive: true,
        keepAliveIdleMs: 100 + value,
        keepAliveIntervalMs: 100 + (value & 4_095),
        keepAliveProbes: 1 + (value & 7),
      },
      { keepAlive: false },
      { userTimeoutMs: value },
      { lingerMs: 0 },
      { finWait2Ms: value - 1 },
      { receiveBufferBytes: 2_304 + value },
      { sendBufferBytes: 2_304 + value },
      { notSentLowWaterBytes: value },
      { congestionControl: "newreno" },
      { congestionControl: "cubic" },
      { pathMtuDiscovery: false },
      { dscp: value & 63, timeToLive: 1 + (value & 127) },
    ]);
    checkTcpOptions(options);
    this.#withTcb((subject, tcb) => tcpSetOptions(subject.stack.tcp, tcb, options, subject.nowMs));
    if (!dice.chance(64)) return;
    this.#withTcb((subject, tcb) => {
      if (dice.done && canWrite(tcb)) tcpSetNoDelay(subject.stack.tcp, tcb, true);
    });
  }

  #connect(): void {
    const dice = this.#dice;
    this.#localPort = dice.pick([5_000, 5_001]);
    this.#port = dice.pick(PEER_PORTS);
    const early = dice.pick([0, 0, 0, 10, 3_000]);
    const data = new Uint8Array(early).map((_, at) => streamByte(at));
    this.#both((subject) => {
      const { stack } = subject;
      const of = (bytes: AddressBytes): number =>
        stack.addresses.parse(bytes.length === 4 ? bytes.join(".") : `2001:db8::${bytes[15]}`)!;
      const tcb = tcpConnect(
        stack.tcp,
        of(this.#local),
        this.#localPort,
        of(this.#remote),
        this.#port,
        subject.nowMs,
        undefined,
        early > 0 ? data : undefined,
      );
      if (tcb === undefined) return -1;
      subject.progress(tcb);
      return tcb.sendQueue.length;
    });
    const urgent = dice.chance(32);
    if (!urgent) return;
    this.#withTcb((subject, tcb) => {
      if (!canWrite(tcb)) return -1;
      const progress = subject.progress(tcb);
      const byte = Uint8Array.of(streamByte(progress.written));
      const taken = tcpSendUrgent(subject.stack.tcp, tcb, byte, 0, 1);
      progress.written += taken;
      return (sendEnd(tcb) - tcb.sndUna) | 0;
    });
  }

  /** An error about the packet that left last, of any kind. */
  #icmp(): void {
    const dice = this.#dice;
    const ipv6 = this.#local.length === 16;
    const type = dice.pick(ipv6 ? [1, 2, 3, 4, 128, 135] : [3, 3, 11, 12, 4, 5, 8]);
    const code = dice.below(16);
    const rest = dice.pick([0, 68, 300, 576, 1_280, 1_400, dice.uint32()]);
    const quote = this.#last.slice(0, dice.pick([28, 48, 60, 552]));
    if (dice.chance(32) && quote.length > 24) quote[dice.below(quote.length)] = dice.byte();
    const message = new Uint8Array(8 + quote.length);
    message.set([type, code, 0, 0, ...word(rest)]);
    message.set(quote, 8);
    const packet = ipPacket(this.#remote, this.#local, ipv6 ? 58 : 1, message);
    mendPacket(packet);
    this.#receive(packet);
  }

  /** A part of a segment or of noise. */
  #fragment(): Uint8Array<ArrayBuffer> {
    const dice = this.#dice;
    const whole = dice.chance(128) ? this.#segment() : ipPacket(this.#remote, this.#local, 17, dice.take(64));
    const ipv6 = this.#local.length === 16;
    const payload = whole.slice(ipv6 ? 40 : 20);
    const from = 8 * dice.below(8);
    const part = payload.slice(from, from + 8 * (1 + dice.below(16)));
    const more = from + part.length < payload.length || dice.chance(64);
    if (ipv6) {
      const fragment = new Uint8Array(8 + part.length);
      fragment.set([whole[6]!, 0, from >> 8, from | (more ? 1 : 0), 0, 0, 0, dice.below(4)]);
      fragment.set(part, 8);
      return ipPacket(this.#remote, this.#local, 44, fragment);
    }
    const packet = ipPacket(this.#remote, this.#local, whole[9]!, part);
    const offset = (from >> 3) | (more ? 0x2000 : 0);
    packet.set([0, dice.below(4), offset >> 8, offset], 4);
    mendPacket(packet, false);
    return packet;
  }

  /** Everything is ended; then nothing may be left. */
  #end(): void {
    this.#step = -1;
    this.#both((subject) => {
      const { stack } = subject;
      for (const tcb of [...stack.tcp.tcbs()]) tcpAbort(stack.tcp, tcb, subject.nowMs);
      subject.poll();
      assert(stack.connections.size === 0 && stack.tcp.awake === 0, "No connection is left");
      subject.pass(200_000);
      assert(stack.reassembly.nextDeadlineMs() === Infinity, "No fragment waits");
      assert(stack.tcp.nextDeadlineMs() === Infinity, "No timer runs");
    });
    this.#compare();
  }
}

export const targets: readonly Target[] = [
  {
    name: "stack/script",
    about:
      "a stack with connections in any state, against a peer out of its mind; legal packets only, streams right, naps change nothing",
    run: (input) => new Play(input).run(),
    bytesMax: 400,
    seeds: () => [
      hex("00 00 00 00 01 03 00 00 10 00 ff 03 00 00 00 ff 06 02 ff 03 00 00 00 ff 07 01 ff 08 00 ff"),
      hex("00 02 00 00 01 0a 00 00 00 00 03 00 00 00 ff 06 05 ff 03 00 03 00 ff 05 06 ff 08 02 ff"),
      hex(
        "03 00 01 ff 02 03 00 00 10 00 ff 03 00 00 00 ff 06 03 ff 00 00 00 00 00 00 00 02 00 02 00 03 03 00 03 03 00",
      ),
      hex("40 03 03 00 01 03 00 00 10 00 ff 03 00 05 00 ff 09 0a 10 00 ff 0c 00 04 02 00 05 06"),
    ],
    allocationMax: (length) => (1 << 25) + (1 << 19) * length,
    workMax: (length) => 20_000_000 + 400_000 * length,
  },
];
