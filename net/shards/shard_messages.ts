import type { MessagePort } from "node:worker_threads";

/** What a shard is started with, in `workerData` under {@linkcode SHARD_KEY}. */
export interface ShardStart {
  readonly index: number;
  readonly count: number;
  readonly data: unknown;
  /** To whoever started the shards. */
  readonly control: MessagePort;
  /** To the next shard and from the one before, in a ring; absent where there is one only. */
  readonly next: MessagePort | undefined;
  readonly previous: MessagePort | undefined;
}

export const SHARD_KEY = "torporShard";

/** A packet on its way round the ring: whoever gets it with `left` 0 is the last to be asked. */
export interface PassedPacket {
  readonly interfaceIndex: number;
  readonly packet: Uint8Array<ArrayBuffer>;
  readonly left: number;
}

/** What is asked of a shard. */
export type ShardQuestion = { readonly ask: "totals"; readonly id: number } | { readonly ask: "close" };

/** What a shard says. */
export type ShardAnswer =
  | { readonly say: "ready" }
  | { readonly say: "totals"; readonly id: number; readonly totals: ShardTotals };

/** What a host has and has counted; of several, the sums. */
export interface ShardTotals {
  /** Connections by what holds them. */
  readonly connections: { readonly awake: number; readonly asleep: number; readonly waking: number };
  /** What has crossed the links. */
  readonly links: Readonly<Record<string, number>>;
  /** Packets that went no further, by reason. */
  readonly drops: Readonly<Record<string, number>>;
  /** What TCP has counted (net/tcp/netstat.ts). */
  readonly tcp: Readonly<Record<string, number>>;
  /** Packets that came to a shard that did not know their connection, and were passed on. */
  readonly passed: number;
}
