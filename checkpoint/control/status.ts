import process from "node:process";
import type { Histogram } from "../../base/histogram.ts";
import { runtime } from "../../base/runtime.ts";
import type { LinkCounters } from "../../net/link/link.ts";
import type { SleepingHost } from "../sleeping_host.ts";
import type { RuleAction } from "../../net/firewall/rule.ts";
import { firewallCounts, nftCounts } from "../telemetry/families.ts";
import type { WakeReason } from "../wake_times.ts";

/** How long something took: how often it happened, and bounds that half and 99 of 100 did not exceed. */
export interface Took {
  /** How often it happened. */
  readonly count: number;
  /** How long it took on average. */
  readonly meanSeconds: number;
  /** What half did not exceed. */
  readonly p50Seconds: number;
  /** `null` above ten seconds. */
  readonly p99Seconds: number | null;
}

/** A host at one moment, in numbers. */
export interface HostStatus {
  /** The process. */
  readonly pid: number;
  /** `node 20.20.2`. */
  readonly runtime: string;
  /** The host's time, epoch milliseconds. */
  readonly nowMs: number;
  /** How long the process runs. */
  readonly upSeconds: number;
  /** Connections by what holds them. */
  readonly connections: { readonly awake: number; readonly asleep: number; readonly waking: number };
  /** Connections that fell asleep. */
  readonly suspends: number;
  /** Connections that woke. */
  readonly restores: number;
  /** Connections whose images are being written. */
  readonly saving: number;
  /** Connections that wait for a budget to wake by. */
  readonly waiting: number;
  /** Wakes by what asked for them. */
  readonly wakes: Readonly<Record<WakeReason, number>>;
  /** How long it took to fall asleep. */
  readonly suspendTook: Took;
  /** How long it took to wake. */
  readonly restoreTook: Took;
  /** Memory of the process. */
  readonly memory: { readonly rssBytes: number; readonly heapBytes: number };
  /** What has crossed each interface. */
  readonly interfaces: readonly (Readonly<LinkCounters> & { readonly name: string })[];
  /** Packets dropped, by reason. */
  readonly drops: Readonly<Record<string, number>>;
  /** What is in the store. */
  readonly store: { readonly records: number; readonly bytesLive: number; readonly bytes: number };
  /** Packets that each rule has decided, then the policies; absent without a firewall. */
  readonly firewall?: readonly {
    readonly rule: string;
    /** What becomes of them; absent where a counter does not say. */
    readonly action?: RuleAction;
    readonly packets: number;
    readonly bytes: number;
  }[];
}

/** What a host says of itself now. */
export function hostStatus(host: SleepingHost): HostStatus {
  const { sleeper, stack } = host;
  const { suspends, restores, saving, waiting, wakes } = sleeper.stats;
  const { rss, heapUsed } = process.memoryUsage();
  const { recordsLive, bytesLive, bytesTotal } = sleeper.store.stats;
  const counts: ReturnType<typeof nftCounts> = [...firewallCounts(host), ...nftCounts(host)];
  const firewall = counts.map(({ rule, action, comment, packets, bytes }) => ({
    rule: comment === undefined ? rule : `${rule} ${comment}`,
    ...(action === undefined ? {} : { action }),
    packets,
    bytes,
  }));
  return {
    pid: process.pid,
    runtime: `${runtime} ${process.versions[runtime] ?? ""}`,
    nowMs: host.clock.nowMs(),
    upSeconds: process.uptime(),
    connections: host.counts,
    ...{ suspends, restores, saving, waiting, wakes: { ...wakes } },
    suspendTook: tookOf(sleeper.suspendSeconds),
    restoreTook: tookOf(sleeper.restoreSeconds),
    memory: { rssBytes: rss, heapBytes: heapUsed },
    interfaces: host.linkCounters.map((counters, index) => ({
      name: stack.output.interfaces[index]!.name,
      ...counters,
    })),
    drops: stack.drops.toJSON(),
    store: { records: recordsLive, bytesLive, bytes: Math.max(bytesTotal, bytesLive) }, // a store in memory has no rest
    ...(firewall.length === 0 ? {} : { firewall }),
  };
}

function tookOf(seconds: Histogram): Took {
  const p99 = seconds.quantile(0.99);
  return {
    count: seconds.count,
    meanSeconds: seconds.count === 0 ? 0 : seconds.sum / seconds.count,
    p50Seconds: seconds.quantile(0.5),
    p99Seconds: p99 === Infinity ? null : p99,
  };
}
