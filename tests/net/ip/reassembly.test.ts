import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import {
  Fragment,
  FRAGMENTS_MAX,
  Reassembly,
  REASSEMBLY_BYTES_MAX,
  REASSEMBLY_DATAGRAMS_MAX,
} from "../../../net/ip/reassembly.ts";
import { Drop } from "../../../net/wire/drop.ts";
import { patterned } from "../socket/world.ts";

interface Piece {
  id?: number;
  source?: number;
  offset: number;
  bytes: Uint8Array;
  more: boolean;
  ecn?: number;
  ipv6?: boolean;
  lengthMax?: number;
}

const HEADER = Uint8Array.of(0xaa, 0xbb, 0xcc, 0xdd);
const LENGTH_MAX = 65_515;

function add(reassembly: Reassembly, piece: Piece, nowMs = 0): Drop {
  const slab = Slab.of(7 + HEADER.length + piece.bytes.length + 3);
  slab.bytes.set(HEADER, 7);
  slab.bytes.set(piece.bytes, 7 + HEADER.length);
  const fragment = new Fragment();
  fragment.source = piece.source ?? 1;
  fragment.destination = 2;
  fragment.protocol = 17;
  fragment.identification = piece.id ?? 1;
  fragment.ipv6 = piece.ipv6 ?? false;
  fragment.offset = piece.offset;
  fragment.more = piece.more;
  fragment.ecn = piece.ecn ?? 0;
  fragment.lengthMax = piece.lengthMax ?? LENGTH_MAX;
  fragment.headerStart = 7;
  fragment.headerEnd = fragment.dataStart = 7 + HEADER.length;
  fragment.dataEnd = fragment.dataStart + piece.bytes.length;
  const reason = reassembly.add(fragment, slab, nowMs);
  slab.bytes.fill(0); // nothing of it may be kept
  return reason;
}

/** `bytes` cut at the multiples of eight in `cuts`. */
function cut(bytes: Uint8Array, cuts: readonly number[]): Piece[] {
  const ends = [...cuts.filter((at) => at > 0 && at < bytes.length), bytes.length];
  return ends.map((end, at) => {
    const offset = at === 0 ? 0 : ends[at - 1]!;
    return { offset, bytes: bytes.slice(offset, end), more: end < bytes.length };
  });
}

function whole(reassembly: Reassembly): number[] | undefined {
  const bytes = reassembly.whole?.bytes;
  if (bytes === undefined) return undefined;
  expect([...bytes.subarray(0, HEADER.length)]).toEqual([...HEADER]);
  return [...bytes.subarray(HEADER.length)];
}

function empty(reassembly: Reassembly): void {
  expect([reassembly.size, reassembly.bytes, reassembly.nextDeadlineMs()]).toEqual([0, 0, Infinity]);
}

test("fragments in any order make the datagram (RFC 791 section 3.2)", () => {
  const bytes = patterned(61);
  const pieces = cut(bytes, [16, 24, 48]);
  for (const order of [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]]) {
    const reassembly = new Reassembly();
    order.forEach((at, place) => {
      expect(add(reassembly, pieces[at]!)).toBe(Drop.None);
      expect(whole(reassembly)).toEqual(place === 3 ? [...bytes] : undefined);
    });
    empty(reassembly);
  }
});

test("datagrams are told apart by source, destination, protocol and identification", () => {
  const reassembly = new Reassembly();
  const pieces = cut(patterned(32), [16]);
  add(reassembly, { ...pieces[0]!, id: 1 });
  add(reassembly, { ...pieces[1]!, id: 2 });
  add(reassembly, { ...pieces[1]!, source: 9 });
  expect([reassembly.whole, reassembly.size]).toEqual([undefined, 3]);
  add(reassembly, { ...pieces[1]!, id: 1 });
  expect(whole(reassembly)).toEqual([...patterned(32)]);
});

test("overlapping fragments drop the datagram, exact duplicates are ignored (RFC 5722, RFC 8200 section 4.5)", () => {
  const bytes = patterned(64);
  for (const ipv6 of [false, true]) {
    const piece = (offset: number, end: number, more = true): Piece => ({
      offset,
      bytes: bytes.slice(offset, end),
      more,
      ipv6,
    });
    const reassembly = new Reassembly();
    add(reassembly, piece(0, 24));
    expect(add(reassembly, piece(0, 24))).toBe(Drop.Ipv4Fragment);
    expect([reassembly.counters.duplicates, reassembly.size]).toEqual([1, 1]);
    expect(add(reassembly, piece(16, 40))).toBe(Drop.Ipv4Fragment); // a teardrop
    expect(reassembly.counters.overlaps).toBe(1);
    empty(reassembly);
    add(reassembly, piece(0, 16));
    add(reassembly, piece(16, 32));
    add(reassembly, piece(8, 24)); // lies wholly in what is there
    expect([reassembly.counters.overlaps, reassembly.size]).toEqual(ipv6 ? [2, 0] : [1, 1]);
    add(reassembly, piece(32, 64, false));
    expect(whole(reassembly)).toEqual(ipv6 ? undefined : [...bytes]);
    const gap = new Reassembly();
    add(gap, piece(0, 8));
    add(gap, piece(16, 24));
    add(gap, piece(0, 24)); // covers both and what is between
    expect(gap.counters.overlaps).toBe(1);
    empty(gap);
  }
});

test("lying offsets and lengths drop the datagram", () => {
  const cases: [name: string, pieces: [offset: number, length: number, more: boolean][]][] = [
    ["nothing in it", [[0, 16, true], [16, 0, false]]],
    ["less than eight bytes, and more to come", [[0, 16, true], [16, 7, true]]],
    ["ends before what is there", [[16, 16, true], [0, 16, false]]],
    ["ends twice", [[16, 16, false], [24, 16, false]]],
    ["goes on behind the end", [[16, 16, false], [32, 16, true]]],
    ["a ping of death", [[65_504, 16, false]]],
    ["a ping of death that goes on", [[65_504, 16, true]]],
  ];
  for (const [name, pieces] of cases) {
    const reassembly = new Reassembly();
    const reasons = pieces.map(([offset, length, more]) =>
      add(reassembly, { offset, bytes: patterned(length), more })
    );
    expect(reasons.at(-1), name).toBe(Drop.Ipv4Fragment);
    expect(reassembly.counters.malformed, name).toBe(1);
    empty(reassembly);
  }
});

test("the longest datagram is put together; with longer headers on its first fragment it would be too long", () => {
  const bytes = patterned(LENGTH_MAX);
  const pieces = cut(bytes, [1480, 32_000, 65_512]);
  const reassembly = new Reassembly();
  pieces.forEach((piece) => void add(reassembly, piece));
  expect(reassembly.whole?.bytes.length).toBe(HEADER.length + LENGTH_MAX);
  pieces.toReversed().forEach((piece) =>
    void add(reassembly, { ...piece, lengthMax: piece.offset === 0 ? LENGTH_MAX - 1 : LENGTH_MAX })
  );
  expect([reassembly.whole, reassembly.counters.malformed]).toEqual([undefined, 1]);
  empty(reassembly);
});

test("a fragment that is not the last is cut to a multiple of eight, as Linux does", () => {
  const reassembly = new Reassembly();
  add(reassembly, { offset: 0, bytes: patterned(13), more: true });
  add(reassembly, { offset: 8, bytes: patterned(3), more: false });
  expect(whole(reassembly)).toEqual([...patterned(8), ...patterned(3)]);
});

test("ECN: congestion that one fragment met counts for all; capable and not capable do not mix (RFC 3168 section 5.3)", () => {
  const cases: [fields: [number, number], whole: boolean, congestion: boolean][] = [
    [[0, 0], true, false],
    [[2, 2], true, false],
    [[1, 2], true, false],
    [[2, 3], true, true],
    [[3, 1], true, true],
    [[3, 3], true, true],
    [[0, 3], false, false],
    [[2, 0], false, false],
    [[1, 0], false, false],
  ];
  for (const [fields, expected, congestion] of cases) {
    const reassembly = new Reassembly();
    cut(patterned(32), [16]).forEach((piece, at) => void add(reassembly, { ...piece, ecn: fields[at]! }));
    expect([fields, reassembly.whole !== undefined], "whole").toEqual([fields, expected]);
    if (expected) expect([fields, reassembly.congestionExperienced]).toEqual([fields, congestion]);
    empty(reassembly);
  }
});

test("after 30 s (IPv6: 60 s, RFC 8200 section 4.5) it gives up, and shows the first fragment if it has come", () => {
  const reassembly = new Reassembly();
  const [first, last] = cut(patterned(32), [16]);
  add(reassembly, { ...first!, id: 1 }, 1_000);
  add(reassembly, { ...last!, id: 2 }, 1_000);
  add(reassembly, { ...first!, id: 3, ipv6: true }, 1_000);
  const expired: [number[], boolean][] = [];
  const note = (slab: Slab, ipv6: boolean): void => void expired.push([[...slab.bytes], ipv6]);
  expect(reassembly.nextDeadlineMs()).toBe(31_000);
  reassembly.advance(30_999, note);
  expect([expired.length, reassembly.size]).toEqual([0, 3]);
  reassembly.advance(31_000, note);
  expect(expired).toEqual([[[...HEADER, ...patterned(16)], false]]);
  expect([reassembly.size, reassembly.nextDeadlineMs()]).toEqual([1, 61_000]);
  reassembly.advance(61_000, note);
  expect(expired.at(-1)![1]).toBe(true);
  expect(reassembly.counters.timeouts).toBe(3);
  empty(reassembly);
});

test("a datagram may have as many fragments as the narrowest link makes of the longest, not one more", () => {
  const reassembly = new Reassembly();
  for (let at = 0; at < FRAGMENTS_MAX; at++) {
    expect(add(reassembly, { offset: at * 16, bytes: patterned(8), more: true })).toBe(Drop.None);
  }
  expect(add(reassembly, { offset: FRAGMENTS_MAX * 16, bytes: patterned(8), more: true })).toBe(
    Drop.Ipv4Fragment,
  );
  empty(reassembly);
});

test("the oldest datagram makes room: one too many, and one byte too many", () => {
  const reassembly = new Reassembly();
  const first = { offset: 0, bytes: patterned(8), more: true };
  for (let id = 0; id < REASSEMBLY_DATAGRAMS_MAX; id++) add(reassembly, { ...first, id });
  expect([reassembly.size, reassembly.counters.evicted]).toEqual([REASSEMBLY_DATAGRAMS_MAX, 0]);
  add(reassembly, { ...first, id: 99_999 });
  expect([reassembly.size, reassembly.counters.evicted]).toEqual([REASSEMBLY_DATAGRAMS_MAX, 1]);
  const last = { offset: 8, bytes: patterned(8), more: false };
  add(reassembly, { ...last, id: 0 });
  expect(reassembly.whole).toBeUndefined(); // 0 was the oldest
  add(reassembly, { ...last, id: 2 });
  expect(whole(reassembly)).toEqual([...patterned(8), ...patterned(8)]);

  const cost = 512 + 256 + 1_024;
  const bytesMax = 3 * cost;
  const small = new Reassembly({ bytesMax });
  const kilobyte = { offset: 0, bytes: patterned(1_024), more: true };
  for (let id = 0; id < 3; id++) add(small, { ...kilobyte, id });
  expect([small.size, small.bytes]).toEqual([3, bytesMax]);
  add(small, { ...kilobyte, id: 3 });
  expect([small.size, small.bytes, small.counters.evicted]).toEqual([3, bytesMax, 1]);
});

test("no flood of fragments takes more memory than the limit", () => {
  const prng = new Prng(5);
  const reassembly = new Reassembly();
  let most = 0;
  for (let count = 0; count < 20_000; count++) {
    add(reassembly, {
      id: prng.below(5_000),
      source: prng.below(3),
      offset: prng.below(8_000) * 8,
      bytes: patterned(prng.chance(0.5) ? 8 : 1_480),
      more: true,
    });
    most = Math.max(most, reassembly.bytes);
  }
  expect(most).toBeLessThanOrEqual(REASSEMBLY_BYTES_MAX);
  expect(most).toBeGreaterThan(REASSEMBLY_BYTES_MAX * 0.3);
  reassembly.advance(Infinity, () => {});
  empty(reassembly);
});

/** The same by looking at every byte. */
class SlowTwin {
  readonly #datagrams = new Map<number, Piece[]>();

  add(piece: Piece): Uint8Array | undefined {
    const id = piece.id!;
    const others = this.#datagrams.get(id) ?? [];
    const length = piece.more ? piece.bytes.length - piece.bytes.length % 8 : piece.bytes.length;
    const end = piece.offset + length;
    const endOf = (each: Piece): number => each.offset + each.bytes.length;
    const last = others.find(({ more }) => !more);
    const highest = Math.max(0, ...others.map(endOf));
    const wrong = length <= 0 || end > piece.lengthMax! || (!piece.more && highest > end) ||
      (last !== undefined && (piece.more ? end > endOf(last) : end !== endOf(last)));
    if (wrong) return void this.#datagrams.delete(id);
    const owners = new Map<number, number>();
    others.forEach((each, owner) => each.bytes.forEach((_, at) => owners.set(each.offset + at, owner)));
    let taken = 0;
    for (let at = piece.offset; at < end; at++) if (owners.has(at)) taken++;
    if (taken > 0) {
      const same = others.some((each) => each.offset === piece.offset && endOf(each) === end);
      if (same || (!piece.ipv6 && taken === length)) return undefined;
      return void this.#datagrams.delete(id);
    }
    const all = [...others, { ...piece, bytes: piece.bytes.slice(0, length) }];
    this.#datagrams.set(id, all);
    const finalPiece = all.find(({ more }) => !more);
    if (finalPiece === undefined || owners.size + length !== endOf(finalPiece)) return undefined;
    this.#datagrams.delete(id);
    const first = all.find(({ offset }) => offset === 0)!;
    const ecn = new Set(all.map((each) => each.ecn));
    if (endOf(finalPiece) > first.lengthMax! || (ecn.has(0) && ecn.size > 1)) return undefined;
    const bytes = new Uint8Array(endOf(finalPiece));
    for (const each of all) bytes.set(each.bytes, each.offset);
    return bytes;
  }

  get size(): number {
    return this.#datagrams.size;
  }
}

test("by random fragments, honest and lying, reassembly and its slow twin make the same datagrams", () => {
  let wholes = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const prng = new Prng(seed);
    const reassembly = new Reassembly();
    const twin = new SlowTwin();
    const ipv6 = prng.chance(0.5);
    const lies = prng.pick([0, 0.02, 0.2]);
    const pieces: Piece[] = [];
    for (let id = 0; id < 8; id++) {
      const bytes = patterned(prng.between(9, 400), seed + id);
      const ecn = prng.below(4);
      const cuts = Array.from({ length: prng.between(1, 6) }, () => prng.between(1, 49) * 8);
      const parts = cut(bytes, [...new Set(cuts)].sort((a, b) => a - b));
      for (const part of parts) {
        const times = prng.chance(0.2) ? 2 : 1;
        for (let time = 0; time < times; time++) {
          pieces.push({ ...part, id, ipv6, ecn: ecn > 0 && prng.chance(0.2) ? 3 : ecn, lengthMax: 420 });
        }
      }
    }
    for (let left = pieces.length; left > 0; left--) { // shuffle
      const at = prng.below(left);
      [pieces[left - 1], pieces[at]] = [pieces[at]!, pieces[left - 1]!];
    }
    for (const honest of pieces) {
      const piece = prng.chance(lies)
        ? {
          ...honest,
          offset: prng.below(56) * 8,
          bytes: patterned(prng.below(60)),
          more: prng.chance(0.7),
          ecn: prng.below(4),
        }
        : honest;
      add(reassembly, piece);
      const expected = twin.add(piece);
      expect(whole(reassembly), `seed ${seed}`).toEqual(expected === undefined ? undefined : [...expected]);
      expect(reassembly.size, `seed ${seed}`).toBe(twin.size);
      if (expected !== undefined) wholes++;
    }
    reassembly.advance(Infinity, () => {});
    empty(reassembly);
  }
  expect(wholes).toBeGreaterThan(300);
});
