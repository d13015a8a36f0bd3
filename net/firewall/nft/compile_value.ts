import { CtDirection, CtState, NO_FLOW } from "../conntrack/state.ts";
import { isIpv6Handle } from "../../wire/address.ts";
import { Slab } from "../../../base/slab.ts";
import { nameValue } from "./constants.ts";
import type { NftEnvironment } from "./environment.ts";
import type { CompiledSet } from "./compile_set.ts";
import type { Value } from "./linked.ts";
import { Nfproto, type NftPacket } from "./packet.ts";
import { nanoseconds, secondOfDay, weekday } from "./time_of_day.ts";
import { findExtension, findTcpOption } from "./headers.ts";

/** Words that a value takes in a key: one up to 32 bits, four beyond. */
export function wordsOf(bits: number): number {
  return bits <= 32 ? 1 : 4;
}

/** The words of a constant. */
export function constantWords(value: bigint, bits: number): number[] {
  const words = wordsOf(bits);
  return Array.from(
    { length: words },
    (_, at) => Number(BigInt.asIntN(32, value >> BigInt(32 * (words - 1 - at)))),
  );
}

/** Reads a value of up to 32 bits; where the packet does not have it, sets `machine.broken`. */
export type Narrow = (packet: NftPacket) => number;
/** Reads a value into a key, from `at` on, as `wordsOf` says; false where the packet does not have it. */
export type Load = (packet: NftPacket, key: Int32Array, at: number) => boolean;

/** What compiled values share. */
export class Machine {
  readonly environment: NftEnvironment;
  readonly interfaces: readonly string[];
  readonly generators: Int32Array;
  readonly sets: CompiledSet[] = [];
  /** A value was not there. Whoever reads values clears it before. */
  broken = false;
  /** Words of names of interfaces, four each; those of "no interface" come first. */
  readonly names: Int32Array;
  readonly #slab: Slab = Slab.of(16);

  constructor(environment: NftEnvironment, interfaces: readonly string[], generators: number) {
    this.environment = environment;
    this.interfaces = interfaces;
    this.generators = new Int32Array(generators).fill(-1);
    this.names = Int32Array.from(
      ["", ...interfaces].flatMap((name) => constantWords(nameValue(name) ?? 0n, 128)),
    );
  }

  break(): number {
    this.broken = true;
    return 0;
  }

  /** The words of an IPv6 address that a handle stands for. */
  address(handle: number, key: Int32Array, at: number): void {
    const slab = this.#slab;
    this.environment.addresses!.write(handle, slab, 0);
    for (let word = 0; word < 4; word++) key[at + word] = slab.view.getInt32(word * 4);
  }
}

/** Any value as words. */
export function compileLoad(value: Value, machine: Machine): Load {
  if (value.bits <= 32) {
    const narrow = compileNarrow(value, machine);
    return (packet, key, at) => {
      machine.broken = false;
      key[at] = narrow(packet);
      return !machine.broken;
    };
  }
  switch (value.op) {
    case "const": {
      const words = Int32Array.from(constantWords(value.value, value.bits));
      return (_, key, at) => {
        key.set(words, at);
        return true;
      };
    }
    case "payload":
      return compileWidePayload(value);
    case "meta": {
      if (value.key === "time") {
        return ({ nowMs }, key, at) => {
          key[at] = key[at + 1] = 0;
          nanoseconds(nowMs, key, at + 2);
          return true;
        };
      }
      const { names } = machine;
      const incoming = value.key === "iifname";
      return (packet, key, at) => {
        const index = incoming ? packet.iif : packet.oif;
        const from = 4 * (index + 1 < names.length >> 2 ? index + 1 : 0);
        for (let word = 0; word < 4; word++) key[at + word] = names[from + word]!;
        return true;
      };
    }
    case "fib": {
      const { names } = machine;
      const { fib } = machine.environment;
      return (packet, key, at) => {
        if (fib === undefined) return false;
        const index = fib.oif(packet, value.destination, withinOf(value.restrict, packet));
        const from = 4 * (index + 1 < names.length >> 2 ? index + 1 : 0);
        for (let word = 0; word < 4; word++) key[at + word] = names[from + word]!;
        return true;
      };
    }
    case "ct": {
      const { tracker } = machine.environment;
      const way = value.direction === CtDirection.reply ? CtDirection.reply : CtDirection.original;
      const { key: name, direction } = value;
      if (name === "bytes" || name === "packets") {
        return (packet, key, at) => {
          if (tracker === undefined || packet.track.flow === NO_FLOW) return false;
          const counted = direction < 0
            ? tracker[name](packet.track, CtDirection.original) +
              tracker[name](packet.track, CtDirection.reply)
            : tracker[name](packet.track, way);
          key[at] = key[at + 1] = 0;
          key[at + 2] = Math.floor(counted / 0x1_0000_0000);
          key[at + 3] = counted % 0x1_0000_0000;
          return true;
        };
      }
      const end = name === "ip6 saddr" ? "source" : "destination";
      return (packet, key, at) => {
        if (tracker === undefined || packet.track.flow === NO_FLOW) return false;
        const address = tracker.address(packet.track, way, end);
        if (!isIpv6Handle(address)) return false;
        machine.address(address, key, at);
        return true;
      };
    }
    case "map": {
      const { set, part } = value;
      const find = compileFind(value.key, machine, machine.sets[set.id]!);
      const compiled = machine.sets[set.id]!;
      return (packet, key, at) => {
        const element = find(packet);
        if (element < 0 || !compiled.holdAll(element, packet)) return false;
        for (let word = 0; word < 4; word++) key[at + word] = compiled.word(element, part, word);
        return true;
      };
    }
    case "&":
    case "|":
    case "^": {
      const left = compileLoad(value.left, machine);
      const right = compileLoad(value.right, machine);
      const words = new Int32Array(4);
      const { op } = value;
      return (packet, key, at) => {
        if (!left(packet, key, at) || !right(packet, words, 0)) return false;
        for (let word = 0; word < 4; word++) {
          const a = key[at + word]!;
          const b = words[word]!;
          key[at + word] = op === "&" ? a & b : op === "|" ? a | b : a ^ b;
        }
        return true;
      };
    }
    default:
      throw new Error(`No value of ${value.bits} bits is a ${value.op}`);
  }
}

/** A key of several parts, one behind the other, in a buffer of its own, looked up in a set. */
export function compileFind(
  parts: readonly Value[],
  machine: Machine,
  set: CompiledSet,
): (packet: NftPacket) => number {
  const load = compileKey(parts, machine, set.parts);
  const key = new Int32Array(set.keyWords);
  return (packet) => load(packet, key) ? set.find(key, 0, packet.nowMs) : NO_KEY;
}

/** The packet does not have the key; -1 is a key that is not in the set. */
export const NO_KEY = -2;

/** Fills a key whose parts have these widths. */
export function compileKey(
  parts: readonly Value[],
  machine: Machine,
  widths: readonly number[],
): (packet: NftPacket, key: Int32Array) => boolean {
  const loads = parts.map((part, at) => padded(part, machine, widths[at]!));
  if (loads.length === 1) {
    const only = loads[0]!;
    return (packet, key) => only(packet, key, 0);
  }
  const starts: number[] = [];
  let words = 0;
  for (const bits of widths) {
    starts.push(words);
    words += wordsOf(bits);
  }
  return (packet, key) => {
    for (let at = 0; at < loads.length; at++) if (!loads[at]!(packet, key, starts[at]!)) return false;
    return true;
  };
}

function padded(value: Value, machine: Machine, bits: number): Load {
  const load = compileLoad(value, machine);
  if (wordsOf(value.bits) === wordsOf(bits)) return load;
  return (packet, key, at) => {
    key[at] = key[at + 1] = key[at + 2] = 0;
    return load(packet, key, at + 3);
  };
}

function withinOf(restrict: "iif" | "oif" | undefined, packet: NftPacket): number {
  return restrict === "iif" ? packet.iif : restrict === "oif" ? packet.oif : -1;
}

/** A value of up to 32 bits. */
export function compileNarrow(value: Value, machine: Machine): Narrow {
  switch (value.op) {
    case "const": {
      const constant = Number(BigInt.asIntN(32, value.value));
      return () => constant;
    }
    case "payload":
      return compilePayload(value, machine);
    case "meta":
      return compileMeta(value.key, machine);
    case "ct":
      return compileCt(value, machine);
    case "fib": {
      const { fib } = machine.environment;
      const { destination, restrict, result } = value;
      return (packet) => {
        if (fib === undefined) return machine.break();
        const within = withinOf(restrict, packet);
        if (result === "type") return fib.type(packet, destination, within);
        const oif = fib.oif(packet, destination, within);
        return result === "exists" ? (oif < 0 ? 0 : 1) : oif + 1;
      };
    }
    case "tcp option":
      return compileOption(value, findTcpOption, machine);
    case "exthdr":
      return compileOption(value, findExtension, machine);
    case "rt mtu": {
      const { fib } = machine.environment;
      return (packet) => {
        const mss = fib === undefined ? -1 : fib.mss(packet);
        return mss < 0 ? machine.break() : mss;
      };
    }
    case "numgen":
      return compileGenerator(value, machine);
    case "map": {
      const { set, part } = value;
      const compiled = machine.sets[set.id]!;
      const find = compileFind(value.key, machine, compiled);
      return (packet) => {
        const element = find(packet);
        if (element < 0 || !compiled.holdAll(element, packet)) return machine.break();
        return compiled.word(element, part, 0);
      };
    }
    default: {
      const left = compileNarrow(value.left, machine);
      const right = compileNarrow(value.right, machine);
      const mask = value.bits === 32 ? -1 : (1 << value.bits) - 1;
      switch (value.op) {
        case "&":
          return (packet) => left(packet) & right(packet) & mask;
        case "|":
          return (packet) => (left(packet) | right(packet)) & mask;
        case "^":
          return (packet) => (left(packet) ^ right(packet)) & mask;
        case "<<":
          return (packet) => {
            const from = left(packet);
            const by = right(packet) >>> 0;
            return by > 31 ? 0 : (from << by) & mask;
          };
        case ">>":
          return (packet) => {
            const from = left(packet);
            const by = right(packet) >>> 0;
            return by > 31 ? 0 : (from >>> by) & mask;
          };
      }
    }
  }
}

function compilePayload({ base, bit, bits }: Value & { readonly op: "payload" }, machine: Machine): Narrow {
  const network = base === "nh";
  const first = bit >> 3;
  const behind = (bit + bits + 7) >> 3;
  const whole = (bit & 7) === 0;
  if (whole && bits === 8) {
    return (packet) => {
      const from = network ? packet.start : packet.transport;
      if (from < 0 || from + behind > packet.end) return machine.break();
      return packet.slab.bytes[from + first]!;
    };
  }
  if (whole && bits === 16) {
    return (packet) => {
      const from = network ? packet.start : packet.transport;
      if (from < 0 || from + behind > packet.end) return machine.break();
      return packet.slab.view.getUint16(from + first);
    };
  }
  if (whole && bits === 32) {
    return (packet) => {
      const from = network ? packet.start : packet.transport;
      if (from < 0 || from + behind > packet.end) return machine.break();
      return packet.slab.view.getInt32(from + first);
    };
  }
  return (packet) => {
    const from = network ? packet.start : packet.transport;
    if (from < 0 || from + behind > packet.end) return machine.break();
    return readBits(packet.slab.bytes, from, bit, bits);
  };
}

/** Up to 32 bits from a byte on, as int32. They may touch five bytes. */
export function readBits(bytes: Uint8Array, from: number, bit: number, bits: number): number {
  const last = (bit + bits + 7) >> 3;
  let value = 0;
  for (let at = bit >> 3; at < last; at++) value = value * 256 + bytes[from + at]!;
  value = Math.floor(value / 2 ** (last * 8 - bit - bits));
  return bits === 32 ? (value % 0x1_0000_0000) | 0 : value % 2 ** bits;
}

function compileWidePayload({ base, bit, bits }: Value & { readonly op: "payload" }): Load {
  const network = base === "nh";
  const behind = (bit + bits + 7) >> 3;
  return (packet, key, at) => {
    const from = network ? packet.start : packet.transport;
    if (from < 0 || from + behind > packet.end) return false;
    if ((bit & 7) === 0 && bits === 128) {
      for (let word = 0; word < 4; word++) {
        key[at + word] = packet.slab.view.getInt32(from + (bit >> 3) + word * 4);
      }
      return true;
    }
    let end = bit + bits;
    for (let word = 3; word >= 0; word--) {
      const wide = Math.min(32, end - bit);
      key[at + word] = wide > 0 ? readBits(packet.slab.bytes, from, end - wide, wide) : 0;
      end -= wide;
    }
    return true;
  };
}

function compileMeta(key: (Value & { readonly op: "meta" })["key"], machine: Machine): Narrow {
  switch (key) {
    case "length":
      return (packet) => packet.end - packet.start;
    case "protocol":
      return (packet) => packet.nfproto === Nfproto.Ipv4 ? 0x0800 : 0x86dd;
    case "nfproto":
      return (packet) => packet.nfproto;
    case "l4proto":
      return (packet) => packet.protocol < 0 ? machine.break() : packet.protocol;
    case "mark":
      return (packet) => packet.mark;
    case "priority":
      return (packet) => packet.priority;
    case "iif":
      return (packet) => packet.iif + 1;
    case "oif":
      return (packet) => packet.oif + 1;
    case "pkttype":
      return (packet) => packet.packetType;
    case "random": {
      const { random } = machine.environment;
      return () => (random?.() ?? 0) | 0;
    }
    case "hour":
      return ({ nowMs }) => secondOfDay(nowMs);
    case "day":
      return ({ nowMs }) => weekday(nowMs);
    case "time":
    case "iifname":
    case "oifname":
      throw new Error(`meta ${key} is wider than 32 bits`);
  }
}

function compileCt({ key, direction }: Value & { readonly op: "ct" }, machine: Machine): Narrow {
  const { tracker } = machine.environment;
  if (key === "state") return (packet) => packet.track.state;
  const way = direction === CtDirection.reply ? CtDirection.reply : CtDirection.original;
  const absent = (packet: NftPacket): boolean => packet.track.flow === NO_FLOW;
  if (tracker === undefined) return () => machine.break();
  switch (key) {
    case "direction":
      return (packet) => absent(packet) ? machine.break() : packet.track.direction;
    case "zone":
      return ({ track }) => {
        if (track.flow !== NO_FLOW) return tracker.zone(track);
        return track.state === CtState.new ? track.zone : machine.break();
      };
    case "status":
      return (packet) => absent(packet) ? machine.break() : tracker.status(packet.track);
    case "mark":
      return (packet) => absent(packet) ? machine.break() : tracker.mark(packet.track);
    case "expiration":
      return (packet) =>
        absent(packet)
          ? machine.break()
          : Math.floor(tracker.expirationMs(packet.track, packet.nowMs) / 1_000);
    case "l3proto":
      return (packet) => {
        if (absent(packet)) return machine.break();
        return isIpv6Handle(tracker.address(packet.track, way, "source")) ? Nfproto.Ipv6 : Nfproto.Ipv4;
      };
    case "protocol":
      return (packet) => absent(packet) ? machine.break() : tracker.protocol(packet.track);
    case "proto-src":
    case "proto-dst": {
      const end = key === "proto-src" ? "source" : "destination";
      return (packet) => absent(packet) ? machine.break() : tracker.port(packet.track, way, end);
    }
    case "ip saddr":
    case "ip daddr": {
      const end = key === "ip saddr" ? "source" : "destination";
      return (packet) => {
        if (absent(packet)) return machine.break();
        const address = tracker.address(packet.track, way, end);
        return isIpv6Handle(address) ? machine.break() : address;
      };
    }
    case "bytes":
    case "packets":
    case "ip6 saddr":
    case "ip6 daddr":
      throw new Error(`ct ${key} is wider than 32 bits`);
  }
}

function compileOption(
  { kind, bit, bits, exists }: Value & { readonly op: "tcp option" | "exthdr" },
  find: (packet: NftPacket, kind: number, bytes: number) => number,
  machine: Machine,
): Narrow {
  const behind = (bit + bits + 7) >> 3;
  return (packet) => {
    const at = find(packet, kind, behind);
    if (exists) return at < 0 ? 0 : 1;
    if (at < 0 || at + behind > packet.end) return machine.break();
    return readBits(packet.slab.bytes, at, bit, bits);
  };
}

function compileGenerator(
  { generator, random, mod, offset }: Value & { readonly op: "numgen" },
  machine: Machine,
): Narrow {
  const { generators } = machine;
  const draw = machine.environment.random;
  if (random) return () => (Math.floor(((draw?.() ?? 0) >>> 0) * mod / 0x1_0000_0000) + offset) | 0;
  return () => {
    const next = generators[generator]! + 1;
    generators[generator] = next < mod ? next : 0;
    return (generators[generator]! + offset) | 0;
  };
}
