import type { CellState } from "./cells.ts";
import { formatIpv4 } from "../../wire/address.ts";
import { formatIpv6 } from "../../wire/ipv6_address.ts";
import { statefulOf } from "./link_scope.ts";
import type { LinkedRules, LinkedSet } from "./linked.ts";
import type {
  Chain,
  DataType,
  Expression,
  Immediate,
  MapElement,
  NamedSet,
  Rule,
  Ruleset,
  SetElement,
  StatefulStatement,
  Statement,
  Table,
} from "./schema.ts";
import type { ElementState, NftState } from "./state.ts";

/** The rules that were linked, with what has been counted and learnt since: as `nft list ruleset` shows them. */
export function listRules(linked: LinkedRules, state: NftState, nowMs: number): Ruleset {
  let cell = 0;
  let set = 0;
  let chain = 0;
  const names: string[] = []; // of objects, by the numbers of their cells
  const next = (name: string): CellState => {
    names.push(name);
    return state.cells[cell++]!;
  };
  // In the order in which linking gave numbers out: named objects of all tables first.
  const objects = linked.tables.map((table) => ({
    counters: table.counters.map((each) => ({ ...each, ...counted(next(each.name)) })),
    quotas: table.quotas.map((each) => ({ ...each, used: usedOf(next(each.name), each.bytes) })),
    limits: table.limits.map((each) => {
      next(each.name);
      return each;
    }),
    sets: table.sets.map((): { linked: LinkedSet; elements: readonly ElementState[] } => {
      const linkedSet = linked.sets[set]!;
      return { linked: linkedSet, elements: state.sets[set++]! };
    }),
  }));
  const tables = linked.tables.map((table, at): Table => {
    const { counters, quotas, limits, sets } = objects[at]!;
    const chains = table.chains.map((each): Chain => {
      const { rules } = linked.chains[chain++]!;
      return { ...each, rules: rules.map(({ rule, ops }) => listRule(rule, ops, state.cells)) };
    });
    return {
      ...table,
      counters,
      quotas,
      limits,
      chains,
      sets: table.sets.map((named, index) =>
        listSet(named, sets[index]!.linked, sets[index]!.elements, nowMs, linked, names)
      ),
    };
  });
  return { tables };
}

function counted(state: CellState): { packets: number; bytes: number } {
  return "packets" in state ? { packets: state.packets, bytes: state.bytes } : { packets: 0, bytes: 0 };
}

/** What went over a quota is not listed; the kernel has it so. */
function usedOf(state: CellState, bytes: number): number {
  return "used" in state ? Math.min(state.used, bytes) : 0;
}

function listRule(
  rule: Rule,
  ops: LinkedRules["chains"][number]["rules"][number]["ops"],
  cells: NftState["cells"],
): Rule {
  const expr = rule.expr.map((statement, at): Statement => {
    if (!("counter" in statement) && !("quota" in statement)) return statement;
    const op = ops.find((each) => each.at === at && each.op === "cell");
    return op?.op === "cell" ? withState(statement, cells[op.cell]!) : statement;
  });
  return { ...rule, expr };
}

function withState<T extends Statement | StatefulStatement>(statement: T, state: CellState): T {
  if ("counter" in statement) return { ...statement, counter: counted(state) };
  if ("quota" in statement) {
    return { ...statement, quota: { ...statement.quota, used: usedOf(state, statement.quota.bytes) } };
  }
  return statement;
}

function listSet(
  named: NamedSet,
  linked: LinkedSet,
  elements: readonly ElementState[],
  nowMs: number,
  { chains, interfaces }: LinkedRules,
  names: readonly string[],
): NamedSet {
  if (elements.length === 0 && !linked.changes) return named;
  const data = (state: ElementState): Partial<MapElement> => {
    if (state.data === undefined) return {};
    if (typeof state.data === "number") return { data: { object: names[state.data]! } };
    if ("kind" in state.data) {
      const { data: verdict } = state;
      if (typeof verdict !== "object" || !("kind" in verdict)) return {};
      if (verdict.kind !== "jump" && verdict.kind !== "goto") {
        return { data: { [verdict.kind]: null } as never };
      }
      return { data: { [verdict.kind]: { target: chains[verdict.chain]!.name } } as never };
    }
    const types = (named.data as { readonly value: readonly DataType[] }).value;
    const all = state.data.map((part, at) => valueOf(part, types[at % types.length]!, interfaces));
    const values = all.slice(0, types.length).map((low, at): Expression => {
      const high = all[types.length + at] ?? low;
      return high === low ? low : { range: [low as Immediate, high as Immediate] };
    });
    return { data: values.length === 1 ? values[0]! : { concat: values } };
  };
  const listed = elements.map((state, at): SetElement | MapElement => {
    const known = linked.changes ? undefined : named.elem[at];
    const val = known?.val ?? keyOf(state, named.type, interfaces);
    const stmt = state.cells.map((kept) => withState(statefulOf(kept.spec), kept.state));
    return {
      ...data(state),
      ...known,
      val,
      ...(state.timeoutMs === 0 ? {} : {
        timeout: state.timeoutMs / 1_000,
        expires: Math.max(0, Math.floor((state.expiresMs - nowMs) / 1_000)),
      }),
      ...(stmt.length === 0 ? {} : { stmt }),
    };
  });
  return { ...named, elem: listed };
}

function keyOf({ low }: ElementState, types: readonly DataType[], interfaces: readonly string[]): Expression {
  if (low.length === 0) return "*";
  const parts = low.map((part, at) => valueOf(part, types[at]!, interfaces));
  return parts.length === 1 ? parts[0]! : { concat: parts };
}

/** A value as rules write it. */
function valueOf(value: bigint, type: DataType, interfaces: readonly string[]): Expression {
  const word = (at: number): number => Number(BigInt.asIntN(32, value >> BigInt(32 * (3 - at))));
  switch (type) {
    case "ipv4_addr":
      return formatIpv4(Number(BigInt.asIntN(32, value)));
    case "ipv6_addr":
      return formatIpv6(word(0), word(1), word(2), word(3));
    case "iface_index":
      return interfaces[Number(value) - 1] ?? Number(value);
    case "ifname": {
      let name = "";
      for (let at = 15; at >= 0; at--) {
        const code = Number((value >> BigInt(8 * at)) & 0xffn);
        if (code !== 0) name += String.fromCharCode(code);
      }
      return name;
    }
    default:
      return Number(value);
  }
}
