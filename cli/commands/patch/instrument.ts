import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import process from "node:process";
import { readArguments } from "../../arguments.ts";
import { printable } from "../../color.ts";
import { type Command, type Terminal, UsageError } from "../../command.ts";
import { patchTools } from "../../patch/tools.ts";

const HELP = `\
Makes modules patchable ahead of time, where no loader hook can: writes them to
another folder under the same names, as JavaScript. Everything else is copied.

  torpor patch instrument SOURCE... --out FOLDER [--json]

  --out FOLDER  where they go
  --json        one object per module: { module, hash, patchable, unpatchable }
  --help        print this

  torpor patch instrument src --out dist

Loaders that do the same as a program starts: --import (Node), --preload (Deno,
Bun) with patching/load/node.ts, deno.ts, bun.ts.

Exit codes: 0 done, 2 a source cannot be read or the command line is wrong.
`;

/** `torpor patch instrument`. */
export const patchInstrument: Command = {
  name: "instrument",
  summary: "makes modules patchable ahead of time",
  help: HELP,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals, values: { out } } = readArguments(args, { out: { type: "string" } });
    if (positionals.length === 0) throw new UsageError("which sources?");
    if (out === undefined) throw new UsageError("where to? --out FOLDER");
    const { instrument } = await patchTools();
    for (const file of positionals.flatMap(filesOf)) {
      const target = join(out, relative(process.cwd(), file));
      mkdirSync(dirname(target), { recursive: true });
      if (!/\.(?:js|mjs|ts|mts)$/.test(file)) {
        writeFileSync(target, readFileSync(file));
        continue;
      }
      const module = relative(process.cwd(), file).replaceAll("\\", "/");
      const { code, ...told } = instrument(module, readFileSync(file, "utf8"));
      writeFileSync(target, code);
      if (json) {
        terminal.out(`${JSON.stringify({ module, ...told })}\n`);
        continue;
      }
      terminal.out(printable(`${module}: ${told.patchable} functions can be patched\n`));
      for (const { id, line, why } of told.unpatchable) {
        terminal.out(printable(`  not ${id} (line ${line}): ${why}\n`));
      }
    }
    return 0;
  },
};

function filesOf(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path, { withFileTypes: true })
    .filter(({ name }) => name !== "node_modules")
    .flatMap(({ name }) => filesOf(join(path, name)));
}
