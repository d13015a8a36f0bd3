import { uptime } from "node:os";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import { NftPacket } from "../../../net/firewall/nft/packet.ts";
import { checksumOf } from "../../../net/wire/checksum.ts";
import { printJsonRules } from "../../../net/firewall/nft/json/print.ts";
import { readTextRules } from "../../../net/firewall/nft/text/read.ts";
import { printTextRules } from "../../../net/firewall/nft/text/print.ts";
import { randomPacket } from "../random_packets.ts";
import { ipPacket, tcpSegment, udpDatagram } from "../../net/firewall/conntrack/packets.ts";
import { IPV4, IPV6, PORTS } from "../random_values.ts";
import type { Ruleset } from "../../../net/firewall/nft/schema.ts";
import { wordsIn } from "../grammar.ts";
import { RandomRules } from "../random_rules.ts";
import { optionsFor, type Side } from "./drawn.ts";
import type { KernelFirewall } from "./kernel_firewall.ts";
import { OurFirewall, OurStack } from "./our_firewall.ts";

const PACKETS = 60;
/** Longer than what flows have that begin, and than the five minutes that its clock is early at first. */
const YOUNG_SECONDS = 1_000;
const PACKETS_LIKE = {
  odd: true,
  // Nobody to whom the namespace knows a way.
  sources4: ["10.1.0.2", "10.1.0.77", "10.1.3.4", "192.0.2.1", "10.9.9.9"],
  destinations4: [...IPV4, "10.1.0.1", "10.1.0.1", "10.2.0.1", "10.2.200.9"],
  sources6: ["fd01::2", "fd01::77", "fd01:0:0:3::4", "2001:db8::1", "fd09::9"],
  destinations6: [...IPV6, "fd01::1", "fd01::1", "fd02::1", "fd02::200:9"],
};

/** Of packets that the namespace sends itself. */
const SENT = {
  sources4: ["10.1.0.1"],
  destinations4: ["10.2.0.1", "10.2.200.9"],
  sources6: ["fd01::1"],
  destinations6: ["fd02::1", "fd02::200:9"],
  fragments: "none" as const,
};

/** What came of one drawn rule set. */
export type Outcome =
  | { readonly kind: "same" }
  /**
   * Ports were drawn, by each another one, and rules saw it; or the kernel is too young to be asked; or rules delete from a
   * set so small that it may be full: what has been deleted has its place there until the kernel collects it.
   */
  | { readonly kind: "drawn" }
  | { readonly kind: "refused"; readonly rules: string; readonly said: string }
  | { readonly kind: "different"; readonly rules: string; readonly differences: readonly string[] };

/** Draws rules and packets, gives both to the kernel and to us, and compares all that was counted and learnt. */
export async function compareOne(seed: number, kernel: KernelFirewall, side: Side): Promise<Outcome> {
  const prng = new Prng(seed);
  const drawn = new RandomRules(prng, optionsFor(side)).ruleset();
  // Both follow the connections of both families then, and put fragments together before any rule sees them.
  const fragmented = side === "stack" && prng.chance(0.5);
  const ruleset = fragmented ? { tables: [...drawn.tables, ...FOLLOWING.tables] } : drawn;
  // Of a flow whose first packet is under way the kernel takes the time that it will have from that since it was booted.
  if (uptime() < YOUNG_SECONDS && wordsIn(drawn).has("ct expiration")) return { kind: "drawn" };
  return await compareRules(prng, ruleset, kernel, { side, fragmented, asJson: seed % 3 === 0 });
}

/** Where a packet goes. */
export interface Aim {
  readonly protocol: "tcp" | "udp";
  readonly destination: string;
  readonly port: number;
}

/** How rules are compared. */
export interface Compared {
  readonly side: Side;
  /** Some datagrams come in pieces. */
  readonly fragmented?: boolean;
  /** What nft's reader of JSON has not learnt (some flags, some keys) goes in as text all the same. */
  readonly asJson?: boolean;
  /** Where most packets go, besides what is drawn. */
  readonly aims?: readonly Aim[];
  /** Told what the kernel has counted, by the places of rules. */
  readonly counted?: (counts: Readonly<Record<string, string>>) => void;
}

/** Draws packets, and compares what the kernel and we make of them by the same rules. */
export async function compareRules(
  prng: Prng,
  ruleset: Ruleset,
  kernel: KernelFirewall,
  { side, fragmented = false, asJson = false, aims = [], counted }: Compared,
): Promise<Outcome> {
  const rules = printTextRules(ruleset);
  const loaded = asJson && kernel.load(printJsonRules(ruleset)) === undefined;
  const said = loaded ? undefined : kernel.loadText(rules);
  if (said !== undefined) return { kind: "refused", rules, said };
  const ours = side === "stack" ? new OurStack(ruleset) : new OurFirewall(ruleset);
  // Of later fragments the kernel reads ports where there are none (nft_payload_fast_eval()). We put fragments together
  // first, as it does while some rule asks about connections of that family. It follows no ICMP in IPv6, where we do.
  const whole = side === "stack";
  const fragments = whole ? "none" as const : "first" as const;
  const like = {
    ...PACKETS_LIKE,
    fragments,
    strangers: !whole,
  };
  const sent = Array.from({ length: PACKETS }, () => prng.chance(0.2));
  const packets = sent.map((own) =>
    own
      ? identified(randomPacket(prng, { ...like, ...SENT }))
      : aims.length > 0 && prng.chance(0.7)
      ? aimedPacket(prng, prng.pick(aims))
      : randomPacket(prng, like)
  );
  for (let at = PACKETS - 1; fragmented && at >= 0; at--) {
    const pieces = sent[at] ? undefined : fragmentsOf(prng, packets[at]!);
    if (pieces === undefined) continue;
    packets.splice(at, 1, ...pieces);
    sent.splice(at, 1, false, false);
  }
  if (side === "stack") kernel.forget();
  const theyLeft = await kernel.inject(packets, (index) => sent[index]!);
  packets.forEach((packet, index) => sent[index] ? ours.send(packet) : ours.inject(packet));
  const theirCounts = countsOf(kernel.list() as never);
  counted?.(theirCounts);
  const ourCounts = countsOf(printJsonRules(ours.list()) as never);
  const places = new Set([...Object.keys(theirCounts), ...Object.keys(ourCounts)]);
  const differences = [...places].filter((place) => theirCounts[place] !== ourCounts[place]).map((place) => {
    return `${place}: kernel ${theirCounts[place]}; ours ${ourCounts[place]}`;
  });
  if (ours instanceof OurStack) differences.push(...compareLeft(theyLeft, ours.left, fragmented));
  if (differences.length > 0 && ((ours instanceof OurStack && ours.drew) || deletesFromFew(ruleset))) {
    return { kind: "drawn" };
  }
  return differences.length === 0 ? { kind: "same" } : { kind: "different", rules, differences };
}

/** So few elements packets have, so a set with room for fewer fills up. */
const FEW = 5;

function deletesFromFew({ tables }: Ruleset): boolean {
  return tables.some(({ sets, chains }) =>
    chains.some(({ rules }) =>
      rules.some(({ expr }) =>
        expr.some((statement) =>
          "set" in statement && statement.set.op === "delete" &&
          sets.some(({ name, size = FEW }) => `@${name}` === statement.set.set && size < FEW)
        )
      )
    )
  );
}

const FOLLOWING = readTextRules(`table inet following {
  chain c { type filter hook prerouting priority raw; ct state untracked accept; }
}`);

/** A packet that goes there, from one of those from whom packets come. */
function aimedPacket(prng: Prng, { protocol, destination, port }: Aim): Uint8Array<ArrayBuffer> {
  const source = prng.pick(destination.includes(":") ? PACKETS_LIKE.sources6 : PACKETS_LIKE.sources4);
  const sourcePort = prng.pick(PORTS);
  if (protocol === "udp") {
    const transport = udpDatagram(sourcePort, port, new Uint8Array(prng.below(50)));
    return identified(ipPacket({ source, destination, protocol: 17, transport }));
  }
  const flags = prng.pick([2, 2, 0x10, 0x18, 4]);
  const segment = { sourcePort, destinationPort: port, seq: 1, ack: 2, flags, window: 1_024 };
  return identified(ipPacket({ source, destination, protocol: 6, transport: tcpSegment(segment) }));
}

/** A whole datagram to the namespace itself in two pieces; undefined for one that is none, or too short. */
function fragmentsOf(prng: Prng, packet: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer>[] | undefined {
  const six = packet[0]! >>> 4 === 6;
  const header = six ? 40 : 20;
  const { view } = new Slab(packet);
  const own = six
    ? packet[24] === 0xfd && packet[25] === 1 && packet[39] === 1
    : packet[0] === 0x45 && view.getUint32(16) === 0x0a010001 && (view.getUint16(6) & 0x3fff) === 0;
  const first = 8 * prng.between(six ? 3 : 1, 5); // the kernel drops IPv6 whose first piece ends in the header of TCP
  if (!own || packet.length < header + first + 8 || (six && ![6, 17, 58].includes(packet[6]!))) {
    return undefined;
  }
  const at = header + first;
  const identification = [prng.below(256), prng.below(256), prng.below(256)];
  return [[header, at, 0], [at, packet.length, first]].map(([from, to, offset]) => {
    const more = to! < packet.length ? 1 : 0;
    const piece = packet.subarray(from, to);
    if (six) {
      const words = [packet[6]!, 0, offset! >> 8, (offset! & 0xf8) | more, 0, ...identification];
      const made = new Slab(Uint8Array.from([...packet.subarray(0, header), ...words, ...piece]));
      made.view.setUint16(4, 8 + piece.length);
      made.bytes[6] = 44;
      return made.bytes;
    }
    const made = new Slab(Uint8Array.from([...packet.subarray(0, header), ...piece]));
    made.view.setUint16(2, made.bytes.length);
    made.view.setUint16(4, PIECES_ID);
    made.view.setUint16(6, (more << 13) | (offset! >> 3));
    made.view.setUint16(10, 0);
    made.view.setUint16(10, checksumOf(made, 0, header));
    return made.bytes;
  });
}

/** A kernel that is asked to send a packet without an identification gives it one. */
function identified(packet: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  if (packet[0]! >>> 4 !== 4) return packet;
  const slab = new Slab(packet);
  slab.view.setUint16(4, 7);
  slab.view.setUint16(10, 0);
  slab.view.setUint16(10, checksumOf(slab, 0, (packet[0]! & 15) * 4));
  return packet;
}

/** What has left must be the same, but for ports that are drawn where the packet's own is taken. */
function compareLeft(
  theirs: readonly Uint8Array[],
  ours: readonly Uint8Array[],
  fragmented: boolean,
): string[] {
  const isApart = (packet: Uint8Array): boolean => isChatter(packet, fragmented);
  const differences: string[] = [];
  const left = ours.filter((packet) => !isApart(packet)).map(withoutDrawn);
  for (const packet of theirs) {
    if (isApart(packet)) continue;
    const wanted = withoutDrawn(packet);
    const at = left.indexOf(wanted);
    if (at >= 0) left.splice(at, 1);
    else differences.push(`left the kernel: ${wanted.slice(0, 160)}`);
  }
  for (const packet of left) differences.push(`left us: ${packet.slice(0, 160)}`);
  return differences;
}

/** What came in pieces: whether, and into which, it is cut again is each one's own affair. */
const PIECES_ID = 0x4646;

/** What the kernel says of groups, and what came in pieces. */
function isChatter(packet: Uint8Array, fragmented: boolean): boolean {
  if (packet[0]! >>> 4 === 6) return packet[24] === 0xff || fragmented; // nothing of a header says that it came in pieces
  return ((packet[4]! << 8) | packet[5]!) === PIECES_ID;
}

/** As hexadecimal digits; a source port, or the number of an echo, that no packet here has is a star, and so is its checksum. */
function withoutDrawn(packet: Uint8Array): string {
  const { slab, transport, protocol } = moved(packet);
  const bytes: (number | string)[] = [...packet].map((byte) => byte.toString(16).padStart(2, "0"));
  const star = (at: number): void => void bytes.splice(at, 2, "**", "**");
  if (transport >= 0 && transport + 8 <= packet.length) {
    const port = slab.view.getUint16(transport);
    if ((protocol === 6 || protocol === 17) && !PORTS.includes(port)) {
      star(transport);
      star(transport + (protocol === 6 ? 16 : 6));
    }
    if ((protocol === 1 || protocol === 58) && slab.view.getUint16(transport + 4) !== 0) {
      star(transport + 4);
      star(transport + 2);
    }
  }
  return bytes.join("");
}

function moved(bytes: Uint8Array): NftPacket {
  const packet = new NftPacket();
  packet.moveTo(new Slab(Uint8Array.from(bytes)), 0, bytes.length, 0);
  return packet;
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
    if (kind === "set" || kind === "map") {
      const keys = (value["elem"] as unknown[] | undefined)?.map((each) =>
        JSON.stringify(sortedKeys(each, value["timeout"]))
      )
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

/** Without what is left of an element's time, and without its time where that is the set's. */
function sortedKeys(value: unknown, timeout: unknown): unknown {
  if (Array.isArray(value)) return value.map((each) => sortedKeys(each, timeout));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).filter(([key, each]) =>
      key !== "expires" && (key !== "timeout" || each !== timeout)
    ).sort(([a], [b]) => (a < b ? -1 : 1)).map((
      [key, each],
    ) => [key, sortedKeys(each, timeout)]),
  );
}
