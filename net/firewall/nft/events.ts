import { formatIpv4 } from "../../wire/address.ts";
import { PROTOCOL_TCP, PROTOCOL_UDP } from "../../wire/ipv4.ts";
import { formatIpv6 } from "../../wire/ipv6_address.ts";
import { CtState, Hook } from "../conntrack/state.ts";
import { Code } from "./codes.ts";
import type { LinkedChain, LinkedRule, LinkedRules } from "./linked.ts";
import { Nfproto, type NftPacket } from "./packet.ts";
import type { Log } from "./schema.ts";
import { printRule } from "./text/print_statement.ts";

/** What a packet was when a rule spoke of it. */
export interface FirewallEventPacket {
  /** The interface that it has come in by, where there is one. */
  readonly iif?: string;
  /** The interface that it leaves by, where that is known. */
  readonly oif?: string;
  /** Where it comes from. */
  readonly source: string;
  /** Where it goes. */
  readonly destination: string;
  /** As in the IP header. */
  readonly protocol: number;
  /** Of TCP and UDP. */
  readonly sourcePort?: number;
  /** Of TCP and UDP. */
  readonly destinationPort?: number;
  /** Bytes, IP header included. */
  readonly length: number;
  /** `meta mark`. */
  readonly mark: number;
  /** `new`, `established` and so on; `invalid` also where connections are not followed. */
  readonly state: string;
}

/** Something that rules say of a packet, as plain data. */
export interface FirewallEvent {
  /** `log`: a rule says so. The others: a packet is traced (`meta nftrace set 1`), as `nft monitor trace` tells it. */
  readonly type: "log" | "rule" | "policy";
  /** Epoch milliseconds. */
  readonly timeMs: number;
  /** The same for all events of one packet. */
  readonly id: number;
  /** Where the packet is on its way. */
  readonly hook: string;
  /** The table's family. */
  readonly family: string;
  /** The table. */
  readonly table: string;
  /** The chain. */
  readonly chain: string;
  /** The rule as text; absent of a policy. */
  readonly rule?: string;
  /** The line of the rule's file, where it was read from one. */
  readonly line?: number;
  /** Of a trace: `accept`, `drop`, `continue`, `return`, `queue`, `jump other`. */
  readonly verdict?: string;
  /** Of a log: what it says before the packet. */
  readonly prefix?: string;
  /** Of a log: how urgent it is. */
  readonly level?: string;
  /** Of a log: its group. */
  readonly group?: number;
  /** The packet as it was then. */
  readonly packet: FirewallEventPacket;
}

const HOOKS = Object.keys(Hook);
const STATES = new Map(Object.entries(CtState).map(([name, state]) => [state, name]));

/** A rule has said `log`. */
export function logEvent(
  linked: LinkedRules,
  log: Log,
  rule: LinkedRule,
  packet: NftPacket,
): FirewallEvent {
  const chain = linked.chains.find(({ rules }) => rules.includes(rule))!;
  const { prefix, group } = log;
  return {
    type: "log",
    ...placeOf(chain, rule, packet),
    ...prefix === undefined ? {} : { prefix },
    level: log.level ?? "warn",
    ...group === undefined ? {} : { group },
    packet: packetOf(linked, packet),
  };
}

/**
 * A traced packet has met a rule, or a base chain's policy where `rule` is undefined.
 *
 * @param code What came of it: of `Code`.
 */
export function traceEvent(
  linked: LinkedRules,
  chain: LinkedChain,
  rule: LinkedRule | undefined,
  code: number,
  packet: NftPacket,
): FirewallEvent {
  return {
    type: rule === undefined ? "policy" : "rule",
    ...placeOf(chain, rule, packet),
    verdict: verdictName(linked, code),
    packet: packetOf(linked, packet),
  };
}

/** An event as `nft monitor trace` prints it, a log as the kernel does. */
export function formatEvent(
  { type, id, family, table, chain, rule, verdict, ...event }: FirewallEvent,
): string {
  const head = `trace id ${(id >>> 0).toString(16).padStart(8, "0")} ${family} ${table} ${chain}`;
  switch (type) {
    case "rule":
      return `${head} rule ${rule} (verdict ${verdict})`;
    case "policy":
      return `${head} policy ${verdict}`;
    case "log": {
      const { prefix = "", packet } = event;
      const words = [
        `IN=${packet.iif ?? ""} OUT=${packet.oif ?? ""} SRC=${packet.source} DST=${packet.destination}`,
        `LEN=${packet.length} PROTO=${packet.protocol}`,
        ...packet.sourcePort === undefined ? [] : [`SPT=${packet.sourcePort} DPT=${packet.destinationPort}`],
      ];
      return `${prefix}${words.join(" ")}`;
    }
  }
}

type Place = Pick<
  FirewallEvent,
  "timeMs" | "id" | "hook" | "family" | "table" | "chain" | "rule" | "line"
>;

function placeOf(
  { family, table, name }: LinkedChain,
  rule: LinkedRule | undefined,
  packet: NftPacket,
): Place {
  return {
    timeMs: packet.nowMs,
    id: packet.number,
    hook: HOOKS[packet.hook]!,
    family,
    table,
    chain: name,
    ...rule === undefined ? {} : { rule: printRule(rule.rule, family) },
    ...rule?.rule.line === undefined ? {} : { line: rule.rule.line },
  };
}

function verdictName({ chains }: LinkedRules, code: number): string {
  switch (code) {
    case Code.Next:
      return "continue";
    case Code.Accept:
    case Code.Nat:
      return "accept";
    case Code.Drop:
    case Code.Reject:
      return "drop";
    case Code.Queue:
      return "queue";
    case Code.Return:
      return "return";
    default: {
      const to = code - Code.Jump;
      return `${(to & 1) === 0 ? "jump" : "goto"} ${chains[to >> 1]!.name}`;
    }
  }
}

function packetOf({ interfaces }: LinkedRules, packet: NftPacket): FirewallEventPacket {
  const { slab: { view }, start, end, iif, oif, protocol, transport, mark, track } = packet;
  const ported = (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP) && transport >= 0 &&
    transport + 4 <= end;
  return {
    ...iif < 0 ? {} : { iif: interfaces[iif] ?? `${iif}` },
    ...oif < 0 ? {} : { oif: interfaces[oif] ?? `${oif}` },
    source: addressOf(packet, false),
    destination: addressOf(packet, true),
    protocol,
    ...ported
      ? { sourcePort: view.getUint16(transport), destinationPort: view.getUint16(transport + 2) }
      : {},
    length: end - start,
    mark: mark >>> 0,
    state: STATES.get(track.state) ?? "invalid",
  };
}

/** An address of a packet, as text. */
export function addressOf({ slab: { view }, start, nfproto }: NftPacket, destination: boolean): string {
  if (nfproto === Nfproto.Ipv4) return formatIpv4(view.getInt32(start + (destination ? 16 : 12)));
  const at = start + (destination ? 24 : 8);
  return formatIpv6(view.getInt32(at), view.getInt32(at + 4), view.getInt32(at + 8), view.getInt32(at + 12));
}
