import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Prng } from "../../base/random.ts";
import { FileStore } from "../../checkpoint/store/file_store.ts";
import { fillStore } from "../checkpoint/sockets/sleepers.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { EACH, RUN_ON } from "../support/runtimes.ts";
import { drawSeed } from "../support/seed.ts";
import { torpor } from "./run.ts";

const TORPOR = fileURLToPath(new URL("../../cli/torpor.ts", import.meta.url));
const seed = drawSeed("ARCHIVE_SEED", 2 ** 31);
const temporary = new TemporaryFolder();
afterAll(() => temporary[Symbol.dispose]());
const store = temporary.file("store");
const file = temporary.file("it.archive");
let count: number;

beforeAll(async () => {
  count = (await fillStore(store, new Prng(seed), 120)).size;
  const { code, out } = await torpor(["archive", store, file, "--json"]);
  expect({ code, ...JSON.parse(out) }).toEqual({
    code: 0,
    connections: count,
    bytes: readFileSync(file).length,
  });
});

const names = async (folder: string): Promise<string[]> =>
  (await torpor(["store", "ls", folder, "--json"])).out.trim().split("\n").map((line) => JSON.parse(line).id)
    .sort();

test("archive, unarchive, unarchive elsewhere", async () => {
  const [same, moved] = [temporary.file("same"), temporary.file("moved")];
  expect((await torpor(["unarchive", file, same])).out).toBe(`${count} connections, 0 of them moved\n`);
  expect(await names(same)).toEqual(await names(store));
  expect(await torpor(["unarchive", file, moved, "--move", "10.7.0.1=10.8.0.1", "--json"])).toMatchObject({
    code: 0,
  });
  expect(await names(moved)).toEqual(
    (await names(store)).map((name) => name.replace("10.7.0.1:", "10.8.0.1:")).sort(),
  );
  expect((await torpor(["store", "check", moved])).code).toBe(0);
});

test("explain prints an archive: its beginning, every connection, its end; and what is damaged", async () => {
  const { code, out } = await torpor(["explain", file]);
  expect(code).toBe(0);
  expect(out.match(/archive image, version 1/g)?.length).toBe(2);
  expect(out.match(/socket image, version 3/g)?.length).toBe(count);
  expect(out).toContain(`connections = ${count}`);
  expect(out).not.toContain("BAD");
  const bytes = readFileSync(file);
  bytes[200]! ^= 4;
  const bad = temporary.file("bad.archive");
  writeFileSync(bad, bytes);
  const told = await torpor(["explain", bad]);
  expect(told.code).toBe(1);
  expect(told.out).toMatch(/at byte \d+: BAD, \d+ bytes: entry at byte \d+ (hashes to|is )/);
  expect(told.out.match(/socket image, version 3/g)?.length).toBe(count - 1);
  const lines = (await torpor(["explain", bad, "--json"])).out.trim().split("\n").map((line) =>
    JSON.parse(line)
  );
  expect(lines.filter(({ ok }) => !ok)).toMatchObject([{ damage: expect.any(String), file: bad }]);
  const some = await torpor(["unarchive", bad, temporary.file("some")]);
  expect(some).toMatchObject({ code: 1, out: `${count - 1} connections of ${count}, 0 of them moved\n` });
  expect(some.err).toMatch(/byte \d+ to \d+: entry/);
});

test("wrong use is exit code 2, and says what is wrong", async () => {
  await using open = await FileStore.open(temporary.file("open"));
  expect(open.stats.recordsLive).toBe(0);
  const cases: [string[], string][] = [
    [["archive", store], "which folder"],
    [["archive", temporary.file("nowhere"), "x"], "ENOENT"],
    [["archive", store, file], "it is there already"],
    [["archive", temporary.file("open"), temporary.file("x")], "has it open"],
    [["unarchive", file], "which file"],
    [["unarchive", temporary.file("nowhere"), temporary.file("y")], "ENOENT"],
    [["unarchive", file, store], "are in the store already"],
    [["unarchive", file, temporary.file("z"), "--move", "10.7.0.1"], "is not FROM=TO"],
    [["unarchive", file, temporary.file("z"), "--move", "10.7.0.1=x"], '"x" is no address'],
    [["unarchive", TORPOR, temporary.file("z")], "it is no archive"],
  ];
  for (const [args, message] of cases) {
    expect(await torpor(args), message).toMatchObject({ code: 2, err: expect.stringContaining(message) });
  }
  for (const name of ["archive", "unarchive"]) {
    expect((await torpor([name, "--help"])).out).toContain("Exit codes: ");
  }
});

test.runIf(EACH.length > 0)("an archive of one runtime is read by the others", () => {
  const run = (runtime: keyof typeof RUN_ON, ...args: string[]): string => {
    const [program, ...rest] = RUN_ON[runtime];
    return execFileSync(program!, [...rest, TORPOR, ...args], { encoding: "utf8" });
  };
  const [one, two] = [temporary.file("one"), temporary.file("two")];
  expect(run("deno", "unarchive", file, one)).toBe(`${count} connections, 0 of them moved\n`);
  expect(run("deno", "archive", one, `${one}.archive`)).toContain(`${count} connections in`);
  expect(run("bun", "unarchive", `${one}.archive`, two)).toBe(`${count} connections, 0 of them moved\n`);
  expect(run("bun", "archive", two, `${two}.archive`)).toContain(`${count} connections in`);
  expect(run("node", "explain", `${two}.archive`).match(/socket image/g)?.length).toBe(count);
}, 60_000);
