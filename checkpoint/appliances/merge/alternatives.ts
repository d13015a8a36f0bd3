import { refuse } from "../appliance_error.ts";
import type { Merged, Side } from "./drivers.ts";
import { bothOf, keyed, mergeKeyed, textOf } from "./keyed.ts";

/** What update-alternatives(1) keeps of one name, in /var/lib/dpkg/alternatives. */
export interface Alternative {
  readonly status: string;
  readonly link: string;
  /** Names and links that follow the choice, in their order. */
  readonly slaves: readonly string[];
  /** By path: its priority, and of each slave the path or nothing, a line each. */
  readonly choices: ReadonlyMap<string, string>;
}

/** The most lines of one file. */
const LINES_MAX = 100_000;

/** @throws {ApplianceError} When it is none. */
export function readAlternative(bytes: Uint8Array): Alternative {
  const lines = textOf(bytes).replace(/\n$/, "").split("\n");
  if (lines.length > LINES_MAX) refuse("limit", `Cannot merge: more than ${LINES_MAX} lines`);
  const [status, link] = lines;
  const slavesEnd = lines.indexOf("", 2);
  if (link === undefined || !/^(auto|manual)$/.test(status!) || slavesEnd < 0 || slavesEnd % 2 !== 0) {
    return refuse("format", "Cannot merge: it is no alternative");
  }
  const slaves = lines.slice(2, slavesEnd);
  const each = 2 + slaves.length / 2;
  const choices: string[] = [];
  let at = slavesEnd + 1;
  // A slave's line may be empty; one where a path should be ends it.
  for (; at < lines.length && lines[at] !== ""; at += each) {
    choices.push(lines.slice(at, at + each).join("\n"));
  }
  if (at > lines.length || lines.slice(at).some((line) => line !== "")) {
    refuse("format", "Cannot merge: it is no alternative");
  }
  return {
    status: status!,
    link,
    slaves,
    choices: keyed(choices, (choice) => choice.slice(0, choice.indexOf("\n"))),
  };
}

/** As update-alternatives writes it. */
export function writeAlternative({ status, link, slaves, choices }: Alternative): Uint8Array<ArrayBuffer> {
  const sorted = [...choices].sort(([a], [b]) => a < b ? -1 : 1).map(([, choice]) => choice);
  return new TextEncoder().encode([status, link, ...slaves, "", ...sorted, "", ""].join("\n"));
}

/**
 * The choices of all sides of one alternative, where both choose automatically and have the same slaves. Which of them
 * its links lead to, `/etc/alternatives` says: where the sides differ there, that is a conflict of its own.
 */
export function mergeAlternatives(base: Uint8Array | undefined, sides: readonly Side[]): Merged {
  const read = sides.map(({ name, bytes }) => ({ name, read: readAlternative(bytes) }));
  const before = base === undefined ? undefined : readAlternative(base);
  const [first, ...others] = read;
  const shape = ({ status, link, slaves }: Alternative): string => [status, link, ...slaves].join("\n");
  if (first!.read.status !== "auto" || others.some((other) => shape(other.read) !== shape(first!.read))) {
    return { conflicts: [`${bothOf(sides)} have it by hand, or with other slaves`] };
  }
  // Where the slaves have changed, the base's choices have other lines: what both have counts.
  const kept = before !== undefined && shape(before) === shape(first!.read)
    ? before.choices
    : new Map<string, string>();
  const { entries, conflicts } = mergeKeyed(
    kept,
    read.map(({ name, read }) => ({ name, entries: read.choices })),
    (key, _, changed) => ({ why: `${key}: ${bothOf(changed)} have it differently` }),
  );
  if (conflicts.length > 0) return { conflicts };
  return { bytes: writeAlternative({ ...first!.read, choices: entries }) };
}
