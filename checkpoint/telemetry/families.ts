import type { RuleAction } from "../../net/firewall/rule.ts";
import type { SleepingHost } from "../sleeping_host.ts";

/** Labels of a sample, by their Prometheus names. */
export type Labels = Readonly<Record<string, string | number>>;
/** A value, and what it is a value of. */
export type Sample = readonly [labels: Labels, value: number];

/** Numbers of one kind that a host has, as Prometheus and OpenTelemetry name them. */
export interface Family {
  /** Prometheus's name, with its unit; a counter's ends in `_total`. */
  readonly name: string;
  /** OpenTelemetry's name. */
  readonly otel: string;
  /** A unit as OpenTelemetry writes them (UCUM). */
  readonly unit: string;
  readonly help: string;
  /** What only goes up is a counter; what adds up over hosts, and goes up and down, a sum; else a gauge. */
  readonly kind: "counter" | "sum" | "gauge";
  /** OpenTelemetry's name of each label. */
  readonly attributes: Readonly<Record<string, string>>;
  read(host: SleepingHost): Iterable<Sample>;
}

const NONE: Labels = {};
const one = (value: number): Sample[] => [[NONE, value]];

/** Each entry of `of` as a sample with its name as the label. */
function labelled(label: string, of: object): Sample[] {
  return Object.entries(of).map(([name, value]) => [{ [label]: name }, Number(value)]);
}

const LINK = { interface: "network.interface.name", direction: "network.io.direction" };

function links(host: SleepingHost, of: "frames" | "bytes" | "drops"): Sample[] {
  return host.linkCounters.flatMap((counters, index): Sample[] => {
    const { name } = host.stack.output.interfaces[index]!;
    return [
      [{ interface: name, direction: "in" }, counters[`${of}In`]],
      [{ interface: name, direction: "out" }, counters[`${of}Out`]],
    ];
  });
}

/** What a rule of the firewall has decided, and what the policies have. */
export function firewallCounts(
  host: SleepingHost,
): { rule: string; action: RuleAction; comment?: string; packets: number; bytes: number }[] {
  const counted = host.stack.firewall?.rules();
  if (counted === undefined) return [];
  return [
    ...counted.rules.map(({ packets, bytes, rule: { action, comment } }, index) => ({
      rule: `${index}`,
      action,
      ...(comment === undefined ? {} : { comment }),
      packets,
      bytes,
    })),
    ...Object.entries(counted.policy).map(([direction, { action, packets, bytes }]) => ({
      rule: `policy ${direction}`,
      action,
      packets,
      bytes,
    })),
  ];
}

const ACTIONS: readonly RuleAction[] = ["accept", "drop", "reject"];

/** Rules and objects of nftables that count, by their place: `inet filter input 3`, `inet filter counter web`. */
export function nftCounts(
  host: SleepingHost,
): { rule: string; action?: RuleAction; comment?: string; packets: number; bytes: number }[] {
  const counted: ReturnType<typeof nftCounts> = [];
  for (const { family, name, counters, chains } of host.rules()?.tables ?? []) {
    for (const { name: counter, packets, bytes } of counters) {
      counted.push({ rule: `${family} ${name} counter ${counter}`, packets, bytes });
    }
    for (const chain of chains) {
      chain.rules.forEach(({ expr, comment }, index) => {
        const counter = expr.find((statement) => "counter" in statement);
        if (counter === undefined || !("counter" in counter)) return;
        const said = comment === undefined ? "" : ` (${comment})`;
        const action = ACTIONS.find((each) => expr.some((statement) => each in statement));
        const rule = `${family} ${name} ${chain.name} ${index}${said}`;
        counted.push({ rule, ...(action === undefined ? {} : { action }), ...counter.counter });
      });
    }
  }
  return counted;
}

const firewall = (host: SleepingHost, of: "packets" | "bytes"): Sample[] =>
  [...firewallCounts(host), ...nftCounts(host)].map(({ rule, [of]: count }) => [{ rule }, count]);

/** Everything that a host counts, and how long things take beside that (`sleeper.suspendSeconds`, `restoreSeconds`). */
export const FAMILIES: readonly Family[] = [
  {
    name: "torpor_connections",
    otel: "torpor.connections",
    unit: "{connection}",
    help: "Connections by what holds them.",
    kind: "sum",
    attributes: { state: "torpor.connection.state" },
    read: (host) => labelled("state", host.counts),
  },
  {
    name: "torpor_suspends_total",
    otel: "torpor.suspends",
    unit: "{connection}",
    help: "Connections that went to sleep.",
    kind: "counter",
    attributes: {},
    read: ({ sleeper }) => one(sleeper.stats.suspends),
  },
  {
    name: "torpor_lost_total",
    otel: "torpor.lost",
    unit: "{connection}",
    help: "Connections whose images could not be read.",
    kind: "counter",
    attributes: {},
    read: ({ sleeper }) => one(sleeper.stats.lost),
  },
  {
    name: "torpor_restores_total",
    otel: "torpor.restores",
    unit: "{connection}",
    help: "Connections that woke.",
    kind: "counter",
    attributes: {},
    read: ({ sleeper }) => one(sleeper.stats.restores),
  },
  {
    name: "torpor_wakes_total",
    otel: "torpor.wakes",
    unit: "{wake}",
    help: "Wakes by what asked for them.",
    kind: "counter",
    attributes: { reason: "torpor.wake.reason" },
    read: ({ sleeper }) => labelled("reason", sleeper.stats.wakes),
  },
  {
    name: "torpor_wakes_waiting",
    otel: "torpor.wakes.waiting",
    unit: "{connection}",
    help: "Connections that wait for a wake, by budget or disk.",
    kind: "sum",
    attributes: {},
    read: ({ sleeper }) => one(sleeper.stats.waiting),
  },
  {
    name: "torpor_wakes_waited_total",
    otel: "torpor.wakes.waited",
    unit: "{wake}",
    help: "Wakes that had to wait for the budget.",
    kind: "counter",
    attributes: {},
    read: ({ sleeper }) => one(sleeper.stats.waited),
  },
  {
    name: "torpor_held_bytes",
    otel: "torpor.held",
    unit: "By",
    help: "Packets kept for connections that wake.",
    kind: "sum",
    attributes: {},
    read: ({ stack }) => one(stack.sleepers.held.bytes),
  },
  {
    name: "torpor_link_frames_total",
    otel: "torpor.link.frames",
    unit: "{packet}",
    help: "Frames that crossed a link.",
    kind: "counter",
    attributes: LINK,
    read: (host) => links(host, "frames"),
  },
  {
    name: "torpor_link_bytes_total",
    otel: "torpor.link.io",
    unit: "By",
    help: "Bytes that crossed a link.",
    kind: "counter",
    attributes: LINK,
    read: (host) => links(host, "bytes"),
  },
  {
    name: "torpor_link_drops_total",
    otel: "torpor.link.dropped",
    unit: "{packet}",
    help: "Frames that a link could not carry.",
    kind: "counter",
    attributes: LINK,
    read: (host) => links(host, "drops"),
  },
  {
    name: "torpor_drops_total",
    otel: "torpor.packets.dropped",
    unit: "{packet}",
    help: "Packets that went no further.",
    kind: "counter",
    attributes: { reason: "error.type" },
    read: ({ stack }) => labelled("reason", stack.drops.toJSON()),
  },
  {
    name: "torpor_tcp_total",
    otel: "torpor.tcp.events",
    unit: "{event}",
    help: "What TCP has counted.",
    kind: "counter",
    attributes: { event: "torpor.tcp.event" },
    read: ({ stack }) => labelled("event", { ...stack.tcp.counters }),
  },
  {
    name: "torpor_store_records",
    otel: "torpor.store.records",
    unit: "{record}",
    help: "Images that are in force.",
    kind: "sum",
    attributes: {},
    read: ({ sleeper }) => one(sleeper.store.stats.recordsLive),
  },
  {
    name: "torpor_store_bytes",
    otel: "torpor.store.size",
    unit: "By",
    help: "Bytes of the store.",
    kind: "sum",
    attributes: { of: "torpor.store.part" },
    read: ({ sleeper: { store: { stats } } }) => [
      [{ of: "live" }, stats.bytesLive],
      [{ of: "all" }, stats.bytesTotal],
    ],
  },
  {
    name: "torpor_store_segments",
    otel: "torpor.store.segments",
    unit: "{file}",
    help: "Files of the store.",
    kind: "sum",
    attributes: {},
    read: ({ sleeper }) => one(sleeper.store.stats.segments),
  },
  {
    name: "torpor_store_syncs_total",
    otel: "torpor.store.syncs",
    unit: "{commit}",
    help: "Commits to disk.",
    kind: "counter",
    attributes: {},
    read: ({ sleeper }) => one(sleeper.store.stats.syncs),
  },
  {
    name: "torpor_store_moved_bytes_total",
    otel: "torpor.store.moved",
    unit: "By",
    help: "Bytes that cleaning wrote once more.",
    kind: "counter",
    attributes: {},
    read: ({ sleeper }) => one(sleeper.store.stats.bytesMoved),
  },
  {
    name: "torpor_store_damaged_total",
    otel: "torpor.store.damaged",
    unit: "{place}",
    help: "Damaged places found.",
    kind: "counter",
    attributes: {},
    read: ({ sleeper }) => one(sleeper.store.stats.damaged),
  },
  {
    name: "torpor_firewall_packets_total",
    otel: "torpor.firewall.packets",
    unit: "{packet}",
    help: "Packets that a rule, or a policy, decided, and what counters of nftables rules have counted.",
    kind: "counter",
    attributes: { rule: "torpor.firewall.rule" },
    read: (host) => firewall(host, "packets"),
  },
  {
    name: "torpor_firewall_bytes_total",
    otel: "torpor.firewall.io",
    unit: "By",
    help: "Bytes that a rule, or a policy, decided, and what counters of nftables rules have counted.",
    kind: "counter",
    attributes: { rule: "torpor.firewall.rule" },
    read: (host) => firewall(host, "bytes"),
  },
  {
    name: "torpor_firewall_logs_total",
    otel: "torpor.firewall.logs",
    unit: "{packet}",
    help: "Packets of which rules said log, by its prefix.",
    kind: "counter",
    attributes: { prefix: "torpor.firewall.log.prefix" },
    read: ({ stack }) => [...stack.hooks.logged].map(([prefix, count]) => [{ prefix }, count]),
  },
  {
    name: "torpor_conntrack_flows",
    otel: "torpor.conntrack.flows",
    unit: "{flow}",
    help: "Flows that are followed for the firewall.",
    kind: "sum",
    attributes: {},
    read: ({ stack }) => stack.hooks.conntrack === undefined ? [] : one(stack.hooks.conntrack.size),
  },
];
