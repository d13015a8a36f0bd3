import { assert } from "../../base/assert.ts";
import { Prng } from "../../base/random.ts";
import { Slab } from "../../base/slab.ts";
import type { Stack } from "../../net/stack.ts";
import type { TcpConfig } from "../../net/tcp/config.ts";
import { finSent, type Tcb, TcpEvent, TcpState } from "../../net/tcp/tcb.ts";
import { earliestDeadlineMs } from "../../net/tcp/tcp.ts";
import { tcpReceive, tcpSend, tcpSendRecord } from "../../net/tcp/user.ts";
import { Drop, dropNames } from "../../net/wire/drop.ts";
import { Napper } from "../checkpoint/napper.ts";
import { readSegment, Watcher } from "../net/tcp/checker.ts";
import { streamByte, streamBytes } from "../net/tcp/script.ts";
import { makeStack } from "./make_stack.ts";
import { checkPacket } from "./packet_check.ts";

export const START_MS = 1_700_000_000_000;
/** Turns that a stack may ask for at one moment, and on the way to a later one. */
const TURNS_MAX = 64;
const STEPS_MAX = 20_000;

/** How far an application of a connection is; kept as the connection's attachment, so that it goes along. */
interface Progress {
  read: number;
  written: number;
}

/** What a subject is made of. */
export interface SubjectOptions {
  readonly tcp: Partial<TcpConfig>;
  readonly mtu: number;
  readonly seed: number;
  /** Chance of a nap before each turn; 0 for the twin that stays awake. */
  readonly naps: number;
  /** Its connections come from elsewhere: packets must be legal, what they say of streams and windows is not judged. */
  readonly foreign?: boolean;
}

/**
 * One stack under test on a wire of bare IP packets, and its applications. Whatever is done to it, it must not
 * throw, send what is illegal, speak unasked, or lose its own count.
 */
export class Subject {
  readonly stack: Stack;
  readonly watcher: Watcher;
  nowMs = START_MS;
  /** So many packets more find the link full. */
  linkFullFor = 0;
  /** Packets since the last `take`. */
  sent: Uint8Array<ArrayBuffer>[] = [];
  /** News since the last `take`. */
  heard: string[] = [];
  readonly #napper: Napper | undefined;
  #sentCount = 0;

  constructor(options: SubjectOptions) {
    this.watcher = new Watcher(options.mtu);
    const stack = this.stack = makeStack({
      nowMs: START_MS,
      entropy: new Prng(options.seed),
      tcp: options.tcp,
      connectionsMax: 16,
    });
    const send = (slab: Slab, start: number, end: number): boolean => {
      if (this.linkFullFor > 0) {
        this.linkFullFor--;
        return false;
      }
      this.#sent(slab.bytes.slice(start, end), options);
      return true;
    };
    stack.addInterface({ name: "net0", link: { medium: "ip", mtu: options.mtu, send, flush: () => {} } });
    stack.setRoutes({
      addresses: [{ address: "10.0.0.1/24", gateway: "10.0.0.254" }, {
        address: "2001:db8::1/64",
        gateway: "2001:db8::fe",
      }],
    });
    stack.upcalls = {
      tcpEvents: (tcb, events) => {
        this.heard.push(`${tcb.remotePort}: ${events} ${tcb.state} ${tcb.error}`);
        if ((events & TcpEvent.closed) !== 0) {
          assert(tcb.state === TcpState.closed, "The last event is of a closed TCB");
        }
      },
      udpReadable: (socket) => {
        while (socket.shift() !== undefined);
      },
      tcpSuspended: () => {},
      tcpRestored: () => {},
    };
    this.#napper = options.naps > 0 ? new Napper(stack, options.seed, options.naps) : undefined;
  }

  #sent(packet: Uint8Array<ArrayBuffer>, { mtu, foreign = false }: SubjectOptions): void {
    this.sent.push(packet);
    this.#sentCount++;
    assert(this.sent.length < 5_000, "A turn without end");
    const protocol = checkPacket(packet, mtu);
    if (protocol !== 6 || foreign) return;
    const segment = this.watcher.sent(packet);
    const tcb = [...this.stack.tcp.tcbs()].find((each) =>
      each.remotePort === segment.destinationPort && each.localPort === segment.sourcePort
    );
    if (tcb === undefined || segment.flags.includes("R")) return;
    const first = (segment.sequence - tcb.iss - (segment.flags.includes("S") ? 0 : 1)) | 0;
    segment.data.forEach((byte, at) => {
      assert(byte === streamByte(first + at), `Byte ${first + at} of our stream, not another`);
    });
  }

  /** The awake connection between these ports. */
  tcb(localPort: number, remotePort: number): Tcb | undefined {
    return [...this.stack.tcp.tcbs()].find((tcb) =>
      tcb.localPort === localPort && tcb.remotePort === remotePort
    );
  }

  progress(tcb: Tcb): Progress {
    return (tcb.attachment ??= { read: 0, written: tcb.sendQueue.length }) as Progress;
  }

  write(tcb: Tcb, count: number, how: "plain" | "more" | "record" = "plain"): number {
    const progress = this.progress(tcb);
    const bytes = streamBytes(progress.written, count);
    const taken = how === "record"
      ? tcpSendRecord(this.stack.tcp, tcb, bytes, 0, count)
      : tcpSend(this.stack.tcp, tcb, bytes, 0, count, how === "more");
    progress.written += taken;
    return taken;
  }

  read(tcb: Tcb, count: number): number {
    const progress = this.progress(tcb);
    const target = new Uint8Array(count);
    const got = tcpReceive(this.stack.tcp, tcb, target, 0, count);
    for (let at = 0; at < got; at++) {
      assert(
        target[at] === streamByte(progress.read + at),
        `Byte ${progress.read + at} of the peer's stream, not another`,
      );
    }
    progress.read += got;
    return got;
  }

  /** A packet arrives; what is due goes first, in both lives. */
  receive(packet: Uint8Array<ArrayBuffer>): Drop {
    if ([...this.stack.tcp.tcbs()].some((tcb) => earliestDeadlineMs(tcb) <= this.nowMs)) this.poll();
    this.#napper?.napAll(this.nowMs);
    this.#show(packet);
    const slab = Slab.of(packet.length + 8);
    slab.bytes.fill(0xee);
    slab.bytes.set(packet, 4);
    const drop = this.stack.receive(0, slab, 4, 4 + packet.length, this.nowMs);
    assert(dropNames[drop] !== undefined, `${drop} is no reason`);
    return drop;
  }

  /** The watcher learns windows from SYNs that begin something, not from those that are out of place. */
  #show(packet: Uint8Array): void {
    const segment = segmentOf(packet);
    if (segment === undefined) return;
    const tcb = this.tcb(segment.destinationPort, segment.sourcePort);
    const begins = tcb === undefined || tcb.state === TcpState.synSent || tcb.state === TcpState.timeWait;
    if (begins) this.watcher.received(packet);
  }

  /** Ends a turn, and the next, until the stack wants no more now. @returns The next deadline. */
  poll(): number {
    this.#napper?.napAll(this.nowMs);
    let deadlineMs = this.stack.poll(this.nowMs);
    for (let turns = 0; deadlineMs <= this.nowMs; turns++) {
      assert(turns < TURNS_MAX, "The stack asks for turns without end");
      deadlineMs = this.stack.poll(this.nowMs);
    }
    const count = this.#sentCount;
    assert(this.stack.poll(this.nowMs) >= deadlineMs, "A poll before the deadline changes nothing");
    assert(this.#sentCount === count, "Polled before its deadline, the stack sent something");
    assert(!Number.isNaN(deadlineMs), "A deadline is a time");
    this.check();
    return deadlineMs;
  }

  /** Time passes in whole milliseconds; deadlines on the way are served. */
  pass(ms: number): void {
    const untilMs = this.nowMs + ms;
    for (let steps = 0;; steps++) {
      assert(steps < STEPS_MAX, "The stack is never at rest");
      const deadlineMs = Math.ceil(this.poll());
      if (deadlineMs > untilMs) break;
      this.nowMs = deadlineMs;
    }
    this.nowMs = untilMs;
    this.poll();
  }

  /** What must hold between turns. */
  check(): void {
    const { stack } = this;
    let awake = 0;
    for (const tcb of stack.tcp.tcbs()) {
      awake++;
      this.#checkTcb(tcb);
    }
    assert(awake === stack.tcp.awake, "Every slot is counted");
    assert(stack.connections.size <= 16, "No more records than allowed");
    assert(stack.connections.size === awake, "Every record has a TCB");
  }

  #checkTcb(tcb: Tcb): void {
    const { receiveQueue, sendQueue } = tcb;
    assert(tcb.state !== TcpState.closed, "What is closed is gone");
    assert(tcb.record >= 0, "A TCB has a record");
    const { read } = this.progress(tcb);
    if (tcb.state >= TcpState.established) {
      const taken = (tcb.rcvNxt - tcb.irs - 1 - (tcb.finReceived ? 1 : 0)) | 0;
      assert(
        tcb.orphan || taken === ((read + receiveQueue.length) | 0),
        `${taken} bytes acknowledged, ${read} read, ${receiveQueue.length} wait`,
      );
      const window = (tcb.rcvAdv - tcb.rcvNxt) | 0;
      assert(window >= 0 && window <= 2 ** 30, `A window of ${window}`);
      const flight = (tcb.sndMax - tcb.sndUna) | 0;
      assert(
        flight >= 0 && flight <= sendQueue.length + (finSent(tcb) ? 1 : 0),
        `${flight} in flight of ${sendQueue.length}`,
      );
    }
    for (let at = 0; at < tcb.ahead.length; at += 2) {
      assert(
        tcb.ahead[at]! > (at > 0 ? tcb.ahead[at - 1]! : 0) && tcb.ahead[at + 1]! > tcb.ahead[at]!,
        `Runs ${tcb.ahead}`,
      );
    }
    assert(tcb.ahead.length <= 2 * stackRanges(this.stack), "No more runs than allowed");
    assert(tcb.sackedOut >= 0 && tcb.lostOut >= 0 && tcb.retransOut >= 0, "Counts are not negative");
    assert(
      tcb.sackedOut + tcb.lostOut <= tcb.sent.length,
      `${tcb.sackedOut} sacked, ${tcb.lostOut} lost of ${tcb.sent.length}`,
    );
    assert(tcb.sndMss >= 1 && Number.isInteger(tcb.sndMss), `An MSS of ${tcb.sndMss}`);
    if (tcb.state >= TcpState.established) {
      assert(tcb.cwnd > 0 && Number.isFinite(tcb.cwnd), `A congestion window of ${tcb.cwnd}`);
    }
    assert(tcb.rtoMs > 0 && Number.isFinite(tcb.rtoMs), `An RTO of ${tcb.rtoMs}`);
  }
}

function stackRanges(stack: Stack): number {
  return stack.tcp.config.outOfOrderRangesMax;
}

/** A packet's segment, or what is wrong with it. */
export function segmentOf(packet: Uint8Array): ReturnType<typeof readSegment> | undefined {
  try {
    return readSegment(packet);
  } catch {
    return undefined;
  }
}

export { Drop };
