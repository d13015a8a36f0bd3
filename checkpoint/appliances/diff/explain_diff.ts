import type { Change, Piece } from "./change.ts";
import type { DiffImage } from "./diff_image.ts";

/** A line of what a differential is, for people, and the same for machines. */
export interface Explained {
  readonly text: string;
  readonly about: Record<string, unknown>;
}

/** What a differential changes, in its order, and what it is of. For people: the text's form may change. */
export function* explainDiff(diff: DiffImage): Generator<Explained, void, void> {
  for (const change of diff.changes) yield explained(change);
  const { base, result, appliances, services } = diff.about;
  const names = appliances.map(({ name }) => name);
  yield {
    text: `${names.join(" and ")}: ${diff.changes.length} changes, ${diff.packs.length} packs; base ${
      base.slice(0, 12)
    }, result ${result.slice(0, 12)}`,
    about: { appliances, base, result, services, changes: diff.changes.length, packs: diff.packs.length },
  };
}

function explained(change: Change): Explained {
  const { kind, path } = change;
  switch (kind) {
    case "removed":
      return { text: `- ${path}`, about: { kind, path } };
    case "link":
      return {
        text: `= ${path} is another name of ${change.target}`,
        about: { kind, path, target: change.target },
      };
    case "meta": {
      const { mode, uid, gid } = change.about;
      return { text: `~ ${path} ${octal(mode)} ${uid}:${gid}`, about: { kind, path, mode, uid, gid } };
    }
    case "node": {
      const { type, mode, uid, gid, target, major, minor } = change.node;
      const more = target !== undefined ? ` -> ${target}` : major === undefined ? "" : ` ${major}:${minor}`;
      return {
        text: `+ ${path} ${type} ${octal(mode)} ${uid}:${gid}${more}`,
        about: { kind, path, type, mode, uid, gid, target, major, minor },
      };
    }
    case "file": {
      const { size, sha256, pieces } = change.content;
      const { mode, uid, gid } = change.about;
      const fromBase = bytesOf(pieces.filter(({ from }) => typeof from === "string"));
      return {
        text: `+ ${path} file ${octal(mode)} ${uid}:${gid} ${size} bytes, ${fromBase} of them the base's`,
        about: { kind, path, mode, uid, gid, size, sha256, fromBase, pieces: pieces.length },
      };
    }
  }
}

function bytesOf(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, { length }) => sum + length, 0);
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, "0");
}
