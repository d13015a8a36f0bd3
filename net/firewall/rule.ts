/** One or several of a thing: several match when any of them does. */
export type OneOrMore<T> = T | readonly T[];

/** What is on top of IP. */
export type RuleProtocol = "tcp" | "udp" | "icmp" | "any";
/** Whether a packet is for us, from us, or passes. */
export type RuleDirection = "input" | "output" | "forward";
/** What connection tracking says of a packet. */
export type RuleState = "new" | "established" | "related" | "invalid";
/** What becomes of a packet: reject tells its sender, drop does not. */
export type RuleAction = "accept" | "drop" | "reject";

/**
 * One line of a firewall: plain data, so that it can be kept as JSON. A packet must satisfy every
 * field that is there; the first rule that it satisfies decides.
 */
export interface Rule {
  /** Default `"any"`. `"icmp"` is ICMPv6 too. */
  readonly protocol?: RuleProtocol;
  /** Default: all three. */
  readonly direction?: RuleDirection;
  /** `"10.0.0.0/8"`, or `"10.1.2.3"` for one address. No IPv6 packet satisfies it, not even `"0.0.0.0/0"`. */
  readonly source?: OneOrMore<string>;
  /** Addresses or prefixes, as `source`. */
  readonly destination?: OneOrMore<string>;
  /** `443` or `"1024-65535"`, both ends included. Matches TCP and UDP packets only. */
  readonly sourcePort?: OneOrMore<number | string>;
  /** Ports or ranges, as `sourcePort`. */
  readonly destinationPort?: OneOrMore<number | string>;
  /** Names of interfaces: where the packet came in, or for `"output"` where it leaves. */
  readonly interface?: OneOrMore<string>;
  /** What connection tracking says of the packet. */
  readonly state?: OneOrMore<RuleState>;
  /** 0 to 255 (8 asks for an echo). Matches ICMP packets only, not ICMPv6, whose types are others. */
  readonly icmpType?: OneOrMore<number>;
  /** What becomes of a packet that matches. */
  readonly action: RuleAction;
  /** At most 128 characters. */
  readonly comment?: string;
}

/** What happens to packets that no rule matches; each direction defaults to `"accept"`. */
export interface Policy {
  /** For us. Default: accept. */
  readonly input?: "accept" | "drop";
  /** From us. Default: accept. */
  readonly output?: "accept" | "drop";
  /** Passing. Default: accept. */
  readonly forward?: "accept" | "drop";
}

/** A whole firewall as data. */
export interface FirewallRules {
  /** What becomes of packets that no rule matches. */
  readonly policy?: Policy;
  /** Read in order; the first that matches decides. */
  readonly rules: readonly Rule[];
}

/** The fields of a rule that a packet has to satisfy. */
export type RuleField = Exclude<keyof Rule, "action" | "comment">;

/** A rule set that cannot be used. `path` is the place of the mistake, as in `rules[3].source`. */
export class FirewallError extends Error {
  /** What tells it from other errors where `instanceof` does not. */
  override name = "FirewallError";
  /** The place of the mistake. */
  readonly path: string;

  /** The message begins with the place. */
  constructor(path: string, message: string, options?: ErrorOptions) {
    super(`Cannot compile firewall rules: ${path}: ${message}`, options);
    this.path = path;
  }
}
