import { comparePaths } from "../path.ts";
import type { Tree, TreeEntry } from "../tree.ts";
import type { MergeSide } from "./merged.ts";

/** What one side has at a path. */
export interface State {
  readonly name: string;
  readonly entry: TreeEntry | undefined;
}

/** All trees in one walk: each path that any of them has. */
export function* aligned(
  base: Tree,
  sides: readonly MergeSide[],
): Generator<{ path: string; base: TreeEntry | undefined; states: State[] }, void, void> {
  const walks = [base, ...sides.map(({ tree }) => tree)].map((tree) => {
    const walk = tree.entries();
    return { walk, next: walk.next().value as TreeEntry | undefined };
  });
  for (;;) {
    let path: string | undefined;
    for (const { next } of walks) {
      if (next !== undefined && (path === undefined || comparePaths(next.path, path) < 0)) path = next.path;
    }
    if (path === undefined) return;
    const here = walks.map((each) => {
      if (each.next?.path !== path) return undefined;
      const { next } = each;
      each.next = each.walk.next().value as TreeEntry | undefined;
      return next;
    });
    yield {
      path,
      base: here[0],
      states: sides.map(({ name }, index) => ({ name, entry: here[index + 1] })),
    };
  }
}
