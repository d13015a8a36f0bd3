import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { runtime } from "../../base/runtime.ts";
import { compare, formatTable, interleave, spreadOf } from "../../bench/bench.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { RUN_ON } from "../support/runtimes.ts";

const MAIN = fileURLToPath(new URL("../../bench/main.ts", import.meta.url));

/** Runs the benches' command on this runtime. */
function run(...args: string[]): Promise<{ code: unknown; out: string; errors: string }> {
  const [program, ...rest] = [...RUN_ON[runtime], MAIN, ...args];
  return new Promise((resolve) => {
    execFile(program!, rest, { env: { ...process.env, NO_COLOR: "1" } }, (error, out, errors) => {
      resolve({ code: error === null ? 0 : error.code, out, errors });
    });
  });
}

test("bench --quick packets measures all four kinds of work and writes JSON", async () => {
  using folder = new TemporaryFolder();
  const { code, out, errors } = await run("--quick", "packets", "--json", folder.file("results.json"));
  expect({ code, errors }).toMatchObject({ code: 0 });
  expect(out.split("\n")[0]).toMatch(
    /^packets: .+ cores, \d+ GB, .+; (Node|Deno|Bun) [\d.]+; .+; load [\d.]+; quick/,
  );
  const { results } = JSON.parse(readFileSync(folder.file("results.json"), "utf8"));
  expect(results.map(({ name }: { name: string }) => name)).toEqual(["packets"]);
  expect(results[0].tables.length).toBe(4);
  for (const { rows } of results[0].tables) {
    // Ours as hosts, with offloads and without, recorded hosts, bare stacks three ways, and the peer.
    expect(rows.length).toBe(7);
    for (const [name, speed] of rows) expect(speed, name).toBeGreaterThan(0);
  }
});

test("bench --quick loss measures Linux and both directions of ours, or says what it lacks", async () => {
  const { code, out, errors } = await run("--quick", "loss");
  expect({ code, errors }).toMatchObject({ code: 0 });
  expect(out).toMatch(
    /one connection, 20 ms there and back(.|\n)*\n {2}1%( +[\d.]+ \(.*?\).*){3}|not measured/,
  );
});

test("bench refuses names that there are not, and names those that there are", async () => {
  const { code, out, errors } = await run("packets", "speed");
  expect(code).toBe(2);
  expect(errors).toContain(`There is no benchmark "speed"; there are packets, sleep, herd, `);
  expect(out).toBe("");
});

test("bench --list names every benchmark, and --help the options", async () => {
  const [list, help] = await Promise.all([run("--list"), run("--help")]);
  expect(list.out.split("\n").map((line) => line.split(" ")[0]).filter((name) => name !== "")).toEqual(
    [
      ...["packets", "sleep", "herd", "store", "image", "application", "crowd", "bytes"],
      ...[
        "copies",
        "allocation",
        "connection_map",
        "firewall",
        "conntrack",
        "tun",
        "million",
        "durable",
        "patch",
        "appliance",
        "loss",
      ],
    ],
  );
  for (const option of ["--quick", "--full", "--json", "--list", "--help"]) {
    expect(help.out).toContain(option);
  }
});

test("interleave() goes round by round and leaves the warm-ups out", async () => {
  const calls: string[] = [];
  const each = (name: string) => () => calls.push(name);
  const results = await interleave({ a: each("a"), b: each("b") }, { rounds: 2, warmUps: 1 });
  expect(calls).toEqual(["a", "b", "a", "b", "a", "b"]);
  expect(results).toEqual({ a: [3, 5], b: [4, 6] });
});

test("spreadOf() takes the median of odd and even counts", () => {
  expect(spreadOf([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3 });
  expect(spreadOf([4, 1, 3, 2])).toEqual({ median: 2.5, min: 1, max: 4 });
  expect(() => spreadOf([])).toThrow();
});

test("compare() puts the baseline first and refuses results that differ", async () => {
  const quick = { quick: true, full: false };
  const table = await compare("sums", { loop: () => 3, formula: () => 3 }, quick);
  expect(table.rows.map(([name]) => name)).toEqual(["loop", "formula"]);
  expect(table.rows[0]![4]).toBe("1.00x");
  await expect(compare("sums", { loop: () => 3, formula: () => 4 }, quick)).rejects.toThrow("formula");
});

test("formatTable() aligns columns and shows what was not measured as a dash", () => {
  const rows = [["a", 1_234.5, undefined], ["longer", { median: 0.5, min: 0.25, max: 12 }, NaN]];
  expect(formatTable({ title: "t", columns: ["", "ns", "x"], rows, notes: ["n"] })).toBe([
    "t",
    "                        ns  x",
    "  a                  1,235  -",
    "  longer  0.500 (0.250-12)  -",
    "  n",
  ].join("\n"));
});
