import { readFileSync } from "node:fs";
import { relative } from "node:path";
import process from "node:process";
import { PatchError } from "../../../patching/patch_error.ts";
import { readPatch } from "../../../patching/image/patch_image.ts";
import { verifyPatch } from "../../../patching/image/sign.ts";
import { readArguments } from "../../arguments.ts";
import { printable } from "../../color.ts";
import { type Command, type Terminal, UsageError } from "../../command.ts";
import { patchTools } from "../../patch/tools.ts";
import { text } from "../../patch/versions.ts";

const HELP = `\
Checks a patch: that it is whole, that its signature is good, and that it fits
the sources, as applying it would check the program that runs them.

  torpor patch check FILE [SOURCE...] [--trust KEY]... [--json]

  --trust KEY  a public key, of which one must have signed it
  --json       { ok, error, reason, function }
  --help       print this

  torpor patch check louder.patch src/rooms.ts

Exit codes: 0 it fits, 1 it does not, 2 a file cannot be read or the command
line is wrong.
`;

/** `torpor patch check`. */
export const patchCheck: Command = {
  name: "check",
  summary: "says whether a patch fits sources, and why not",
  help: HELP,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals: [file, ...sources], values } = readArguments(args, {
      trust: { type: "string", multiple: true },
    });
    if (file === undefined) throw new UsageError("which patch?");
    const patch = readPatch(new Uint8Array(readFileSync(file)));
    try {
      await verifyPatch(patch, values.trust ?? []);
      if (sources.length > 0) {
        const { checkPatch } = await patchTools();
        const names = sources.map((path) => [relative(process.cwd(), path), text(path)] as const);
        checkPatch(patch, Object.fromEntries(names));
      }
      terminal.out(json ? `${JSON.stringify({ ok: true })}\n` : `${file}: fits\n`);
      return 0;
    } catch (error) {
      if (!(error instanceof PatchError)) throw error;
      const { message, reason, function: about } = error;
      const told = { ok: false, error: message, reason, function: about };
      terminal.out(json ? `${JSON.stringify(told)}\n` : printable(`${file}: ${message}\n`));
      return EXIT_REFUSED;
    }
  },
};

const EXIT_REFUSED = 1;
