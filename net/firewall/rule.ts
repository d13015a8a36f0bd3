/** One or several of a thing: several match when any of them does. */
export type OneOrMore<T> = T | readonly T[];

export type RuleProtocol = "tcp" | "udp" | "icmp" | "any";
export type RuleDirection = "input" | "output" | "forward";
export type RuleState = "new" | "established" | "related" | "invalid";
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
  readonly destination?: OneOrMore<string>;
  /** `443` or `"1024-65535"`, both ends included. Matches TCP and UDP packets only. */
  readonly sourcePort?: OneOrMore<number | string>;
  readonly destinationPort?: OneOrMore<number | string>;
  /** Names of interfaces: where the packet came in, or for `"output"` where it leaves. */
  readonly interface?: OneOrMore<string>;
  readonly state?: OneOrMore<RuleState>;
  /** 0 to 255 (8 asks for an echo). Matches ICMP packets only, not ICMPv6, whose types are others. */
  readonly icmpType?: OneOrMore<number>;
  readonly action: RuleAction;
  /** At most 128 characters. */
  readonly comment?: string;
}

/** What happens to packets that no rule matches; each direction defaults to `"accept"`. */
export interface Policy {
  readonly input?: "accept" | "drop";
  readonly output?: "accept" | "drop";
  readonly forward?: "accept" | "drop";
}

/** A whole firewall as data. */
export interface FirewallRules {
  readonly policy?: Policy;
  /** Read in order; the first that matches decides. */
  readonly rules: readonly Rule[];
}

/** The fields of a rule that a packet has to satisfy. */
export type RuleField = Exclude<keyof Rule, "action" | "comment">;

/** A rule set that cannot be used. `path` is the place of the mistake, as in `rules[3].source`. */
export class FirewallError extends Error {
  override name = "FirewallError";
  readonly path: string;

  constructor(path: string, message: string, options?: ErrorOptions) {
    super(`Cannot compile firewall rules: ${path}: ${message}`, options);
    this.path = path;
  }
}
