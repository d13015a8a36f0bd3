import type { FileCoverage, Gap } from "./gaps.ts";

/** Why no test runs what none does. */
export interface Reasons {
  /** Lines of a kind that stands in many places: a gap of nothing else needs no reason of its own. */
  readonly lines: readonly { readonly pattern: string; readonly reason: string }[];
  /** By file and function; `*` for all functions of a file. */
  readonly files: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** The reason for a gap, if there is one. */
export function reasonFor(reasons: Reasons, path: string, gap: Gap): string | undefined {
  const of = reasons.files[path];
  const at = (name: string): string | undefined =>
    // "constructor" is a name that every object has
    of !== undefined && Object.hasOwn(of, name) ? of[name] : undefined;
  const own = at(gap.name) ?? at("*");
  if (own !== undefined) return own;
  const found = new Set<string>();
  for (const line of gap.code) {
    const known = reasons.lines.find(({ pattern }) => new RegExp(pattern).test(line));
    if (known === undefined) return undefined;
    found.add(known.reason);
  }
  return [...found].join("; ");
}

/** What a file's tests have run, in counts. */
interface Share {
  hit: number;
  all: number;
}

const AREAS = [
  "base/",
  ...["connections", "dhcp", "firewall", "ip", "link", "shards", "socket", "tcp", "udp", "wake", "wire"].map((
    name,
  ) => `net/${name}/`),
  "net/firewall/conntrack/",
  "net/firewall/nft/",
  "net/",
  ...[
    "appliances",
    "archive",
    "control",
    "criu",
    "firewall",
    "handover",
    "image",
    "replay",
    "sleep",
    "sockets",
    "store",
  ]
    .map((name) => `checkpoint/${name}/`),
  "checkpoint/",
  "patching/",
  "serve/",
].sort();

/** Whose gaps are listed: those of the stack and of what survives a process. The rest is in the table alone. */
export function isListed(path: string): boolean {
  return path.startsWith("net/") || path.startsWith("checkpoint/");
}

/** docs/coverage.md out of the figures, the gaps and their reasons. */
export function coveragePage(
  files: ReadonlyMap<string, FileCoverage>,
  gaps: ReadonlyMap<string, readonly Gap[]>,
  reasons: Reasons,
  measured: string,
): string {
  const lines = [
    "# Coverage",
    "",
    "Printed by `npm run coverage`: lines and branches that the tests run in their own process, on Node. What tests",
    "start as programs of their own (a TUN device's servers, other runtimes, the command line) is not counted.",
    `Measured with ${measured}.`,
    "",
    "| area | lines | branches |",
    "| --- | --- | --- |",
  ];
  for (const area of AREAS) {
    lines.push(row(area, [...files].filter(([path]) => belongs(path, area)).map(([, file]) => file)));
  }
  lines.push(row("all", [...files.values()]), "");
  lines.push(
    "## What no test runs, and why",
    "",
    "Of `net/` and `checkpoint/`, by function: lines move with every change, and a function with the condition that",
    "nobody has met says more than a number. `tests/coverage/reasons.json` has the reasons; a gap without one makes",
    "the command fail. Branches and statements are counted.",
    "",
  );
  let folder = "";
  let byReason = new Map<string, { path: string; gap: Gap }[]>();
  const write = (): void => {
    if (byReason.size > 0) lines.push(`### ${folder}/`, "", ...[...byReason].map(bullet), "");
    byReason = new Map();
  };
  for (const path of [...gaps.keys()].sort(byFolder)) {
    if (!isListed(path)) continue;
    if (folderOf(path) !== folder) write();
    folder = folderOf(path);
    for (const gap of gaps.get(path)!) {
      const reason = reasonFor(reasons, path, gap) ?? "no reason";
      byReason.set(reason, [...byReason.get(reason) ?? [], { path, gap }]);
    }
  }
  write();
  return lines.join("\n");
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

function byFolder(a: string, b: string): number {
  const [one, other] = [folderOf(a), folderOf(b)];
  return one === other ? (a < b ? -1 : 1) : one < other ? -1 : 1;
}

/** A reason, how much it is the reason for, and where that is. */
function bullet([reason, of]: [reason: string, of: readonly { path: string; gap: Gap }[]]): string {
  const sum = (kind: "branches" | "statements"): number => of.reduce((all, { gap }) => all + gap[kind], 0);
  const what = [
    count(sum("branches"), "branch", "branches"),
    count(sum("statements"), "statement", "statements"),
  ];
  const byFile = new Map<string, string[]>();
  for (const { path, gap: { name } } of of) {
    byFile.set(path, [...byFile.get(path) ?? [], name === "module" ? "the module" : `\`${name}\``]);
  }
  const places = [...byFile].map(([path, names]) =>
    `[${path.slice(path.lastIndexOf("/") + 1)}](../${path}) ${names.join(", ")}`
  );
  return `- ${reason} (${what.filter((text) => text !== "").join(", ")}): ${places.join("; ")}`;
}

/** The most particular area that a path begins with. */
function belongs(path: string, area: string): boolean {
  return path.startsWith(area) &&
    !AREAS.some((other) => other.length > area.length && path.startsWith(other));
}

function count(number: number, one: string, many: string): string {
  return number === 0 ? "" : `${number} ${number === 1 ? one : many}`;
}

function row(name: string, files: readonly FileCoverage[]): string {
  const lines: Share = { hit: 0, all: 0 };
  const branches: Share = { hit: 0, all: 0 };
  for (const { s, b, statementMap } of files) {
    const byLine = new Map<number, boolean>();
    for (const [id, times] of Object.entries(s)) {
      const { line } = statementMap[id]!.start;
      byLine.set(line, (byLine.get(line) ?? false) || times > 0);
    }
    lines.all += byLine.size;
    for (const hit of byLine.values()) if (hit) lines.hit++;
    for (const arms of Object.values(b)) {
      branches.all += arms.length;
      branches.hit += arms.filter((times) => times > 0).length;
    }
  }
  return `| ${name} | ${percent(lines)} | ${percent(branches)} |`;
}

function percent({ hit, all }: Share): string {
  return all === 0 ? "" : `${(100 * hit / all).toFixed(1)} % of ${all}`;
}
