import { expect, test } from "vitest";
import { ownScripts } from "./corpus.ts";
import { isOutbound, MUTATIONS } from "./mutations.ts";
import { judge } from "./report.ts";

const tried = new Map<string, number>();

for (const { name, text } of ownScripts()) {
  test(`${name} fails when any of its expectations is spoilt`, () => {
    const lines = text.split("\n");
    const survivors: string[] = [];
    for (const [mutation, spoil] of MUTATIONS) {
      lines.forEach((line, at) => {
        const comment = line.indexOf("//");
        const code = (comment < 0 ? line : line.slice(0, comment)).trimEnd();
        const spoilt = spoil(code);
        if (spoilt === code || line.includes(`// any ${mutation}`)) return;
        tried.set(mutation, (tried.get(mutation) ?? 0) + 1);
        const mutant = lines.with(at, spoilt).join("\n");
        const outcome = judge(name, mutant, { ip: "ipv4", strict: true, sleep: false, flags: [] });
        if (outcome === undefined || outcome.verdict === "failed") return;
        survivors.push(`${at + 1}: ${mutation}: ${spoilt}: ${outcome.verdict} ${outcome.message}`);
      });
    }
    // A packet that the script does not mention (without its line time would stand still), and one that never comes.
    lines.forEach((line, at) => {
      if (!isOutbound(line)) return;
      const more = lines.toSpliced(at, 0, line.replace(/^\s*\S+/, "+0"));
      const less = /^\s*\+0\s/.test(line) ? [lines.toSpliced(at, 1)] : [];
      for (const mutant of [more, ...less]) {
        const outcome = judge(name, mutant.join("\n"), { ip: "ipv4", strict: true, sleep: false, flags: [] });
        if (outcome?.verdict === "passed") survivors.push(`${at + 1}: one packet more or less: ${line}`);
      }
    });
    expect(survivors).toEqual([]);
  });
}

test("every mutation was tried", () => {
  const names = MUTATIONS.map(([name]) => name);
  expect(names.filter((name) => !tried.has(name))).toEqual([]);
});
