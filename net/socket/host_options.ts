import type { Clock } from "../../base/clock.ts";
import type { Entropy } from "../../base/random.ts";
import type { Ruleset } from "../firewall/nft/schema.ts";
import type { FirewallRules } from "../firewall/rule.ts";
import type { Ipv6Options } from "../ip/ndp.ts";
import type { RouteConfig } from "../ip/route_config.ts";
import type { Link } from "../link/link.ts";
import type { StackRecorder } from "../stack.ts";
import type { TcpConfig } from "../tcp/config.ts";
import type { DnsOptions } from "./dns/resolver.ts";
import type { Host } from "./host.ts";

/** A link and what it is called. */
export interface HostInterface {
  /** Where its packets come from and go to. The host closes it. */
  link: Link;
  /** Default "net0", "net1", ... */
  name?: string;
  /** How an Ethernet interface finds its IPv6 addresses and routers by itself; false: not at all. */
  ipv6?: Ipv6Options | false;
  /** Station address for Ethernet, "52:54:00:12:34:56"; by default a random locally administered one. */
  mac?: string;
}

/** A host's place among those that share its addresses. */
export interface HostShard {
  /** From 0 to `count` - 1. */
  readonly index: number;
  /** How many there are. */
  readonly count: number;
  /** The host is made: it takes what others pass on from here on. */
  attach(host: Host): void;
  /** Takes a copy of a packet of IP that is about a connection of another host, perhaps; false when nobody else is there. */
  pass(interfaceIndex: number, packet: Uint8Array): boolean;
}

/** What a host is made of. */
export interface HostOptions extends RouteConfig {
  /** Its interfaces, in the order of their numbers. */
  interfaces: HostInterface[];
  /**
   * What may come in, go out and pass through: rules of our own, or nftables' (`readTextRules`, `readJsonRules`), which know
   * more. See `Host.setRules` for other ones later.
   */
  firewall?: FirewallRules | Ruleset;
  /** Where its TCP differs from the default. */
  tcp?: Partial<TcpConfig>;
  /** Connections, awake and asleep, at most. Default 2^24. */
  connectionsMax?: number;
  /** Passes packets for others on between the interfaces, by `routes` and the firewall's `forward`. Default false. */
  forwarding?: boolean;
  /** How names are found. */
  dns?: DnsOptions;
  /** The time that it goes by. Default: the machine's. */
  clock?: Clock;
  /** What outsiders must not guess comes from here. Default: the machine's. */
  entropy?: Entropy;
  /** This host is one of several that share its addresses, each in a thread of its own: see `joinShards`. */
  shard?: HostShard;
  /** Records everything that happens to this host's stack, for `torpor replay`: see `recordTo`. One per host. */
  recorder?: StackRecorder;
  /**
   * A link has ended, and `close` of this host did not end it; `name` is its interface's. Without this
   * callback an error is printed.
   *
   * Nothing else ends with a link, not even with the last one, as when a cable is pulled: `accept` and
   * `receive` go on waiting, connections and `connect` time out by TCP's rules, and the host still
   * reaches itself.
   */
  onLinkClosed?(name: string, error: Error | undefined): void;
  /**
   * Somebody else has a configured address that was to be probed (`dad`): it is not used. Without this callback an
   * error is printed.
   */
  onDuplicateAddress?(name: string, address: string): void;
}
