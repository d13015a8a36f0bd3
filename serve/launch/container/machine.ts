import fs from "node:fs";
import process from "node:process";
import { resolveInTree } from "../in_tree.ts";
import { LaunchError } from "../launched.ts";

/** `e_machine` of elf(5), by the name that people know. */
const MACHINES: Readonly<Record<number, string>> = {
  ...{ 3: "i386", 8: "mips", 20: "ppc", 21: "ppc64", 22: "s390x", 40: "arm", 62: "amd64" },
  ...{ 183: "arm64", 243: "riscv64", 258: "loong64" },
};
/** What each processor runs, by the runtimes' names for them. */
const RUNS: Readonly<Record<string, readonly number[]>> = {
  ...{ x64: [62, 3], arm64: [183, 40], riscv64: [243], ppc64: [21], s390x: [22], loong64: [258] },
};
/** Where the kernel is told of emulators (binfmt_misc). */
const EMULATORS = "/proc/sys/fs/binfmt_misc";

/**
 * Whether this machine is the environment that a tree was made for: a program for another processor would end at once,
 * and say nothing that helps. A script, or what is not there, is not judged, nor is anything where emulators are set up.
 *
 * @param path Of the environment, `/usr/bin:/bin`.
 * @throws {LaunchError} When the program is for another processor.
 */
export function checkMachine(
  root: string,
  program: string,
  path: string,
  processor: string = process.arch,
): void {
  const runs = RUNS[processor];
  if (runs === undefined || hasEmulators()) return;
  const places = program.includes("/") ? [program] : path.split(":").map((folder) => `${folder}/${program}`);
  const found = places.map((each) => resolveInTree(root, each)).find((each) =>
    fs.statSync(each, { throwIfNoEntry: false })?.isFile()
  );
  const machine = found === undefined ? undefined : machineOf(found);
  if (machine === undefined || runs.includes(machine)) return;
  const made = MACHINES[machine] ?? `machine ${machine}`;
  throw new LaunchError(
    `it is made for another environment: "${program}" is for ${made}, this machine is ${MACHINES[runs[0]!]}`,
  );
}

function hasEmulators(): boolean {
  try {
    return fs.readdirSync(EMULATORS).some((name) => name !== "register" && name !== "status");
  } catch {
    return false; // not mounted
  }
}

/** Which processor an ELF file is for; `undefined` when it is none. */
function machineOf(path: string): number | undefined {
  const head = new Uint8Array(20);
  const file = fs.openSync(path, "r");
  try {
    if (fs.readSync(file, head) < head.length) return undefined;
  } finally {
    fs.closeSync(file);
  }
  const isElf = head[0] === 0x7f && head[1] === 0x45 && head[2] === 0x4c && head[3] === 0x46;
  return isElf ? new DataView(head.buffer).getUint16(18, head[5] === 1) : undefined; // EI_DATA
}
