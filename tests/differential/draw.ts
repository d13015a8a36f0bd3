import { Prng } from "../../base/random.ts";
import { TcpFlag } from "../../net/wire/tcp.ts";
import type { AckRef, CallName, Plan, SegmentStep, SequenceRef, Step } from "./plan.ts";
import { SPOILS } from "./plan.ts";

const { FIN, SYN, RST, PSH, ACK, URG, ECE, CWR } = TcpFlag;

/** What the peer's SYN offers, and so what holds for the whole connection. */
interface Offer {
  readonly mss: number | undefined;
  readonly windowScale: number | undefined;
  readonly sackPermitted: boolean;
  readonly timestamps: boolean;
}

/** Where a story begins: the way into a state, and the drawn segments that follow. */
export const SCENARIOS = [
  "closed",
  "listen",
  "syn-sent",
  "syn-received",
  "crossed-syns",
  "established",
  "streaming",
  "sending",
  "fin-wait-1",
  "fin-wait-2",
  "close-wait",
  "closing",
  "last-ack",
  "time-wait",
] as const;
export type Scenario = (typeof SCENARIOS)[number];

/** The plan of this number in the run of this seed. */
export function drawPlan(seed: number, index: number, scenarios: readonly Scenario[] = SCENARIOS): Plan {
  const prng = new Prng(seed * 0x1_0000_0000 + index);
  const scenario = prng.pick(scenarios);
  const drawer = new Drawer(prng);
  const active = scenario === "syn-sent" || scenario === "crossed-syns" ||
    (scenario !== "closed" && scenario !== "listen" && scenario !== "syn-received" && prng.chance(0.3));
  return {
    index,
    scenario,
    active,
    closedPort: scenario === "closed",
    peerIsn: prng.chance(0.3) ? -prng.below(4_000) : prng.uint32() | 0,
    steps: drawer.story(scenario, active),
  };
}

const next = (plus = 0): SequenceRef => ({ from: "next", plus });
const all: AckRef = { from: "next", plus: 0 };
const WAIT: Step = { do: "wait" };

class Drawer {
  readonly #prng: Prng;
  readonly #offer: Offer;
  readonly #window: number;
  readonly #mss: number;

  constructor(prng: Prng) {
    this.#prng = prng;
    this.#offer = {
      mss: prng.pick([1460, 1460, 1460, 536, 1000, undefined]),
      windowScale: prng.chance(0.8) ? prng.pick([0, 1, 2, 7, 14, 15]) : undefined,
      sackPermitted: prng.chance(0.75),
      timestamps: prng.chance(0.6),
    };
    this.#window = prng.pick([65_535, 65_535, 65_535, 8_192, 1_000]);
    this.#mss = 1_400;
  }

  story(scenario: Scenario, active: boolean): Step[] {
    const steps = this.#way(scenario, active);
    const prng = this.#prng;
    for (let count = prng.between(1, 8); count > 0; count--) {
      steps.push(prng.chance(0.15) ? this.#call() : this.#segment());
      if (prng.chance(0.4)) steps.push(WAIT);
    }
    steps.push(WAIT);
    return steps;
  }

  #way(scenario: Scenario, active: boolean): Step[] {
    const prng = this.#prng;
    const steps: Step[] = [];
    const push = (...more: Step[]) => {
      steps.push(...more);
      if (prng.chance(0.5)) steps.push(WAIT);
    };
    switch (scenario) {
      case "closed":
      case "listen":
      case "syn-sent":
        return steps;
      case "syn-received":
        steps.push(this.#syn());
        if (prng.chance(0.3)) steps.push(WAIT);
        return steps;
      case "crossed-syns":
        steps.push(this.#syn());
        return steps;
    }
    if (active) push(this.#honest(SYN | ACK, 0));
    else push(this.#syn(), this.#honest(ACK, 0));
    if (prng.chance(0.3)) push(this.#honest(ACK | PSH, prng.between(1, this.#mss)));
    if (prng.chance(0.3)) push(call("read"));
    if (prng.chance(0.3)) {
      push(call("write", prng.between(1, 2_000)));
      push(this.#honest(ACK, 0));
    }
    const end = (): Step => call(prng.pick(["shutdown", "close"]));
    const fin = (): Step => this.#honest(FIN | ACK, prng.pick([0, 0, 0, 100]));
    switch (scenario) {
      case "streaming":
        for (let count = prng.between(1, 5); count > 0; count--) {
          push(this.#honest(prng.pick([ACK, ACK | PSH]), prng.between(1, this.#mss)));
        }
        break;
      case "sending":
        for (let count = prng.between(1, 3); count > 0; count--) push(call("write", prng.between(1, 6_000)));
        break;
      case "fin-wait-1":
        push(end());
        break;
      case "fin-wait-2":
        push(end(), this.#honest(ACK, 0));
        break;
      case "close-wait":
        push(fin());
        break;
      case "closing":
        push(end(), this.#honest(FIN | ACK, 0, { from: "una", plus: 0 }));
        break;
      case "last-ack":
        push(fin());
        push(call("read"), end());
        break;
      case "time-wait":
        if (prng.chance(0.5)) push(end(), this.#honest(ACK, 0));
        else push(end());
        push(fin());
        break;
    }
    return steps;
  }

  #syn(): SegmentStep {
    return { ...this.#honest(SYN, 0), ...this.#synOptions() };
  }

  #synOptions(): Partial<SegmentStep> {
    const { mss, windowScale, sackPermitted } = this.#offer;
    return {
      sackPermitted,
      ...(mss === undefined ? {} : { mss }),
      ...(windowScale === undefined ? {} : { windowScale }),
    };
  }

  /** What a peer that means well sends next. */
  #honest(flags: number, length: number, acknowledgment: AckRef = all): SegmentStep {
    return {
      do: "segment",
      flags,
      sequence: next(),
      acknowledgment,
      length,
      window: this.#window,
      urgent: 0,
      sack: [],
      ...(this.#offer.timestamps ? { timestamp: { plus: 0, echo: "last" } } : {}),
      ...((flags & SYN) !== 0 ? this.#synOptions() : {}),
    };
  }

  #call(): Step {
    const name = this.#prng.pick<CallName>(["write", "write", "read", "read", "shutdown", "close", "abort"]);
    return call(name, name === "write" ? this.#prng.between(1, 3_000) : 0);
  }

  /** A segment as an attacker, an old duplicate, or a peer with a fault may send it. */
  #segment(): SegmentStep {
    const prng = this.#prng;
    if (prng.chance(0.25)) {
      return this.#honest(
        prng.pick([ACK, ACK | PSH, ACK | PSH, FIN | ACK]),
        prng.pick([0, 1, 100, this.#mss]),
      );
    }
    const flags = this.#flags();
    const length = prng.pick([0, 0, 0, 0, 1, 2, 10, 100, 700, this.#mss]);
    const offered = this.#offer.timestamps;
    const stamped = prng.chance(offered ? 0.93 : 0.05);
    const syn = (flags & SYN) !== 0;
    return {
      do: "segment",
      flags,
      sequence: this.#sequence(length),
      acknowledgment: this.#acknowledgment(),
      length,
      window: prng.chance(0.7) ? this.#window : prng.pick([0, 1, 2, 500, 65_535, prng.below(65_536)]),
      urgent: (flags & URG) !== 0 || prng.chance(0.02) ? prng.pick([0, 1, 2, length, length + 1, 65_535]) : 0,
      sack: this.#offer.sackPermitted && prng.chance(0.12) ? this.#blocks() : [],
      ...(stamped
        ? {
          timestamp: {
            plus: prng.pick([0, 0, 0, 0, 0, 0, -1, -1_000, 1, 5_000, -0x7fff_ffff, 0x7fff_ffff]),
            echo: prng.pick(["last", "last", "last", "last", "zero", "future", "first"] as const),
          },
        }
        : {}),
      ...(syn && prng.chance(0.9) ? this.#synOptions() : {}),
      ...(prng.chance(0.04) ? { spoil: prng.pick(SPOILS) } : {}),
    };
  }

  #flags(): number {
    const prng = this.#prng;
    const usual = prng.pick([
      ...[ACK, ACK, ACK, ACK, ACK, ACK, ACK | PSH, ACK | PSH, FIN | ACK, FIN | ACK, FIN | ACK | PSH],
      ...[SYN, SYN, SYN | ACK, SYN | ACK, RST, RST, RST | ACK, RST | ACK],
      ...[0, FIN, PSH, URG | ACK, SYN | FIN, SYN | RST, FIN | RST, SYN | FIN | ACK],
      prng.below(256),
    ]);
    return prng.chance(0.03) ? usual | prng.pick([ECE, CWR, ECE | CWR]) : usual;
  }

  #sequence(length: number): SequenceRef {
    const prng = this.#prng;
    const near = prng.pick([-1, 1, -2, 2, -length, length, 1 - length, -length - 1, 10, -10, 500, -500]);
    switch (prng.below(12)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
        return next();
      case 5:
      case 6:
      case 7:
        return next(near);
      case 8:
        return next(prng.pick([0, -1, 1]));
      case 9:
        return { from: "edge", plus: prng.pick([0, -1, 1, -2, 2, -length, 1 - length, -length - 1]) };
      case 10:
        return { from: "isn", plus: prng.pick([0, 1, -1]) };
      default:
        return next(prng.pick([0x7fff_ffff, -0x8000_0000, 0x4000_0000, prng.uint32() | 0]));
    }
  }

  #acknowledgment(): AckRef {
    const prng = this.#prng;
    switch (prng.below(10)) {
      case 0:
        return { from: "next", plus: prng.pick([1, 2, 100, 70_000]) };
      case 1:
        return { from: "next", plus: prng.pick([-1, -2, -100]) };
      case 2:
        return { from: "una", plus: prng.pick([0, -1, 1, 100]) };
      case 3:
        return { from: "iss", plus: prng.pick([0, 1, -1, 2]) };
      case 4:
        return prng.chance(0.3)
          ? { from: "next", plus: prng.pick([0x7fff_ffff, -0x8000_0000, prng.uint32() | 0]) }
          : { from: "una", plus: -prng.pick([this.#window, this.#window + 1, this.#window - 1, 65_536]) };
      default:
        return all;
    }
  }

  #blocks(): (readonly [AckRef, AckRef])[] {
    const prng = this.#prng;
    const blocks: (readonly [AckRef, AckRef])[] = [];
    for (let count = prng.between(1, 3); count > 0; count--) {
      const from: AckRef = {
        from: prng.pick(["una", "una", "next", "iss"] as const),
        plus: prng.pick([0, 1, -1, 100, 1_400, -500, 2_800]),
      };
      blocks.push([from, { from: from.from, plus: from.plus + prng.pick([1, 100, 1_400, 2_800, 0, -5]) }]);
    }
    return blocks;
  }
}

function call(name: CallName, bytes = 0): Step {
  return { do: "call", call: name, bytes };
}
