import { assert } from "../base/assert.ts";
import { HANDED_ON } from "../base/handed_on.ts";
import { Prng } from "../base/random.ts";
import type { Ruleset } from "../net/firewall/nft/schema.ts";
import { Stack } from "../net/stack.ts";
import { type Tcb, TcpEvent } from "../net/tcp/tcb.ts";
import { tcpReceive, tcpSend } from "../net/tcp/user.ts";
import { parseIpv4 } from "../net/wire/address.ts";
import { Drop } from "../net/wire/drop.ts";
import { Ipv4Record, readIpv4 } from "../net/wire/ipv4.ts";
import { readTcp, TcpFlag, TcpRecord } from "../net/wire/tcp.ts";
import { FrameWriter } from "./frames.ts";

const START_MS = 1_700_000_000_000;
const DATA_BYTES = 1_448; // a full segment with timestamps
const CHUNK = new Uint8Array(64 * 1024);
/** Segments between two turns, as a link that drains its device brings them. */
const BATCH = 16;
/** Time between two turns: 16 full segments at 1 Gbit/s. */
const TURN_MS = 0.19;

/**
 * A stack with one connection whose peer is a few numbers: everything that is allocated while it works
 * is the stack's own.
 */
export class OneSided {
  readonly stack: Stack;
  readonly tcb: Tcb;
  readonly #peer = new FrameWriter();
  readonly #ip = new Ipv4Record();
  readonly #seen = new TcpRecord();
  nowMs: number = HANDED_ON;
  /** Times of turns to come, made ahead: the numbers are whoever's who looks at the clock. */
  readonly #times: (number | undefined)[] = [undefined];
  #turns = 0;
  #sent = 0;
  #received = 0;
  #echoes = false;

  /** @param rules nftables rules that look at its packets. */
  constructor(rules?: Ruleset) {
    this.nowMs = START_MS;
    const stack = this.stack = new Stack({ nowMs: START_MS, entropy: new Prng(1) });
    stack.addInterface({
      name: "net0",
      link: {
        medium: "ip",
        mtu: 1500,
        send: (slab, start, end) => {
          this.#sent++;
          assert(readIpv4(slab, start, end, this.#ip) === Drop.None, "The stack sends packets");
          assert(
            readTcp(slab, this.#ip.dataStart, this.#ip.dataEnd, this.#seen) === Drop.None,
            "and segments",
          );
          return true;
        },
        flush: () => {},
      },
    });
    stack.setRoutes({ addresses: [{ address: "10.0.0.1/24" }] });
    if (rules !== undefined) stack.setRules(rules);
    stack.tcp.listeners.add(0, 80, 16);
    stack.upcalls = {
      tcpEvents: (tcb, events) => {
        if ((events & TcpEvent.readable) === 0) return;
        for (;;) {
          const count = tcpReceive(stack.tcp, tcb, CHUNK, 0, CHUNK.length);
          if (count === 0) return;
          this.#received += count;
          if (this.#echoes) tcpSend(stack.tcp, tcb, CHUNK, 0, count);
        }
      },
      udpReadable() {},
      tcpSuspended() {},
      tcpRestored() {},
    };
    this.tcb = this.#open();
  }

  /** Takes in `count` full segments in order, BATCH in a turn. Returns packets, ACKs included. */
  receive(count: number): number {
    const { segment } = this.#peer;
    const [sentBefore, receivedBefore] = [this.#sent, this.#received];
    for (let at = 0; at < count; at++) {
      this.#in(DATA_BYTES);
      segment.sequence = (segment.sequence + DATA_BYTES) | 0;
      if (at % BATCH === BATCH - 1) this.#turn();
    }
    this.#turn();
    assert(this.#received - receivedBefore === count * DATA_BYTES, "All of it is received");
    return count + this.#sent - sentBefore;
  }

  /** Sends `count` full segments, acknowledged turn by turn. Returns packets, ACKs included. */
  send(count: number): number {
    const { tcp } = this.stack;
    const sentBefore = this.#sent;
    let acks = 0;
    while (this.#sent - sentBefore < count) {
      if (this.tcb.sendQueue.length < 8 * CHUNK.length) tcpSend(tcp, this.tcb, CHUNK, 0, CHUNK.length);
      this.#turn();
      this.#peer.segment.acknowledgment = this.tcb.sndMax;
      this.#in(0);
      acks++;
    }
    return this.#sent - sentBefore + acks;
  }

  /** Answers `count` segments of one byte with one byte each, a turn for each. Returns packets. */
  echo(count: number): number {
    const { segment } = this.#peer;
    const sentBefore = this.#sent;
    this.tcb.noDelay = this.#echoes = true;
    for (let at = 0; at < count; at++) {
      this.#in(1);
      segment.sequence = (segment.sequence + 1) | 0;
      this.#turn();
      segment.acknowledgment = this.tcb.sndMax;
    }
    this.#echoes = false;
    return count + this.#sent - sentBefore; // a young connection also sends bare ACKs
  }

  /** Everything that was written is sent and acknowledged; then nothing happens for a minute. */
  settle(): void {
    while (this.tcb.sendQueue.length > 0) {
      this.#turn();
      this.#peer.segment.acknowledgment = this.tcb.sndMax;
      this.#in(0);
    }
    this.prepare(0);
    this.nowMs += 60_000;
    this.#turn();
  }

  #open(): Tcb {
    const { segment, ip } = this.#peer;
    ip.source = parseIpv4("10.0.0.2")!;
    ip.destination = parseIpv4("10.0.0.1")!;
    segment.sourcePort = 4000;
    segment.destinationPort = 80;
    segment.flags = TcpFlag.SYN;
    segment.sequence = 5_000;
    segment.window = 0xffff;
    segment.mss = 1_460;
    segment.windowScale = 7;
    segment.hasTimestamp = segment.sackPermitted = true;
    segment.tsVal = 1;
    this.#in(0);
    segment.flags = TcpFlag.ACK;
    segment.sackPermitted = false;
    segment.sequence++;
    segment.acknowledgment = (this.#seen.sequence + 1) | 0;
    segment.window = 2_000; // times 128
    this.#in(0);
    this.#turn();
    const record = this.stack.connections.find(ip.destination, ip.source, 80, 4000);
    return this.stack.awakeTcb(record);
  }

  #in(dataBytes: number): void {
    const { segment } = this.#peer;
    segment.tsEcr = this.#seen.tsVal;
    segment.tsVal = Math.floor(this.nowMs) | 0;
    const reason = this.stack.receive(0, this.#peer.slab, 0, this.#peer.write(dataBytes), this.nowMs);
    assert(reason === Drop.None, "The stack takes the segment");
  }

  /** Makes the times of the next `turns` turns. */
  prepare(turns: number): void {
    this.#times.length = 1;
    for (let at = 1; at <= turns; at++) this.#times[at] = this.nowMs + at * TURN_MS;
    this.#turns = 0;
  }

  #turn(): void {
    this.nowMs = this.#times[++this.#turns] ?? this.nowMs + TURN_MS;
    this.stack.poll(this.nowMs);
  }
}
