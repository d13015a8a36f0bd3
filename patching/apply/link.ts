import type { PatchFunction, PatchUnit, RelocatableCode } from "../image/patch.ts";
import { PatchError } from "../patch_error.ts";
import type { ModuleState } from "./module_state.ts";

/** What linked code is given; its one parameter is called `$torpor`. */
export interface LinkObject {
  /** What patches have declared. */
  readonly p: Record<string, unknown>;
  /** `import.meta`. */
  readonly m: unknown;
  /** `import()`. */
  readonly i: (specifier: string) => Promise<unknown>;
  /** Where `super` looks. */
  readonly h: object | null;
  /** Calls that are under way. */
  readonly n: { count: number };
}

/**
 * The text of a function's code with every place bound, as an expression that, given a `LinkObject`, gives what its slot
 * takes. `name` is for stack traces.
 */
export function linkFunction(
  unit: PatchUnit,
  each: PatchFunction,
  state: ModuleState,
  isFactory: boolean,
  title: string,
): string {
  const code = linked(unit, each, state);
  const isMethod = each.kind !== "function" && each.kind !== "arrow";
  const called = JSON.stringify(each.id);
  const made = isMethod ? `({ __proto__: $torpor.h, ${code} }).f` : `({ ${called}: ${code} })[${called}]`;
  const body = isFactory ? `return function ($torporE) { return ${made}; };` : `return ${made};`;
  return `(function ($torpor) { ${body} })\n//# sourceURL=torpor-patch:${encodeURI(title)}`;
}

/** The text of what a patch declares, as an expression that, given a `LinkObject`, gives accessors to each name. */
export function linkAdded(unit: PatchUnit, state: ModuleState, title: string): string {
  const { added } = unit;
  if (added === undefined) return "(function () { return {}; })";
  const accessors = added.names.map(({ name, kind }) => {
    const set = kind === "const" ? "" : `, set ${name}($torpor) { ${name} = $torpor; }`;
    return `get ${name}() { return ${name}; }${set}`;
  });
  const code = linked(unit, added, state);
  return `(function ($torpor) { ${code}\nreturn { ${accessors.join(", ")} }; })\n//# sourceURL=torpor-patch:${
    encodeURI(title)
  }`;
}

function linked(unit: PatchUnit, { code, relocations }: RelocatableCode, state: ModuleState): string {
  let text = "";
  let from = 0;
  for (const { offset, length, symbol, form } of relocations) {
    text += code.slice(from, offset);
    from = offset + length;
    if (form === "enter") text += " $torpor.n.count++; try {";
    else if (form === "leave") text += " } finally { $torpor.n.count--; } ";
    else if (form === "enterExpression") text += " { $torpor.n.count++; try { return (";
    else if (form === "leaveExpression") text += "); } finally { $torpor.n.count--; } }";
    else {
      const { name } = unit.symbols[symbol]!;
      const bound = boundTo(unit, symbol, state);
      if (bound === undefined) text += code.slice(offset, from);
      else if (form === "shorthand") text += `${name}: ${bound}`;
      else text += form === "call" ? `(0, ${bound})` : bound;
    }
  }
  return text + code.slice(from);
}

/** What a symbol's name becomes; nothing, when it is found as it stands. */
function boundTo(unit: PatchUnit, index: number, state: ModuleState): string | undefined {
  const { name, scope } = unit.symbols[index]!;
  if (scope === "meta") return name === "import.meta" ? "$torpor.m" : "$torpor.i";
  if (scope === "closure") return `$torporE.${name}`;
  const symbol = state.symbols.get(name);
  if (scope === "added" || symbol?.byPatch === true) return `$torpor.p.${name}`;
  if (scope !== "global" && symbol === undefined) {
    throw new PatchError("symbol", `Cannot link: "${name}" is not there`);
  }
  return undefined;
}
