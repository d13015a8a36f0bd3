import type { Service } from "../appliance.ts";
import type { Tree } from "../tree.ts";

/** One of the appliances that become one. */
export interface MergeSide {
  readonly name: string;
  readonly tree: Tree;
  readonly services: readonly Service[];
}

/** Something that the sides cannot both have. */
export interface Conflict {
  readonly kind:
    | "content"
    | "type"
    | "removed"
    | "attributes"
    | "links"
    | "folder"
    | "database"
    | "port"
    | "service";
  /** The path; of ports and services, which. */
  readonly path: string;
  /** What each side made of it. */
  readonly sides: readonly { readonly name: string; readonly what: string }[];
  /** In words, where there is more to say. */
  readonly why: readonly string[];
}

/** Something that both changed, and how it was settled. */
export interface Resolution {
  readonly path: string;
  readonly how: string;
}

/** What comes of a merge. With conflicts, the tree is the base's at their paths. */
export interface MergedTrees {
  readonly tree: Tree;
  readonly services: readonly Service[];
  readonly conflicts: readonly Conflict[];
  readonly resolved: readonly Resolution[];
}
