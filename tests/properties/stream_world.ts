import { assert } from "../../base/assert.ts";
import { Prng } from "../../base/random.ts";
import { Slab } from "../../base/slab.ts";
import { Stack } from "../../net/stack.ts";
import type { TcpConfig } from "../../net/tcp/config.ts";
import { type Tcb, TcpEvent, TcpState } from "../../net/tcp/tcb.ts";
import { tcpClose, tcpConnect, tcpReceive, tcpSend, tcpShutdown } from "../../net/tcp/user.ts";
import { parseIpv4 } from "../../net/wire/address.ts";
import { Napper } from "../checkpoint/napper.ts";
import { Watcher } from "../net/tcp/checker.ts";
import { streamByte, streamBytes } from "../net/tcp/script.ts";

/** One of the two ends. */
export type Side = 0 | 1;

const ADDRESSES = ["10.0.0.1", "10.0.0.2"] as const;
const PORT = 80;
/** Rounds of a calm wire until everything is through; more means that it never will be. */
const ROUNDS_MAX = 5_000;

/**
 * What TCP promises, and nothing of how: what is written on one side is read on the other, in order, once, and
 * then the end. It cannot be wrong, since it has nothing but two counters a side: the bytes are known by place.
 */
export class StreamModel {
  readonly written: [number, number] = [0, 0];
  /** Bytes read by this side: of what the other has written. */
  readonly read: [number, number] = [0, 0];
  readonly finished: [boolean, boolean] = [false, false];
  readonly ended: [boolean, boolean] = [false, false];
}

/** Two real stacks and the packets between them, which arrive when and if a command says so. */
export class StreamPair {
  readonly stacks: readonly [Stack, Stack];
  /** Packets on their way to a side. */
  readonly wire: readonly [Uint8Array<ArrayBuffer>[], Uint8Array<ArrayBuffer>[]] = [[], []];
  readonly watcher: Watcher;
  nowMs = 1_700_000_000_000;
  readonly #leftover: [Uint8Array, Uint8Array] = [new Uint8Array(0), new Uint8Array(0)];
  readonly #tcbs: [Tcb | undefined, Tcb | undefined] = [undefined, undefined];
  readonly #nappers: readonly [Napper, Napper];
  #events = 0;

  constructor(tcp: readonly [Partial<TcpConfig>, Partial<TcpConfig>], mtu: number) {
    this.watcher = new Watcher(mtu);
    const stack = (side: Side): Stack => {
      const made = new Stack({ nowMs: this.nowMs, entropy: new Prng(side + 1), tcp: tcp[side] });
      const send = (slab: Slab, start: number, end: number): boolean => {
        const packet = slab.bytes.slice(start, end);
        this.watcher.sent(packet);
        this.wire[side === 0 ? 1 : 0].push(packet);
        return true;
      };
      made.addInterface({ name: "net0", link: { medium: "ip", mtu, send, flush: () => {} } });
      made.setRoutes({ addresses: [{ address: `${ADDRESSES[side]}/24` }] });
      const hold = (tcb: Tcb): void => void (this.#tcbs[side] = tcb);
      made.upcalls = {
        tcpEvents: (tcb, events) => {
          hold(tcb);
          this.#events |= events;
          // As owners do: what has ended can still be read.
          if ((events & TcpEvent.closed) !== 0) this.#leftover[side] = tcb.receiveQueue.toBytes();
        },
        udpReadable: () => {},
        tcpSuspended: () => {},
        tcpRestored: hold,
      };
      return made;
    };
    this.stacks = [stack(0), stack(1)];
    this.#nappers = [new Napper(this.stacks[0], 1, 1), new Napper(this.stacks[1], 2, 1)];
    this.stacks[1].tcp.listeners.add(0, PORT, 4);
    const [local, remote] = [parseIpv4(ADDRESSES[0])!, parseIpv4(ADDRESSES[1])!];
    const tcb = tcpConnect(this.stacks[0].tcp, local, 5_000, remote, PORT, this.nowMs);
    assert(tcb !== undefined, "There is room for a connection");
    for (let round = 0; round < 4; round++) this.#round();
    assert(
      this.tcb(0)?.state === TcpState.established && this.tcb(1)?.state === TcpState.established,
      "Connected",
    );
  }

  /** The connection as its owner holds it. */
  tcb(side: Side): Tcb | undefined {
    return this.#tcbs[side];
  }

  poll(side: Side): void {
    const stack = this.stacks[side];
    for (let turns = 0; stack.poll(this.nowMs) <= this.nowMs; turns++) assert(turns < 64, "A turn ends");
  }

  /** The first `count` packets on their way to a side arrive. */
  deliver(side: Side, count: number): void {
    for (const packet of this.wire[side].splice(0, count)) {
      this.watcher.received(packet);
      this.stacks[side].receive(0, new Slab(packet), 0, packet.length, this.nowMs);
    }
    this.poll(side);
  }

  /** Time passes on both sides; every deadline on the way is served. */
  pass(ms: number): void {
    const untilMs = this.nowMs + ms;
    for (;;) {
      const deadlineMs = Math.ceil(Math.min(...this.stacks.map((stack) => stack.poll(this.nowMs))));
      if (deadlineMs > untilMs) break;
      this.nowMs = Math.max(this.nowMs, deadlineMs);
    }
    this.nowMs = untilMs;
    this.poll(0);
    this.poll(1);
  }

  /** A connection goes through its image and back. */
  nap(side: Side): void {
    this.#nappers[side].napAll(this.nowMs);
    this.poll(side);
  }

  write(side: Side, model: StreamModel, count: number): void {
    const taken = tcpSend(
      this.stacks[side].tcp,
      this.tcb(side)!,
      streamBytes(model.written[side], count),
      0,
      count,
    );
    assert(taken >= 0 && taken <= count, "As much as was given, at most");
    model.written[side] += taken;
    this.poll(side);
  }

  finish(side: Side, model: StreamModel): void {
    tcpShutdown(this.stacks[side].tcp, this.tcb(side)!);
    model.finished[side] = true;
    this.poll(side);
  }

  /** Reads, and compares with what the model says that there can be. */
  read(side: Side, model: StreamModel, count: number): number {
    const tcb = this.tcb(side);
    if (tcb === undefined) return 0;
    const other = side === 0 ? 1 : 0;
    let bytes = this.#leftover[side].slice(0, count);
    this.#leftover[side] = this.#leftover[side].slice(count);
    if (bytes.length === 0) {
      const room = new Uint8Array(count);
      bytes = room.subarray(0, tcpReceive(this.stacks[side].tcp, tcb, room, 0, count));
    }
    const got = bytes.length;
    bytes.forEach((byte, at) => {
      assert(byte === streamByte(model.read[side] + at), `Byte ${model.read[side] + at} is another one`);
    });
    model.read[side] += got;
    assert(model.read[side] <= model.written[other], "What was not written cannot be read");
    if (got === 0 && tcb.finReceived) {
      assert(model.finished[other] && model.read[side] === model.written[other], "The end comes at the end");
      model.ended[side] = true;
    }
    this.poll(side);
    return got;
  }

  /** One round of a wire without faults. */
  #round(): void {
    this.poll(0);
    this.poll(1);
    this.deliver(1, Infinity);
    this.deliver(0, Infinity);
  }

  /** No faults any more, and both sides finish: all that was written arrives, then the ends, then nothing is left. */
  calm(model: StreamModel): void {
    for (const side of [0, 1] as const) {
      if (!model.finished[side]) this.finish(side, model);
    }
    for (let rounds = 0; !model.ended[0] || !model.ended[1]; rounds++) {
      assert(rounds < ROUNDS_MAX, `Stuck: ${JSON.stringify(model)}`);
      this.#round();
      while (this.read(0, model, 50_000) > 0 || this.read(1, model, 50_000) > 0);
      this.pass(rounds < 10 ? 1 : 500);
    }
    assert(model.read[0] === model.written[1] && model.read[1] === model.written[0], "All of it was read");
    for (const side of [0, 1] as const) {
      const tcb = this.tcb(side);
      if (tcb !== undefined) tcpClose(this.stacks[side].tcp, tcb, this.nowMs);
    }
    for (let rounds = 0; rounds < 20; rounds++) {
      this.#round();
      this.pass(500);
    }
    this.pass(200_000);
    for (const { connections, tcp } of this.stacks) {
      assert(connections.size === 0 && tcp.awake === 0, "Nothing is left");
      assert(tcp.nextDeadlineMs() === Infinity, "No timer runs");
    }
    assert((this.#events & TcpEvent.closed) !== 0, "The owners were told");
  }
}
