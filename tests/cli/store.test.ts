import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Prng } from "../../base/random.ts";
import { readSocketImage } from "../../checkpoint/sockets/socket_image.ts";
import { idOf, locationText, parseLocation, placeOf } from "../../checkpoint/sockets/stored.ts";
import { FileStore } from "../../checkpoint/store/file_store.ts";
import { fillStore, peerImage } from "../checkpoint/sockets/sleepers.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { EACH, RUN_ON } from "../support/runtimes.ts";
import { drawSeed } from "../support/seed.ts";
import { torpor } from "./run.ts";

const TORPOR = fileURLToPath(new URL("../../cli/torpor.ts", import.meta.url));
const seed = drawSeed("STORE_SEED", 2 ** 31);
const temporary = new TemporaryFolder();
const sound = temporary.file("sound");
const COUNT = 150;
let live: Map<number, number>;
let copies = 0;

beforeAll(async () => {
  live = await fillStore(sound, new Prng(seed), COUNT);
});
afterAll(() => temporary[Symbol.dispose]());

/** A store of one's own to damage. */
function copy(): string {
  const folder = temporary.file(`copy ${++copies}`);
  cpSync(sound, folder, { recursive: true });
  return folder;
}

/** Every file's content, so that a change shows. */
function contents(folder: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(folder, { recursive: true, encoding: "utf8" }).sort().flatMap((name) => {
      const path = join(folder, name);
      return statSync(path).isFile() ? [[name, readFileSync(path, "hex")]] : [];
    }),
  );
}

interface Found {
  severity: string;
  file: string;
  offset: number;
  bytes: number;
  what: string;
  connections: number;
}

async function check(
  folder: string,
): Promise<{ code: number; found: Found[]; result: Record<string, number> }> {
  const before = contents(folder);
  const { code, out } = await torpor(["store", "check", folder, "--json"]);
  expect(contents(folder), `seed ${seed}: check changes nothing`).toEqual(before);
  const lines = out.trim().split("\n").map((line) => JSON.parse(line));
  return { code, found: lines.filter((line) => !line.result), result: lines.at(-1).result };
}

async function namesIn(folder: string): Promise<string[]> {
  const { out } = await torpor(["store", "ls", folder, "--json"]);
  return out.trim().split("\n").filter((line) => line).map((line) => JSON.parse(line).id).sort();
}

function flip(folder: string, file: string, at: number, bit = 1): void {
  const bytes = readFileSync(join(folder, file));
  bytes[at]! ^= bit;
  writeFileSync(join(folder, file), bytes);
}

const segments = (folder: string): string[] =>
  readdirSync(folder).filter((name) => name.endsWith(".seg")).sort();

test("a sound store: check says so, exit code 0, and counts what is there", async () => {
  const { code, found, result } = await check(sound);
  expect({ code, found }, `seed ${seed}`).toEqual({ code: 0, found: [] });
  expect(result).toMatchObject({ sound: true, connections: live.size, segments: segments(sound).length });
  const { out } = await torpor(["store", "check", sound]);
  expect(out).toMatch(/^sound: \d+ connections asleep, \d+ entries in \d+ segments, [\d,]+ bytes\n$/);
});

test("ls lists every live connection, filtered and counted; explain finds each by name and by location", async () => {
  const ids = await namesIn(sound);
  const store = await FileStore.open(copy());
  const expected = [...live.values()].map((location) => idOf(readSocketImage(store.read(location)))).sort();
  await store.close();
  expect(ids, `seed ${seed}`).toEqual(expected);
  const { out } = await torpor(["store", "ls", sound]);
  expect(out.split("\n")[0]).toMatch(
    /^\S+ +\w+ +\d{4}-.*Z {2}\d+ B out, \d+ B in, \d+ B attached, \d+ B at \d+:\d+$/,
  );
  expect((await torpor(["store", "ls", sound, "--count"])).out).toBe(`${live.size}\n`);
  expect((await torpor(["store", "ls", sound, "--count", "--port", "8"])).out).toBe("0\n");
  const from = (await torpor(["store", "ls", sound, "--count", "--from", "2001:db8::2"])).out;
  expect(Number(from)).toBe(ids.filter((id) => id.includes("[2001:db8::2]")).length);
  const [, location] = [...live][7]!;
  const byPlace = await torpor(["store", "explain", sound, locationText(location)]);
  expect(byPlace.code).toBe(0);
  expect(byPlace.out).toContain("socket image, version 3");
  expect(byPlace.out).toContain("rcvNxt = ");
  const id = byPlace.out.slice(0, byPlace.out.indexOf(", byte"));
  expect(await torpor(["store", "explain", sound, id])).toEqual(byPlace);
  const json = JSON.parse((await torpor(["store", "explain", sound, id, "--json"])).out);
  expect(json).toMatchObject({ ...placeOf(location), ok: true, connection: { id, localPort: 7 } });
  expect(await torpor(["store", "explain", sound, "10.7.0.1:7-9.9.9.9:9"])).toMatchObject({ code: 2 });
  expect(await torpor(["store", "explain", sound, "1:1"])).toMatchObject({
    code: 2,
    err: expect.stringContaining("no live record"),
  });
});

test("a flip of any byte of a segment is found where it is, costs one connection at most, and repair settles it", async () => {
  const prng = new Prng(seed);
  const [first] = segments(sound);
  const size = statSync(join(sound, first!)).size;
  const places = [0, 4, 17, 18, 20, 27, 31, 37, 45, ...Array.from({ length: 40 }, () => prng.below(size))];
  for (const at of places) {
    const folder = copy();
    const label = `seed ${seed}, byte ${at} of ${first}`;
    flip(folder, first!, at, 1 << prng.below(8));
    const { code, found, result } = await check(folder);
    expect(code, label).toBe(1);
    expect(found.length, label).toBeGreaterThan(0);
    for (const each of found) {
      expect(each.severity, label).toBe("damage");
      expect(each.connections, label).toBeLessThanOrEqual(1);
      expect(each.file, label).toBe(first);
      expect(at, label).toBeGreaterThanOrEqual(each.offset);
      expect(at, label).toBeLessThan(each.offset + each.bytes);
    }
    // With the index beside it, the count is exact.
    const lost = found.reduce((sum, { connections }) => sum + connections, 0);
    expect(result["connections"], label).toBe(live.size - lost);
    const before = contents(folder);
    const dry = await torpor(["store", "repair", folder, "--dry-run"]);
    expect([dry.code, contents(folder)], label).toEqual([1, before]);
    const { code: repaired, out } = await torpor(["store", "repair", folder]);
    expect(repaired, label).toBe(0);
    expect(dry.out.replaceAll("would ", ""), label).toBe(out.slice(0, out.indexOf("repaired")));
    expect(await check(folder), label).toMatchObject({ code: 0, found: [] });
    expect((await namesIn(folder)).length, label).toBe(live.size - lost);
    const [aside] = readdirSync(join(folder, "damaged"));
    const [name, from] = /^(\d{8}\.seg)\.(\d+)$/.exec(aside!)!.slice(1) as [string, string];
    const saved = readFileSync(join(folder, "damaged", aside!));
    expect(saved.toString("hex"), label).toBe(
      before[name]!.slice(2 * Number(from), 2 * (Number(from) + saved.length)),
    );
    rmSync(folder, { recursive: true });
  }
});

test("a torn end is what a crash leaves: a notice, exit code 0, cut off by repair and by opening", async () => {
  const folder = copy();
  const last = segments(folder).at(-1)!;
  const whole = readFileSync(join(folder, last));
  writeFileSync(join(folder, last), Buffer.concat([whole, whole.subarray(0, 30)]));
  const { code, found } = await check(folder);
  expect(code).toBe(0);
  expect(found).toMatchObject([{
    severity: "notice",
    file: last,
    offset: whole.length,
    bytes: 30,
    connections: 0,
  }]);
  expect(found[0]!.what).toContain("torn end");
  // It is not damage to anybody else either.
  expect(await torpor(["store", "ls", folder, "--count"])).toMatchObject({ code: 0, err: "" });
  expect(await torpor(["store", "repair", folder])).toMatchObject({ code: 0 });
  expect(await check(folder)).toMatchObject({ code: 0, found: [] });
  expect(await namesIn(folder)).toEqual(await namesIn(sound));
});

test("a segment that somebody has cut short is damage: its index knows what has gone, and nothing else goes", async () => {
  for (const file of segments(sound)) {
    const { length } = readFileSync(join(sound, file));
    for (const size of [0, 20, length >> 1, length - 60]) {
      const folder = copy();
      const told = `seed ${seed}: ${file} cut to ${size} of ${length} bytes`;
      writeFileSync(join(folder, file), readFileSync(join(folder, file)).subarray(0, size));
      const { code, found, result } = await check(folder);
      expect(code, told).toBe(1);
      expect(found, told).toMatchObject([{
        severity: "damage",
        file,
        what: expect.stringContaining("its index knows"),
      }]);
      expect(found[0]!.connections, told).toBe(live.size - result["connections"]!);
      const { code: repaired } = await torpor(["store", "repair", folder]);
      expect(repaired, told).toBe(0);
      expect(await check(folder), told).toMatchObject({ code: 0, found: [] });
      expect(await namesIn(folder), told).toHaveLength(result["connections"]!);
    }
  }
});

test("a segment that is not there is damage where its index is, and a notice when nothing lived in it", async () => {
  for (const file of segments(sound)) {
    const folder = copy();
    rmSync(join(folder, file));
    const { code, found } = await check(folder);
    const lost = [...live.values()].filter((location) => placeOf(location).file === file).length;
    expect(code, `seed ${seed}: ${file}`).toBe(lost > 0 ? 1 : 0);
    expect(found.filter(({ severity }) => severity === "damage"), `seed ${seed}: ${file}`).toMatchObject(
      lost > 0 ? [{ file, connections: lost, what: expect.stringContaining("is not there") }] : [],
    );
  }
});

test("indexes: a missing one is a notice, a damaged or wrong one is damage, and repair makes them anew", async () => {
  for (const harm of ["missing", "flipped", "another's", "unfinished", "orphan"]) {
    const folder = copy();
    const [first, second] = readdirSync(folder).filter((name) => name.endsWith(".idx")).sort();
    if (harm === "missing") rmSync(join(folder, first!));
    if (harm === "flipped") flip(folder, first!, 60);
    if (harm === "another's") cpSync(join(folder, second!), join(folder, first!));
    if (harm === "unfinished") writeFileSync(join(folder, `${first}.tmp`), "half");
    if (harm === "orphan") writeFileSync(join(folder, "00099999.idx"), "whose?");
    const { code, found } = await check(folder);
    const isDamage = ["flipped", "another's"].includes(harm);
    expect(code, harm).toBe(isDamage ? 1 : 0);
    expect(found, harm).toMatchObject([{ severity: isDamage ? "damage" : "notice", connections: 0 }]);
    expect(await torpor(["store", "repair", folder]), harm).toMatchObject({ code: 0 });
    expect(await check(folder), harm).toMatchObject({ code: 0, found: [] });
    expect(await namesIn(folder), harm).toEqual(await namesIn(sound));
  }
});

test("two images of one connection, and one that is none: repair keeps the later, and what it takes out", async () => {
  const folder = copy();
  const store = await FileStore.open(folder);
  const [, location] = [...live][3]!;
  const again = store.append([store.read(location), Uint8Array.of(1, 2, 3)]);
  await store.close();
  const { code, found } = await check(folder);
  expect(code, `seed ${seed}`).toBe(1);
  expect(found.find(({ severity }) => severity === "notice")).toMatchObject({
    ...placeOf(location),
    what: expect.stringContaining(`the one at ${locationText(again.locations[0]!)} is in force`),
  });
  expect(found.find(({ severity }) => severity === "damage")).toMatchObject({
    ...placeOf(again.locations[1]!),
    connections: 1,
  });
  expect((await torpor(["store", "compact", folder])).code).toBe(1);
  expect((await torpor(["store", "repair", folder])).code).toBe(0);
  expect(readdirSync(join(folder, "damaged")).length).toBe(2);
  expect(await check(folder)).toMatchObject({ code: 0, found: [] });
  expect(await namesIn(folder)).toEqual(await namesIn(sound));
});

test("compact keeps every connection, byte for byte, in less space", async () => {
  const folder = copy();
  const read = async (): Promise<string[]> => {
    await using store = await FileStore.open(folder);
    return Array.from(store.live(), ({ bytes }) => Buffer.from(bytes).toString("hex")).sort();
  };
  const before = await read();
  const { code, out } = await torpor(["store", "compact", folder, "--json"]);
  const { connections, bytesBefore, bytesAfter } = JSON.parse(out);
  expect({ code, connections }, `seed ${seed}`).toEqual({ code: 0, connections: live.size });
  expect(bytesAfter).toBeLessThan(bytesBefore);
  const onDisk = segments(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
  expect(Math.abs(onDisk - bytesAfter)).toBeLessThan(100); // a mark
  expect(await read()).toEqual(before);
  expect(await check(folder)).toMatchObject({ code: 0, found: [] });
});

test("a store that is open elsewhere is read as it is, and not changed", async () => {
  const folder = copy();
  await using store = await FileStore.open(folder);
  const { code, err } = await torpor(["store", "check", folder]);
  expect(code).toBe(0);
  expect(err).toContain(`process ${process.pid} has the store open`);
  store.append([peerImage(99_999, new Prng(seed))]);
  expect((await torpor(["store", "ls", folder, "--count"])).out).toBe(`${live.size + 1}\n`);
  for (const command of [["repair"], ["repair", "--dry-run"], ["compact"]]) {
    const refused = await torpor(["store", ...command, folder]);
    expect(refused, command.join(" ")).toMatchObject({
      code: 2,
      err: expect.stringContaining("has it open"),
    });
  }
});

test("wrong use: exit code 2, and what is wrong", async () => {
  const empty = temporary.file("empty");
  mkdirSync(empty);
  const cases: [string[], string][] = [
    [["store"], ""],
    [["store", "polish"], 'no command "polish"'],
    [["store", "check"], "which folder?"],
    [["store", "check", sound, sound], "one folder"],
    [["store", "check", empty], "is no store"],
    [["store", "repair", temporary.file("nowhere")], "ENOENT"],
    [["store", "ls", temporary.file("nowhere")], "ENOENT"],
    [["store", "ls", sound, "--port", "x"], '"x" is no whole number from 1 to 65535'],
    [["store", "ls", sound, "--from", "10.7.0"], '"10.7.0" is no address'],
    [["store", "ls", sound, "--color"], "--color"],
    [["explain", sound], "is a folder"],
    [["store", "explain", sound], "which connection?"],
  ];
  for (const [args, message] of cases) {
    const { code, err } = await torpor(args);
    expect(code, args.join(" ")).toBe(2);
    expect(err, args.join(" ")).toContain(message);
  }
  expect(readdirSync(temporary.path)).not.toContain("nowhere");
  for (const name of ["check", "repair", "compact", "ls", "explain"]) {
    const { code, out } = await torpor(["store", name, "--help"]);
    expect(code).toBe(0);
    expect(out).toContain(`torpor store ${name} `);
    expect(out).toContain("Exit codes: ");
  }
  expect((await torpor(["store", "--help"])).out).toContain("compact");
});

test("a segment that is shorter than its header is damage, and a notice where it is the last, which was never finished", async () => {
  const folder = copy();
  const first = segments(folder)[0]!;
  writeFileSync(join(folder, first), new Uint8Array(3));
  rmSync(join(folder, first.replace("seg", "idx"))); // which would know
  const last = "00099998.seg";
  writeFileSync(join(folder, last), new Uint8Array(5));
  const { code, found } = await check(folder);
  expect(code, `seed ${seed}`).toBe(1);
  expect(found.filter(({ what }) => what === "header and every entry are damaged")).toMatchObject([
    { severity: "damage", file: first, offset: 0, bytes: 3 },
  ]);
  expect(found.find(({ file }) => file === last)).toMatchObject({
    severity: "notice",
    what: expect.stringContaining("never finished"),
  });
});

test("a place in a store has one name, and a name beyond what a segment can hold is none", () => {
  expect(parseLocation("7:4096")).toBe(7 * 2 ** 32 + 4_096);
  expect(parseLocation("7:4294967295")).toBe(8 * 2 ** 32 - 1);
  expect(parseLocation("123456")).toBe(123_456);
  for (const text of ["7:4294967296", "9999999:0", "9999999999999999", "7:", ":7", "-1", "1e3", ""]) {
    expect(parseLocation(text), text).toBe(undefined);
  }
});

for (const runtime of EACH) {
  test(`torpor store on ${runtime}: ls, check, repair of a damaged folder, compact`, () => {
    const folder = copy();
    const [program, ...first] = RUN_ON[runtime];
    const run = (...args: string[]): string =>
      execFileSync(program!, [...first, TORPOR, "store", ...args], { encoding: "utf8" });
    expect(run("ls", folder, "--count")).toBe(`${live.size}\n`);
    flip(folder, segments(folder)[0]!, 100);
    expect(() => run("check", folder)).toThrow();
    expect(run("repair", folder)).toContain("repaired");
    expect(run("check", folder)).toMatch(/^sound: /);
    expect(run("compact", folder)).toMatch(/before, [\d,]+ bytes now/);
  }, 60_000);
}
