import type { CtKey, Expression, Fib, MetaKey, PayloadProtocol } from "../schema.ts";
import {
  CT_KEYS,
  EXTHDR_FIELDS,
  META_KEYS,
  PAYLOAD_ALIASES,
  PAYLOAD_FIELDS,
  TCP_OPTION_ALIASES,
  TCP_OPTION_FIELDS,
} from "../words/selectors.ts";
import type { At, Source } from "./raw.ts";
import { sorted } from "./sorted.ts";
import { show } from "./value.ts";

/** A field of a header by name. */
export function checkPayload(
  source: Source,
  protocol: PayloadProtocol,
  written: string,
  at: At,
): Expression {
  const word = `${protocol} ${written}`;
  const field = Object.hasOwn(PAYLOAD_ALIASES, word) ? PAYLOAD_ALIASES[word]! : written;
  if (!Object.hasOwn(PAYLOAD_FIELDS, protocol)) {
    return source.fail(
      at,
      `Fields of ${show(protocol)} are not supported: expected ip, ip6, icmp, icmpv6, tcp, udp or th`,
    );
  }
  if (!Object.hasOwn(PAYLOAD_FIELDS[protocol], field)) {
    source.fail(
      at,
      `${protocol} has no field ${show(field)}, expected one of ${
        Object.keys(PAYLOAD_FIELDS[protocol]).join(", ")
      }`,
    );
  }
  return { payload: { protocol, field } };
}

/** Bits of a header; those that are a port are named, as nft does. */
export function rawPayload(source: Source, base: string, offset: number, len: number, at: At): Expression {
  if (base !== "nh" && base !== "th") {
    return source.fail(at, `Found ${show(base)}, expected nh or th: there are no link headers here`);
  }
  if (len === 0 || len > 128) source.fail(at, `A field of ${len} bits, expected 1 to 128`);
  if (len > 32) source.fail(at, `A field of ${len} bits, of which at most 32 are supported`);
  if (offset > 4096) source.fail(at, `A field at bit ${offset}, expected at most 4096`);
  if (base === "th" && len === 16 && (offset === 0 || offset === 16)) {
    return { payload: { protocol: "th", field: offset === 0 ? "sport" : "dport" } };
  }
  return { payload: { base, offset, len } };
}

export function checkMeta(source: Source, key: MetaKey, at: At): Expression {
  if (Object.hasOwn(META_KEYS, key)) return { meta: { key } };
  return source.fail(
    at,
    `meta ${key} is not supported, expected one of ${Object.keys(META_KEYS).join(", ")}`,
  );
}

export function checkCt(
  source: Source,
  key: CtKey,
  dir: "original" | "reply" | undefined,
  at: At,
): Expression {
  if (!Object.hasOwn(CT_KEYS, key)) {
    return source.fail(at, `ct ${key} is not supported, expected one of ${Object.keys(CT_KEYS).join(", ")}`);
  }
  const { direction } = CT_KEYS[key];
  if (direction === true && dir === undefined) {
    source.fail(at, `ct ${key} needs a direction: ct original ${key}`);
  }
  if (direction === false && dir !== undefined) source.fail(at, `ct ${key} has no direction`);
  return { ct: { key, ...dir === undefined ? {} : { dir } } };
}

export function checkExthdr(source: Source, name: string, field: string | undefined, at: At): Expression {
  if (!Object.hasOwn(EXTHDR_FIELDS, name)) {
    return source.fail(
      at,
      `Extension header ${show(name)} is not supported, expected one of ${
        Object.keys(EXTHDR_FIELDS).join(", ")
      }`,
    );
  }
  if (field === undefined) return { exthdr: { name } };
  if (!Object.hasOwn(EXTHDR_FIELDS[name]!, field)) source.fail(at, `${name} has no field ${show(field)}`);
  return { exthdr: { name, field } };
}

export function checkTcpOption(
  source: Source,
  written: string,
  field: string | undefined,
  at: At,
): Expression {
  const name = Object.hasOwn(TCP_OPTION_ALIASES, written) ? TCP_OPTION_ALIASES[written]! : written;
  if (field === undefined) {
    const number = /^\d{1,3}$/.test(name) && Number(name) <= 255;
    if (number || Object.hasOwn(TCP_OPTION_FIELDS, name)) return { "tcp option": { name } };
  }
  if (!Object.hasOwn(TCP_OPTION_FIELDS, name)) {
    return source.fail(
      at,
      `TCP option ${show(name)} is not supported, expected one of ${
        Object.keys(TCP_OPTION_FIELDS).join(", ")
      }`,
    );
  }
  if (!Object.hasOwn(TCP_OPTION_FIELDS[name]!, field!)) {
    source.fail(at, `TCP option ${name} has no field ${show(field)}`);
  }
  return { "tcp option": { name, field: field! } };
}

const FIB_FLAGS: Fib["flags"] = ["saddr", "daddr", "mark", "iif", "oif"];
const FIB_RESULTS = ["oif", "oifname", "type"] as const;

export function checkFib(source: Source, result: string, flags: readonly string[], at: At): Expression {
  const of = FIB_RESULTS.find((one) => one === result);
  if (of === undefined) return source.fail(at, `Found fib ${show(result)}, expected oif, oifname or type`);
  const unknown = flags.find((flag) => !(FIB_FLAGS as readonly string[]).includes(flag));
  if (unknown !== undefined) {
    source.fail(at, `Found ${show(unknown)}, expected one of ${FIB_FLAGS.join(", ")}`);
  }
  if (flags.includes("saddr") === flags.includes("daddr")) source.fail(at, "fib asks for saddr or for daddr");
  if (flags.includes("iif") && flags.includes("oif")) source.fail(at, "fib looks at iif or at oif");
  return { fib: { result: of, flags: sorted(flags, FIB_FLAGS) as Fib["flags"] } };
}
