import { Prng } from "../../../base/random.ts";
import { printJsonRules } from "../../../net/firewall/nft/json/print.ts";
import { printTextRules } from "../../../net/firewall/nft/text/print.ts";
import { randomPacket } from "../random_packets.ts";
import { IPV4, IPV6, RandomRules } from "../random_rules.ts";
import type { KernelFirewall } from "./kernel_firewall.ts";
import { OurFirewall, OurStack } from "./our_firewall.ts";

const PACKETS = 60;
const PACKETS_LIKE = {
  odd: true,
  // Nobody to whom the namespace knows a way.
  sources4: ["10.1.0.2", "10.1.0.77", "10.1.3.4", "192.0.2.1", "10.9.9.9"],
  destinations4: [...IPV4, "10.1.0.1", "10.1.0.1", "10.2.0.1", "10.2.200.9"],
  sources6: ["fd01::2", "fd01::77", "fd01:0:0:3::4", "2001:db8::1", "fd09::9"],
  destinations6: [...IPV6, "fd01::1", "fd01::1", "fd02::1", "fd02::200:9"],
};

/** What came of one drawn rule set. */
export type Outcome =
  | { readonly kind: "same" }
  | { readonly kind: "refused"; readonly rules: string; readonly said: string }
  | { readonly kind: "different"; readonly rules: string; readonly differences: readonly string[] };

/** Whom the kernel is compared with: rules alone, or a whole stack, whose rules may ask about connections as well. */
export type Side = "rules" | "stack";
export const SIDES: readonly Side[] = ["rules", "stack"];

/** Draws rules and packets, gives both to the kernel and to us, and compares all that was counted and learnt. */
export async function compareOne(seed: number, kernel: KernelFirewall, side: Side): Promise<Outcome> {
  const prng = new Prng(seed);
  const options = {
    hooks: ["prerouting", "input", "forward", "postrouting"] as const,
    tracked: side === "stack",
    timed: false,
    fib: true,
    queue: false,
    unmerged: true,
  };
  const ruleset = new RandomRules(prng, options).ruleset();
  const rules = printTextRules(ruleset);
  // What nft's reader of JSON has not learnt (some flags, some keys) goes in as text.
  const asJson = seed % 3 === 0 && kernel.load(printJsonRules(ruleset)) === undefined;
  const said = asJson ? undefined : kernel.loadText(rules);
  if (said !== undefined) return { kind: "refused", rules, said };
  const ours = side === "stack" ? new OurStack(ruleset) : new OurFirewall(ruleset);
  // Of later fragments the kernel reads ports where there are none (nft_payload_fast_eval()). We put fragments together
  // first, as it does while some rule asks about connections of that family. It follows no ICMP in IPv6, where we do.
  const whole = side === "stack";
  const fragments = whole ? "none" as const : "first" as const;
  const like = { ...PACKETS_LIKE, fragments, strangers: !whole };
  const packets = Array.from({ length: PACKETS }, () => randomPacket(prng, like));
  if (side === "stack") kernel.forget();
  await kernel.inject(packets);
  for (const packet of packets) ours.inject(packet);
  const theirCounts = countsOf(kernel.list() as never);
  const ourCounts = countsOf(printJsonRules(ours.list()) as never);
  const places = new Set([...Object.keys(theirCounts), ...Object.keys(ourCounts)]);
  const differences = [...places].filter((place) => theirCounts[place] !== ourCounts[place]).map((place) => {
    return `${place}: kernel ${theirCounts[place]}; ours ${ourCounts[place]}`;
  });
  return differences.length === 0 ? { kind: "same" } : { kind: "different", rules, differences };
}

type Json = Readonly<Record<string, unknown>>;
const BYTES: Readonly<Record<string, number>> = { bytes: 1, kbytes: 1_024, mbytes: 1_048_576 };

/** All that has been counted and learnt, by its place, out of what `nft -j list ruleset` prints. */
function countsOf(document: { readonly nftables: readonly Json[] }): Record<string, string> {
  const counts: Record<string, string> = {};
  const ruleNumbers = new Map<string, number>();
  for (const object of document.nftables) {
    const [[kind, value]] = Object.entries(object) as [[string, Json]];
    const place = `${value["family"]} ${value["table"]}`;
    if (kind === "counter") counts[`${place} counter ${value["name"]}`] = countedOf({ counter: value })!;
    if (kind === "quota") counts[`${place} quota ${value["name"]}`] = `${value["used"]}`;
    if (kind === "set") {
      const keys = (value["elem"] as unknown[] | undefined)?.map((each) => JSON.stringify(sortedKeys(each)))
        .sort();
      // The elements of sets of intervals are listed merged, and in another form by some versions.
      if (!(value["flags"] as string[] | undefined)?.includes("interval")) {
        counts[`${place} set ${value["name"]}`] = keys?.join() ?? "";
      }
    }
    if (kind !== "rule") continue;
    const chain = `${place} ${value["chain"]}`;
    const number = (ruleNumbers.get(chain) ?? 0) + 1;
    ruleNumbers.set(chain, number);
    const each = (value["expr"] as Json[]).map(countedOf).filter((counted) => counted !== undefined);
    if (each.length > 0) counts[`${chain} rule ${number}`] = each.join(", ");
  }
  return counts;
}

function countedOf(statement: Json): string | undefined {
  const counter = statement["counter"] as Json | string | undefined;
  if (typeof counter === "object") return `${counter["packets"]} packets ${counter["bytes"]} bytes`;
  const quota = statement["quota"] as Json | string | undefined;
  if (typeof quota !== "object") return undefined;
  const used = Number(quota["used"] ?? 0) * BYTES[`${quota["used_unit"] ?? "bytes"}`]!;
  return `${used} used`;
}

function sortedKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortedKeys);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, each]) => [key, sortedKeys(each)]),
  );
}
