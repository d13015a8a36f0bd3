import { type Answer, readAnswer } from "./answer.ts";
import { composePacket } from "./compose.ts";
import {
  CLOSED_PORT,
  HOST_ADDRESS,
  type HostState,
  type HostUnderTest,
  LISTEN_PORT,
  NO_STATE,
  type Peer,
} from "./host.ts";
import type { Plan, SegmentStep, Step } from "./plan.ts";
import { readSegment, type Segment } from "../packetdrill/segment.ts";
import { type Moment, StackHost } from "./stack_host.ts";
import { View } from "./view.ts";

/** The peer's timestamp clock: where it starts, and how far it goes from step to step. */
const CLOCK_START = 1_000_000, CLOCK_STEP = 10;
const HOST_BYTES = Uint8Array.from(HOST_ADDRESS.split("."), Number);

/** What one host did in one step: at once, and until the next. */
export interface StepResult {
  /** The segment as it went in, or undefined. */
  segment: Segment | undefined;
  /** Its timestamp, if it has one. */
  tsVal: number;
  /** Its timestamps and SACK blocks as relative numbers. */
  optionText: string;
  /** What a call returned. */
  result: string;
  readonly now: Answer[];
  readonly late: Answer[];
  /** Our stack's connection before the step. */
  before: Moment | undefined;
  /** What the host has acknowledged by then, from the peer's ISN on. */
  acked: number;
  /** At the end of a wait. */
  state: HostState | undefined;
}

/** A plan as one host lives it. */
export class Life {
  readonly results: StepResult[] = [];
  readonly view: View;
  readonly host: HostUnderTest;
  readonly peer: Peer;
  readonly #plan: Plan;
  #clock = CLOCK_START;
  #playing = false;
  #early: Answer[] = [];
  /** A host that sends what cannot be read: its fault, whatever the other does. */
  malformed: string | undefined = undefined;

  constructor(host: HostUnderTest, plan: Plan, peer: Peer) {
    this.host = host;
    this.peer = peer;
    this.#plan = plan;
    this.view = new View(plan.peerIsn);
  }

  begin(drain: () => void): void {
    if (!this.#plan.active) return;
    this.host.connect(this.peer, this.#plan);
    drain();
  }

  /** What left before the first step. */
  get early(): readonly Answer[] {
    return this.#early;
  }

  play(step: Step, drain: () => void): void {
    const result: StepResult = {
      segment: undefined,
      tsVal: 0,
      optionText: "",
      result: "",
      now: [],
      late: [],
      before: this.host instanceof StackHost && !this.host.sleeps
        ? this.host.moment(this.peer, this.hostPort)
        : undefined,
      acked: 0,
      state: undefined,
    };
    this.results.push(result);
    this.#playing = true;
    this.#clock += CLOCK_STEP;
    if (step.do === "segment") {
      const hostPort = this.hostPort;
      const addresses = { version: 4, local: HOST_BYTES, remote: this.peer.address } as const;
      const { packet, segment } = composePacket(
        step,
        this.view,
        this.peer.port,
        hostPort,
        this.#clock,
        addresses,
      );
      result.segment = segment;
      result.tsVal = (this.#clock + (step.timestamp?.plus ?? 0)) | 0;
      result.optionText = optionText(step, this.#clock - CLOCK_START);
      this.host.inject(packet);
    } else if (step.do === "call") {
      result.result = this.host.call(this.peer, step);
    }
    drain();
    this.#playing = false;
  }

  get hostPort(): number {
    if (this.#plan.active) return this.view.hostPort;
    return this.#plan.closedPort ? CLOSED_PORT : LISTEN_PORT;
  }

  /** A packet of this connection has left its host. */
  take(packet: Uint8Array): void {
    let segment: Segment | undefined;
    try {
      segment = readSegment(packet);
    } catch (error) {
      this.malformed = (error as Error).message;
    }
    if (segment === undefined) return;
    const answer = readAnswer(packet, segment, this.view, CLOCK_START);
    const last = this.results.at(-1);
    if (last === undefined) this.#early.push(answer);
    else (this.#playing ? last.now : last.late).push(answer);
  }

  /** A wait is over; `state` is absent where there is no connection. */
  settle(state: HostState = NO_STATE): void {
    const last = this.results.at(-1);
    if (last !== undefined) {
      last.state = state;
      last.acked = (this.view.acked - this.view.isn) | 0;
    }
    this.view.settle();
  }

  end(): void {
    this.host.forget(this.peer, this.hostPort);
  }
}

function optionText(step: SegmentStep, clock: number): string {
  const { timestamp, sack } = step;
  const stamp = timestamp === undefined ? [] : [`TS val ${clock + timestamp.plus} ecr ${timestamp.echo}`];
  const blocks = sack.map(([from, to]) => `${from.from}${signed(from.plus)}:${to.from}${signed(to.plus)}`);
  const texts = [...stamp, ...(blocks.length > 0 ? [`sack ${blocks.join(" ")}`] : [])];
  return texts.length === 0 ? "" : ` <${texts.join(",")}>`;
}

function signed(value: number): string {
  return value < 0 ? `${value}` : `+${value}`;
}
