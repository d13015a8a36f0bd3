import { Hook, HookPriority } from "../conntrack/state.ts";
import { Nfproto } from "./packet.ts";
import { LinkError } from "./link_error.ts";
import { RuleLinker } from "./link_rule.ts";
import { SetLinker } from "./link_set.ts";
import { limitSpec, LinkContext, type TableScope } from "./link_scope.ts";
import type {
  LinkedChain,
  LinkedNat,
  LinkedRule,
  LinkedRules,
  LinkedSet,
  LinkedVerdict,
  Value,
} from "./linked.ts";
import type { BaseChain, Chain, Ruleset, Table } from "./schema.ts";

/** Rules of all chains together: each has a bit in the compiled form, whose memory grows faster than they do. */
export const RULES_MAX = 65_536;
/** Chains that jump into each other, the kernel's NFT_JUMP_STACK_SIZE. */
export const DEPTH_MAX = 16;
/** Tables, chains and sets: beyond are generated rules that went wrong. */
export const CHAINS_MAX = 16_384;
/** Interfaces with names: the kernel has no limit, we look all of them up for every rule about names. */
export const INTERFACES_MAX = 1_024;

/** Up to this priority, connection tracking has not seen the packet: no address translation can stand there. */
const CONNTRACK_PRIORITY = HookPriority.conntrack;

/**
 * Makes rules ready to be evaluated, and checks them as nft and the kernel do when rules are loaded.
 *
 * @param interfaces Names by index. `iif` and `oif` are resolved to them now, `iifname` and `oifname` when a
 * packet is there.
 * @throws {LinkError} At the first mistake, saying where it is.
 */
export function linkRules(ruleset: Ruleset, interfaces: readonly string[]): LinkedRules {
  if (interfaces.length > INTERFACES_MAX) {
    const many = `${interfaces.length} names, expected at most ${INTERFACES_MAX}`;
    throw new LinkError("interfaces", undefined, many);
  }
  const context = new LinkContext(interfaces);
  const scopes: { scope: TableScope; first: number }[] = [];
  let chainCount = 0;
  let ruleCount = 0;
  for (const table of ruleset.tables) {
    const first = chainCount;
    const scope = declare(table, context, chainCount);
    scopes.push({ scope, first });
    chainCount += table.chains.length;
    for (const chain of table.chains) ruleCount += chain.rules.length;
    const place = `table ${table.family} ${table.name}`;
    if (chainCount > CHAINS_MAX) throw new LinkError(place, undefined, `More than ${CHAINS_MAX} chains`);
    if (ruleCount > RULES_MAX) throw new LinkError(place, undefined, `More than ${RULES_MAX} rules`);
  }
  const chains: LinkedChain[] = [];
  for (const { scope } of scopes) {
    for (const chain of scope.table.chains) chains.push(linkChain(chain, chains.length, scope, context));
  }
  const linked: LinkedRules = {
    tables: ruleset.tables,
    chains,
    hooks: basesOf(chains, scopes, false),
    nats: basesOf(chains, scopes, true),
    sets: context.sets,
    cells: context.cells,
    generators: context.generators,
    interfaces: [...interfaces],
  };
  checkReach(linked);
  return linked;
}

export const HOOK_NAMES: readonly BaseChain["hook"][] = [
  "prerouting",
  "input",
  "forward",
  "output",
  "postrouting",
];
const NAT_HOOKS: readonly number[] = [Hook.prerouting, Hook.input, Hook.output, Hook.postrouting];

function declare(table: Table, context: LinkContext, firstChain: number): TableScope {
  const chains = new Map(table.chains.map((chain, at) => [chain.name, { id: firstChain + at, chain }]));
  const counters = new Map(
    table.counters.map((
      { name, packets, bytes },
    ) => [name, context.cell({ kind: "counter", packets, bytes })]),
  );
  const quotas = new Map(
    table.quotas.map((
      { name, bytes, used, inv },
    ) => [name, context.cell({ kind: "quota", bytes, used, inv })]),
  );
  const limits = new Map(table.limits.map((limit) => [limit.name, context.cell(limitSpec(limit))]));
  const sets = new Map<string, LinkedSet>();
  const scope = { family: table.family, table, chains, sets, counters, quotas, limits };
  const linker = new SetLinker(scope, context);
  for (const set of table.sets) sets.set(set.name, linker.named(set));
  return scope;
}

function linkChain(chain: Chain, id: number, scope: TableScope, context: LinkContext): LinkedChain {
  const { family, table } = scope;
  const place = `table ${family} ${table.name} chain ${chain.name}`;
  const { base } = chain;
  if (base !== undefined) {
    const hook = HOOK_NAMES.indexOf(base.hook);
    if (base.type === "nat" && !NAT_HOOKS.includes(hook)) {
      throw new LinkError(place, undefined, `A chain of type nat does not go into ${base.hook}`);
    }
    if (base.type === "nat" && base.prio <= CONNTRACK_PRIORITY) {
      const early =
        `Priority ${base.prio} lies before connection tracking, expected more than ${CONNTRACK_PRIORITY}`;
      throw new LinkError(place, undefined, early);
    }
    if (base.type === "route" && hook !== Hook.output) {
      throw new LinkError(place, undefined, `A chain of type route goes into output alone`);
    }
  }
  const rules = chain.rules.map((rule, index): LinkedRule => {
    return { rule, ops: new RuleLinker(scope, context, `${place} rule ${index + 1}`, rule).ops() };
  });
  return {
    id,
    family,
    table: table.name,
    name: chain.name,
    chain,
    nfproto: family === "ip" ? Nfproto.Ipv4 : family === "ip6" ? Nfproto.Ipv6 : 0,
    priority: base?.prio ?? 0,
    policy: base?.policy ?? "accept",
    isBase: base !== undefined,
    rules,
  };
}

/** Base chains by hook, by priority; of equal ones the last that was made comes first, as the kernel has it. */
function basesOf(
  chains: readonly LinkedChain[],
  scopes: readonly { scope: TableScope; first: number }[],
  nat: boolean,
): LinkedChain[][] {
  const hooks: LinkedChain[][] = Array.from({ length: HOOK_NAMES.length }, () => []);
  for (const { scope, first } of scopes) {
    if (scope.table.dormant) continue;
    scope.table.chains.forEach(({ base }, at) => {
      if (base === undefined || (base.type === "nat") !== nat) return;
      hooks[HOOK_NAMES.indexOf(base.hook)]!.push(chains[first + at]!);
    });
  }
  for (const hook of hooks) hook.reverse().sort((a, b) => a.priority - b.priority);
  return hooks;
}

/** The chains that a rule may jump to. */
export function targetsOf(rule: LinkedRule): number[] {
  const targets: number[] = [];
  const add = (verdict: LinkedVerdict): void => {
    if (verdict.kind === "jump" || verdict.kind === "goto") targets.push(verdict.chain);
  };
  for (const op of rule.ops) {
    if (op.op === "verdict") add(op.verdict);
    if (op.op !== "vmap") continue;
    for (const { data } of op.set.elements) add(data as LinkedVerdict);
    if (op.set.rest !== undefined) add(op.set.rest.data as LinkedVerdict);
  }
  return targets;
}

/** Chains that no base chain reaches may be a longer way; nobody needs more than this. */
const RECURSION_MAX = 256;

/** Follows every jump from every base chain: how deep it goes, and whether what stands there may stand there. */
function checkReach(linked: LinkedRules): void {
  const placeOf = (chain: LinkedChain): string => `table ${chain.family} ${chain.table} chain ${chain.name}`;
  const depths = new Map<number, number>(); // the longest way from a chain on, itself included
  const open = new Set<number>();
  const depthOf = (chain: LinkedChain): number => {
    const known = depths.get(chain.id);
    if (known !== undefined) return known;
    open.add(chain.id);
    let depth = 1;
    chain.rules.forEach((rule, index) => {
      for (const target of targetsOf(rule)) {
        const place = `${placeOf(chain)} rule ${index + 1}`;
        const to = linked.chains[target]!;
        if (to.isBase) {
          throw new LinkError(place, rule.rule.line, `Chain ${to.name} is a base chain: nobody jumps there`);
        }
        if (open.has(target)) {
          throw new LinkError(place, rule.rule.line, `Chain ${to.name} leads back to itself`);
        }
        if (open.size < RECURSION_MAX) depth = Math.max(depth, 1 + depthOf(to));
        if (open.size === RECURSION_MAX || (chain.isBase && depth > DEPTH_MAX)) {
          throw new LinkError(place, rule.rule.line, `More than ${DEPTH_MAX} chains jump into each other`);
        }
      }
    });
    open.delete(chain.id);
    depths.set(chain.id, depth);
    return depth;
  };
  for (const chain of linked.chains) depthOf(chain);

  for (const base of linked.chains) {
    const info = base.chain.base;
    if (info === undefined) continue;
    const seen = new Set([base.id]);
    for (const id of seen) { // grows while it is walked
      const chain = linked.chains[id]!;
      chain.rules.forEach((rule, index) => {
        const wrong = misplaced(rule, info);
        if (wrong !== undefined) {
          throw new LinkError(`${placeOf(chain)} rule ${index + 1}`, rule.rule.line, wrong);
        }
        for (const target of targetsOf(rule)) seen.add(target);
      });
    }
  }
}

const REJECT_HOOKS: readonly BaseChain["hook"][] = ["prerouting", "input", "forward", "output"];
const NAT_PLACES: Readonly<Record<LinkedNat["kind"], readonly BaseChain["hook"][]>> = {
  snat: ["postrouting", "input"],
  dnat: ["prerouting", "output"],
  masquerade: ["postrouting"],
  redirect: ["prerouting", "output"],
};

/** Where the kernel says what a packet's way takes. */
const WAY_HOOKS: readonly BaseChain["hook"][] = ["forward", "output", "postrouting"];

function asksForWay(value: Value): boolean {
  if (value.op === "map") return value.key.some(asksForWay);
  return value.op === "rt mtu" || ("left" in value && (asksForWay(value.left) || asksForWay(value.right)));
}

/** What a rule has that cannot be in chains of this hook and type. */
function misplaced(rule: LinkedRule, base: BaseChain): string | undefined {
  for (const op of rule.ops) {
    if (op.op === "reject" && !REJECT_HOOKS.includes(base.hook)) {
      return `reject cannot be reached from ${base.hook}`;
    }
    if (op.op === "reject" && base.type === "nat") return "reject cannot be reached from a chain of type nat";
    if ("value" in op && asksForWay(op.value) && !WAY_HOOKS.includes(base.hook)) {
      return `rt mtu cannot be reached from ${base.hook}: the packet has no way there yet`;
    }
    if ("parts" in op && op.parts.some(asksForWay) && !WAY_HOOKS.includes(base.hook)) {
      return `rt mtu cannot be reached from ${base.hook}: the packet has no way there yet`;
    }
    if (op.op !== "nat") continue;
    const { kind } = op.nat;
    if (base.type !== "nat") return `${kind} needs a chain of type nat`;
    if (!NAT_PLACES[kind].includes(base.hook)) return `${kind} cannot be reached from ${base.hook}`;
  }
  return undefined;
}
