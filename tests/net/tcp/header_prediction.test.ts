import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { FrameQueue } from "../../../net/link/frame_queue.ts";
import { Stack } from "../../../net/stack.ts";
import type { TcpConfig } from "../../../net/tcp/config.ts";
import { type Tcb, TcpEvent, TcpState } from "../../../net/tcp/tcb.ts";
import {
  tcpClose,
  tcpConnect,
  tcpReceive,
  tcpSend,
  tcpSendRecord,
  tcpSendUrgent,
  tcpSetNoDelay,
} from "../../../net/tcp/user.ts";
import { parseIpv4 } from "../../../net/wire/address.ts";
import { drawSeed } from "../../support/seed.ts";

const START_MS = 1_700_000_000_000;
const STEPS = 500;
/** A frame's headers; the data is zeros. */
const HEADER_BYTES = 100;
const bytes = new Uint8Array(60_000);

/** Two stacks that talk both ways over a lossy link in virtual time. */
class World {
  readonly log: string[] = [];
  /** ACKs that took the long way, and segments that did. */
  long = 0;
  longSegments = 0;
  readonly #prng: Prng;
  readonly #stacks: Stack[] = [];
  readonly #queues = [new FrameQueue(400), new FrameQueue(400)];
  readonly #tcbs: (Tcb | undefined)[] = [];
  readonly #loss: number;
  readonly #ahead: number;
  readonly #full: number;
  readonly #unusual: number;
  /** Bytes that are written at once: a talk, or bulk as well. */
  readonly #counts: readonly number[];
  #nowMs = START_MS;

  constructor(seed: number, headerPrediction: boolean) {
    const prng = this.#prng = new Prng(seed);
    this.#loss = prng.pick([0, 0, 0.01, 0.05]);
    this.#ahead = prng.pick([0, 0, 0.02]);
    this.#full = prng.pick([0, 0, 0.02]);
    this.#unusual = prng.pick([0, 0.02, 0.3]);
    this.#counts = prng.chance(0.5) ? [1, 100, 1_448] : [1, 100, 1_448, 9_000, 20_000];
    const tcp: Partial<TcpConfig> = {
      headerPrediction,
      ecn: prng.pick([0, 0, 0, 1, 2, 3]),
      sack: prng.chance(0.8),
      timestamps: prng.chance(0.9),
      tailLossProbe: prng.chance(0.8),
      congestionControl: prng.pick(["cubic", "newreno"]),
    };
    for (const side of [0, 1]) {
      const stack = new Stack({ nowMs: START_MS, entropy: new Prng(seed + side), tcp });
      const out = this.#queues[side]!;
      stack.addInterface({
        name: "net0",
        link: {
          medium: "ip",
          mtu: 1_500,
          send: (slab, start, end) => {
            const header = slab.bytes.slice(start, Math.min(end, start + HEADER_BYTES));
            this.log.push(`${this.#nowMs} ${side} ${end - start} ${Buffer.from(header).toString("hex")}`);
            if (prng.chance(this.#full)) return false;
            if (prng.chance(this.#loss)) return true;
            if (out.count === 0 || !prng.chance(this.#ahead)) return out.push(slab, start, end);
            const frames = [slab.bytes.slice(start, end)]; // overtakes all that wait
            for (; out.count > 0; out.shift()) frames.push(out.slab.bytes.slice(out.headStart, out.headEnd));
            for (const frame of frames) {
              slab.bytes.set(frame, start);
              out.push(slab, start, start + frame.length);
            }
            return true;
          },
          flush: () => {},
        },
      });
      stack.setRoutes({ addresses: [{ address: `10.0.0.${side + 1}/24` }] });
      stack.upcalls = {
        tcpEvents: (tcb, events) => this.#events(side, tcb, events),
        udpReadable() {},
        tcpSuspended() {},
        tcpRestored() {},
      };
      const { ackSample } = stack.tcp;
      const { reset } = ackSample;
      ackSample.reset = (...args) => {
        this.long++;
        reset.apply(ackSample, args);
      };
      const { segment } = stack.tcp;
      const { clear } = segment;
      segment.clear = () => {
        this.longSegments++;
        clear.apply(segment);
      };
      this.#stacks.push(stack);
    }
    this.#stacks[0]!.tcp.listeners.add(0, 80, 16);
    const [server, client] = [parseIpv4("10.0.0.1")!, parseIpv4("10.0.0.2")!];
    this.#tcbs[1] = tcpConnect(this.#stacks[1]!.tcp, client, 40_000, server, 80, START_MS)!;
  }

  run(): void {
    const prng = this.#prng;
    for (let step = 0; step < STEPS; step++) {
      this.#nowMs += prng.pick([0.02, 0.3, 1, 7, step % 100 === 99 ? 400 : 1]);
      for (const side of [0, 1]) {
        const tcb = this.#tcbs[side];
        if (tcb !== undefined && tcb.state >= TcpState.established && prng.chance(0.5)) {
          const count = prng.pick(this.#counts);
          if (step < STEPS - 200) this.#send(side, tcb, count);
          else if (step === STEPS - 100 + side) tcpClose(this.#stacks[side]!.tcp, tcb, this.#nowMs);
        }
        this.#deliver(side);
      }
    }
    for (const tcb of this.#tcbs) {
      const state = Object.entries(tcb ?? {}).filter(([, value]) => typeof value !== "object");
      this.log.push(JSON.stringify(state));
    }
  }

  #send(side: number, tcb: Tcb, count: number): void {
    const prng = this.#prng;
    const { tcp } = this.#stacks[side]!;
    if (!prng.chance(this.#unusual)) return void tcpSend(tcp, tcb, bytes, 0, count);
    const kind = prng.below(6);
    if (kind === 0) tcpSend(tcp, tcb, bytes, 0, count, true);
    else if (kind === 1) tcpSendRecord(tcp, tcb, bytes, 0, count);
    else if (kind === 2) tcpSendUrgent(tcp, tcb, bytes, 0, count);
    else if (kind === 3) tcb.cork = !tcb.cork;
    else tcpSetNoDelay(tcp, tcb, !tcb.noDelay);
  }

  #deliver(side: number): void {
    const stack = this.#stacks[side]!;
    const incoming = this.#queues[1 - side]!;
    for (let left = Math.min(incoming.count, this.#prng.pick([1, 20, 400])); left > 0; left--) {
      stack.receive(0, incoming.slab, incoming.headStart, incoming.headEnd, this.#nowMs);
      incoming.shift();
    }
    stack.poll(this.#nowMs);
  }

  #events(side: number, tcb: Tcb, events: number): void {
    const stack = this.#stacks[side]!;
    if ((events & TcpEvent.established) !== 0 && side === 0) {
      this.#tcbs[0] = tcb;
      stack.tcp.listeners.byId(tcb.listener)!.waiting--;
    }
    if ((events & TcpEvent.readable) === 0 || tcb.state === TcpState.closed) return;
    tcpReceive(stack.tcp, tcb, bytes, 0, this.#prng.pick([100, bytes.length]));
  }
}

test("With header prediction and without it the same segments leave at the same times, and the same state is left", () => {
  const first = drawSeed("PREDICTION_SEED", 1_000_000);
  let plain = 0, plainSegments = 0;
  for (let seed = first; seed < first + 8; seed++) {
    const [short, long] = [new World(seed, true), new World(seed, false)];
    short.run();
    long.run();
    const at = long.log.findIndex((line, index) => line !== short.log[index]);
    expect(short.log[at], `PREDICTION_SEED=${seed}: line ${at}`).toBe(long.log[at]);
    expect(short.log.length).toBe(long.log.length);
    expect(short.long, `PREDICTION_SEED=${seed}`).toBeLessThanOrEqual(long.long);
    plain += long.long - short.long;
    plainSegments += long.longSegments - short.longSegments;
  }
  expect(plain, `from PREDICTION_SEED=${first} on the short way is taken`).toBeGreaterThan(300);
  expect(plainSegments, `from PREDICTION_SEED=${first} on short segments have theirs`).toBeGreaterThan(50);
});
