import type { Stack } from "../../net/stack.ts";
import { ReadOffer } from "../../net/tcp/offer.ts";
import type { CborValue } from "../image/cbor.ts";
import { shown } from "../image/explain.ts";
import {
  address,
  addresses,
  bytes,
  type Codec,
  type Core,
  deadline,
  digest,
  firewall,
  listener,
  newSocket,
  nothing,
  now,
  optional,
  plain,
  scalar,
  slabOf,
  socket,
  tcb,
  tcp,
} from "./codecs.ts";

/**
 * THE BOUNDARY. A stack is determined by its entropy, by what its links accept, and by the calls that come from
 * outside, in their order: everything else happens inside. Here they are, all of them; a recording is a list of
 * these, and a replay makes the same ones.
 *
 * Whoever adds a way to change a stack from net/socket or checkpoint adds it here. Codes are for ever.
 */
export interface Call {
  readonly code: number;
  /** As messages and listings name it. */
  readonly name: string;
  /** What has the method. */
  readonly on: (stack: Stack) => object;
  readonly method: string;
  /** `set`: an assignment, not a call. */
  readonly set: boolean;
  /** What the packed arguments are. */
  readonly packed: readonly Codec[];
  pack(args: readonly unknown[], core: Core): CborValue[] | undefined;
  unpack(values: readonly CborValue[], core: Core): unknown[];
  /** What the outside learns: the result, and what was written into its arguments. */
  result(result: unknown, args: readonly unknown[], core: Core): CborValue;
}

/** What the stack says to the outside while a call is under way. */
export interface Upcall {
  readonly code: number;
  readonly name: string;
  readonly on: "upcalls" | "owner";
  readonly method: string;
  readonly packed: readonly Codec[];
  pack(args: readonly unknown[], core: Core): CborValue[];
  readonly answer: Codec;
}

type Shape = Partial<Pick<Call, "packed" | "pack" | "unpack" | "result" | "set">>;

const onStack = (stack: Stack): object => stack;
const onSleepers = (stack: Stack): object => stack.sleepers;
const onArp = (stack: Stack): object => stack.arp;
const onCalls = (stack: Stack): object => stack.calls;
const onListeners = (stack: Stack): object => stack.tcp.listeners;
const onUdp = (stack: Stack): object => stack.udp;
const onAddresses = (stack: Stack): object => stack.addresses;

function call(
  code: number,
  name: string,
  on: Call["on"],
  args: readonly Codec[],
  result: Codec,
  shape: Shape = {},
): Call {
  return {
    code,
    name,
    on,
    method: name.slice(name.lastIndexOf(".") + 1),
    set: false,
    packed: args.filter(({ implied }) => implied === undefined),
    pack: (values, core) => pack(args, values, core),
    unpack: (values, core) => unpack(args, values, core),
    result: (value, _args, core) => result.encode(value, core) ?? null,
    ...shape,
  };
}

function pack(codecs: readonly Codec[], values: readonly unknown[], core: Core): CborValue[] | undefined {
  const packed: CborValue[] = [];
  for (let at = 0; at < Math.min(values.length, codecs.length); at++) {
    const codec = codecs[at]!;
    if (codec.implied !== undefined) continue;
    const value = codec.encode(values[at], core);
    if (value === undefined) return undefined;
    packed.push(value);
  }
  return packed;
}

function unpack(codecs: readonly Codec[], values: readonly CborValue[], core: Core): unknown[] {
  let at = 0;
  const unpacked: unknown[] = [];
  for (const codec of codecs) {
    if (codec.implied !== undefined) unpacked.push(codec.implied(core));
    else if (at < values.length) unpacked.push(codec.decode(values[at++]!, core));
    else break;
  }
  return unpacked;
}

/** SEND: of the application's buffer, the part. */
const send: Shape = {
  packed: [tcb, bytes, scalar],
  pack: ([, connection, buffer, from, to, more], core) => {
    const known = tcb.encode(connection, core);
    if (known === undefined) return undefined;
    const part = (buffer as Uint8Array).subarray(from as number, to as number);
    return more === undefined ? [known, part] : [known, part, more as boolean];
  },
  unpack: ([known, part, more], core) => {
    const length = (part as Uint8Array).length;
    return [core.stack.tcp, tcb.decode(known!, core), part, 0, length, ...(more === undefined ? [] : [more])];
  },
};

/** RECEIVE: how much, and the digest of what came. */
const receive: Shape = {
  packed: [tcb, scalar],
  pack: ([, connection, , , limit], core) => {
    const known = tcb.encode(connection, core);
    return known === undefined ? undefined : [known, limit as number];
  },
  unpack: ([known, limit], core) => {
    const connection = tcb.decode(known!, core) as { receiveQueue: { length: number } };
    const length = Math.min(limit as number, connection.receiveQueue.length);
    return [core.stack.tcp, connection, new Uint8Array(length), 0, limit];
  },
  result: (count, [, , target, at]) => {
    if (count === 0) return 0;
    const start = at as number;
    return [count as number, digest((target as Uint8Array).subarray(start, start + (count as number)))];
  },
};

/** A buffer is offered: how long it is. The replay offers one of its own. */
const offer: Shape = {
  packed: [tcb, scalar],
  pack: ([connection, offered], core) => {
    const known = tcb.encode(connection, core);
    if (known === undefined) return undefined;
    return [known, offered === undefined ? null : (offered as ReadOffer).bytes.length];
  },
  unpack: ([known, length], core) => [
    tcb.decode(known!, core),
    length === null ? undefined : new ReadOffer(new Uint8Array(length as number)),
  ],
};

/** As `receive`, of what was put into the buffer. */
const takeOffered: Shape = {
  packed: [tcb],
  pack: ([, connection], core) => {
    const known = tcb.encode(connection, core);
    return known === undefined ? undefined : [known];
  },
  unpack: ([known], core) => {
    const connection = tcb.decode(known!, core) as { offer: ReadOffer };
    return [core.stack.tcp, connection, connection.offer];
  },
  result: (count, [, , offered]) => {
    if (count === 0) return 0;
    return [count as number, digest((offered as ReadOffer).bytes.subarray(0, count as number))];
  },
};

const frame: Shape = {
  packed: [scalar, bytes, now],
  pack: ([index, slab, start, end, nowMs], core) => [
    index as number,
    (slab as { bytes: Uint8Array }).bytes.subarray(start as number, end as number),
    now.encode(nowMs, core)!,
  ],
  unpack: ([index, whole, nowMs], core) => {
    const slab = slabOf(whole!);
    return [index, slab, 0, slab.bytes.length, now.decode(nowMs!, core)];
  },
};

const hashed: Codec = { encode: (value) => digest(value as Uint8Array), decode: nothing.decode };
const datagram: Codec = {
  encode: (value, core) => {
    if (value === undefined) return null;
    const from = value as { address: number; port: number; bytes: Uint8Array };
    return [address.encode(from.address, core)!, from.port, hashed.encode(from.bytes, core)!];
  },
  decode: nothing.decode,
};
const report: Codec = {
  encode: (value, core) => {
    if (value === undefined) return null;
    const about = value as { error: number; address: number; port: number; mtu: number };
    return [about.error, address.encode(about.address, core)!, about.port, about.mtu];
  },
  decode: nothing.decode,
};

/** Columns of words, as far as they are filled. */
const adoptSummaries: Shape = {
  packed: [plain, plain, now],
  pack: ([count, locations, words, nowMs], core) => [
    [...(locations as Float64Array).subarray(0, count as number)],
    (words as readonly Int32Array[]).map((column) => [...column.subarray(0, count as number)]),
    now.encode(nowMs, core)!,
  ],
  unpack: ([locations, words, nowMs], core) => [
    (locations as number[]).length,
    Float64Array.from(locations as number[]),
    (words as number[][]).map((column) => Int32Array.from(column)),
    now.decode(nowMs!, core),
  ],
};

/** The link is replaced by the replay's own. */
const addInterface: Shape = {
  packed: [scalar, scalar, scalar, plain],
  pack: ([options]) => {
    const { name, link, mac } = options as Parameters<Stack["addInterface"]>[0];
    return [name, link.medium, link.mtu, ...(mac === undefined ? [] : [[mac.hi, mac.lo]])];
  },
  unpack: ([name, medium, mtu, mac]) => {
    const [hi, lo] = (mac ?? []) as number[];
    return [{ name, link: { medium, mtu }, ...(mac === undefined ? {} : { mac: { hi, lo } }) }];
  },
};

const unbind: Shape = {
  result: (_result, [closed], { sockets }) => {
    sockets.delete((closed as { id: number }).id);
    return null;
  },
};

/** Packed arguments in words. */
export function describe(codecs: readonly Codec[], values: readonly CborValue[], core: Core): string {
  return values.map((value, at) => codecs[at]?.show?.(value, core) ?? shown(value)).filter((text) =>
    text !== ""
  )
    .join(", ");
}

export const CALLS: readonly Call[] = [
  call(1, "receive", onStack, [], scalar, frame),
  call(2, "poll", onStack, [now, scalar], deadline),
  call(3, "addInterface", onStack, [], scalar, addInterface),
  call(4, "setRoutes", onStack, [plain], nothing),
  call(5, "autoconfigure", onStack, [scalar, plain, now], nothing),
  call(6, "firewall", onStack, [firewall], nothing, { set: true }),
  call(16, "setRules", onStack, [optional], nothing),
  call(17, "learnNames", onStack, [plain, plain, now], nothing),
  call(18, "restoreFlows", onStack, [plain, scalar], scalar),
  call(7, "accepting", onStack, [scalar], nothing, { set: true }),
  call(15, "sharesAddresses", onStack, [scalar], nothing, { set: true }),
  call(8, "limitMtu", onStack, [scalar, deadline], nothing),
  call(9, "arp.probe", onArp, [scalar, address], nothing),
  call(10, "arp.claimed", onArp, [scalar], address),
  call(11, "arp.announce", onArp, [scalar, address], nothing),
  call(12, "frames.flush", (stack) => stack.output.frames, [], nothing),
  call(13, "output.mtuTowards", (stack) => stack.output, [address], scalar),

  call(20, "sleepers.wake", onSleepers, [scalar, now], nothing),
  call(21, "sleepers.beginSave", onSleepers, [tcb], nothing),
  call(22, "sleepers.sleep", onSleepers, [tcb, scalar], deadline),
  call(23, "sleepers.unsave", onSleepers, [tcb, now], nothing),
  call(24, "sleepers.adopt", onSleepers, [plain, scalar, now, nothing, scalar], plain),
  call(38, "sleepers.adoptSummaries", onSleepers, [], plain, adoptSummaries),
  call(25, "sleepers.resume", onSleepers, [scalar, plain, nothing, now], tcb),
  call(26, "sleepers.forget", onSleepers, [scalar, now, optional], nothing),
  call(28, "sleepers.relocate", onSleepers, [plain, scalar, scalar], scalar),
  call(29, "sleepers.due", onSleepers, [scalar, now], deadline),
  call(31, "sleepers.setPolicy", onSleepers, [listener, optional], nothing),
  call(32, "sleepers.logged", onSleepers, [tcb, scalar, scalar, scalar, now], nothing),
  call(27, "tcp.destroy", (stack) => stack.tcp, [tcb, scalar], nothing),

  call(40, "tcp.connect", onCalls, [tcp, address, scalar, address, scalar, now, optional, bytes], tcb),
  call(41, "tcp.send", onCalls, [], scalar, send),
  call(42, "tcp.sendUrgent", onCalls, [], scalar, send),
  call(43, "tcp.sendAll", onCalls, [tcp, tcb, bytes, scalar, scalar], scalar),
  call(44, "tcp.receive", onCalls, [], scalar, receive),
  call(68, "tcp.offer", onCalls, [], nothing, offer),
  call(69, "tcp.takeOffered", onCalls, [], scalar, takeOffered),
  call(45, "tcp.shutdown", onCalls, [tcp, tcb], nothing),
  call(46, "tcp.close", onCalls, [tcp, tcb, now], nothing),
  call(47, "tcp.abort", onCalls, [tcp, tcb, now], nothing),
  call(48, "tcp.setNoDelay", onCalls, [tcp, tcb, scalar], nothing),
  call(49, "tcp.setKeepAlive", onCalls, [tcp, tcb, scalar, now, scalar, scalar, scalar], nothing),
  call(50, "tcp.setCongestionControl", onCalls, [tcb, scalar], nothing),
  call(51, "tcp.setReceiveBuffer", onCalls, [tcp, tcb, scalar], nothing),
  call(52, "tcp.setSendBuffer", onCalls, [tcp, tcb, scalar], nothing),
  call(53, "tcp.setOptions", onCalls, [tcp, tcb, plain, now], nothing),
  call(54, "tcp.setListener", onCalls, [tcp, tcb, scalar], nothing),
  call(55, "tcp.wantDrained", onCalls, [tcb], nothing),
  call(56, "tcp.freeze", onCalls, [tcb, now, addresses], plain),

  call(58, "tcp.setProtocol", onCalls, [tcb, plain], nothing),
  call(57, "tcp.sendRecord", onCalls, [], scalar, send),
  call(65, "tcp.makeDurable", onCalls, [tcb], nothing),
  call(59, "tcp.keepReads", onCalls, [tcb], nothing),
  call(66, "tcp.remember", onCalls, [tcp, tcb], nothing),
  call(67, "tcp.log", onCalls, [tcb, now, addresses, scalar, scalar], plain),

  call(60, "listeners.add", onListeners, [address, scalar, scalar, scalar], listener),
  call(61, "listeners.remove", onListeners, [listener], nothing),
  call(62, "listeners.configure", onListeners, [listener, optional, scalar], nothing),
  call(63, "listeners.taken", onListeners, [listener], nothing),
  call(64, "listeners.putBack", onListeners, [listener], nothing),

  call(70, "udp.bind", onUdp, [address, scalar, address, scalar, scalar], newSocket),
  call(71, "udp.unbind", onUdp, [socket], nothing, unbind),
  call(72, "udp.send", onUdp, [address, scalar, address, scalar, bytes, now, socket], scalar),
  call(73, "udp.broadcast", onUdp, [scalar, address, scalar, scalar, bytes, now], scalar),
  call(74, "udp.configure", onUdp, [socket, plain], nothing),
  call(75, "udp.take", onUdp, [socket], datagram),
  call(76, "udp.takeReport", onUdp, [socket], report),

  call(80, "igmp.join", (stack) => stack.igmp, [scalar, address, now], scalar),
  call(81, "igmp.leave", (stack) => stack.igmp, [scalar, address, now], nothing),
  call(82, "mld.join", (stack) => stack.mld, [scalar, address, now], scalar),
  call(83, "mld.leave", (stack) => stack.mld, [scalar, address, now], nothing),

  call(90, "addresses.parse", onAddresses, [scalar], address),
  call(91, "addresses.retain", onAddresses, [address], nothing),
  call(92, "addresses.release", onAddresses, [address], nothing),
  call(95, "draws.below", (stack) => stack.draws, [scalar], scalar),
];

/** The stack itself is made: `[options]`. */
export const NEW_STACK = 0;
/** A keeper of the sleepers has come or gone: `[whether there is one]`. */
export const SLEEP_OWNER = 30;

/** What has the property under which somebody is told. */
export function tellerOf(stack: Stack, on: Upcall["on"]): object {
  return on === "owner" ? stack.sleepers : stack;
}

/** Gives a firewall of the stack other rules: it is no method of the stack, and its firewalls come and go. */
export const FIREWALL_REPLACE: Call = call(
  14,
  "firewall.replace",
  (stack) => stack.firewall!,
  [plain],
  nothing,
);

export const CALL_BY_CODE: ReadonlyMap<number, Call> = new Map(
  [...CALLS, FIREWALL_REPLACE].map((each) => [each.code, each]),
);

function upcall(
  code: number,
  on: Upcall["on"],
  method: string,
  args: readonly Codec[],
  answer: Codec = nothing,
): Upcall {
  // What was let go of between the event and the news of it has no number any more.
  const known = args.map((codec): Codec => ({ ...codec, encode: (...of) => codec.encode(...of) ?? null }));
  return {
    code,
    name: method,
    on,
    method,
    packed: known,
    pack: (values, core) => pack(known, values, core)!,
    answer,
  };
}

export const UPCALLS: readonly Upcall[] = [
  upcall(1, "upcalls", "tcpEvents", [tcb, scalar]),
  upcall(2, "upcalls", "udpReadable", [socket]),
  upcall(3, "upcalls", "tcpSuspended", [tcb, scalar]),
  upcall(4, "upcalls", "tcpRestored", [tcb, scalar]),
  upcall(5, "upcalls", "stray", [scalar, bytes], scalar),
  upcall(10, "owner", "watch", [tcb, deadline]),
  upcall(11, "owner", "wake", [scalar, deadline]),
  upcall(12, "owner", "deadlineMoved", [scalar, deadline]),
  upcall(13, "owner", "turn", [deadline]),
  upcall(14, "owner", "nextDeadlineMs", [], deadline),
  upcall(15, "owner", "waits", [scalar], scalar),
  upcall(16, "owner", "moved", [tcb]),
];

export const UPCALL_BY_CODE: ReadonlyMap<number, Upcall> = new Map(UPCALLS.map((each) => [each.code, each]));
