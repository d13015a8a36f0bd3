/**
 * A small CDDL matcher (RFC 8610), for the part of the language our schemas use: rules, choices,
 * arrays with names and occurrence marks, maps with literal keys or keys of one type, tags, ranges, literals, `.size`,
 * `.cbor`. It judges values as cborg decodes them, and refuses schemas it does not understand.
 */
import { decode, Tagged } from "cborg";

/** Thrown with the path of the value that does not match. */
export class Mismatch extends Error {
  override name = "Mismatch";
}

type Match = (value: unknown, path: string) => void;
type Member = { name: string; least: number; most: number; match: Match };

/** The rules of a schema; `check(rule, value)` throws `Mismatch` unless `value` is one. */
export function schema(text: string): { check(rule: string, value: unknown): void } {
  const tokens =
    text.replace(/;.*/g, "").match(/"[^"]*"|#6\.\d+|\.\.|=>|\.[a-z]+|[\w$@-]+|[=/:,*+?[\](){}]/g) ??
      [];
  const rules = new Map<string, Match>();
  let at = 0;
  const take = (expected?: string): string => {
    const token = tokens[at++];
    if (token === undefined || (expected !== undefined && token !== expected)) {
      throw new Error(`Schema has "${token}" where "${expected}" is needed`);
    }
    return token;
  };

  function type(): Match {
    const options = [ranged()];
    while (tokens[at] === "/") {
      at++;
      options.push(ranged());
    }
    return (value, path) => {
      let first: unknown;
      for (const option of options) {
        try {
          return option(value, path);
        } catch (error) {
          if (!(error instanceof Mismatch)) throw error;
          first ??= error;
        }
      }
      throw first;
    };
  }

  function ranged(): Match {
    const low = tokens[at]!;
    const base = single();
    if (tokens[at] === "..") {
      at++;
      const high = Number(take());
      return (value, path) =>
        need(typeof value === "number" && value >= Number(low) && value <= high, path, `${low}..${high}`);
    }
    if (tokens[at] === ".size") {
      at++;
      const size = Number(take());
      return (value, path) => {
        base(value, path);
        need((value as Uint8Array).length === size, path, `.size ${size}`);
      };
    }
    if (tokens[at] === ".cbor") {
      at++;
      const inner = single();
      return (value, path) => {
        base(value, path);
        inner(decode(value as Uint8Array, { useMaps: true }), `${path}.cbor`);
      };
    }
    return base;
  }

  function single(): Match {
    const token = take();
    if (token === "[") return array();
    if (token === "{") return map();
    if (token.startsWith("#6.")) {
      take("(");
      const inner = type();
      take(")");
      const tag = Number(token.slice(3));
      return (value, path) => {
        need(value instanceof Tagged && value.tag === tag, path, token);
        inner((value as Tagged).value, path);
      };
    }
    if (token.startsWith('"')) return (value, path) => need(value === token.slice(1, -1), path, token);
    if (/^-?\d+$/.test(token)) return (value, path) => need(value === Number(token), path, token);
    const prelude = PRELUDE[token];
    if (prelude) return (value, path) => need(prelude(value), path, token);
    return (value, path) => {
      const rule = rules.get(token);
      if (!rule) throw new Error(`Schema has no rule "${token}"`);
      rule(value, path);
    };
  }

  function members(close: string): Member[] {
    const found: Member[] = [];
    while (tokens[at] !== close) {
      const mark = "*+?".includes(tokens[at]!) ? take() : "";
      const named = tokens[at + 1] === ":";
      const name = named ? take() : `${found.length}`;
      if (named) take(":");
      found.push({
        name,
        least: mark === "*" || mark === "?" ? 0 : 1,
        most: mark === "*" || mark === "+" ? Infinity : 1,
        match: type(),
      });
      if (tokens[at] === ",") at++;
    }
    take(close);
    return found;
  }

  function array(): Match {
    const expected = members("]");
    return (value, path) => {
      need(Array.isArray(value), path, "array");
      const items = value as unknown[];
      let next = 0;
      for (const member of expected) {
        let count = 0;
        for (; count < member.most && next < items.length; count++, next++) {
          try {
            member.match(items[next], `${path}.${member.name}`);
          } catch (error) {
            if (count < member.least || member.most === 1 && member.least === 1) throw error;
            if (!(error instanceof Mismatch)) throw error;
            break;
          }
        }
        need(count >= member.least, `${path}.${member.name}`, "something");
      }
      need(next === items.length, `${path}[${next}]`, "the end");
    };
  }

  function map(): Match {
    if (tokens[at] === "*" && tokens[at + 2] === "=>") {
      take("*");
      const key = type();
      take("=>");
      const value = type();
      take("}");
      return (found, path) => {
        need(found instanceof Map, path, "map");
        for (const [each, held] of found as Map<unknown, unknown>) {
          key(each, `${path}'s key`);
          value(held, `${path}.${each}`);
        }
      };
    }
    const expected = members("}");
    return (value, path) => {
      need(value instanceof Map, path, "map");
      const pairs = new Map(value as Map<unknown, unknown>);
      for (const member of expected) {
        const key = member.name.replace(/"/g, "");
        if (pairs.has(key)) member.match(pairs.get(key), `${path}.${key}`);
        else need(member.least === 0, `${path}.${key}`, "something");
        pairs.delete(key);
      }
      need(pairs.size === 0, path, "no other keys");
    };
  }

  while (at < tokens.length) {
    const name = take();
    take("=");
    rules.set(name, type());
  }
  return {
    check: (rule, value) => {
      const match = rules.get(rule);
      if (!match) throw new Error(`Schema has no rule "${rule}"`);
      match(value, rule);
    },
  };
}

/** Decodes bytes by cborg, tag 55799 kept. */
export function decodeTagged(bytes: Uint8Array): unknown {
  return decode(bytes, { useMaps: true, tags: Tagged.preserve(55799) });
}

function need(held: boolean, path: string, what: string): void {
  if (!held) throw new Mismatch(`${path} is not ${what}`);
}

const isInteger = (value: unknown): boolean => typeof value === "bigint" || Number.isSafeInteger(value);
const PRELUDE: Record<string, (value: unknown) => boolean> = {
  any: () => true,
  uint: (value) => isInteger(value) && (value as number) >= 0,
  nint: (value) => isInteger(value) && (value as number) < 0,
  int: isInteger,
  float: (value) => typeof value === "number",
  number: (value) => isInteger(value) || typeof value === "number",
  bstr: (value) => value instanceof Uint8Array,
  bytes: (value) => value instanceof Uint8Array,
  tstr: (value) => typeof value === "string",
  text: (value) => typeof value === "string",
  bool: (value) => typeof value === "boolean",
  true: (value) => value === true,
  false: (value) => value === false,
  null: (value) => value === null,
  nil: (value) => value === null,
};
