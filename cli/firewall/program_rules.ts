import { NAME_SECONDS_MIN, nameElements } from "../../net/firewall/names/name_sets.ts";
import { applyCommands } from "../../net/firewall/nft/apply.ts";
import type { Ruleset } from "../../net/firewall/nft/schema.ts";
import { parseIpv4 } from "../../net/wire/address.ts";
import { parseIpv6 } from "../../net/wire/ipv6_address.ts";
import { InputError } from "../command.ts";
import { PacketJudge } from "./judged.ts";
import { parsePacketText } from "./packet_text.ts";
import { linkFor } from "./rules_file.ts";
import { decidedBy, placeOf, textOf } from "./story.ts";

/** What a program that is asked about may do, and by which rule. */
export interface Allowed {
  readonly allowed: boolean;
  /** The rule, as it is shown to the program. */
  readonly reason: string;
}

/** Addresses of a name, by whatever finds them. */
export type Lookup = (name: string) => Promise<readonly string[]>;

const HERE = { 4: "127.0.0.1", 6: "::1" } as const;
/** The port of the end that is not asked about: one that the kernel would draw. */
const EPHEMERAL = 49_152;
/** Names whose addresses are kept: the oldest goes. */
const LEARNT_MAX = 1_024;

/** Decides what a program may connect to by rules: as the first packet of the connection would be judged. */
export class ProgramRules {
  readonly #rules: Ruleset;
  readonly #lookup: Lookup;
  readonly #now: () => number;
  readonly #learnt: Map<string, { readonly addresses: readonly string[]; readonly untilMs: number }> =
    new Map();
  #judge: PacketJudge;

  constructor(rules: Ruleset, lookup: Lookup, now: () => number) {
    this.#rules = rules;
    this.#lookup = lookup;
    this.#now = now;
    nameElements(rules, [], []); // refuses what names cannot fill
    this.#judge = this.#judgeOf(rules);
  }

  /**
   * Whether a program may use `host:port` or `[host]:port`. Which protocol it means nobody says, so what rules let out as
   * TCP or as UDP may be used. Every address of a name must be one that rules let out. Addresses of our own that are
   * not any one's (`0.0.0.0`, `[::]`), and port 0, are listened on: the input rules decide.
   */
  async ask(target: string): Promise<Allowed> {
    const parts = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(target);
    const host = parts?.[1] ?? parts?.[2];
    const port = Number(parts?.[3] ?? 443);
    if (host === undefined || port > 65_535) {
      return { allowed: false, reason: `"${target}" is no host with a port` };
    }
    if (port === 0 || host === "0.0.0.0" || host === "::") {
      return this.#decide("input", familyOf(host) ?? 4, undefined, port);
    }
    const family = familyOf(host);
    if (family !== undefined) return this.#decide("output", family, host, port);
    let addresses: readonly string[];
    try {
      addresses = await this.#lookup(host);
    } catch (error) {
      return { allowed: false, reason: `"${host}" cannot be resolved: ${(error as Error).message}` };
    }
    this.#learn(host, addresses);
    let last: Allowed = { allowed: false, reason: `"${host}" has no address` };
    for (const address of addresses) {
      last = this.#decide("output", familyOf(address) ?? 4, address, port);
      if (!last.allowed) return { allowed: false, reason: `${last.reason} (${host} is ${address})` };
    }
    return last;
  }

  /** Addresses of a name enter the sets that it fills, for as long as an answer counts. */
  #learn(host: string, addresses: readonly string[]): void {
    if (
      nameElements(this.#rules, [host], addresses.map((address) => ({ address, ttlSeconds: 0 }))).length === 0
    ) return;
    const now = this.#now();
    this.#learnt.delete(host); // to the end: the first is the oldest
    this.#learnt.set(host, { addresses, untilMs: now + NAME_SECONDS_MIN * 1_000 });
    for (const [name, { untilMs }] of this.#learnt) {
      if (untilMs > now && this.#learnt.size <= LEARNT_MAX) break;
      this.#learnt.delete(name);
    }
    const commands = [...this.#learnt].flatMap(([name, { addresses, untilMs }]) => {
      const leftSeconds = Math.ceil((untilMs - now) / 1_000);
      const answers = addresses.map((address) => ({ address, ttlSeconds: NAME_SECONDS_MIN, leftSeconds }));
      return nameElements(this.#rules, [name], answers);
    });
    const filled = applyCommands(this.#rules, commands, (_at, message) => {
      throw new InputError(message);
    });
    this.#judge = this.#judgeOf(filled);
  }

  #judgeOf(rules: Ruleset): PacketJudge {
    return new PacketJudge(linkFor(rules, []), new Set<string>(Object.values(HERE)), this.#now());
  }

  #decide(way: "input" | "output", family: 4 | 6, address: string | undefined, port: number): Allowed {
    let refused: Allowed | undefined;
    for (const protocol of ["tcp", "udp"]) {
      const here = endOf(HERE[family], way === "input" ? port : EPHEMERAL);
      const there = endOf(address ?? HERE[family], way === "input" ? EPHEMERAL : port);
      const words = way === "input" ? `${protocol} ${there} > ${here}` : `${protocol} ${here} > ${there}`;
      const judged = this.#judge.judge({
        bytes: parsePacketText(words),
        way,
        nowMs: this.#now(),
        state: "new",
      });
      const by = decidedBy(judged);
      const reason = by === undefined ? `no rule: ${judged.verdict}` : `${placeOf(by)}: ${textOf(by)}`;
      if (judged.verdict === "accept" || judged.verdict === "queue") return { allowed: true, reason };
      refused ??= { allowed: false, reason };
    }
    return refused!;
  }
}

function familyOf(host: string): 4 | 6 | undefined {
  if (parseIpv4(host) !== undefined) return 4;
  return parseIpv6(host) === undefined ? undefined : 6;
}

function endOf(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
