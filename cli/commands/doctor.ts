import { tmpdir } from "node:os";
import { type Color, paint } from "../color.ts";
import { readArguments } from "../arguments.ts";
import { type Command, type Terminal, UsageError } from "../command.ts";
import { type Examination, type Finding, reasonOf, type Verdict, worst } from "../doctor/finding.ts";
import { examineFolder } from "../doctor/folder.ts";
import { examineFfi, examineFiles, examineRuntime, examineTun } from "../doctor/machine.ts";
import { examinePermissions } from "../doctor/permissions.ts";
import { examineSelf } from "../doctor/self.ts";

const HELP = `\
Says what this machine allows: runtime, permissions, FFI, TUN interfaces and
their offloads, open files, a folder as a place for connections (how long a
commit takes, what is free), and whether Torpor itself works here.

  torpor doctor [FOLDER] [--json]

  FOLDER   where connections are to sleep; by default the folder for temporary
           files
  --json   one object: { verdict, findings: [{ name, verdict, found, advice }]
           }
  --help   print this

  torpor doctor /var/lib/myserver
  sudo torpor doctor --json | jq .findings

It makes a TUN interface and a folder of its own for a moment, and nothing
else.

Exit codes: 0 everything works, or less well as it says; 1 something that is
always needed does not; 2 wrong use.
`;

const EXIT_BAD = 1;
const SIGNS: Record<Verdict, [sign: string, color: Color]> = {
  good: ["ok", "green"],
  less: ["less", "yellow"],
  bad: ["NO", "red"],
};

/** `torpor doctor`. */
export const doctor: Command = {
  name: "doctor",
  summary: "what this machine allows: permissions, FFI, TUN, offloads, disk",
  help: HELP,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals } = readArguments(args);
    if (positionals.length > 1) throw new UsageError("one folder is enough");
    const folder = positionals[0] ?? tmpdir();
    const examinations: Record<string, Examination> = {
      runtime: examineRuntime,
      permissions: examinePermissions,
      ffi: examineFfi,
      tun: examineTun,
      files: examineFiles,
      folder: () => examineFolder(folder),
      self: examineSelf,
    };
    const findings: Finding[] = [];
    for (const [name, examine] of Object.entries(examinations)) {
      const finding = await examined(name, examine);
      findings.push(finding);
      if (!json) terminal.out(lines(finding, terminal));
    }
    const verdict = worst(findings);
    if (json) terminal.out(`${JSON.stringify({ verdict, findings })}\n`);
    return verdict === "bad" ? EXIT_BAD : 0;
  },
};

async function examined(name: string, examine: Examination): Promise<Finding> {
  try {
    return await examine();
  } catch (error) {
    return { name, verdict: "bad", found: reasonOf(error) };
  }
}

function lines({ name, verdict, found, advice }: Finding, terminal: Terminal): string {
  const [sign, color] = SIGNS[verdict];
  const first = `${paint(terminal, color, sign.padEnd(5))}${name.padEnd(11)} ${found}\n`;
  return advice === undefined ? first : `${first}${" ".repeat(17)}${paint(terminal, "dim", advice)}\n`;
}
