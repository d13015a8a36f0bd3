import { TcpFlag } from "../../net/wire/tcp.ts";
import type { TcpOptionSpec } from "../packetdrill/script.ts";
import { writeSegment } from "../packetdrill/segment.ts";
import { compareLives, compareSleeper, type Verdict } from "./compare.ts";
import { HOST_ADDRESS, type HostState, keyOf, type Peer, peerKey, peerOf } from "./host.ts";
import type { KernelHost } from "./kernel_host.ts";
import { countSegments, type Plan } from "./plan.ts";
import type { StackHost } from "./stack_host.ts";
import { Life } from "./story.ts";

/** Longer than a delayed ACK waits, shorter than the least timeout. */
const SETTLE_MS = 90;
const SLICE_MS = 15;
/** Connections at once: their waits go by together. */
const LIVE_MAX = 800;
/** So many more in each round: what runs for the first time is slow. */
const LIVE_STEP = 20;

interface Match {
  readonly plan: Plan;
  readonly peer: Peer;
  readonly key: number;
  readonly kernel: Life;
  readonly stack: Life;
  readonly sleeper: Life | undefined;
  at: number;
}

export interface Outcome extends Verdict {
  readonly plan: Plan;
  readonly kernel: Life;
  readonly stack: Life;
}

/** Plays plans to the kernel and to a stack of ours, many at once; to another one that sleeps, too. */
export class Arena {
  readonly #kernel: KernelHost;
  readonly #stack: StackHost;
  readonly #sleeper: StackHost | undefined;
  readonly #live = new Map<number, Match>();
  readonly #startMs: number;
  readonly #started = performance.now();
  #serial = 0;
  /** Sent to each host so far. */
  segments = 0;

  constructor(kernel: KernelHost, stack: StackHost, sleeper?: StackHost) {
    this.#kernel = kernel;
    this.#stack = stack;
    this.#sleeper = sleeper;
    this.#startMs = stack.nowMs;
  }

  /** Plays all of `plans`; `done` is told of each in the order in which they end. */
  run(plans: Iterator<Plan>, done: (outcome: Outcome) => void): void {
    for (let most = LIVE_STEP;; most = Math.min(LIVE_MAX, most + LIVE_STEP)) {
      while (this.#live.size < most) {
        const { value, done: over } = plans.next();
        if (over === true) break;
        this.#begin(value);
      }
      if (this.#live.size === 0) return;
      for (const match of this.#live.values()) this.#playRound(match);
      this.#settle();
      this.#judge(done);
    }
  }

  #judge(done: (outcome: Outcome) => void): void {
    const kernelStates = this.#kernel.states(), stackStates = this.#stack.states();
    for (const match of this.#live.values()) {
      const { plan, kernel, stack, sleeper } = match;
      kernel.settle(kernelStates.get(match.key));
      stack.settle(stackStates.get(match.key));
      sleeper?.settle(this.#stateOf(match));
      const asleep = sleeper === undefined ? undefined : compareSleeper(plan, stack, sleeper);
      const verdict = asleep === undefined
        ? compareLives(plan, kernel, stack)
        : { difference: asleep, explained: [] };
      const parted = verdict.difference !== undefined || verdict.explained.some(({ diverges }) => diverges);
      if (!parted && match.at < plan.steps.length) continue;
      this.#end(match);
      done({ ...verdict, plan, kernel, stack });
    }
  }

  /** Of a connection that sleeps: it is woken for it. */
  #stateOf({ peer, sleeper }: Match): HostState | undefined {
    return this.#sleeper!.stateOf(peer, sleeper!.hostPort);
  }

  #begin(plan: Plan): void {
    const peer = peerOf(this.#serial++);
    const key = keyOf(peer);
    const kernel = new Life(this.#kernel, plan, peer), stack = new Life(this.#stack, plan, peer);
    const sleeper = this.#sleeper === undefined ? undefined : new Life(this.#sleeper, plan, peer);
    this.#live.set(key, { plan, peer, key, kernel, stack, sleeper, at: 0 });
    this.segments += countSegments(plan);
    this.#tick();
    kernel.begin(this.#drainKernel);
    stack.begin(this.#drainStack);
    sleeper?.begin(this.#drainSleeper);
  }

  /** Up to the next wait. */
  #playRound(match: Match): void {
    const { steps } = match.plan;
    while (match.at < steps.length) {
      const step = steps[match.at++]!;
      if (step.do !== "wait") this.#tick();
      match.kernel.play(step, this.#drainKernel);
      match.stack.play(step, this.#drainStack);
      match.sleeper?.play(step, this.#drainSleeper);
      if (step.do === "wait") return;
      this.#kernel.accept();
    }
  }

  #settle(): void {
    const until = performance.now() + SETTLE_MS;
    for (;;) {
      const left = until - performance.now();
      Atomics.wait(NEVER, 0, 0, Math.max(0, Math.min(SLICE_MS, left)));
      this.#tick();
      this.#stack.turn();
      this.#sleeper?.turn();
      this.#drainKernel();
      this.#drainStack();
      this.#drainSleeper();
      if (left <= SLICE_MS) return;
    }
  }

  /** Our stacks' time is the kernel's. */
  #tick(): void {
    this.#stack.nowMs = this.#startMs + Math.floor(performance.now() - this.#started);
    if (this.#sleeper !== undefined) this.#sleeper.nowMs = this.#stack.nowMs;
  }

  #end(match: Match): void {
    this.#live.delete(match.key);
    match.kernel.end();
    match.stack.end();
    match.sleeper?.end();
    // What the kernel keeps without a socket: orphans, half-open ones, TIME-WAIT.
    const { view, hostPort } = match.kernel;
    if (hostPort === 0) return;
    for (const sequence of new Set([view.acked, view.next, (view.isn + 1) | 0])) {
      const reset = {
        ...RESET,
        sourcePort: match.peer.port,
        destinationPort: hostPort,
        sequence: sequence >>> 0,
      };
      this.#kernel.inject(
        writeSegment(reset, { version: 4, local: HOST_BYTES, remote: match.peer.address }),
      );
    }
  }

  readonly #drainKernel = (): void => this.#kernel.drain((packet) => this.#deliver(packet, "kernel"));
  readonly #drainStack = (): void => this.#stack.drain((packet) => this.#deliver(packet, "stack"));
  readonly #drainSleeper = (): void => this.#sleeper?.drain((packet) => this.#deliver(packet, "sleeper"));

  #deliver(packet: Uint8Array<ArrayBuffer>, side: "kernel" | "stack" | "sleeper"): void {
    this.#live.get(peerKey(packet))?.[side]?.take(packet);
  }
}

const NEVER = new Int32Array(new SharedArrayBuffer(4));
const HOST_BYTES = Uint8Array.from(HOST_ADDRESS.split("."), Number);
const RESET = {
  acknowledgment: 0,
  flags: TcpFlag.RST,
  ae: false,
  reserved: 0,
  window: 0,
  urgent: 0,
  options: [] as TcpOptionSpec[],
  payload: new Uint8Array(0),
  tos: 0,
  ttl: 64,
  flowLabel: 0,
};
