import type {
  Expression,
  Family,
  Log,
  MapUpdate,
  Match,
  NameMatch,
  Nat,
  Rule,
  SetUpdate,
  Statement,
  Verdict,
} from "../schema.ts";
import { DATA_TYPES, symbolOf } from "../words/datatypes.ts";
import { typeOf, typesOf, type ValueType } from "../words/selectors.ts";
import { formatDuration } from "../words/times.ts";
import {
  printData,
  printExpression,
  printMap,
  printSet,
  printStateful,
  printVerdict,
} from "./print_expression.ts";

const PORT: ValueType = { type: "inet_service", bits: 16 };
const NUMBER: ValueType = { type: "integer", bits: 64 };

/** A rule on one line, as it stands in its chain. */
export function printRule({ expr, comment }: Rule, family: Family): string {
  const words = expr.map((statement) => printStatement(statement, family));
  if (comment !== undefined) words.push(`comment "${comment}"`);
  return words.join(" ");
}

/** A statement of a rule in a table of `family`. */
export function printStatement(statement: Statement, family: Family): string {
  const verdict = printVerdict(statement);
  if (verdict !== undefined) return verdict;
  if ("match" in statement) return printMatch(statement.match);
  if ("use" in statement) {
    const { kind, name } = statement.use;
    return `${kind} name ${typeof name === "string" ? `"${name}"` : printMap(name.map, [NUMBER])}`;
  }
  if ("reject" in statement) {
    const { reject } = statement;
    if (reject.type === "tcp reset") return "reject with tcp reset";
    return `reject with ${reject.type} ${symbolOf(`${reject.type}_code`, reject.expr) ?? reject.expr}`;
  }
  if ("log" in statement) return printLog(statement.log);
  if ("mangle" in statement) {
    const { key, value } = statement.mangle;
    const types = typesOf(key) ?? [NUMBER];
    const flags = typeof value === "number" && DATA_TYPES[types[0]!.type].flags === true;
    return `${printExpression(key)} set ${printExpression(value, types, flags ? "," : undefined)}`;
  }
  if ("vmap" in statement) {
    const { key, data } = statement.vmap;
    return `${printExpression(key)} vmap ${
      typeof data === "string" ? data : printSet(data, typesOf(key) ?? [NUMBER])
    }`;
  }
  if ("set" in statement) return printUpdate(statement.set, statement.set.set);
  if ("map" in statement) return printUpdate(statement.map, statement.map.map);
  if ("meter" in statement) {
    const { name, key, timeout, size, stmt } = statement.meter;
    const life = timeout === undefined ? "" : ` timeout ${formatDuration(timeout)}`;
    return `meter ${name}${size === undefined ? "" : ` size ${size}`} { ${printExpression(key)}${life} ${
      printStateful(stmt)
    } }`;
  }
  for (const kind of ["snat", "dnat", "masquerade", "redirect"] as const) {
    if (kind in statement) return printNat(kind, (statement as Record<typeof kind, Nat>)[kind], family);
  }
  if ("queue" in statement) {
    const { num, flags } = statement.queue;
    return `queue num ${printExpression(num)}${flags.length === 0 ? "" : ` ${flags.join(",")}`}`;
  }
  if ("notrack" in statement) return "notrack";
  if ("names" in statement) return printNames(statement.names);
  return printStateful(statement as Parameters<typeof printStateful>[0]);
}

function printNames({ key, op, right }: NameMatch): string {
  if (key === "name") return `name ${right[0]}`;
  const names = right.map((name) => `"${name}"`);
  return `${key} ${op === "!=" ? "!= " : ""}${names.length === 1 ? names[0] : `{ ${names.join(", ")} }`}`;
}

function printMatch({ op, left, right }: Match): string {
  const types = typesOf(left) ?? [NUMBER];
  const key = printExpression(left);
  const one = typeof right === "number" ||
    (typeof right === "object" && "set" in right && right.set.length === 1);
  const plain = one && types.length === 1 && DATA_TYPES[types[0]!.type].flags === true;
  if (op === "in") return `${key} ${printExpression(right, types, ",")}`;
  // Without an operator flags would be asked one by one, and a computation needs its end marked.
  const written = op !== "==" || plain || isBinary(left) ? `${op} ` : "";
  return `${key} ${written}${printExpression(right, types)}`;
}

function isBinary(left: Expression): boolean {
  return typeof left === "object" && ["&", "|", "^", "<<", ">>"].some((op) => op in left);
}

function printLog({ prefix, group, snaplen, queueThreshold, level, flags }: Log): string {
  const words = ["log"];
  if (prefix !== undefined) words.push(`prefix "${prefix}"`);
  if (group !== undefined) words.push(`group ${group}`);
  if (snaplen !== undefined) words.push(`snaplen ${snaplen}`);
  if (queueThreshold !== undefined) words.push(`queue-threshold ${queueThreshold}`);
  if (level !== undefined) words.push(`level ${level}`);
  const tcp = flags.filter((flag) => flag.startsWith("tcp ")).map((flag) => flag.slice(4));
  if (tcp.length > 0) words.push(`flags tcp ${tcp.join(",")}`);
  for (const flag of flags) if (!flag.startsWith("tcp ")) words.push(`flags ${flag}`);
  return words.join(" ");
}

function printNat(kind: string, { addr, family: of, port, flags }: Nat, family: Family): string {
  const words = [kind];
  const address: ValueType = of === "ip6"
    ? { type: "ipv6_addr", bits: 128 }
    : { type: "ipv4_addr", bits: 32 };
  if (addr !== undefined) {
    const both = typeof addr === "object" && "map" in addr && typeof addr.map.data !== "string" &&
      addr.map.data.set.some((element) =>
        "data" in element && typeof element.data === "object" && "concat" in element.data
      );
    if (family === "inet" || both) words.push(of!);
    if (flags.includes("netmap")) words.push("prefix");
    if (both) words.push("addr . port");
  }
  const to = port === undefined ? "" : `:${printTarget(port, [PORT])}`;
  if (addr !== undefined) words.push(`to ${printAddress(addr, address, port !== undefined)}${to}`);
  else if (port !== undefined) words.push(`to ${to}`);
  const rest = flags.filter((flag) => flag !== "netmap");
  if (rest.length > 0) words.push(rest.join(","));
  return words.join(" ");
}

function printTarget(target: Expression, types: readonly ValueType[]): string {
  return typeof target === "object" && "map" in target
    ? printMap(target.map, types)
    : printExpression(target, types);
}

function printAddress(addr: Expression, type: ValueType, hasPort: boolean): string {
  if (!hasPort || type.type === "ipv4_addr") return printTarget(addr, [type, PORT]);
  if (typeof addr === "string") return `[${addr}]`;
  if (typeof addr === "object" && "range" in addr) return `[${addr.range[0]}]-[${addr.range[1]}]`;
  return printTarget(addr, [type, PORT]);
}

function printUpdate(
  update: Omit<SetUpdate, "set"> & Partial<Pick<MapUpdate, "data">>,
  name: string,
): string {
  const { op, elem, timeout, comment, stmt, data } = update;
  const words = [
    printExpression(elem),
    ...timeout === undefined ? [] : [`timeout ${formatDuration(timeout)}`],
    ...comment === undefined ? [] : [`comment "${comment}"`],
    ...stmt.map(printStateful),
    ...data === undefined
      ? []
      : [`: ${printData(data as Expression | Verdict, [dataType(data as Expression)])}`],
  ];
  return `${op} ${name} { ${words.join(" ")} }`;
}

function dataType(data: Expression): ValueType {
  return typeOf(data) ?? { type: "mark", bits: 32 };
}
