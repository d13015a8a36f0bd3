import type { Expression, Log, MapUpdate, Nat, SetUpdate, Statement } from "../schema.ts";
import { DATA_TYPES, symbolOf } from "../words/datatypes.ts";
import { typeOf, typesOf, type ValueType } from "../words/selectors.ts";
import {
  printAnonymous,
  printExpression,
  printMapJson,
  printStatefulJson,
  printVerdictOrData,
} from "./print_expression.ts";

const PORT: ValueType = { type: "inet_service", bits: 16 };
const NUMBER: ValueType = { type: "integer", bits: 64 };

/** A statement as libnftables-json(5) has it. */
export function printJsonStatement(statement: Statement): Record<string, unknown> {
  if ("match" in statement) {
    const { op, left, right } = statement.match;
    const types = typesOf(left) ?? [NUMBER];
    return { match: { op, left: printExpression(left), right: printExpression(right, types, op === "in") } };
  }
  if ("use" in statement) {
    const { kind, name } = statement.use;
    return { [kind]: typeof name === "string" ? name : printMapJson(name, [NUMBER]) };
  }
  if ("reject" in statement) {
    const { reject } = statement;
    if (reject.type === "tcp reset") return { reject };
    const { type, expr } = reject;
    return { reject: { type, expr: symbolOf(`${type}_code`, expr) ?? expr } };
  }
  if ("log" in statement) return { log: printLog(statement.log) };
  if ("mangle" in statement) {
    const { key, value } = statement.mangle;
    const types = typesOf(key) ?? [NUMBER];
    const listed = DATA_TYPES[types[0]!.type].flags === true;
    return { mangle: { key: printExpression(key), value: printExpression(value, types, listed) } };
  }
  if ("vmap" in statement) {
    const { key, data } = statement.vmap;
    const map = typeof data === "string" ? data : printAnonymous(data, typesOf(key) ?? [NUMBER]);
    return { vmap: { key: printExpression(key), data: map } };
  }
  if ("set" in statement) return { set: printUpdate(statement.set, { set: statement.set.set }) };
  if ("map" in statement) return { map: printUpdate(statement.map, { map: statement.map.map }) };
  if ("meter" in statement) {
    const { name, key, timeout, size, stmt } = statement.meter;
    const val = printExpression(key);
    return {
      meter: {
        key: timeout === undefined ? val : { elem: { val, timeout } },
        stmt: printStatefulJson(stmt),
        ...size === undefined ? {} : { size },
        name,
      },
    };
  }
  for (const kind of ["snat", "dnat", "masquerade", "redirect"] as const) {
    if (kind in statement) return { [kind]: printNat((statement as Record<typeof kind, Nat>)[kind]) };
  }
  if ("queue" in statement) {
    const { num, flags } = statement.queue;
    return { queue: { num: printExpression(num), ...oneOrMore("flags", flags) } };
  }
  if ("names" in statement) {
    const { key, op, right } = statement.names;
    return { names: { key, op, ...oneOrMore("right", right) } };
  }
  if ("counter" in statement || "quota" in statement || "limit" in statement || "ct count" in statement) {
    return printStatefulJson(statement);
  }
  return { ...statement };
}

function oneOrMore(name: string, list: readonly string[]): Record<string, unknown> {
  return list.length === 0 ? {} : { [name]: list.length === 1 ? list[0] : list };
}

function printLog({ prefix, group, snaplen, queueThreshold, level, flags }: Log): unknown {
  const fields = {
    ...prefix === undefined ? {} : { prefix },
    ...group === undefined ? {} : { group },
    ...snaplen === undefined ? {} : { snaplen },
    ...queueThreshold === undefined ? {} : { "queue-threshold": queueThreshold },
    ...level === undefined ? {} : { level },
    ...oneOrMore("flags", flags),
  };
  return Object.keys(fields).length === 0 ? null : fields;
}

function printNat({ addr, family, port, flags }: Nat): unknown {
  const address: ValueType = family === "ip6"
    ? { type: "ipv6_addr", bits: 128 }
    : { type: "ipv4_addr", bits: 32 };
  const fields = {
    ...family === undefined ? {} : { family },
    ...addr === undefined ? {} : { addr: printTarget(addr, [address, PORT]) },
    ...port === undefined ? {} : { port: printTarget(port, [PORT]) },
    ...oneOrMore("flags", flags),
    ...flags.includes("netmap") ? { type_flags: "prefix" } : {},
  };
  return Object.keys(fields).length === 0 ? null : fields;
}

function printTarget(target: Expression, types: readonly ValueType[]): unknown {
  return typeof target === "object" && "map" in target
    ? printMapJson(target, types)
    : printExpression(target, types);
}

function printUpdate(
  update: Omit<SetUpdate, "set"> & Partial<Pick<MapUpdate, "data">>,
  name: object,
): unknown {
  const { op, elem, timeout, comment, stmt, data } = update;
  const val = printExpression(elem);
  const long = timeout !== undefined || comment !== undefined;
  const rest = { ...timeout === undefined ? {} : { timeout }, ...comment === undefined ? {} : { comment } };
  return {
    op,
    elem: long ? { elem: { val, ...rest } } : val,
    ...data === undefined
      ? {}
      : { data: printVerdictOrData(data, [typeOf(data as Expression) ?? { type: "mark", bits: 32 }]) },
    ...name,
    ...stmt.length === 0 ? {} : { stmt: stmt.map(printStatefulJson) },
  };
}
