import { assert } from "../../../base/assert.ts";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import { Hook } from "../../../net/firewall/conntrack/state.ts";
import { NftCompiled } from "../../../net/firewall/nft/compiled.ts";
import { printJsonRules } from "../../../net/firewall/nft/json/print.ts";
import { readJsonRules } from "../../../net/firewall/nft/json/read.ts";
import { linkRules } from "../../../net/firewall/nft/link.ts";
import { LinkError } from "../../../net/firewall/nft/link_error.ts";
import { NftPacket } from "../../../net/firewall/nft/packet.ts";
import type { Ruleset } from "../../../net/firewall/nft/schema.ts";
import { printTextRules } from "../../../net/firewall/nft/text/print.ts";
import { FirewallSyntaxError, readTextRules } from "../../../net/firewall/nft/text/read.ts";
import { NftWalk } from "../../../net/firewall/nft/walk.ts";
import { FirewallError } from "../../../net/firewall/rule.ts";
import { ANYWHERE, randomPacket } from "../../firewall/random_packets.ts";
import { INTERFACES } from "../../firewall/random_values.ts";
import { RandomRules } from "../../firewall/random_rules.ts";
import { CHAINS, EXAMPLES, tableOf } from "../../firewall/statements.ts";
import { orRefuses } from "../refuses.ts";
import type { Target } from "../target.ts";

const utf8 = new TextEncoder();

/** Without what only one of the languages has: lines of a text, handles of a listing. Fields in one order. */
function data(rules: Ruleset): string {
  return JSON.stringify(rules, (key, value) => {
    if (key === "line" || key === "handle") return undefined;
    if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1));
  });
}

/** Rules that were read come back from both printers as they were. */
function comesBack(rules: Ruleset): void {
  const text = printTextRules(rules);
  assert(data(readTextRules(text)) === data(rules), `As text it is the same:\n${text}`);
  const json = JSON.parse(JSON.stringify(printJsonRules(rules)));
  assert(data(readJsonRules(json)) === data(rules), `As JSON it is the same:\n${text}`);
}

const PACKETS = Array.from({ length: 12 }, (_, at) => randomPacket(new Prng(at), ANYWHERE));

/** Rules that were read are refused when they are linked, or decide the same walked and compiled. */
function decides(rules: Ruleset): void {
  const { value: linked } = orRefuses(LinkError, () => linkRules(rules, INTERFACES));
  if (linked === undefined) return;
  const fib = { type: () => 2, oif: () => 0, mss: () => 1_000 };
  const walk = new NftWalk(linked, { fib }, 0);
  const compiled = new NftCompiled(linked, { fib }, 0);
  const packet = new NftPacket();
  for (const hook of Object.values(Hook)) {
    for (const bytes of PACKETS) {
      packet.moveTo(new Slab(bytes.slice()), 0, bytes.length, 0);
      const expected = walk.judge(packet, hook).verdict;
      packet.moveTo(new Slab(bytes.slice()), 0, bytes.length, 0);
      assert(compiled.judge(packet, hook) === expected, "Compiled rules decide as the walk does");
    }
  }
}

function text(input: Uint8Array): void {
  const written = new TextDecoder().decode(input);
  const include = (): { name: string; text: string }[] => [{ name: "part", text: "define included = 1" }];
  const { value: rules, error } = orRefuses(FirewallError, () => readTextRules(written, { include }));
  if (rules !== undefined) {
    comesBack(rules);
    return decides(rules);
  }
  assert(!/NaN|undefined|\[object/.test(error!.message.split("\n")[0]!), error!.message);
  if (!(error instanceof FirewallSyntaxError)) return;
  assert(error.line >= 1 && error.line <= written.split("\n").length, `Line ${error.line}`);
  assert(error.column >= 1, `Column ${error.column}`);
}

function json(input: Uint8Array): void {
  let document: unknown;
  try {
    document = JSON.parse(new TextDecoder().decode(input));
  } catch {
    return;
  }
  const { value: rules, error } = orRefuses(FirewallError, () => readJsonRules(document));
  if (rules !== undefined) return comesBack(rules);
  assert(error!.path !== "" && !/NaN|\[object/.test(error!.message), error!.message);
}

function drawn(seed: number): Ruleset {
  const hooks = ["input", "forward", "postrouting"] as const;
  const options = { hooks, tracked: true, timed: true, fib: true, queue: true };
  return readTextRules(printTextRules(new RandomRules(new Prng(seed), options).ruleset()));
}

function* documents(print: (rules: Ruleset) => string): Iterable<Uint8Array> {
  for (let seed = 1; seed < 6; seed++) yield utf8.encode(print(drawn(seed)));
  for (const chain of CHAINS) {
    for (const line of EXAMPLES[chain]) yield utf8.encode(print(readTextRules(tableOf(chain, [line]))));
  }
  for (const line of OURS) yield utf8.encode(print(readTextRules(tableOf("filter", [line]))));
}

/** What nft does not have. */
const OURS = [
  'tls sni "a.example" accept',
  "tls sni != { a.example, *.b.example } drop",
  "http host a.example accept",
  "name pending accept",
  "name missing drop",
];

const WORDS = [
  ...[
    "table inet t { ",
    "chain c { ",
    "type filter hook input priority filter; policy drop;",
    "set s { type ",
  ],
  ...[
    "map m { type ",
    " : verdict",
    "flags interval,timeout",
    "elements = { ",
    "define x = ",
    "$x",
    "@s",
    "vmap { ",
  ],
  ...[
    "ip saddr ",
    "ip6 daddr ",
    "tcp dport ",
    "ct state ",
    "meta l4proto ",
    "10.0.0.0/8",
    "fd00::/8",
    "1-65535",
  ],
  ...[
    "established,related",
    " . ",
    " & ",
    "(fin | syn)",
    "limit rate over 5/second",
    "counter",
    "quota over 1 mbytes",
  ],
  ...[
    "ip ttl set ",
    "ip6 flowlabel set ",
    "tcp option maxseg size set rt mtu",
    "ct zone set ",
    'meta time < "2026-01-01"',
  ],
  ...[
    'log prefix "x"',
    "reject with tcp reset",
    "dnat ip to ",
    "masquerade",
    'tls sni { "a.b", *.c.d } ',
    "name pending ",
    "jump c",
    "add @s { ip saddr }",
    "}\n",
  ],
  ...[
    "flush ruleset\n",
    "delete table inet t\n",
    'include "x"\n',
    "0x",
    "* : drop",
    'comment "a"',
    "18446744073709551616",
  ],
];

export const targets: readonly Target[] = [
  {
    name: "nft/text",
    about:
      "rules as nft -f takes them: refused with line and column, or the same again when printed as text and JSON, and judged the same way walked and compiled",
    run: text,
    bytesMax: 2_000,
    seeds: () => documents(printTextRules),
    dictionary: WORDS,
    allocationMax: () => 1 << 27,
    workMax: (length) => 20_000_000 + 20_000 * length,
  },
  {
    name: "nft/json",
    about:
      "rules as nft -j prints them: refused with a path, or the same again when printed as text and JSON",
    run: json,
    bytesMax: 3_000,
    seeds: () => documents((rules) => JSON.stringify(printJsonRules(rules))),
    dictionary: [
      ...[
        '{"match":{"op":"==","left":',
        '"right":',
        '{"set":[',
        '{"range":[1,2]}',
        '{"prefix":{"addr":"10.0.0.0","len":8}}',
      ],
      ...[
        '{"concat":[',
        '"@s"',
        '"*"',
        '{"elem":{"val":',
        '"timeout":5',
        "null",
        "true",
        "[]",
        "{}",
        "-1",
        "1e300",
        '"__proto__"',
      ],
      ...[
        '{"payload":{"protocol":"tcp","field":"dport"}}',
        '{"meta":{"key":"mark"}}',
        '{"ct":{"key":"state"}}',
        '{"names":{"key":"tls sni","op":"==","right":["a.b"]}}',
        '{"&":[',
      ],
    ],
    allocationMax: () => 1 << 27,
    workMax: (length) => 20_000_000 + 20_000 * length,
  },
];
