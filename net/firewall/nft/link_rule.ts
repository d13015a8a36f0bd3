import { type Bounds, boundsOf } from "./constants.ts";
import { CT_KNOWN, EXTENSIONS, HEADERS, META_KNOWN, TCP_OPTIONS, TYPE_BITS } from "./fields.ts";
import { LinkError } from "./link_error.ts";
import { statementPlace } from "./read/places.ts";
import { cellSpec, type LinkContext, type TableScope } from "./link_scope.ts";
import { type DataShape, linkVerdict, type Part, SetLinker, SIZE_DEFAULT } from "./link_set.ts";
import type { CtName, LinkedNat, LinkedSet, MetaName, Op, OpKind, Value, ValueKind } from "./linked.ts";
import { NatFlag } from "../nat/range.ts";
import { Nfproto } from "./packet.ts";
import type {
  AnonymousSet,
  DataType,
  Expression,
  MapExpression,
  Match,
  Nat,
  Payload,
  Reject,
  Rule,
  SetReference,
  SetUpdate,
  Statement,
} from "./schema.ts";
import { CT_KEYS, META_KEYS } from "./words/selectors.ts";

const PROTOCOL_TCP = 6;

/** A value with what constants beside it are. */
interface Typed {
  readonly value: Value;
  readonly type: DataType;
}

/** Fields that rules may write: those that no way of a packet depends on. */
const WRITTEN: Readonly<Record<string, readonly string[]>> = {
  ip: ["ttl", "dscp", "ecn", "id"],
  ip6: ["hoplimit", "dscp", "ecn", "flowlabel"],
};

const NAT_FLAGS: Readonly<Record<Nat["flags"][number], number>> = {
  random: NatFlag.random,
  "fully-random": NatFlag.fullyRandom,
  persistent: NatFlag.persistent,
  netmap: NatFlag.netmap,
};

/** One rule on its way to steps. */
export class RuleLinker {
  readonly #scope: TableScope;
  readonly #context: LinkContext;
  readonly #sets: SetLinker;
  readonly #place: string;
  readonly #rule: Rule;
  readonly #ops: Op[] = [];
  #at = 0;
  /** What the rule has asked for so far, or the table has. */
  #nfproto: number | undefined;
  #protocol: number | undefined;
  /** What `ip protocol` must be. */
  #saidProtocol: number | undefined;

  constructor(scope: TableScope, context: LinkContext, place: string, rule: Rule) {
    this.#scope = scope;
    this.#context = context;
    this.#sets = new SetLinker(scope, context);
    this.#place = place;
    this.#rule = rule;
    this.#nfproto = scope.family === "ip" ? Nfproto.Ipv4 : scope.family === "ip6" ? Nfproto.Ipv6 : undefined;
  }

  /** The steps of the whole rule. */
  ops(): Op[] {
    let ended = false;
    this.#rule.expr.forEach((statement, at) => {
      this.#at = at;
      if (ended) this.#fail("A statement behind one that ends the rule has no effect");
      this.#statement(statement);
      ended = endsRule(this.#ops.at(-1)!);
    });
    return this.#ops;
  }

  #fail(message: string): never {
    const { expr, line } = this.#rule;
    throw new LinkError(this.#place, line, message, { at: statementPlace(expr, this.#at) });
  }

  #push(op: OpKind, implied = false): void {
    this.#ops.push(implied ? { ...op, at: this.#at, implied } : { ...op, at: this.#at });
  }

  #statement(statement: Statement): void {
    if ("match" in statement) return this.#match(statement.match);
    if ("counter" in statement || "quota" in statement || "limit" in statement || "ct count" in statement) {
      return this.#push({ op: "cell", cell: this.#context.cell(cellSpec(statement)) });
    }
    if ("use" in statement) return this.#use(statement.use.kind, statement.use.name);
    if ("vmap" in statement) {
      const { parts, values } = this.#parts(statement.vmap.key);
      const set = this.#setOf(statement.vmap.data, parts, "verdict");
      if (set.data !== "verdict") this.#fail("A vmap needs a map that leads to verdicts");
      return this.#push({ op: "vmap", parts: values, set });
    }
    if ("reject" in statement) return this.#reject(statement.reject);
    if ("log" in statement) return this.#push({ op: "log", log: statement.log });
    if ("mangle" in statement) return this.#mangle(statement.mangle.key, statement.mangle.value);
    if ("set" in statement) return this.#update(statement.set, statement.set.set, undefined);
    if ("map" in statement) return this.#update(statement.map, statement.map.map, statement.map.data);
    if ("meter" in statement) {
      const { name, key, timeout, size, stmt } = statement.meter;
      const { parts, values } = this.#parts(key);
      const set = this.#sets.meter(name, parts, timeout ?? 0, size ?? SIZE_DEFAULT);
      const mode = timeout === undefined ? "add" : "update";
      return this.#push({
        op: "update",
        mode,
        parts: values,
        set,
        timeout,
        cells: [cellSpec(stmt)],
        data: undefined,
      });
    }
    if ("queue" in statement) return this.#push({ op: "queue" });
    if ("notrack" in statement) return this.#push({ op: "notrack" });
    if ("names" in statement) {
      const { key, op, right } = statement.names;
      const question = this.#context.questions++;
      return this.#push({ op: "names", key, right, negate: op === "!=", question });
    }
    for (const kind of ["snat", "dnat", "masquerade", "redirect"] as const) {
      if (kind in statement) return this.#nat(kind, (statement as Record<string, Nat>)[kind]!);
    }
    this.#push({
      op: "verdict",
      verdict: linkVerdict(statement as never, this.#scope, this.#place, this.#rule.line),
    });
  }

  #match({ op, left, right }: Match): void {
    const { parts, values } = this.#parts(left);
    const isSet = (typeof right === "string" && right.startsWith("@")) ||
      (typeof right === "object" && "set" in right);
    if (isSet) {
      if (op !== "==" && op !== "!=" && op !== "in") this.#fail(`Nothing is ${op} a set`);
      const set = this.#setOf(right as SetReference | AnonymousSet, parts, undefined);
      if (set.data !== undefined) this.#fail("A lookup needs a set, not a map");
      return this.#push({ op: "lookup", parts: values, set, negate: op === "!=" });
    }
    if (typeof right === "boolean" && values[0]!.op === "fib") {
      const exists = BigInt(right);
      values[0] = { ...values[0]!, bits: 8, result: "exists" };
      return this.#push({ op: "test", parts: values, compare: op, low: [exists], high: [exists] });
    }
    if (parts.length !== 1) this.#fail("Concatenations are compared with sets, not with single values");
    const [low, high] = this.#bounds(right, parts[0]!);
    if (low !== high && op !== "==" && op !== "!=") this.#fail(`Nothing is ${op} a range`);
    this.#push({ op: "test", parts: values, compare: op, low: [low], high: [high] });
    if (op === "==" && low === high) this.#learn(values[0]!, Number(low));
  }

  /** What the rule now knows of its packets: nft adds no test for it any more. */
  #learn(value: Value, constant: number): void {
    if (value.op === "payload" && value.base === "nh" && value.bit === 72 && value.bits === 8) {
      if (this.#nfproto === Nfproto.Ipv4 && TRANSPORTS.has(constant)) this.#saidProtocol = constant;
    }
    if (value.op !== "meta") return;
    if (value.key === "l4proto") this.#protocol = constant;
    else if (this.#scope.family !== "inet") return;
    else if (value.key === "nfproto") this.#nfproto = constant; // of "meta protocol" it makes nothing here
  }

  #use(kind: "counter" | "quota" | "limit", name: string | { readonly map: unknown }): void {
    if (typeof name !== "string") {
      const { key, data } = name.map as { key: Expression; data: SetReference | AnonymousSet };
      const { parts, values } = this.#parts(key);
      const set = this.#setOf(data, parts, "cell");
      if (set.data !== "cell") this.#fail(`A ${kind} by a map needs a map that leads to objects`);
      return this.#push({ op: "cell map", parts: values, set });
    }
    const { counters, quotas, limits } = this.#scope;
    const cell = (kind === "counter" ? counters : kind === "quota" ? quotas : limits).get(name);
    if (cell === undefined) this.#fail(`There is no ${kind} "${name}"`);
    this.#push({ op: "cell", cell });
  }

  #reject(reject: Reject): void {
    this.#atBeginning(() => {
      if (reject.type === "tcp reset") this.#needProtocol(PROTOCOL_TCP);
      if (reject.type === "icmp") this.#needNfproto(Nfproto.Ipv4);
      if (reject.type === "icmpv6") this.#needNfproto(Nfproto.Ipv6);
    });
    const code = reject.type === "tcp reset" ? 0 : reject.expr;
    const { comment } = this.#rule;
    const said = comment === undefined ? {} : { comment };
    this.#push({ op: "reject", reject: { type: reject.type, code, ...said } });
  }

  #mangle(key: Expression, value: Expression): void {
    if (typeof key === "object" && "meta" in key) {
      const name = key.meta.key;
      if (name === "mark" || name === "priority" || name === "nftrace") {
        const bits = name === "nftrace" ? 8 : 32;
        return this.#push({
          op: "set meta",
          key: name,
          value: this.#valueFor(value, { type: "mark", bits }),
        });
      }
      this.#fail(`meta ${name} cannot be set here`);
    }
    if (typeof key === "object" && "ct" in key && key.ct.key === "mark") {
      return this.#push({ op: "set ct", value: this.#valueFor(value, { type: "mark", bits: 32 }) });
    }
    if (typeof key === "object" && "ct" in key && key.ct.key === "zone") {
      return this.#push({ op: "set zone", value: this.#valueFor(value, { type: "integer", bits: 16 }) });
    }
    if (typeof key === "object" && "payload" in key && !("base" in key.payload)) {
      const { protocol, field } = key.payload;
      if (!WRITTEN[protocol]?.includes(field)) {
        this.#fail(`${protocol} ${field} cannot be set here: addresses and ports are for snat and dnat`);
      }
      const { value: { bits }, type } = this.#payload(key.payload);
      const { bit } = HEADERS[protocol].fields[field]!;
      return this.#push({ op: "set payload", bit, bits, value: this.#valueFor(value, { type, bits }) });
    }
    if (typeof key === "object" && "tcp option" in key) {
      const { name, field = "" } = key["tcp option"];
      const { kind, fields } = TCP_OPTIONS[name]!;
      if (name !== "maxseg" || field !== "size") this.#fail(`tcp option ${name} ${field} cannot be set here`);
      const { bit, bits, type } = fields[field]!;
      return this.#push({
        op: "set option",
        kind,
        offset: bit >> 3,
        value: this.#valueFor(value, { type, bits }),
      });
    }
    this.#fail(
      "Set here are meta mark, priority and nftrace, ct mark and zone, fields of the IP header, and TCP's maxseg size",
    );
  }

  #update(
    update: Omit<SetUpdate, "set">,
    reference: SetReference,
    data: Expression | object | undefined,
  ): void {
    const { parts, values } = this.#parts(update.elem, this.#scope.sets.get(reference.slice(1)));
    const set = this.#setOf(reference, parts, undefined);
    if (set.named?.flags.includes("constant")) { // nft_dynset_init(): EBUSY
      this.#fail(`Rules cannot add to ${reference}: it is constant`);
    }
    if (!set.changes) {
      this.#fail(`Rules add to sets with the flag dynamic or timeout; ${reference} has neither`);
    }
    if ((data === undefined) !== (set.data === undefined)) {
      this.#fail(`${reference} is ${set.data === undefined ? "a set" : "a map"}`);
    }
    const { timeout } = update;
    if (timeout !== undefined && !set.named?.flags.includes("timeout")) {
      this.#fail(`Elements of ${reference} have no timeout: it lacks the flag`);
    }
    let linked: readonly Value[] | ReturnType<typeof linkVerdict> | undefined;
    if (data !== undefined) {
      if (set.data === "verdict") {
        linked = linkVerdict(data as never, this.#scope, this.#place, this.#rule.line);
      } else if (set.data === "cell") this.#fail("Rules do not add objects to maps");
      else {
        const shape = set.named!.data as { readonly value: readonly DataType[] };
        const given = typeof data === "object" && "concat" in data
          ? data.concat as Expression[]
          : [data as Expression];
        if (given.length !== shape.value.length) {
          this.#fail(`A value of ${given.length} parts, expected ${shape.value.length}`);
        }
        linked = given.map((each, at) =>
          this.#valueFor(each, { type: shape.value[at]!, bits: TYPE_BITS[shape.value[at]!] })
        );
      }
    }
    const cells = update.stmt.length > 0 ? update.stmt.map(cellSpec) : set.cells;
    this.#push({ op: "update", mode: update.op, parts: values, set, timeout, cells, data: linked });
  }

  #nat(kind: LinkedNat["kind"], nat: Nat): void {
    const { family } = this.#scope;
    const of = nat.family ?? (family === "inet" ? undefined : family);
    const nfproto = of === "ip" ? Nfproto.Ipv4 : of === "ip6" ? Nfproto.Ipv6 : 0;
    const { addr, port, flags } = nat;
    let address: readonly [Value, Value] | undefined;
    let ports: readonly [Value, Value] | undefined;
    let map: LinkedNat["map"];
    if (addr !== undefined) {
      const part: Part = of === "ip6" ? { type: "ipv6_addr", bits: 128 } : { type: "ipv4_addr", bits: 32 };
      if (typeof addr === "object" && "map" in addr) {
        map = this.#natMap(addr.map, part);
      } else address = this.#range(addr, part);
    }
    if (port !== undefined) {
      ports = this.#range(port, { type: "inet_service", bits: 16 });
      if (this.#protocol === undefined) this.#needPorts();
    }
    const linked: LinkedNat = {
      kind,
      nfproto,
      ...(address === undefined ? {} : { address }),
      ...(ports === undefined ? {} : { port: ports }),
      ...(map === undefined ? {} : { map }),
      flags: flags.reduce((sum, flag) => sum | NAT_FLAGS[flag], 0),
    };
    this.#push({ op: "nat", nat: linked });
  }

  /** The map that has the address of a translation, or with a port; intervals of them, where its elements say so. */
  #natMap({ key, data }: MapExpression["map"], part: Part): NonNullable<LinkedNat["map"]> {
    const { parts, values } = this.#parts(key);
    const leads = typeof data === "string"
      ? []
      : data.set.flatMap((each) => "data" in each && typeof each.data === "object" ? [each.data] : []);
    const joined = leads.some((each) => "concat" in each);
    const ranged = leads.flatMap((each) => "concat" in each ? each.concat : [each as Expression])
      .some((each) => typeof each === "object" && ("prefix" in each || "range" in each));
    const shape: Part[] = joined ? [part, { type: "inet_service", bits: 16 }] : [part];
    const set = this.#setOf(data, parts, ranged ? { ranges: shape } : shape);
    const count = Array.isArray(set.data) ? set.data.length / (set.ranged ? 2 : 1) : 0;
    if ((count !== 1 && count !== 2) || (set.data as readonly number[])[0] !== part.bits) {
      this.#fail("A map that leads to addresses is needed here");
    }
    return { key: values, set, hasPort: count === 2 };
  }

  /** A port means something only where the rule has said which protocol it is about; nft insists. */
  #needPorts(): void {
    const asked = this.#ops.some((op) => "parts" in op && op.parts.some(isProtocol));
    if (!asked) this.#fail("A port needs a transport protocol that the rule has asked for");
  }

  /** A constant, range or prefix as two values; anything else is the same one twice. */
  #range(expression: Expression, part: Part): [Value, Value] {
    const { bits } = part;
    if (typeof expression !== "object" || "range" in expression || "prefix" in expression) {
      const [low, high] = this.#bounds(expression, part);
      return [{ op: "const", bits, value: low }, { op: "const", bits, value: high }];
    }
    const value = this.#valueFor(expression, part);
    return [value, value];
  }

  #bounds(expression: Expression, part: Part): Bounds {
    const bounds = boundsOf(expression, part.type, part.bits, this.#context.interfaces);
    return typeof bounds === "string" ? this.#fail(bounds) : bounds;
  }

  /** A value that becomes one of `part`: a constant, or whatever the packet has. */
  #valueFor(expression: Expression, part: Part): Value {
    if (typeof expression !== "object" || "prefix" in expression || "range" in expression) {
      const [low, high] = this.#bounds(expression, part);
      if (low !== high) this.#fail("Found a range, expected one value");
      return { op: "const", bits: part.bits, value: low };
    }
    if ("map" in expression) return this.#mapParts(expression.map, undefined, [part])[0]!;
    const { value } = this.#value(expression);
    return value.bits === part.bits ? value : { ...value, bits: part.bits };
  }

  /** What a map leads to, as values for its parts: of shape `long`, if it has as many, else of shape `short`. */
  #mapParts(
    { key, data }: { readonly key: Expression; readonly data: SetReference | AnonymousSet },
    long: readonly Part[] | undefined,
    short: readonly Part[],
  ): Value[] {
    const { parts, values } = this.#parts(key);
    const isLong = long !== undefined && typeof data === "object" &&
      data.set.some((each) => "data" in each && typeof each.data === "object" && "concat" in each.data);
    const set = this.#setOf(data, parts, isLong ? long : short);
    if (set.data === undefined || typeof set.data === "string") {
      this.#fail("A map that leads to values is needed here");
    }
    if (set.ranged) this.#fail("Only translations take intervals from a map");
    return set.data.map((bits, part) => ({ op: "map", bits, key: values, set, part }));
  }

  #setOf(data: SetReference | AnonymousSet, parts: readonly Part[], shape: DataShape): LinkedSet {
    if (typeof data === "object") {
      return this.#sets.anonymous(this.#place, this.#rule.line, parts, shape, data.set);
    }
    const set = this.#scope.sets.get(data.slice(1));
    if (set === undefined) this.#fail(`There is no set or map "${data.slice(1)}"`);
    if (set.parts.length !== parts.length) {
      this.#fail(`Keys of ${data} have ${set.parts.length} parts, found ${parts.length}`);
    }
    parts.forEach(({ type, bits }, at) => {
      const wanted = set.named?.type[at];
      const fits = wanted === type || wanted === "integer" || type === "integer";
      if (fits && bits <= Math.max(set.parts[at]!, wanted === "integer" ? 64 : 0)) return;
      this.#fail(`Keys of ${data} are ${wanted}, found ${type}`);
    });
    return set;
  }

  /**
   * The parts of a key: one, or those of a concatenation.
   * @param set Says what constants among them are.
   */
  #parts(expression: Expression, set?: LinkedSet): { parts: Part[]; values: Value[] } {
    const each = typeof expression === "object" && "concat" in expression ? expression.concat : [expression];
    const typed = each.map((part, at): Typed => {
      const type = typeof part === "object" ? undefined : set?.named?.type[at];
      const bits = set?.parts[at];
      if (type === undefined || bits === undefined) return this.#value(part);
      return { value: this.#valueFor(part, { type, bits }), type };
    });
    return {
      parts: typed.map(({ value, type }) => ({ type, bits: value.bits })),
      values: typed.map(({ value }) => value),
    };
  }

  #value(expression: Expression): Typed {
    if (typeof expression !== "object") {
      this.#fail(`Found ${JSON.stringify(expression)}, expected something of the packet`);
    }
    if ("payload" in expression) return this.#payload(expression.payload);
    if ("meta" in expression) {
      const { key } = expression.meta;
      if (!META_KNOWN.has(key)) this.#fail(`meta ${key} cannot be known here`);
      const kind = META_KEYS[key];
      return { value: { op: "meta", key: key as MetaName, bits: kind.bits }, type: kind.type };
    }
    if ("ct" in expression) return this.#ct(expression.ct.key, expression.ct.dir);
    if ("fib" in expression) return this.#fib(expression.fib);
    if ("tcp option" in expression) {
      // nft asks for no protocol here: what is not TCP has no option, and so does "missing" hold for it.
      const { name, field } = expression["tcp option"];
      return this.#option("tcp option", TCP_OPTIONS, name, field);
    }
    if ("exthdr" in expression) {
      const { name, field } = expression.exthdr;
      this.#atBeginning(() => this.#needNfproto(Nfproto.Ipv6));
      return this.#option("exthdr", EXTENSIONS, name, field);
    }
    if ("rt" in expression) return { value: { op: "rt mtu", bits: 16 }, type: "integer" };
    if ("numgen" in expression) {
      const { mode, mod, offset } = expression.numgen;
      if (mod < 1) this.#fail("numgen needs a modulus of at least 1");
      const generator = this.#context.generators++;
      const value: Value = { op: "numgen", bits: 32, generator, random: mode === "random", mod, offset };
      return { value, type: "integer" };
    }
    if ("map" in expression) {
      const parts = this.#mapParts(expression.map, undefined, [{ type: "mark", bits: 32 }]);
      if (parts.length !== 1) this.#fail("A map that leads to one value is needed here");
      return { value: parts[0]!, type: "integer" };
    }
    for (const op of ["&", "|", "^", "<<", ">>"] as const) {
      if (op in expression) {
        return this.#binary(op, (expression as Record<string, readonly [Expression, Expression]>)[op]!);
      }
    }
    this.#fail(`${Object.keys(expression).join()} cannot be evaluated here`);
  }

  #binary(op: "&" | "|" | "^" | "<<" | ">>", [left, right]: readonly [Expression, Expression]): Typed {
    const { value, type } = this.#value(left);
    const { bits } = value;
    const shift = op === "<<" || op === ">>";
    if (shift && bits > 32) this.#fail("Nothing wider than 32 bits is shifted");
    const by = this.#valueFor(right, shift ? { type: "integer", bits: 32 } : { type, bits });
    return { value: { op, bits, left: value, right: by }, type };
  }

  #payload(payload: Payload): Typed {
    if ("base" in payload) {
      const { base, offset, len } = payload;
      if (len < 1 || len > 128) this.#fail(`${len} bits of a header, expected 1 to 128`);
      return { value: { op: "payload", base, bit: offset, bits: len }, type: "integer" };
    }
    const header = HEADERS[payload.protocol];
    const field = Object.hasOwn(header.fields, payload.field) ? header.fields[payload.field] : undefined;
    if (field === undefined) this.#fail(`There is no ${payload.protocol} ${payload.field}`);
    if (header.nfproto !== undefined && (header.base === "nh" || this.#scope.family === "inet")) {
      this.#needNfproto(header.nfproto);
    }
    if (header.protocol !== undefined) this.#needProtocol(header.protocol);
    if (field.needs !== undefined) this.#needTypes(field.needs);
    const value: Value = { op: "payload", base: header.base, bit: field.bit, bits: field.bits };
    return { value, type: field.type };
  }

  #ct(key: string, dir: "original" | "reply" | undefined): Typed {
    const { family } = this.#scope;
    const addressed = key === "saddr" || key === "daddr";
    if (addressed && family === "inet") this.#fail(`ct ${key} needs a family: ct ${dir} ip ${key}`);
    const name = (addressed ? `${family} ${key}` : key) as CtName;
    if (!CT_KNOWN.has(name)) this.#fail(`ct ${key} cannot be known here`);
    const kind = CT_KEYS[name];
    if (kind.direction === true && dir === undefined) this.#fail(`ct ${key} needs a direction`);
    if (kind.direction === false && dir !== undefined) this.#fail(`ct ${key} has no direction`);
    const direction = dir === undefined ? -1 : dir === "original" ? 0 : 1;
    return { value: { op: "ct", key: name, bits: kind.bits, direction }, type: kind.type };
  }

  #fib(fib: { readonly result: string; readonly flags: readonly string[] }): Typed {
    const { result, flags } = fib;
    // Routes here do not depend on marks: with "mark" among the flags they say the same.
    const destination = flags.includes("daddr");
    if (destination === flags.includes("saddr")) this.#fail("fib needs saddr or daddr");
    const restrict = flags.includes("iif") ? "iif" : flags.includes("oif") ? "oif" : undefined;
    const value = (kind: "type" | "oif" | "oifname", bits: number): Value => {
      return { op: "fib", bits, result: kind, destination, restrict };
    };
    if (result === "type") return { value: value("type", 32), type: "fib_addrtype" };
    if (result === "oif") return { value: value("oif", 32), type: "iface_index" };
    return { value: value("oifname", 128), type: "ifname" };
  }

  #option(
    op: "tcp option" | "exthdr",
    kinds: typeof TCP_OPTIONS,
    name: string,
    fieldName: string | undefined,
  ): Typed {
    const known = Object.hasOwn(kinds, name) ? kinds[name] : undefined;
    if (known === undefined) this.#fail(`There is no ${op} ${name}`);
    if (fieldName === undefined) {
      return { value: { op, kind: known.kind, bit: 0, bits: 8, exists: true }, type: "boolean" };
    }
    const field = Object.hasOwn(known.fields, fieldName) ? known.fields[fieldName] : undefined;
    if (field === undefined) this.#fail(`${op} ${name} has no ${fieldName}`);
    const value: { readonly bits: number } & ValueKind = {
      op,
      kind: known.kind,
      bit: field.bit,
      bits: field.bits,
      exists: false,
    };
    return { value, type: field.type };
  }

  /**
   * What a rejection implies, and an extension header, nft asks for at the rule's beginning, unlike what else is implied:
   * what has none is not counted or logged either.
   */
  #atBeginning(imply: () => void): void {
    const before = this.#ops.length;
    imply();
    this.#ops.unshift(...this.#ops.splice(before));
  }

  #needNfproto(nfproto: number): void {
    if (this.#nfproto === nfproto) return;
    if (this.#nfproto !== undefined) this.#fail("Conflicting protocols: ip and ip6");
    this.#nfproto = nfproto;
    this.#imply({ op: "meta", key: "nfproto", bits: 8 }, [nfproto]);
  }

  #needProtocol(protocol: number): void {
    if (this.#saidProtocol !== undefined && this.#saidProtocol !== protocol) {
      this.#fail(`Conflicting protocols: ${this.#saidProtocol} and ${protocol}`);
    }
    if (this.#protocol === protocol) return;
    if (this.#protocol !== undefined) {
      this.#fail(`Conflicting protocols: ${this.#protocol} and ${protocol}`);
    }
    this.#protocol = protocol;
    this.#imply({ op: "meta", key: "l4proto", bits: 8 }, [protocol]);
  }

  #needTypes(types: readonly number[]): void {
    this.#imply({ op: "payload", base: "th", bit: 0, bits: 8 }, types);
  }

  /** One of `wanted`; they are next to each other where there are several, or far apart: then a set. */
  #imply(value: Value, wanted: readonly number[]): void {
    const low = BigInt(wanted[0]!);
    if (wanted.length === 1) {
      this.#push({ op: "test", parts: [value], compare: "==", low: [low], high: [low] }, true);
      return;
    }
    const elements = wanted.map((val) => ({ val }));
    const parts: Part[] = [{ type: "integer", bits: value.bits }];
    const set = this.#sets.anonymous(this.#place, this.#rule.line, parts, undefined, elements);
    this.#push({ op: "lookup", parts: [value], set, negate: false }, true);
  }
}

/** Those that nft knows: ICMP, IGMP, TCP, UDP, DCCP, ESP, AH, ICMPv6, IPComp, SCTP and UDP-Lite. */
const TRANSPORTS: ReadonlySet<number> = new Set([1, 2, 6, 17, 33, 50, 51, 58, 108, 132, 136]);

function isProtocol(value: Value): boolean {
  return (value.op === "meta" && value.key === "l4proto") ||
    (value.op === "payload" && value.base === "nh" && (value.bit === 72 || value.bit === 48) &&
      value.bits === 8) ||
    (value.op === "payload" && value.base === "th");
}

function endsRule(op: Op): boolean {
  if (op.op === "verdict") return op.verdict.kind !== "continue";
  return op.op === "reject" || op.op === "queue" || op.op === "nat";
}
