import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Cell, Table } from "../bench.ts";
import { has, round, sh, torpor, torporCommand } from "./shell.ts";
import { NAMES } from "./trees.ts";

/** Both in one tree, and what dpkg, debsums and mtree say of it. */
export function merged(folder: string, quick: boolean): Table {
  for (const name of NAMES) {
    if (!existsSync(join(folder, `${name}.diff`))) {
      torpor(folder, `appliance diff base ${name} ${name}.diff --services ${name}.json`);
    }
  }
  const make = torpor(folder, "appliance merge base nginx.diff redis.diff --out both.diff --json");
  const told = make.out.trim().split("\n").map((line) => JSON.parse(line));
  const apply = torpor(folder, "appliance apply base both.diff both");
  const rows: Cell[][] = [
    ["conflicts", told.at(-1).conflicts],
    ["decisions", told.at(-1).resolved],
    ["bytes", told.at(-1).bytes],
    ["merge, CPU s", round(make.seconds)],
    ["apply, CPU s", round(apply.seconds)],
  ];
  const decided = new Set(
    told.flatMap(({ resolved }) => typeof resolved === "object" ? [resolved.path] : []),
  );
  let files = 0;
  const differing: string[] = [];
  for (const name of NAMES) {
    const inspected = (tree: string): Map<string, string> => {
      const { out } = torpor(folder, `appliance inspect ${tree} --mtree`);
      return new Map(out.split("\n").map((line) => [line.slice(0, line.indexOf(" ") >>> 0), line]));
    };
    const base = inspected("base"), own = inspected(name), both = inspected("both");
    for (const [path, line] of own) {
      if (base.get(path) === line || /type=dir/.test(line)) continue;
      files++;
      if (both.get(path) !== line && !decided.has(path.slice(2))) differing.push(path);
    }
  }
  rows.push([
    `of ${files} names that they brought, other than in their appliance and not told`,
    differing.length,
  ]);
  if (quick) return { title: "both in one", columns: ["", ""], rows };
  rows.push(["dpkg --audit", sh(folder, "chroot both dpkg --audit").trim() || "clean"]);
  if (has("debsums")) {
    const wrong = spawnSync("debsums", ["--root", join(folder, "both"), "-s"], { encoding: "utf8" });
    rows.push(["debsums", wrong.stderr.trim() || wrong.stdout.trim() || "clean"]);
  }
  if (has("mtree")) {
    sh(folder, `${torporCommand("appliance inspect both --mtree")} > spec`);
    rows.push(["mtree", sh(folder, "mtree -f spec -p both || true").trim() || "clean"]);
  }
  return { title: "both in one", columns: ["", ""], rows };
}
