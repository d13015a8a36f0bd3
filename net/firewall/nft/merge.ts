import { orderElements } from "./read/elements.ts";
import type { NamedSet, SetElement } from "./schema.ts";
import { DATA_TYPES } from "./words/datatypes.ts";
import { ELEMENTS_MAX } from "./words/limits.ts";

type Refuse = (message: string) => never;

/** The elements of a set with others added: those it has stay as they are, with `create` they are an error. */
export function addElements(
  set: NamedSet,
  added: NamedSet["elem"],
  create: boolean,
  refuse: Refuse,
): NamedSet["elem"] {
  if (added.length === 0) return set.elem;
  const there = new Map(set.elem.map((element) => [keyOf(element), element]));
  const fresh = added.filter((element) => {
    const found = there.get(keyOf(element));
    if (found === undefined) return true;
    if (create || JSON.stringify(dataOf(found)) !== JSON.stringify(dataOf(element))) {
      refuse(`Set "${set.name}" has this element already`);
    }
    return false;
  });
  const all = [...set.elem, ...fresh];
  if (all.length > (set.size ?? ELEMENTS_MAX)) {
    refuse(`Set "${set.name}" takes ${set.size ?? ELEMENTS_MAX} elements at most`);
  }
  return orderElements(
    { fail: (_at, message) => refuse(message) },
    all.map((element) => ({ element, at: "" })),
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
