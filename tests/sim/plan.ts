import { Prng } from "../../base/random.ts";
import type { TcpConfig } from "../../net/tcp/config.ts";
import type { WakeBudget, WakePolicy } from "../../net/wake/policy.ts";
import { GOOD_WIRE, type WireFaults } from "./fabric.ts";

/**
 * How the server's machine serves a connection: by handlers and an attachment, or by a `TcpConn` and a loop. Durably,
 * by handlers, nothing that happens to the server is an excuse.
 */
export type Service = "handlers" | "conn" | "durable";

/** A client's machine: a host of ours, one whose connections sleep too, or the independent simple TCP. */
export type ClientKind = "host" | "sleepy" | "simple";

export interface ClientPlan {
  kind: ClientKind;
  wire: WireFaults;
  tcp: Partial<TcpConfig>;
}

export interface ServerPlan {
  wire: WireFaults;
  tcp: Partial<TcpConfig>;
  idleMs: number;
  /** Small, so that segments are sealed and deleted. */
  segmentBytes: number;
  syncMs: number;
  /** Its connections are asked for signs of life after so long; 0: never. */
  keepAliveMs: number;
  shortWrites: boolean;
  /** How many of its connections may wake in a second, and be awake at once. */
  wake: WakeBudget;
  /** And of those that are served by handlers alone. */
  handlersWake?: WakePolicy;
  /** Entries of a block of a segment's index: where it is few, indexes grow with their segments. */
  blockEntries?: number;
  /** How long nobody says anything once all is calm. */
  quietMs?: number;
}

/** Ways to attack a connection from outside. */
export const ATTACKS = [
  "reset outside the window",
  "reset inside the window",
  "SYN inside the window",
  "data with an old ACK",
  "data outside the window",
  "unreachable",
  "fragmentation needed, quoting nonsense",
  "garbage",
] as const;
/** Of somebody who knows the numbers as well, or of a network that has kept a segment since they were last in use. */
export const LATE_ATTACKS = [
  "data with an old timestamp",
  "data without a timestamp",
  "data with an ACK of what was never sent",
  "old data, and not what it was",
  "FIN outside the window",
  "reset before the window",
  "resets inside the window, many at once",
  "SYNs inside the window, many at once",
] as const;
export type Attack = (typeof ATTACKS)[number] | (typeof LATE_ATTACKS)[number];

/** What happens at a moment. Steps about a connection that is not there do nothing, so that any may be left out. */
export type Step =
  & { atMs: number }
  & (
    | {
      do: "connect";
      id: number;
      client: number;
      service: Service;
      ipv6: boolean;
      bytes: number;
      /** Half-closed by its client it stays open until "server end". */
      lingers?: boolean;
    }
    | { do: "say"; id: number; bytes: number }
    | {
      do: "end" | "abort" | "pause" | "resume" | "server abort" | "server end" | "rot" | "note";
      id: number;
    }
    | { do: "push"; id: number; bytes: number }
    | { do: "suspend"; share: number }
    | { do: "kill"; deeds: number; after: boolean; power: boolean; downMs: number }
    | { do: "shutdown"; downMs: number }
    /** The machine's clock is set, from the next process on. */
    | { do: "clock"; aheadMs: number }
    | { do: "stop" | "cut"; node: number; forMs: number }
    | { do: "mtu"; node: number; mtu: number }
    | { do: "disk"; writes: number; syncs: number; reads: number; forMs: number }
    | { do: "attack"; id: number; attack: Attack; toServer: boolean }
  );

/** A whole world as data: the same plan makes the same world. Node 0 is the server, node n client n - 1. */
export interface Plan {
  seed: number;
  server: ServerPlan;
  clients: ClientPlan[];
  steps: Step[];
}

/** Kinds of trouble; each world draws which of them it has (swarm testing: none at all is a kind, too). */
const TROUBLES = [
  "loss",
  "duplicate",
  "corrupt",
  "reorder",
  "jitter",
  "cut",
  "mtu",
  "stop",
  "kill",
  "power",
  "shutdown",
  "clock",
  "disk",
  "rot",
  "attack",
  "abort",
  "pause",
  "end",
  "push",
  "force",
  "bulk",
] as const;
export type Trouble = (typeof TROUBLES)[number];

/** What every path carries. */
export const MTU_MIN = 576;
const MTUS = [MTU_MIN, 1280, 1400, 1500];
const DURATION_MS = [5_000, 30_000, 120_000];

/** Draws the world of a seed. */
export function drawPlan(seed: number): Plan {
  const prng = new Prng(seed);
  const share = prng.pick([0.2, 0.5, 0.8]);
  const troubles = new Set<Trouble>(TROUBLES.filter(() => prng.chance(share)));
  const wire = (): WireFaults => ({
    ...GOOD_WIRE,
    delayMs: prng.pick([0, 1, 5, 20, 100]),
    loss: troubles.has("loss") ? prng.pick([0, 0.01, 0.05, 0.15]) : 0,
    duplicate: troubles.has("duplicate") ? prng.pick([0, 0.02, 0.2]) : 0,
    corrupt: troubles.has("corrupt") ? prng.pick([0, 0.01, 0.05]) : 0,
    reorder: troubles.has("reorder") ? prng.pick([0, 0.05, 0.3]) : 0,
    jitterMs: troubles.has("jitter") ? prng.pick([0, 3, 30]) : 0,
  });
  const clients = Array.from({ length: prng.between(1, 4) }, (): ClientPlan => ({
    kind: prng.pick(["host", "host", "sleepy", "simple"]),
    wire: wire(),
    tcp: drawTcp(prng),
  }));
  const server: ServerPlan = {
    wire: wire(),
    tcp: drawTcp(prng),
    idleMs: prng.pick([10, 50, 200, 1_000, 5_000]),
    segmentBytes: prng.pick([900, 4_000, 100_000]),
    syncMs: prng.pick([0, 0, 1, 10, 100]),
    keepAliveMs: prng.pick([0, 0, 2_000, 10_000]),
    shortWrites: prng.chance(0.3),
    // Each with numbers of its own, so that other worlds stay what they were.
    wake: drawBudget(new Prng(seed ^ 0x7777)),
    ...drawHandlersWake(new Prng(seed ^ 0x7778)),
    blockEntries: new Prng(seed ^ 0xb10c).pick([1, 4, 2_048]),
  };
  server.quietMs = drawQuietMs(new Prng(seed ^ 0x9e1), server.keepAliveMs);
  const steps = drawSteps(prng, troubles, clients.length);
  const durable = new Prng(seed ^ 0xd0ab1e);
  for (const step of steps) {
    if (step.do === "connect" && step.service === "handlers" && durable.chance(0.35)) {
      step.service = "durable";
    }
  }
  if (server.wake.perSecond !== undefined || server.handlersWake !== undefined) {
    addHerd(new Prng(seed ^ 0x4e2d), steps);
  }
  addHalfCloses(new Prng(seed ^ 0x4a1f), troubles, steps);
  const late = new Prng(seed ^ 0xa77ac);
  for (const step of steps) {
    if (step.do === "attack" && late.chance(0.4)) step.attack = late.pick(LATE_ATTACKS);
  }
  if (troubles.has("kill")) addTakeOvers(new Prng(seed ^ 0x7a0e), steps);
  return { seed, server, clients, steps };
}

/** Where wakes have a budget all are asleep at once, and wanted at once. */
function addHerd(prng: Prng, steps: Step[]): void {
  const connects = steps.filter((step) => step.do === "connect");
  const atMs = Math.max(0, ...connects.map((step) => step.atMs)) + prng.pick([500, 5_000]);
  steps.push({ do: "suspend", atMs, share: 1 });
  const wantedMs = atMs + prng.pick([300, 2_000]);
  for (const { id } of connects) steps.push({ do: "push", atMs: wantedMs, id, bytes: prng.between(1, 100) });
  steps.sort((a, b) => a.atMs - b.atMs);
}

/**
 * Clients that have said all, and servers that have not: half-closed connections that fall asleep, and ends that are said
 * into a cut wire, asleep with nobody but a timer to say them again.
 */
function addHalfCloses(prng: Prng, troubles: ReadonlySet<Trouble>, steps: Step[]): void {
  if (!troubles.has("end")) return;
  for (const step of [...steps]) {
    if (step.do !== "connect" || prng.chance(0.6)) continue;
    const { id } = step;
    step.lingers = true;
    const endMs = step.atMs + prng.pick([100, 1_000, 10_000]);
    const laterMs = endMs + prng.pick([200, 3_000]);
    const overMs = laterMs + prng.pick([200, 3_000]);
    steps.push(
      { do: "end", atMs: endMs, id },
      { do: "push", atMs: laterMs, id, bytes: prng.between(1, 3_000) },
      { do: "server end", atMs: overMs, id },
    );
    if (troubles.has("force")) {
      steps.push({ do: "suspend", atMs: laterMs - 50, share: 1 });
      if (prng.chance(0.5)) steps.push({ do: "suspend", atMs: overMs + prng.pick([1, 50]), share: 1 });
    }
    if (!troubles.has("cut")) continue;
    const node = prng.pick([0, step.client + 1]);
    if (prng.chance(0.5)) steps.push({ do: "cut", atMs: overMs - 10, node, forMs: prng.pick([300, 5_000]) });
  }
  steps.sort((a, b) => a.atMs - b.atMs);
}

/** A clock is set back, and two processes one after the other go on from what the log had of a durable connection. */
function addTakeOvers(prng: Prng, steps: Step[]): void {
  const clock = steps.find((step) => step.do === "clock" && step.aheadMs < 0);
  const durable = steps.find((step) => step.do === "connect" && step.service === "durable");
  if (clock === undefined || durable?.do !== "connect" || prng.chance(0.5)) return;
  const atMs = Math.max(clock.atMs, durable.atMs + 500);
  const kill = { do: "kill", deeds: 0, after: false, power: false, downMs: 50 } as const;
  steps.push(
    { do: "push", atMs, id: durable.id, bytes: 100 },
    { do: "cut", atMs: atMs + prng.pick([0, 1]), node: 0, forMs: 2_000 },
    { ...kill, atMs: atMs + prng.pick([1, 20]) },
    { ...kill, atMs: atMs + prng.pick([200, 900]) },
  );
  steps.sort((a, b) => a.atMs - b.atMs);
}

function drawBudget(prng: Prng): WakeBudget {
  if (prng.chance(0.5)) return {};
  return {
    ...(prng.chance(0.5) ? { perSecond: prng.pick([2, 10, 100]) } : {}),
    ...(prng.chance(0.5) ? { awakeMax: prng.pick([1, 2, 5]) } : {}),
  };
}

function drawHandlersWake(prng: Prng): { handlersWake?: WakePolicy } {
  if (prng.chance(0.6)) return {};
  return { handlersWake: { ...drawBudget(prng), ...(prng.chance(0.5) ? { heldPacketsMax: 2 } : {}) } };
}

/**
 * Long enough for a peer to be given up that does not answer keep-alive's probes; without any, for timestamps to have
 * gone half around. Seldom where it costs many packets.
 */
function drawQuietMs(prng: Prng, keepAliveMs: number): number {
  if (keepAliveMs === 0) return prng.chance(0.1) ? 26 * 86_400_000 : 0;
  return prng.chance(keepAliveMs / 125_000) ? 600_000 : 0;
}

function drawTcp(prng: Prng): Partial<TcpConfig> {
  return {
    timestamps: prng.chance(0.8),
    sack: prng.chance(0.8),
    congestionControl: prng.pick(["cubic", "cubic", "newreno"] as const),
    ecn: prng.pick([0, 1, 2, 3]),
    ...(prng.chance(0.3) ? { receiveBufferBytes: prng.pick([3_000, 8_000, 20_000]) } : {}),
    ...(prng.chance(0.3) ? { sendBufferBytes: prng.pick([2_000, 10_000]) } : {}),
    delayedAckMs: prng.pick([0, 40, 200]),
  };
}

function drawSteps(prng: Prng, troubles: ReadonlySet<Trouble>, clients: number): Step[] {
  const durationMs = prng.pick(DURATION_MS);
  const count = prng.pick([10, 40, 120]);
  const connections = prng.between(1, 8);
  const steps: Step[] = [];
  const at = (): number => Math.floor(prng.fraction() * durationMs);
  const bytes = (): number =>
    troubles.has("bulk") && prng.chance(0.2) ? prng.between(1_000, 60_000) : prng.between(1, 200);
  for (let id = 1; id <= connections; id++) {
    steps.push({
      do: "connect",
      atMs: prng.chance(0.5) ? prng.below(50) : at(),
      id,
      client: prng.below(clients),
      service: prng.chance(0.7) ? "handlers" : "conn",
      ipv6: prng.chance(0.3),
      bytes: bytes(),
    });
  }
  const id = (): number => prng.between(1, connections);
  const node = (): number => prng.below(clients + 1);
  const kinds: [Trouble | undefined, number, () => Step][] = [
    [undefined, 10, () => ({ do: "say", atMs: at(), id: id(), bytes: bytes() })],
    [undefined, 2, () => ({ do: "note", atMs: at(), id: id() })],
    ["push", 4, () => ({ do: "push", atMs: at(), id: id(), bytes: bytes() })],
    ["force", 4, () => ({ do: "suspend", atMs: at(), share: prng.pick([0.3, 1]) })],
    ["end", 1, () => ({ do: "end", atMs: at(), id: id() })],
    ["abort", 1, () => ({ do: prng.pick(["abort", "server abort"]), atMs: at(), id: id() })],
    ["pause", 2, () => ({ do: prng.pick(["pause", "resume"]), atMs: at(), id: id() })],
    ["kill", 2, () => kill(false)],
    ["power", 1, () => kill(true)],
    ["shutdown", 1, () => ({
      do: "shutdown",
      atMs: at(),
      downMs: prng.pick([0, 100, 3_000]),
    })],
    ["stop", 1, () => ({ do: "stop", atMs: at(), node: node(), forMs: prng.pick([10, 300, 3_000, 30_000]) })],
    ["cut", 2, () => ({ do: "cut", atMs: at(), node: node(), forMs: prng.pick([100, 2_000, 30_000]) })],
    ["mtu", 1, () => ({ do: "mtu", atMs: at(), node: node(), mtu: prng.pick(MTUS) })],
    ["disk", 2, () => ({
      do: "disk",
      atMs: at(),
      writes: prng.pick([0, 0.1, 1]),
      syncs: prng.pick([0, 0, 0.1, 1]),
      reads: prng.pick([0, 0.1, 1]),
      forMs: prng.pick([100, 3_000]),
    })],
    ["rot", 1, () => ({ do: "rot", atMs: at(), id: id() })],
    ["attack", 4, () => ({
      do: "attack",
      atMs: at(),
      id: id(),
      attack: prng.pick(ATTACKS),
      toServer: prng.chance(0.7),
    })],
  ];
  function kill(power: boolean): Step {
    return {
      do: "kill",
      atMs: at(),
      deeds: prng.pick([0, 0, 1, 2, 3, 5, 9]),
      after: prng.chance(0.5),
      power,
      downMs: prng.pick([0, 50, 1_000, 10_000]),
    };
  }
  const enabled = kinds.filter(([trouble]) => trouble === undefined || troubles.has(trouble));
  const weights = enabled.reduce((sum, [, weight]) => sum + weight, 0);
  // Said into a cut wire, then suspended: nothing but its own timer brings such a connection back.
  if (troubles.has("cut") && troubles.has("force")) {
    for (let times = prng.below(4); times > 0; times--) {
      const atMs = at(), forMs = prng.pick([300, 5_000, 30_000]), who = id();
      const delayMs = prng.pick([0, 1, 50, 250, 1_000]);
      steps.push({ do: "cut", atMs, node: node(), forMs });
      if (prng.chance(0.7)) steps.push({ do: "push", atMs: atMs + 1, id: who, bytes: bytes() });
      else steps.push({ do: "say", atMs: Math.max(0, atMs - prng.below(10)), id: who, bytes: bytes() });
      steps.push({ do: "suspend", atMs: atMs + 1 + delayMs, share: 1 });
    }
  }
  // A reader pauses until the window is closed, and what says that it is open again is lost: somebody must ask.
  if (troubles.has("cut") && troubles.has("pause")) {
    for (let times = prng.below(3); times > 0; times--) {
      const atMs = at(), who = id(), client = steps.find((step) => step.do === "connect" && step.id === who);
      if (client?.do !== "connect") continue;
      const resumeMs = atMs + prng.pick([1_000, 5_000, 20_000]);
      steps.push(
        { do: "pause", atMs, id: who },
        { do: "push", atMs: atMs + 1, id: who, bytes: prng.between(10_000, 200_000) },
        {
          do: "cut",
          atMs: resumeMs,
          node: prng.pick([0, client.client + 1]),
          forMs: prng.pick([100, 2_000]),
        },
        { do: "resume", atMs: resumeMs + 1, id: who },
      );
    }
  }
  while (steps.length < count) {
    let draw = prng.below(weights);
    const kind = enabled.find(([, weight]) => (draw -= weight) < 0)!;
    steps.push(kind[2]());
  }
  if (troubles.has("clock")) { // once in a world: timestamps forgive one mistake of a clock, not any number
    const atMs = at(), who = id();
    steps.push({ do: "clock", atMs, aheadMs: prng.pick([0.5, 5_000, -5_000, 86_400_000, -3_600_000]) });
    // A sleeper answers, and its process dies; the next one's clock knows nothing of that.
    if (troubles.has("attack") && troubles.has("kill")) {
      steps.push(
        { do: "attack", atMs, id: who, attack: "reset inside the window", toServer: true },
        { do: "kill", atMs: atMs + 1, deeds: 0, after: false, power: false, downMs: 50 },
        { do: "say", atMs: atMs + 500, id: who, bytes: bytes() },
      );
    }
  }
  return steps.sort((a, b) => a.atMs - b.atMs);
}

/** A step in one line, for a story. */
export function tellStep(step: Step): string {
  const { atMs: _, do: what, ...rest } = step;
  const details = Object.entries(rest).map(([name, value]) => `${name} ${value}`).join(", ");
  return `${what}${details === "" ? "" : ` (${details})`}`;
}
