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
  const own = of?.[gap.name] ?? of?.["*"];
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
  ...["connections", "dhcp", "firewall", "ip", "link", "socket", "tcp", "udp", "wake", "wire"].map((name) =>
    `net/${name}/`
  ),
  "net/",
  ...["image", "sockets", "store"].map((name) => `checkpoint/${name}/`),
  "checkpoint/",
];

/** docs/coverage.md out of the figures, the gaps and their reasons. */
export function coveragePage(
  files: ReadonlyMap<string, FileCoverage>,
  gaps: ReadonlyMap<string, readonly Gap[]>,
  reasons: Reasons,
): string {
  const lines = [
    "# Coverage",
    "",
    "Printed by `npm run coverage`, which runs all tests on Node, with the kernel's; look at `coverage/index.html`",
    "for the lines. What no test runs stands below with the reason, out of `tests/coverage/reasons.json`; a gap",
    "without a reason, or a reason without a gap, makes the command fail.",
    "",
    "| area | lines | branches |",
    "| --- | --- | --- |",
  ];
  for (const area of AREAS) {
    lines.push(row(area, [...files].filter(([path]) => belongs(path, area)).map(([, file]) => file)));
  }
  lines.push(row("all", [...files.values()]), "");
  lines.push("## What no test runs, and why", "");
  for (const [path, found] of gaps) {
    if (found.length === 0 || path.startsWith("base/")) continue;
    lines.push(`[${path}](../${path})`, "");
    for (const gap of found) {
      const { name, branches, statements } = gap;
      const what = [count(branches, "branch", "branches"), count(statements, "statement", "statements")];
      lines.push(
        `- \`${name}\` (${what.filter((text) => text !== "").join(", ")}): ${
          reasonFor(reasons, path, gap) ?? "no reason"
        }`,
      );
    }
    lines.push("");
  }
  return lines.join("\n");
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
