import { readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { foldConstants } from "../../packaging/fold.ts";
import { TemporaryFolder } from "../support/folder.ts";

/** Modules as they are written, and as the compiler leaves them: only "as const" is gone. */
function fold(sources: Readonly<Record<string, string>>): Record<string, string> {
  using root = new TemporaryFolder();
  using built = new TemporaryFolder();
  for (const [name, source] of Object.entries(sources)) {
    writeFileSync(root.file(`${name}.ts`), source);
    writeFileSync(built.file(`${name}.js`), source.replaceAll(" as const", ""));
  }
  foldConstants(built.path, root.path);
  const names = Object.keys(sources);
  return Object.fromEntries(names.map((name) => [name, readFileSync(built.file(`${name}.js`), "utf8")]));
}

const FLAGS = `export const Flag = {
  /** Ends; a comment. */
  fin: 1,
  ack: 16,
  none: -1,
} as const;
export const names = { fin: 2 };
export const LENGTH = 0x14;
const AT = { offset: 12 } as const;
export const offset = () => AT.offset + AT.missing;
export { AT as Places };
`;

test("constants of this module and of others are numbers, and everything else is as it was", () => {
  const { user } = fold({
    flags: FLAGS,
    user: `import { Flag, LENGTH, names, Places as At } from "./flags.js";
export function read(flags, LENGTHS) {
  if ((flags & Flag.fin) !== 0) return Flag.none - LENGTH;
  const it = { LENGTH, Flag, fin: Flag.fin, [Flag.ack]: LENGTHS.LENGTH };
  switch (flags) {
    case Flag.ack: return At.offset;
  }
  return Object.keys(Flag).length + names.fin + Flag["fin"] + it.LENGTH;
}
`,
  });
  expect(user).toBe(`import { Flag, LENGTH, names, Places as At } from "./flags.js";
export function read(flags, LENGTHS) {
  if ((flags & (1)) !== 0) return (-1) - (20);
  const it = { LENGTH: (20), Flag, fin: (1), [(16)]: LENGTHS.LENGTH };
  switch (flags) {
    case (16): return (12);
  }
  return Object.keys(Flag).length + names.fin + Flag["fin"] + it.LENGTH;
}
`);
});

test("what may be another thing of the same name is let be", () => {
  const sources = {
    flags: FLAGS,
    parameter: `import { LENGTH } from "./flags.js";
export const twice = (LENGTH) => LENGTH + LENGTH;
export const own = LENGTH;
`,
    pattern: `import { Flag } from "./flags.js";
export function read({ other: [Flag] }) {
  return Flag.fin;
}
`,
    variable: `let LENGTH = 3;
LENGTH++;
export const get = () => LENGTH;
`,
    foreign: `import { LENGTH } from "elsewhere";
export const get = () => LENGTH;
`,
  };
  const { flags: _, ...rest } = fold(sources);
  const { flags: __, ...before } = sources;
  expect(rest).toEqual(before);
});

test("a folded module does what it did", async () => {
  const { flags } = fold({ flags: FLAGS });
  expect(flags).toContain("() => (12) + AT.missing");
  const module = await import(`data:text/javascript,${encodeURIComponent(flags!)}`);
  expect(module.Flag).toEqual({ fin: 1, ack: 16, none: -1 });
  expect(module.LENGTH).toBe(20);
});
