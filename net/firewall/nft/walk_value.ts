import { secondOfDay, weekday } from "./time_of_day.ts";
import { findExtension, findTcpOption } from "./headers.ts";
import { nameValue, wordsValue } from "./constants.ts";
import type { NftEnvironment } from "./environment.ts";
import type { CtName, MetaName, Value } from "./linked.ts";
import { CtDirection, CtState, NO_FLOW } from "../conntrack/state.ts";
import { isIpv6Handle } from "../../wire/address.ts";
import { Slab } from "../../../base/slab.ts";
import { Nfproto, type NftPacket } from "./packet.ts";

/** What the walk needs beside the packet to find a value. */
export interface WalkScope {
  readonly environment: NftEnvironment;
  readonly interfaces: readonly string[];
  /** What a map has for a key, part by part. */
  lookup(
    value: Value & { readonly op: "map" },
    key: readonly bigint[],
    packet: NftPacket,
  ): bigint | undefined;
  /** The next number of a generator. */
  generate(value: Value & { readonly op: "numgen" }): bigint;
}

/**
 * The value for a packet, the slow and obvious way: bits as a whole number, the first one highest.
 * @returns Undefined where the packet does not have it: the rule ends.
 */
export function valueOf(value: Value, packet: NftPacket, scope: WalkScope): bigint | undefined {
  switch (value.op) {
    case "const":
      return value.value;
    case "payload": {
      const from = value.base === "nh" ? packet.start : packet.transport;
      return from < 0 ? undefined : bitsAt(packet, from, value.bit, value.bits, packet.end);
    }
    case "meta":
      return metaOf(value.key, packet, scope);
    case "ct":
      return ctOf(value.key, value.direction, packet, scope.environment);
    case "fib":
      return fibOf(value, packet, scope);
    case "tcp option":
    case "exthdr":
      return optionOf(value, packet);
    case "rt mtu": {
      const mss = scope.environment.fib?.mss(packet) ?? -1;
      return mss < 0 ? undefined : BigInt(mss);
    }
    case "numgen":
      return scope.generate(value);
    case "map": {
      const key: bigint[] = [];
      for (const part of value.key) {
        const found = valueOf(part, packet, scope);
        if (found === undefined) return undefined;
        key.push(found);
      }
      return scope.lookup(value, key, packet);
    }
    default: {
      const left = valueOf(value.left, packet, scope);
      const right = valueOf(value.right, packet, scope);
      if (left === undefined || right === undefined) return undefined;
      return BigInt.asUintN(value.bits, OPERATORS[value.op](left, right));
    }
  }
}

const OPERATORS = {
  "&": (a: bigint, b: bigint): bigint => a & b,
  "|": (a: bigint, b: bigint): bigint => a | b,
  "^": (a: bigint, b: bigint): bigint => a ^ b,
  "<<": (a: bigint, b: bigint): bigint => b > 128n ? 0n : a << b,
  ">>": (a: bigint, b: bigint): bigint => b > 128n ? 0n : a >> b,
};

/** Bits of a packet from a byte on; all bytes that they touch must be there. */
function bitsAt(packet: NftPacket, from: number, bit: number, bits: number, end: number): bigint | undefined {
  const first = from + (bit >> 3);
  const last = from + ((bit + bits + 7) >> 3);
  if (last > end) return undefined;
  let whole = 0n;
  for (let at = first; at < last; at++) whole = (whole << 8n) | BigInt(packet.slab.bytes[at]!);
  return BigInt.asUintN(bits, whole >> BigInt((last - from) * 8 - bit - bits));
}

function metaOf(
  key: MetaName,
  packet: NftPacket,
  { interfaces, environment }: WalkScope,
): bigint | undefined {
  const name = (index: number): bigint => nameValue(interfaces[index] ?? "") ?? 0n;
  switch (key) {
    case "length":
      return BigInt(packet.end - packet.start);
    case "protocol":
      return packet.nfproto === Nfproto.Ipv4 ? 0x0800n : 0x86ddn;
    case "nfproto":
      return BigInt(packet.nfproto);
    case "l4proto":
      return packet.protocol < 0 ? undefined : BigInt(packet.protocol);
    case "mark":
      return BigInt(packet.mark >>> 0);
    case "priority":
      return BigInt(packet.priority >>> 0);
    case "iif":
      return BigInt(packet.iif + 1);
    case "oif":
      return BigInt(packet.oif + 1);
    case "iifname":
      return name(packet.iif);
    case "oifname":
      return name(packet.oif);
    case "pkttype":
      return BigInt(packet.packetType);
    case "time":
      return BigInt(packet.nowMs) * 1_000_000n;
    case "hour":
      return BigInt(secondOfDay(packet.nowMs));
    case "day":
      return BigInt(weekday(packet.nowMs));
    case "random":
      return BigInt((environment.random?.() ?? 0) >>> 0);
  }
}

function ctOf(
  key: CtName,
  direction: number,
  { track, nowMs }: NftPacket,
  { tracker, addresses }: NftEnvironment,
): bigint | undefined {
  if (key === "state") return BigInt(track.state);
  if (key === "zone" && track.flow === NO_FLOW && track.state === CtState.new) return BigInt(track.zone);
  if (track.flow === NO_FLOW || tracker === undefined) return undefined;
  const way = direction === CtDirection.reply ? CtDirection.reply : CtDirection.original;
  switch (key) {
    case "direction":
      return BigInt(track.direction);
    case "zone":
      return BigInt(tracker.zone(track));
    case "status":
      return BigInt(tracker.status(track) >>> 0);
    case "mark":
      return BigInt(tracker.mark(track) >>> 0);
    case "expiration":
      return BigInt(Math.floor(tracker.expirationMs(track, nowMs) / 1_000));
    case "l3proto":
      return isIpv6Handle(tracker.address(track, way, "source"))
        ? BigInt(Nfproto.Ipv6)
        : BigInt(Nfproto.Ipv4);
    case "protocol":
      return BigInt(tracker.protocol(track));
    case "proto-src":
      return BigInt(tracker.port(track, way, "source"));
    case "proto-dst":
      return BigInt(tracker.port(track, way, "destination"));
    case "bytes":
    case "packets": {
      const of = (each: CtDirection): number => tracker[key](track, each);
      return BigInt(direction < 0 ? of(CtDirection.original) + of(CtDirection.reply) : of(way));
    }
    default: {
      const address = tracker.address(track, way, key.endsWith("saddr") ? "source" : "destination");
      if (isIpv6Handle(address) !== key.startsWith("ip6")) return undefined;
      if (!isIpv6Handle(address)) return BigInt(address >>> 0);
      const slab = Slab.of(16);
      addresses!.write(address, slab, 0);
      const words = [0, 4, 8, 12].map((at) => slab.view.getInt32(at)) as [number, number, number, number];
      return wordsValue(words);
    }
  }
}

function fibOf(
  value: Value & { readonly op: "fib" },
  packet: NftPacket,
  scope: WalkScope,
): bigint | undefined {
  const { fib } = scope.environment;
  if (fib === undefined) return undefined;
  const within = value.restrict === "iif" ? packet.iif : value.restrict === "oif" ? packet.oif : -1;
  if (value.result === "type") return BigInt(fib.type(packet, value.destination, within));
  const oif = fib.oif(packet, value.destination, within);
  if (value.result === "exists") return oif < 0 ? 0n : 1n;
  if (value.result === "oif") return BigInt(oif + 1);
  return nameValue(scope.interfaces[oif] ?? "") ?? 0n;
}

function optionOf(
  value: Value & { readonly op: "tcp option" | "exthdr" },
  packet: NftPacket,
): bigint | undefined {
  const bytes = (value.bit + value.bits + 7) >> 3;
  const at = value.op === "exthdr"
    ? findExtension(packet, value.kind)
    : findTcpOption(packet, value.kind, bytes);
  if (value.exists) return at < 0 ? 0n : 1n;
  return at < 0 ? undefined : bitsAt(packet, at, value.bit, value.bits, packet.end);
}
