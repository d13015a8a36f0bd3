import { execFileSync, spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { Bench, Cell, Table } from "./bench.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
/** What is installed above the base, and what Debian calls it. */
const PACKAGES = { nginx: "nginx-light", redis: "redis-server" } as const;
const NAMES = Object.keys(PACKAGES) as (keyof typeof PACKAGES)[];

interface Ran {
  readonly seconds: number;
  readonly out: string;
}

/** Differentials of Debian trees beside casync, OSTree and zstd; then both services in one tree, judged. */
export const bench: Bench = {
  async *run({ quick, full }) {
    if (!quick && (process.getuid?.() !== 0 || !has("debootstrap"))) {
      throw new Error(
        "Needs root and debootstrap, and Debian's mirror; --quick makes small trees of its own",
      );
    }
    const folder = mkdtempSync(join(tmpdir(), "torpor-bench-appliance-"));
    try {
      const kept = process.env["TORPOR_BENCH_TREES"]; // base, nginx and redis of an earlier run
      if (quick) smallTrees(folder);
      else if (kept === undefined) debianTrees(folder);
      else for (const name of ["base", ...NAMES]) sh(folder, `cp -a ${join(kept, name)} ${name}`);
      yield sizes(folder, quick, full);
      yield merged(folder, quick);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

/** A row for each way of saying what an appliance is beside its base. */
function sizes(folder: string, quick: boolean, full: boolean): Table {
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
      const make = torpor(folder, `appliance diff base ${name} ${name}.diff --level ${level}`);
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

/** Both in one tree: what dpkg, debsums and mtree say of it, and whether both answer. */
function merged(folder: string, quick: boolean): Table {
  for (const name of NAMES) {
    if (!existsSync(join(folder, `${name}.diff`))) torpor(folder, `appliance diff base ${name} ${name}.diff`);
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
  const answers = sh(
    folder,
    `unshare --net --pid --fork --kill-child sh -c '
      ip link set lo up
      chroot both nginx
      chroot both redis-server --daemonize yes --dir /tmp >/dev/null
      for i in 1 2 3 4 5 6 7 8 9 10; do chroot both redis-cli ping >/dev/null 2>&1 && break; sleep 0.2; done
      curl -s http://127.0.0.1/ | grep -o "Welcome to nginx!" | head -1
      chroot both redis-cli ping'`,
  ).trim().split("\n");
  rows.push(["nginx says", answers[0]], ["redis says", answers[1]]);
  return { title: "both in one", columns: ["", ""], rows };
}

function debianTrees(folder: string): void {
  sh(folder, "debootstrap --variant=minbase bookworm base >/dev/null");
  for (const name of NAMES) {
    sh(
      folder,
      `cp -a base ${name}; cp /etc/resolv.conf ${name}/etc/resolv.conf
      printf '#!/bin/sh\\nexit 101\\n' > ${name}/usr/sbin/policy-rc.d; chmod +x ${name}/usr/sbin/policy-rc.d
      chroot ${name} env DEBIAN_FRONTEND=noninteractive sh -c \\
        'apt-get install -y --no-install-recommends ${PACKAGES[name]} && apt-get clean' >/dev/null 2>&1
      rm ${name}/usr/sbin/policy-rc.d; cp -a base/etc/resolv.conf ${name}/etc/resolv.conf`,
    );
  }
}

/** Trees that show that all of it runs. */
function smallTrees(folder: string): void {
  for (const name of ["base", ...NAMES]) {
    mkdirSync(join(folder, name, "usr/bin"), { recursive: true });
    writeFileSync(join(folder, name, "usr/bin/sh"), "x".repeat(100_000));
    if (name !== "base") cpSync(fileURLToPath(import.meta.url), join(folder, name, "usr/bin", name));
  }
}

function torporCommand(args: string): string {
  return `${process.execPath} ${join(ROOT, "node_modules/tsx/dist/cli.mjs")} ${
    join(ROOT, "cli/torpor.ts")
  } ${args}`;
}

function torpor(folder: string, args: string): Ran {
  return timed(folder, torporCommand(args));
}

/** Runs a script. @returns The seconds of CPU that it and all that it started took. */
function timed(folder: string, script: string): Ran {
  const { stdout, stderr, status } = spawnSync(
    "bash",
    ["-ec", `TIMEFORMAT='CPU %U %S'; time { ${script}; }`],
    {
      cwd: folder,
      encoding: "utf8",
      maxBuffer: 2 ** 28,
    },
  );
  const match = /CPU (\S+) (\S+)\s*$/.exec(stderr);
  if (status !== 0 || match === null) throw new Error(`Failed: ${script}\n${stderr}`);
  return { seconds: Number(match[1]) + Number(match[2]), out: stdout };
}

function sh(folder: string, script: string): string {
  return execFileSync("bash", ["-ec", script], {
    cwd: folder,
    encoding: "utf8",
    maxBuffer: 2 ** 28,
    stdio: ["ignore", "pipe", "inherit"],
  });
}

function has(program: string): boolean {
  return spawnSync("sh", ["-c", `command -v ${program}`]).status === 0;
}

function filesIn(folder: string): { name: string; size: number }[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true }).filter((each) => each.isFile()).map((
    { name, parentPath },
  ) => ({ name, size: statSync(join(parentPath, name)).size }));
}

function bytesUnder(folder: string): string {
  return `${Math.round(Number(sh(folder, "du -sb . | cut -f1")) / 1e6)} MB`;
}

function round(seconds: number): number {
  return Math.round(seconds * 10) / 10;
}
