import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { compareTrees } from "../../checkpoint/appliances/compare.ts";
import { openAppliance } from "../../checkpoint/appliances/disk/open_appliance.ts";
import { writeDiff } from "../../checkpoint/appliances/disk/diff_file.ts";
import { Tree } from "../../checkpoint/appliances/tree.ts";
import { writeTree } from "../../cli/appliance/write.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";
import { RUN_ON } from "../support/runtimes.ts";
import { opened } from "../checkpoint/appliances/opened.ts";
import { fileOf, folder, tarOf } from "../checkpoint/appliances/trees.ts";

const CLI = fileURLToPath(new URL("../../cli/torpor.ts", import.meta.url));
/** More than one batch. */
const NAMES = 6_000;

/** Each when it is seen for the first time: it grows, something is noted, all is done but for a little. */
const MOMENTS: readonly ((out: string) => boolean)[] = [
  (out) => existsSync(`${out}.partial`),
  (out) => noted(out) !== "",
  (out) => existsSync(out) || /"steps":60|"files":\["\w+","/.test(noted(out)),
];

function noted(out: string): string {
  try {
    return readFileSync(`${out}.partial.json`, "utf8");
  } catch {
    return "";
  }
}

/** What is at `path`, by name. */
function filesIn(path: string): Record<string, string> {
  const names = readdirSync(path, { recursive: true, withFileTypes: true }).filter((each) => each.isFile());
  return Object.fromEntries(
    names.map(({ name, parentPath }) => [
      join(parentPath, name).slice(path.length),
      readFileSync(join(parentPath, name)).toString("latin1"),
    ]).sort(),
  );
}

const CASES = [
  ["node", "out.tar", [MOMENTS[1]!]], // whose start takes longest
  ["deno", "out.oci", MOMENTS],
  ["bun", "folder", MOMENTS],
] as const;
for (const [runtime, form, moments] of CASES) {
  judge(
    `torpor appliance apply on ${runtime} is killed again and again, and ends in the same ${
      form.replace("out.", "")
    }, with nothing beside it`,
    ["root", "tar", "sync"],
    async () => {
      // In memory, where there is such a place: a disk that others write to takes seconds for each "sync".
      using at = new TemporaryFolder(existsSync("/dev/shm") ? "/dev/shm" : undefined);
      const base = new Tree(), target = new Tree();
      for (const tree of [base, target]) tree.put("", folder());
      base.put("etc/old", fileOf("old"));
      for (let file = 0; file < NAMES; file++) target.put(`d${file % 7}/${file}`, fileOf(`${file}`));
      writeFileSync(at.file("base.tar"), tarOf(base));
      using read = await openAppliance(at.file("base.tar"));
      await writeDiff(read, opened(target), at.file("a.diff"));
      for (const name of ["tmp", "once", "killed"]) mkdirSync(at.file(name));
      const whole = join(at.file("once"), form), out = join(at.file("killed"), form);
      const start = (): ReturnType<typeof spawn> => {
        const [program, ...args] = RUN_ON[runtime];
        const command = [CLI, "appliance", "apply", at.file("base.tar"), at.file("a.diff"), out, "--json"];
        // tsx keeps what it has compiled in the temporary folder, and would compile all of it anew.
        const env = { ...process.env, ...runtime === "node" ? {} : { TMPDIR: at.file("tmp") } };
        return spawn(program!, [...args, ...command], { env, stdio: ["ignore", "ignore", "inherit"] });
      };
      for (const moment of moments) {
        const child = start();
        const closed = once(child, "close");
        while (!moment(out) && child.exitCode === null) {
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
        if (child.exitCode === null) process.kill(child.pid!, "SIGKILL");
        await closed;
        if (existsSync(out)) break; // it was quicker than we are
      }
      if (!existsSync(out) || noted(out) !== "") expect(await once(start(), "close")).toEqual([0, null]);
      await writeTree(target, whole, read, [], {});
      expect(readdirSync(at.file("killed"))).toEqual([form]);
      expect(readdirSync(at.file("tmp"))).toEqual([]);
      if (form === "out.tar") expect(Buffer.compare(readFileSync(out), readFileSync(whole))).toBe(0);
      else expect(filesIn(out)).toEqual(filesIn(whole));
      using again = await openAppliance(out);
      expect([...compareTrees(target, again.tree)].map(({ path, how }) => `${path}: ${how}`)).toEqual([]);
    },
    60_000,
  );
}
