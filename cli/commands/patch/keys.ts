import { writeFileSync } from "node:fs";
import { makePatchKeys } from "../../../patching/image/sign.ts";
import { readArguments } from "../../arguments.ts";
import { type Command, type Terminal, UsageError } from "../../command.ts";

const HELP = `\
Makes a pair of keys that patches are signed with (Ed25519), in a file that its
owner alone can read, and prints the public one: who is given that takes
patches that are signed with the other.

  torpor patch keys FILE [--json]

  --json  one object, { publicKey }
  --help  print this

  torpor patch keys release.keys

Exit codes: 0 done, 2 the file is there already, or cannot be written.
`;

/** `torpor patch keys`. */
export const patchKeys: Command = {
  name: "keys",
  summary: "makes keys that patches are signed with",
  help: HELP,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const { positionals: [file, more], json } = readArguments(args);
    if (file === undefined || more !== undefined) throw new UsageError("which file?");
    const keys = await makePatchKeys();
    writeFileSync(file, `${JSON.stringify(keys, undefined, 2)}\n`, { mode: 0o600, flag: "wx" });
    const { publicKey } = keys;
    terminal.out(json ? `${JSON.stringify({ publicKey })}\n` : `${publicKey}\n`);
    return 0;
  },
};
