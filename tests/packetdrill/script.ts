/** A test script as it was written: what every later stage works on. Times are microseconds. */
export interface Script {
  readonly path: string;
  readonly options: ScriptOptions;
  readonly events: readonly ScriptEvent[];
}

/** What the lines before the first event, and the command line, ask for. */
export interface ScriptOptions {
  ipVersion: IpVersion | undefined;
  toleranceUs: number;
  /** Of a wait that is longer: so much of it, as a fraction. */
  toleranceOfWait: number;
  mtu: number;
  /** Segments must leave as the script writes them: none are put together for the comparison. */
  strictSegments: boolean;
  /** Microseconds per tick of our timestamp clock; 0 leaves outbound timestamps unchecked. */
  tsTickUs: number;
  /** An inbound echo may be any value, measured from the first timestamp. */
  tsEcrScaled: boolean;
  /** Our address, the peer's, and that of the way there; where one is not given, packetdrill's own. */
  localIp: string | undefined;
  remoteIp: string | undefined;
  gatewayIp: string | undefined;
  /** What `sysctl` would be told before the script begins: `net.ipv4.tcp_sack=0`. */
  settings: string[];
  /** Words that stand for others. */
  defines: Map<string, string>;
}

export const ipVersions = ["ipv4", "ipv6", "ipv4-mapped-ipv6"] as const;
export type IpVersion = (typeof ipVersions)[number];

export type EventTime =
  | { readonly kind: "absolute" | "relative"; readonly us: number }
  | { readonly kind: "absoluteRange" | "relativeRange"; readonly us: number; readonly endUs: number }
  | { readonly kind: "any" };

export interface ScriptEvent {
  readonly line: number;
  readonly time: EventTime;
  readonly action: Action;
}

export type Action = PacketAction | IcmpAction | SyscallAction | CommandAction | CodeAction;

/** `<` an inbound segment, or `>` the next one that must leave. */
export interface PacketAction {
  readonly kind: "packet";
  readonly inbound: boolean;
  readonly ip: IpInfo;
  /** 0 where the script says nothing. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** `TcpFlag` bits; CWR and ECE of a numeric ACE field included. */
  readonly flags: number;
  readonly ae: boolean;
  /** The flags were written with an ACE digit: the three bits are compared as one number. */
  readonly ace: boolean;
  readonly sequence: number;
  readonly length: number;
  /** `!` behind the sequence number: it is the one on the wire. */
  readonly absoluteSequence: boolean;
  /** `...` instead of a sequence number. */
  readonly anySequence: boolean;
  readonly acknowledgment: number;
  /** -1 where the script says nothing. */
  readonly window: number;
  readonly urgent: number;
  /** `undefined` for `<...>`: whatever they are. */
  readonly options: readonly TcpOptionSpec[] | undefined;
  /** Extension of ours: the segment arrives with a wrong checksum. */
  readonly badChecksum: boolean;
}

/** One option: its kind, and the bytes behind the length byte. SACK edges and timestamps are relative to the script. */
export interface TcpOptionSpec {
  readonly kind: number;
  readonly data: readonly number[];
}

/** What the script says about the IP header. */
export interface IpInfo {
  readonly ecn: number | undefined;
  /** Either of the two ECT codepoints. */
  readonly anyEct: boolean;
  readonly tos: number | undefined;
  readonly ttl: number | undefined;
  readonly flowLabel: number | undefined;
}

export interface IcmpAction {
  readonly kind: "icmp";
  readonly inbound: boolean;
  readonly version: 4 | 6;
  readonly type: string;
  readonly code: string | undefined;
  readonly mtu: number;
  /** The quoted segment. */
  readonly sequence: number;
  readonly length: number;
}

export interface SyscallAction {
  readonly kind: "syscall";
  readonly name: string;
  readonly args: readonly Expression[];
  readonly result: Expression;
  readonly errno: string | undefined;
  /** When a call that blocks returns; on the event's own time base. */
  readonly endUs: number | undefined;
}

export interface CommandAction {
  readonly kind: "command";
  readonly text: string;
}

export interface CodeAction {
  readonly kind: "code";
  readonly text: string;
}

export type Expression =
  | { readonly kind: "any" }
  | { readonly kind: "number"; readonly value: number }
  | { readonly kind: "word"; readonly name: string }
  | { readonly kind: "string"; readonly value: string }
  | { readonly kind: "or"; readonly left: Expression; readonly right: Expression }
  | { readonly kind: "list"; readonly items: readonly Expression[] }
  | { readonly kind: "struct"; readonly items: readonly Expression[] }
  /** `name=value` or `name(arg)=value` in a struct. */
  | {
    readonly kind: "field";
    readonly name: string;
    readonly args: readonly Expression[];
    readonly value: Expression;
  }
  /** `htons(80)`. */
  | { readonly kind: "call"; readonly name: string; readonly args: readonly Expression[] };

/** A script that cannot be read. */
export class ScriptSyntaxError extends Error {
  override name = "ScriptSyntaxError";
  readonly line: number;
  constructor(line: number, message: string) {
    super(message);
    this.line = line;
  }
}

/** A script asks for something that this runner does not know, or the stack does not have: never passed. */
export class Unsupported extends Error {
  override name = "Unsupported";
  readonly line: number | undefined;
  constructor(message: string, line?: number) {
    super(message);
    this.line = line;
  }
}
