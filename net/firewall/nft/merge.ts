import { orderElements } from "./read/elements.ts";
import type { NamedSet, SetElement } from "./schema.ts";
import { DATA_TYPES } from "./words/datatypes.ts";
import { ELEMENTS_MAX } from "./words/limits.ts";

type Refuse = (message: string) => never;

/** Elements that a command adds. */
export interface Added {
  readonly elem: NamedSet["elem"];
  /** Those that are there already are an error. */
  readonly create: boolean;
  readonly at: string;
}

/** The elements of a set with others added, of several commands at once: those it has stay as they are. */
export function addElements(
  set: NamedSet,
  added: readonly Added[],
  refuse: (at: string, message: string) => never,
): NamedSet["elem"] {
  const all = set.elem.map((element) => ({ element, at: "" }));
  const there = new Map(set.elem.map((element) => [keyOf(element), element]));
  const most = set.size ?? ELEMENTS_MAX;
  for (const { elem, create, at } of added) {
    for (const element of elem) {
      const key = keyOf(element);
      const found = there.get(key);
      if (found === undefined) {
        if (all.length === most) refuse(at, `Set "${set.name}" takes ${most} elements at most`);
        there.set(key, element);
        all.push({ element, at });
      } else if (create || JSON.stringify(dataOf(found)) !== JSON.stringify(dataOf(element))) {
        refuse(at, `Set "${set.name}" has this element already`);
      }
    }
  }
  if (all.length === set.elem.length) return set.elem;
  return orderElements(
    { fail: (at, message) => refuse(String(at) || added[0]!.at, message) },
    all,
    set.type.map((type) => ({ type, bits: DATA_TYPES[type].bits })),
    set.autoMerge ? "merge" : "refuse",
  );
}

/** The elements of a set without some. */
export function deleteElements(
  set: NamedSet,
  gone: readonly SetElement[],
  quiet: boolean,
  refuse: Refuse,
): NamedSet["elem"] {
  const keys = new Set(gone.map(keyOf));
  const left = set.elem.filter((element) => !keys.delete(keyOf(element)));
  if (keys.size > 0 && !quiet) refuse(`Set "${set.name}" does not have ${[...keys][0]}`);
  return left;
}

function keyOf({ val }: SetElement): string {
  return JSON.stringify(val);
}

function dataOf(element: NamedSet["elem"][number]): unknown {
  return "data" in element ? element.data : undefined;
}
