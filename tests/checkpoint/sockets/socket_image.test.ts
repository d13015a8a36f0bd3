import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { explainImage, ImageError, Kind, readImage, writeImage } from "../../../checkpoint/image/mod.ts";
import { decodeSocket } from "../../../checkpoint/sockets/decode.ts";
import {
  readKeptSocket,
  readSocketImage as readWhole,
  writeSocketImage,
} from "../../../checkpoint/sockets/socket_image.ts";
import { bareOf, recordOf } from "../../../checkpoint/store/bare.ts";
import type { CborValue } from "../../../checkpoint/image/cbor.ts";
import { Prng } from "../../../base/random.ts";
import { freezeTcb } from "../../../net/tcp/freeze.ts";
import {
  FROZEN_TCB_ALWAYS,
  type FrozenTcb,
  frozenTcbDefaults,
  frozenTcbFields,
  isFrozenTcbDefault,
} from "../../../net/tcp/frozen_tcb.ts";
import { Tcb } from "../../../net/tcp/tcb.ts";
import { tcpReceive, tcpSend, tcpSetKeepAlive } from "../../../net/tcp/user.ts";
import { SleepyPeer } from "../../net/wake/sleepy_peer.ts";
import { quietTwin } from "./quiet_twin.ts";
import { decodeTagged, Mismatch, schema } from "../image/cddl.ts";

const cddl = schema(readFileSync(new URL("../../../checkpoint/image/image.cddl", import.meta.url), "utf8"));

/** The image and, in it, each field against the schema. */
function check(bytes: Uint8Array, tcb: FrozenTcb): void {
  cddl.check("image", decodeTagged(bytes));
  cddl.check("socket-later", tcb.slice(FROZEN_TCB_ALWAYS));
}

/** Reads an image, and what a log keeps of it, which must say the same. */
function readSocketImage(bytes: Uint8Array): ReturnType<typeof readWhole> {
  const bare = bareOf(bytes);
  if (bare !== undefined) twins(bare);
  return readWhole(bytes);
}

/** Both readers of an image say the same, or refuse it with the same words. */
function twins(bare: Uint8Array, what = ""): void {
  const told = (read: () => unknown): unknown => {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      return error.message;
    }
  };
  expect(told(() => readKeptSocket({ bytes: bare, isBare: true })), what)
    .toEqual(told(() => readWhole(recordOf(bare))));
  quietTwin(bare, 1e12, new Tcb(0));
}

/** A connection over which some requests went, idle for a minute. */
function idle(): SleepyPeer {
  const peer = new SleepyPeer();
  peer.open();
  peer.tcb.noDelay = true;
  for (let request = 0; request < 3; request++) {
    peer.in({
      sequence: peer.tcb.rcvNxt,
      acknowledgment: peer.tcb.sndMax,
      data: new Uint8Array(500),
      tsVal: 1_000_100 + request,
      tsEcr: peer.nowMs + peer.tcb.tsOffset,
    });
    tcpReceive(peer.stack.tcp, peer.tcb, new Uint8Array(500), 0, 500);
    tcpSend(peer.stack.tcp, peer.tcb, new Uint8Array(2000), 0, 2000);
    peer.pass(20);
    peer.in({
      sequence: peer.tcb.rcvNxt,
      acknowledgment: peer.tcb.sndMax,
      tsVal: 1_000_120 + request,
      tsEcr: peer.nowMs - 20 + peer.tcb.tsOffset,
    });
  }
  peer.pass(60_000);
  return peer;
}

const frozen = (peer: SleepyPeer): FrozenTcb => freezeTcb(peer.tcb, peer.nowMs);

test("the image of an idle connection is small, matches image.cddl and holds everything", () => {
  const peer = idle();
  const tcb = frozen(peer);
  const bytes = writeSocketImage(tcb, undefined);
  expect(bytes.length).toBeLessThanOrEqual(150);
  check(bytes, tcb);
  expect(readSocketImage(bytes)).toEqual({ tcb, attachment: undefined });
  const lines = explainImage(bytes);
  for (const name of ["frozenAtMs", "rcvNxt", "attachment"]) expect(lines).toContain(`  ${name} = `);
});

test("what idle connections have is read in one go, and damage that no hash has shown as by the general reader", () => {
  const sleeper = frozen(idle());
  const place = frozenTcbFields.indexOf("remoteAddress");
  const ipv6 = (sleeper as unknown[]).with(place, new Uint8Array(16).fill(0x20)) as FrozenTcb;
  const prng = new Prng(1);
  for (
    const [tcb, attachment] of [[sleeper, undefined], [sleeper, { user: 7 }], [ipv6, [null, "x"]]] as const
  ) {
    const bare = bareOf(writeSocketImage(tcb, attachment))!;
    expect(decodeSocket(bare, 3)?.tcb).toEqual(tcb);
    expect(decodeSocket(bare, 2)).toBeUndefined(); // another version is the general reader's
    for (let at = 0; at < bare.length; at++) {
      expect(decodeSocket(bare.subarray(0, at), 3)).toBeUndefined();
      for (
        const byte of [bare[at]! ^ (1 << prng.below(8)), prng.below(256), prng.pick([0x81, 0x18, 0xf6, 0])]
      ) {
        const damaged = bare.slice();
        damaged[at] = byte;
        twins(damaged, `byte ${at} is ${byte}`);
      }
    }
  }
});

/** Fields that cannot be large. */
const SMALL = ["typeOfService", "timeToLive", "softError", "retransmits", "backoff", "fastOpen"];

test("an image holds whatever there is: every field, alone and with others", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const prng = new Prng(seed);
    const tcb = frozen(idle0) as unknown[];
    for (let at = FROZEN_TCB_ALWAYS; at < tcb.length; at++) {
      if (!prng.chance(prng.pick([0, 0.05, 0.5]))) continue;
      const standard = frozenTcbDefaults[at - FROZEN_TCB_ALWAYS];
      if (frozenTcbFields[at] === "recovery") tcb[at] = 2;
      else if (frozenTcbFields[at] === "ahead") tcb[at] = [[prng.between(1, 100), new Uint8Array(3)]];
      else if (Array.isArray(standard)) tcb[at] = row(prng);
      else if (standard instanceof Uint8Array) tcb[at] = new Uint8Array(prng.below(100)).fill(at);
      else tcb[at] = SMALL.includes(frozenTcbFields[at]!) ? prng.between(1, 60) : prng.below(2 ** 31);
    }
    // What is in flight is part of what was written, and its segments add up.
    const place = (name: string): number => frozenTcbFields.indexOf(name);
    const flying = prng.pick([0, 60]);
    tcb[place("sndMaxOffset")] = flying;
    tcb[place("sent")] = flying === 0 ? [] : [0, 20, 0, 1_000, 40, 8, 0];
    if (flying > 0) tcb[place("sendQueue")] = new Uint8Array(70);
    const attachment = prng.pick([undefined, null, 0, "", false, [], [undefined].slice(1), { a: 1 }]);
    const bytes = writeSocketImage(tcb as FrozenTcb, attachment);
    check(bytes, tcb as FrozenTcb);
    // As the one codec writes it.
    const places = tcb.flatMap((_, at) => {
      return at < FROZEN_TCB_ALWAYS || isFrozenTcbDefault(tcb as FrozenTcb, at) ? [] : [at];
    });
    const always = tcb.slice(0, FROZEN_TCB_ALWAYS) as CborValue[];
    const body = [...always, attachment === undefined ? [] : [attachment as CborValue]];
    const later = places.flatMap((
      at,
      each,
    ) => [at - (places[each - 1] ?? FROZEN_TCB_ALWAYS - 1) - 1, kept(tcb[at])]);
    const body3 = later.length > 0 ? [...body, later] : body;
    expect(bytes, `seed ${seed}`).toEqual(writeImage({ kind: Kind.Socket, version: 3, body: body3 }));
    expect(readSocketImage(bytes), `seed ${seed}`).toEqual({ tcb, attachment });
    // And in version 2, with a map of places.
    const map = new Map(places.map((at) => [at - FROZEN_TCB_ALWAYS, tcb[at] as CborValue]));
    const old = writeImage({ kind: Kind.Socket, version: 2, body: map.size > 0 ? [...body, map] : body });
    expect(readSocketImage(old), `seed ${seed}`).toEqual({ tcb, attachment });
  }
});

/** A row that has something to say, behind zeros or not: short, for not everything may stand behind. */
function row(prng: Prng): number[] {
  return [...new Array<number>(prng.pick([0, 0, 2, 3, 4, 5])).fill(0), 1, 0, prng.below(2 ** 31)];
}

/** What version 3 keeps of it. */
function kept(value: unknown): CborValue {
  if (!Array.isArray(value) || typeof value[0] !== "number") return value as CborValue;
  const zeros = value.findIndex((number) => number !== 0);
  const rest = zeros < 0 ? [] : value.slice(zeros);
  return (zeros < 0 ? value.length : zeros) < 3 ? value : [[zeros < 0 ? value.length : zeros], ...rest];
}

test("images of versions 2 and 3 that were kept say the same, and today's code writes the latter", () => {
  const golden = (version: number): Uint8Array =>
    new Uint8Array(
      readFileSync(new URL(`../../golden/socket-v${version}-sending.img`, import.meta.url)),
    );
  const { tcb, attachment } = readSocketImage(golden(3));
  expect(readSocketImage(golden(2))).toEqual({ tcb, attachment });
  expect(attachment).toEqual({ user: "ada" });
  expect(tcb[frozenTcbFields.indexOf("sendQueue")]).toEqual(Uint8Array.of(1, 2, 3));
  expect(writeSocketImage(tcb, attachment)).toEqual(golden(3));
  const names = (version: number): string[] =>
    explainImage(golden(version)).match(/(?<=^ {2}byte \d+ {2})\w+/gm) ?? [];
  expect(names(3)).toEqual(names(2));
  expect(names(3)).toContain("sendQueue");
});
const idle0 = idle();

test("our keep-alive costs a deadline and its times", () => {
  const peer = idle();
  tcpSetKeepAlive(peer.stack.tcp, peer.tcb, true, peer.nowMs, 30_000, 5_000, 4);
  const tcb = frozen(peer);
  const bytes = writeSocketImage(tcb, undefined);
  expect(bytes.length).toBeLessThanOrEqual(170);
  expect(readSocketImage(bytes).tcb).toEqual(tcb);
});

test("an image of version 1, with all fields in one list, can be read", () => {
  const tcb = frozen(idle()) as unknown[];
  tcb[FROZEN_TCB_ALWAYS] = 4321;
  const body = [...tcb.slice(0, FROZEN_TCB_ALWAYS), ["kept"], 4321];
  const bytes = writeImage({ kind: Kind.Socket, version: 1, body: body as number[] });
  const always = tcb.slice(0, FROZEN_TCB_ALWAYS);
  const read = readSocketImage(bytes);
  expect(read).toEqual({ tcb: [...always, 4321, ...frozenTcbDefaults.slice(1)], attachment: "kept" });
});

test("an image whose hashes are right and whose fields cannot be so is refused by the field's name", () => {
  const tcb = frozen(idle()) as unknown[];
  const place = (name: string): number => frozenTcbFields.indexOf(name);
  for (
    const [name, good, bad] of [
      ["localPort", [1, 65_535], [0, 65_536, 1.5e300]],
      ["state", [3, 9], [0, 10, null]],
      ["issBehind", [0, 5], [-1]],
      ["sndShift", [0, 14], [-1, 15]],
      ["sndMssBelow", [0, 1_459], [1_460, -70_000]],
      ["timeToLive", [1, 255], [0, 256]],
      ["dupAcks", [0, 7], ["x"]], // of old images
      ["delayedAckIn", [null, -5, 40], ["x", 1e300]],
      ["sndMaxOffset", [0], [1, -1]],
      ["sent", [[], [0]], [[0, 5, 0, 0], [0, 1], [-1]]],
      ["ahead", [[], [[1, new Uint8Array(1)], [5, new Uint8Array(2)]]], [
        [[0, new Uint8Array(1)]],
        [[1, new Uint8Array(0)]],
        [[5, new Uint8Array(2)], [7, new Uint8Array(1)]],
        [[2 ** 30, new Uint8Array(1)]],
      ]],
      ["congestionState", [[0], [1]], [[2], [-1]]],
      ["recoveryState", [[0], [0, 0, 0, 0, 0, 0, 0, 0, 4, 3]], [[0, 0, 0, 0, 0, 0, 0, 0, 5], [
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        4,
      ], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]]],
    ] as const
  ) {
    const image = (value: unknown): Uint8Array =>
      writeSocketImage(tcb.with(place(name), value) as FrozenTcb, undefined);
    for (const value of good) readSocketImage(image(value));
    for (const value of bad) {
      expect(() => readSocketImage(image(value)), `${name} ${JSON.stringify(value)}`)
        .toThrow(`field "${name}" has the wrong type or value`);
    }
  }
});

test("in an image the front of a segment may have arrived, but not all of it, and records end in what is unsent", () => {
  const tcb = frozen(idle()) as unknown[];
  const place = (name: string): number => frozenTcbFields.indexOf(name);
  const image = (sent: number[], options: number[] = []): Uint8Array => {
    const flying = tcb.with(place("sndMaxOffset"), 60).with(place("sendQueue"), new Uint8Array(70));
    return writeSocketImage(
      flying.with(place("sent"), sent).with(place("options"), options) as FrozenTcb,
      undefined,
    );
  };
  const behind = (...ends: number[]): number[] => [0, 0, 0, 0, 0, 0, 0, 0, ...ends];
  const whole = [0, 20, 0, 1_000, 40, 8, 0];
  for (const front of [1, 19]) readSocketImage(image([-front, 20 + front, 0, 1_000, 40, 8, 0]));
  for (const sent of [[-20, 20, 0, 1_000, 60, 8, 0], [1, 19, 0, 1_000, 41, 8, 0]]) {
    expect(() => readSocketImage(image(sent))).toThrow('field "sent"');
  }
  for (const ends of [[61], [70], [61, 62, 70]]) readSocketImage(image(whole, behind(...ends)));
  for (const ends of [[60], [71], [62, 61], [61, 61], Array.from({ length: 1_025 }, (_, at) => at)]) {
    expect(() => readSocketImage(image(whole, behind(...ends))), `${ends}`).toThrow('field "options"');
  }
});

test("attachments come back: objects, maps, bytes of their own", () => {
  const tcb = frozen(idle());
  const attachments = [
    { user: "ada", tags: ["x", "y"], nested: { count: 3, none: null } },
    new Map<string | number, unknown>([[1, "one"], ["two", 2]]),
    Uint8Array.of(1, 2, 3),
    [Uint8Array.of(4), [Uint8Array.of(5)]],
    18446744073709551615n,
    1.5,
  ];
  for (const attachment of attachments) {
    const bytes = writeSocketImage(tcb, attachment);
    const back = readSocketImage(bytes).attachment;
    expect(back).toEqual(attachment);
    bytes.fill(0); // whoever reuses the bytes does not touch what was restored
    expect(back).toEqual(attachment);
  }
  expect(() => writeSocketImage(tcb, () => 1)).toThrow(TypeError);
  expect(() => writeSocketImage(tcb, { a: NaN })).toThrow(TypeError);
});

test("what is no socket's image is refused by name", () => {
  const tcb = frozen(idle()) as unknown[];
  const body = (change: (fields: unknown[]) => unknown[], version = 3): Uint8Array => {
    const fields = [...readImage(writeSocketImage(tcb as FrozenTcb, undefined)).body as unknown[]];
    return writeImage({ kind: Kind.Socket, version, body: change(fields) as number[] });
  };
  const refused = (bytes: Uint8Array, message: string): void => {
    expect(() => readSocketImage(bytes)).toThrow(ImageError);
    expect(() => readSocketImage(bytes)).toThrow(message);
  };
  refused(writeImage({ kind: Kind.Object, body: [] }), "need socket");
  refused(body(() => []), "0 fields");
  refused(body((fields) => fields.slice(0, FROZEN_TCB_ALWAYS)), `need ${FROZEN_TCB_ALWAYS + 1} to`);
  refused(body((fields) => [...fields, ...Array(90).fill(0)], 1), "fields, need");
  const later = (value: unknown) => (fields: unknown[]): unknown[] => [
    ...fields.slice(0, FROZEN_TCB_ALWAYS + 1),
    value,
  ];
  refused(body(later(5)), `"later" has the wrong type`);
  refused(body(later(5), 2), `"later" has the wrong type`);
  refused(body(later(new Map([["x", 1]])), 2), `"later" has the wrong type`);
  refused(body(later(new Map([[frozenTcbDefaults.length, 1]])), 2), `"later" has the wrong type`);
  refused(body(later(new Map([[0, "x"]])), 2), `"ssthresh" has the wrong type`);
  for (const wrong of [new Map(), [0], [-1, 1], ["x", 1], [0.5, 1], [frozenTcbDefaults.length, 1]]) {
    refused(body(later(wrong)), `"later" has the wrong type`);
  }
  refused(body(later([0, "x"])), `"ssthresh" has the wrong type`);
  const congestion = frozenTcbFields.indexOf("congestionState") - FROZEN_TCB_ALWAYS;
  for (
    const row of [[[2], 1], [[3], 0], [["x"], 1], [[3, 3], 1], [[1e9], 1], [0, 0, 0, 1], [[[3]], 1], [1, [3]]]
  ) {
    refused(body(later([congestion, row])), `"congestionState" has the wrong type`);
  }
  refused(body((fields) => [...later([])(fields), [[], [], 0], 0]), "fields, need");
  refused(body((fields) => [...later([])(fields), 0]), `"stretches" has the wrong type`);
  refused(body((fields) => [...later([])(fields), [[7], [], 0]]), "stretch 7 of its stream is missing");
  refused(writeImage({ kind: Kind.Socket, body: 7 }), "no fields");
  refused(body((fields) => fields.with(3, "80")), `"localPort" has the wrong type`);
  refused(body((fields) => fields.with(FROZEN_TCB_ALWAYS, 5)), `"attachment" has the wrong type`);
  refused(body((fields) => fields.with(FROZEN_TCB_ALWAYS, [1, 2])), `"attachment" has the wrong type`);
  const bytes = writeSocketImage(tcb as FrozenTcb, undefined);
  for (let at = 0; at < bytes.length; at++) {
    const flipped = bytes.slice();
    flipped[at]! ^= 1 << at % 8;
    expect(() => readSocketImage(flipped), `byte ${at}`).toThrow(ImageError);
  }
  expect(() => cddl.check("socket-body", tcb.slice(0, 5))).toThrow(Mismatch);
  expect(() => cddl.check("socket-body", [...tcb.slice(0, FROZEN_TCB_ALWAYS), [], "x"])).toThrow(Mismatch);
});
