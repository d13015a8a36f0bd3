import type { CellSpec, LinkedSet } from "./linked.ts";
import type { Chain, Family, Limit, StatefulStatement, Table } from "./schema.ts";

/** Names, and numbers given out, while rules are linked. */
export class LinkContext {
  readonly interfaces: readonly string[];
  readonly cells: CellSpec[] = [];
  readonly sets: LinkedSet[] = [];
  generators = 0;
  /** Matches of names. */
  questions = 0;

  constructor(interfaces: readonly string[]) {
    this.interfaces = interfaces;
  }

  cell(spec: CellSpec): number {
    return this.cells.push(spec) - 1;
  }
}

/** What rules of a table may name. */
export interface TableScope {
  readonly family: Family;
  readonly table: Table;
  readonly chains: ReadonlyMap<string, { id: number; chain: Chain }>;
  readonly sets: ReadonlyMap<string, LinkedSet>;
  readonly counters: ReadonlyMap<string, number>;
  readonly quotas: ReadonlyMap<string, number>;
  readonly limits: ReadonlyMap<string, number>;
}

export const PER_SECONDS: Readonly<Record<Limit["per"], number>> = {
  second: 1,
  minute: 60,
  hour: 3_600,
  day: 86_400,
  week: 604_800,
};

const PERIODS = Object.keys(PER_SECONDS) as Limit["per"][];

export function limitSpec({ rate, per, burst, unit, inv }: Limit): CellSpec {
  return { kind: "limit", rate, perSeconds: PER_SECONDS[per], burst, isBytes: unit === "bytes", inv };
}

/** What rules say for it. */
export function statefulOf(spec: CellSpec): StatefulStatement {
  switch (spec.kind) {
    case "counter":
      return { counter: { packets: spec.packets, bytes: spec.bytes } };
    case "quota":
      return { quota: { bytes: spec.bytes, used: spec.used, inv: spec.inv } };
    case "limit": {
      const { rate, perSeconds, burst, isBytes, inv } = spec;
      const per = PERIODS.find((each) => PER_SECONDS[each] === perSeconds)!;
      return { limit: { rate, per, burst, unit: isBytes ? "bytes" : "packets", inv } };
    }
    case "ct count":
      return { "ct count": { val: spec.val, inv: spec.inv } };
  }
}

export function cellSpec(statement: StatefulStatement): CellSpec {
  if ("counter" in statement) return { kind: "counter", ...statement.counter };
  if ("quota" in statement) return { kind: "quota", ...statement.quota };
  if ("limit" in statement) return limitSpec(statement.limit);
  return { kind: "ct count", ...statement["ct count"] };
}
