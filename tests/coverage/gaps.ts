/** Places in a source, as istanbul counts them: lines from 1, columns from 0; an end may lack its column. */
interface Range {
  readonly start: { readonly line: number; readonly column: number };
  readonly end: { readonly line: number; readonly column: number | null };
}

/** One file of coverage-final.json, as far as it matters here. */
export interface FileCoverage {
  readonly path: string;
  readonly statementMap: Readonly<Record<string, Range>>;
  readonly fnMap: Readonly<
    Record<string, { readonly name: string; readonly decl: Range; readonly loc: Range }>
  >;
  readonly branchMap: Readonly<Record<string, { readonly loc: Range; readonly locations: readonly Range[] }>>;
  readonly s: Readonly<Record<string, number>>;
  readonly b: Readonly<Record<string, readonly number[]>>;
}

/** What of one function no test has run. */
export interface Gap {
  /** Its name; `module` for what belongs to none. */
  readonly name: string;
  readonly branches: number;
  readonly statements: number;
  /** The lines where that is, without blanks around them. */
  readonly code: readonly string[];
}

/** The functions of a file with something that no test has run, in their order. */
export function gapsOf(file: FileCoverage, source: string): Gap[] {
  const lines = source.split("\n");
  const functions = Object.values(file.fnMap).flatMap(({ name, decl, loc }) => {
    const known = /^\(anonymous/.test(name) ? nameAt(lines[decl.start.line - 1]!, decl.start.column) : name;
    return known === undefined ? [] : [{ name: known.replace(/_\d+$/, ""), loc }];
  });
  const gaps = new Map<string, { branches: number; statements: number; at: Set<number> }>();
  const add = (range: Range, kind: "branches" | "statements"): void => {
    const name = innermost(functions, range);
    const gap = gaps.get(name) ?? { branches: 0, statements: 0, at: new Set<number>() };
    gap[kind]++;
    gap.at.add(range.start.line);
    gaps.set(name, gap);
  };
  for (const [id, { loc, locations }] of Object.entries(file.branchMap)) {
    file.b[id]!.forEach((times, arm) => {
      const range = locations[arm];
      // An `else` that is not there lies nowhere.
      if (times === 0) add(range?.start.line === undefined ? loc : range, "branches");
    });
  }
  for (const [id, range] of Object.entries(file.statementMap)) if (file.s[id] === 0) add(range, "statements");
  const found = [...gaps].map(([name, { branches, statements, at }]): Gap & { first: number } => {
    const places = [...at].sort((a, b) => a - b);
    return {
      name,
      branches,
      statements,
      code: places.map((line) => lines[line - 1]!.trim()),
      first: places[0]!,
    };
  });
  return found.sort((a, b) => a.first - b.first).map(({ first: _, ...gap }) => gap);
}

/** What a method or a function in a constant is called; the tool knows no private names. */
function nameAt(line: string, column: number): string | undefined {
  const declared = /^\s*(?:static |async |get |set |readonly |\*)*$/.test(line.slice(0, column));
  const method = /^(?:static |async |get |set |\*)*(#?[\w$]+)\s*(?:<[^>]*>)?\(/.exec(line.slice(column));
  const calls = /^(?:if|for|while|switch|catch|function|return)$/.test(method?.[1] ?? "") || /=>/.test(line);
  if (declared && method !== null && !calls) return method[1]!;
  return /(?:const|readonly|static) (#?[\w$]+)(?:: [^=]+)? = (?:async )?\($/.exec(line.slice(0, column + 1))
    ?.[1];
}

function innermost(functions: readonly { name: string; loc: Range }[], { start }: Range): string {
  let name = "module";
  let least = Infinity;
  for (const { name: each, loc } of functions) {
    const inside = before(loc.start, start) &&
      before(start, { ...loc.end, column: loc.end.column ?? Infinity });
    const size = loc.end.line - loc.start.line;
    if (!inside || size >= least) continue;
    least = size;
    name = each;
  }
  return name;
}

function before(a: { line: number; column: number }, b: { line: number; column: number }): boolean {
  return a.line < b.line || (a.line === b.line && a.column <= b.column);
}
