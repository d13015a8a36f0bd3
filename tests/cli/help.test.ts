import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import type { Command } from "../../cli/command.ts";
import { COMMANDS } from "../../cli/main.ts";
import { judge } from "../support/judge.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { torpor } from "./run.ts";
import { writeFileSync } from "node:fs";

/** Every command with the words that call it. */
const ALL: readonly [words: string, command: Command][] = COMMANDS.flatMap((each): [string, Command][] => [
  [each.name, each],
  ...(each.commands ?? []).map((sub): [string, Command] => [`${each.name} ${sub.name}`, sub]),
]);

test.each(ALL)(
  "torpor %s --help fits in 80 columns, with examples and exit codes",
  async (words, command) => {
    const { code, out } = await torpor([...words.split(" "), "--help"]);
    expect(code).toBe(0);
    for (const line of out.split("\n")) expect(line.length, line).toBeLessThan(80);
    if (command.commands !== undefined) return; // each of its commands has them
    expect(out).toMatch(/^Exit codes: /m);
    const uses = out.split("\n").filter((line) => /^ {2}(sudo |source <\()?torpor /.test(line));
    expect(uses.length, "how it is called, and an example").toBeGreaterThan(1);
  },
);

const LEAVES = ALL.filter(([, { commands }]) => commands === undefined);

test.each(LEAVES)("torpor %s has --json for machines, and refuses what it does not know", async (words) => {
  const { out } = await torpor([...words.split(" "), "--help"]);
  expect(out).toContain("--json");
  const refused = await torpor([...words.split(" "), "--no-such-option"]);
  expect(refused).toMatchObject({ code: 2, out: "", err: expect.stringContaining("no-such-option") });
});

test("there are colours before a screen, none without, and never any in JSON", async () => {
  using folder = new TemporaryFolder();
  const ran = (args: readonly string[], color: boolean) =>
    torpor(["doctor", folder.path, ...args], [], { color });
  const escape = "\x1b[";
  expect((await ran([], true)).out).toContain(escape);
  expect((await ran([], false)).out).not.toContain(escape);
  const { out } = await ran(["--json"], true);
  expect(out).not.toContain(escape);
  expect(JSON.parse(out).findings.length).toBeGreaterThan(4);
});

test("torpor --help lists every command", async () => {
  const { out } = await torpor(["--help"]);
  for (const { name, summary } of COMMANDS) expect(out).toContain(`  ${name.padEnd(13)}${summary}`);
  for (const line of out.split("\n")) expect(line.length, line).toBeLessThan(80);
});

judge("bash completes commands, their commands and their options", ["bash"], async () => {
  using folder = new TemporaryFolder();
  const script = folder.file("torpor.bash");
  writeFileSync(script, (await torpor(["completions", "bash"])).out);
  const completed = (...words: string[]): string[] =>
    execFileSync("bash", [
      "-c",
      `source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _torpor; printf '%s\\n' "\${COMPREPLY[@]}"`,
      script,
      ...words,
    ], { encoding: "utf8", cwd: folder.path }).trim().split("\n");
  expect(completed("torpor", "in")).toEqual(["inspect"]);
  expect(completed("torpor", "store", "re")).toEqual(["repair"]);
  expect(completed("torpor", "store", "repair", "--d")).toEqual(["--dry-run"]);
  expect(completed("torpor", "capture", "x", "--k")).toEqual(["--keys"]);
  expect(completed("torpor", "capture", "torp")).toEqual(["torpor.bash"]);
});

test("completions for zsh and fish name every command; of other shells it is said so", async () => {
  for (const shell of ["zsh", "fish"]) {
    const { out } = await torpor(["completions", shell]);
    for (const { name } of COMMANDS) expect(out).toContain(name);
  }
  expect((await torpor(["completions", "csh"])).code).toBe(2);
});

test("torpor bench measures in memory and in a folder, and leaves nobody there", async () => {
  using folder = new TemporaryFolder();
  for (const args of [[], [folder.file("bench")], [folder.file("bench")]]) {
    const { code, out } = await torpor(["bench", ...args, "--connections", "20", "--json"]);
    expect(code).toBe(0);
    const { connections, suspendsPerSecond, imageBytes, answerAsleepSeconds } = JSON.parse(out);
    expect(connections).toBe(20);
    expect(suspendsPerSecond).toBeGreaterThan(0);
    expect(imageBytes).toBeGreaterThan(50);
    expect(answerAsleepSeconds.p50).toBeGreaterThan(0);
  }
});
