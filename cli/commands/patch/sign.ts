import { readFileSync, writeFileSync } from "node:fs";
import { readPatch, writePatch } from "../../../patching/image/patch_image.ts";
import { signPatch } from "../../../patching/image/sign.ts";
import { readArguments } from "../../arguments.ts";
import { type Command, type Terminal, UsageError } from "../../command.ts";
import { readKeys } from "../../patch/keys_file.ts";

const HELP = `\
Signs a patch with keys of torpor patch keys (Ed25519), in its file.

  torpor patch sign FILE --key KEYS [--json]

  --key KEYS  the file with the keys
  --json      one object, { file, publicKey }
  --help      print this

  torpor patch sign louder.patch --key release.keys

Exit codes: 0 done, 2 a file cannot be used or the command line is wrong.
`;

/** `torpor patch sign`. */
export const patchSign: Command = {
  name: "sign",
  summary: "signs a patch",
  help: HELP,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const { positionals: [file, more], values: { key }, json } = readArguments(args, {
      key: { type: "string" },
    });
    if (file === undefined || more !== undefined) throw new UsageError("which patch?");
    if (key === undefined) throw new UsageError("with which keys? --key FILE");
    const keys = readKeys(key);
    writeFileSync(file, writePatch(await signPatch(readPatch(new Uint8Array(readFileSync(file))), keys)));
    const { publicKey } = keys;
    terminal.out(json ? `${JSON.stringify({ file, publicKey })}\n` : `${file}: signed by ${publicKey}\n`);
    return 0;
  },
};
