import { readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Cell, Table } from "../bench.ts";
import { has, type Ran, round, sh, timed, torpor } from "./shell.ts";
import { NAMES } from "./trees.ts";

/** A row for each way of saying what an appliance is beside its base. */
export function sizes(folder: string, quick: boolean, full: boolean): Table {
  const rows: Cell[][] = [];
  const row = (
    what: string,
    measure: (name: string) => { bytes: number; make: Ran; apply: Ran } | undefined,
  ): void => {
    if (quick && rows.length > 0) return; // one way is enough to see that it runs
    const cells = NAMES.map(measure);
    rows.push([
      what,
      ...cells.flatMap((
        cell,
      ) => [cell?.bytes, cell && round(cell.make.seconds), cell && round(cell.apply.seconds)]),
    ]);
  };
  for (const level of full ? [9, 19] : [9]) {
    row(`torpor, level ${level}`, (name) => {
      rmSync(join(folder, `${name}.diff`), { force: true });
      const options = `--services ${name}.json --level ${level}`;
      const make = torpor(folder, `appliance diff base ${name} ${name}.diff ${options}`);
      const apply = torpor(folder, `appliance apply base ${name}.diff out`);
      sh(folder, "rm -r out");
      return { bytes: statSync(join(folder, `${name}.diff`)).size, make, apply };
    });
  }
  const tar = "tar --format=posix --pax-option=delete=atime,delete=ctime --sort=name --xattrs -c -C";
  for (const level of full ? [9, 19] : [9]) {
    row(`zstd -${level} --patch-from, of tars`, (name) => {
      if (!has("zstd")) return undefined;
      const make = timed(
        folder,
        `${tar} base . > a.tar; ${tar} ${name} . > b.tar; zstd -q -f -T1 -${level} --long=31 --patch-from=a.tar b.tar -o b.zst`,
      );
      const bytes = statSync(join(folder, "b.zst")).size;
      const apply = timed(
        folder,
        `${tar} base . > a.tar; zstd -q -f -d --long=31 --patch-from=a.tar b.zst -o c.tar; mkdir out; tar --xattrs -xpf c.tar -C out`,
      );
      sh(folder, "rm -r out a.tar b.tar c.tar b.zst");
      return { bytes, make, apply };
    });
  }
  row("casync, new chunks and index", (name) => {
    if (!has("casync")) return undefined;
    sh(folder, "casync make --store=a.castr a.caidx base >/dev/null");
    const make = timed(folder, `casync make --store=b.castr b.caidx ${name} >/dev/null`);
    const known = new Set(filesIn(join(folder, "a.castr")).map(({ name }) => name));
    const fresh = filesIn(join(folder, "b.castr")).filter(({ name }) => !known.has(name));
    const bytes = fresh.reduce((sum, { size }) => sum + size, statSync(join(folder, "b.caidx")).size);
    const apply = timed(folder, "casync extract --store=b.castr --seed=base b.caidx out >/dev/null");
    sh(folder, "rm -rf out a.castr b.castr a.caidx b.caidx");
    return { bytes, make, apply };
  });
  row("OSTree, static delta", (name) => {
    if (!has("ostree")) return undefined;
    // It knows no devices: what is in /dev is left out.
    for (const tree of ["base", name]) sh(folder, `cp -a ${tree} o-${tree}; rm -rf o-${tree}/dev`);
    const commit = (tree: string): string =>
      `ostree --repo=repo commit --branch=${tree} --tree=dir=o-${tree} --timestamp=@1 >/dev/null`;
    sh(folder, `ostree --repo=repo init --mode=bare; ${commit("base")}`);
    const make = timed(
      folder,
      `${
        commit(name)
      }; ostree --repo=repo static-delta generate --from=base --to=${name} --min-fallback-size=0 --inline --filename=delta >/dev/null`,
    );
    const bytes = statSync(join(folder, "delta")).size;
    sh(folder, `ostree --repo=other init --mode=bare; ostree --repo=other pull-local repo base >/dev/null`);
    const apply = timed(
      folder,
      `ostree --repo=other static-delta apply-offline delta >/dev/null; ostree --repo=other checkout $(ostree --repo=repo rev-parse ${name}) out`,
    );
    sh(folder, `rm -rf out o-base o-${name} repo other delta`);
    return { bytes, make, apply };
  });
  return {
    title: "an appliance beside its base",
    columns: ["", ...NAMES.flatMap((name) => [`${name}, bytes`, "make, CPU s", "apply, CPU s"])],
    rows,
    notes: [
      `bytes of files: ${
        ["base", ...NAMES].map((name) => `${name} ${bytesUnder(join(folder, name))}`).join(", ")
      }`,
      `seconds of CPU, of all processes; ${
        round(torpor(folder, "--help").seconds)
      } of torpor's is its start by tsx; it reads, hashes, writes, reads again and compares`,
    ],
  };
}

function filesIn(folder: string): { name: string; size: number }[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true }).filter((each) => each.isFile()).map((
    { name, parentPath },
  ) => ({ name, size: statSync(join(parentPath, name)).size }));
}

function bytesUnder(folder: string): string {
  return `${Math.round(Number(sh(folder, "du -sb . | cut -f1")) / 1e6)} MB`;
}
