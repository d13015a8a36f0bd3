import { createCipheriv } from "node:crypto";
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { Cell, Table } from "../bench.ts";
import { type Ran, round, sh, torpor } from "./shell.ts";

const NAMES_PER_GB = 20_000;
const SMALL_BYTES = 4_000;
const LARGE_BYTES = 64_000_000;
const PIECE_BYTES = 1 << 20;

/** What a tree takes that is large: its bytes cost nothing, its names do. */
export function memory(folder: string, sizesGb: readonly number[]): Table {
  const rows: Cell[][] = [];
  for (const gb of sizesGb) {
    makeTree(join(folder, "large"), gb);
    sh(folder, "cp -al large larger");
    changeTree(join(folder, "larger"));
    const names = Number(sh(folder, "find large | wc -l"));
    const row = (what: string, args: string): void => {
      const ran: Ran = torpor(folder, `appliance ${args}`);
      rows.push([what, gb, names, ran.memoryMb, round(ran.seconds)]);
    };
    row("diff of two folders", "diff large larger large.diff");
    row("apply to a folder, into a tar", "apply large large.diff out.tar");
    sh(folder, "rm out.tar");
    row("the same, into a folder", "apply large large.diff out");
    sh(folder, "rm -r out large larger large.diff");
  }
  return {
    title: "memory, by the size of the trees",
    columns: ["", "GB each", "names each", "most resident, MB", "CPU s"],
    rows,
    notes: [
      `noise: ${NAMES_PER_GB} files of ${SMALL_BYTES} bytes in each GB, the rest in files of ${
        LARGE_BYTES / 1e6
      } MB, of which each fifth has 100 KB more in its midst; 2,000 files are new`,
      `${torpor(folder, "--help").memoryMb} MB are Node and tsx`,
    ],
  };
}

function makeTree(to: string, gb: number): void {
  const cipher = createCipheriv("aes-128-ctr", new Uint8Array(16), new Uint8Array(16));
  const zeros = new Uint8Array(PIECE_BYTES);
  const noise = (length: number): Uint8Array => cipher.update(zeros.subarray(0, length));
  mkdirSync(join(to, "large"), { recursive: true });
  const small = Math.round(gb * NAMES_PER_GB);
  for (let file = 0; file < small; file++) {
    const package_ = join(to, `usr/share/package-${Math.floor(file / 100)}`);
    if (file % 100 === 0) mkdirSync(package_, { recursive: true });
    writeFileSync(join(package_, `file-${file}`), noise(SMALL_BYTES));
  }
  let left = gb * 1e9 - small * SMALL_BYTES;
  for (let index = 0; left > 0; index++) {
    const file = openSync(join(to, "large", `${index}`), "w");
    for (let at = 0; at < LARGE_BYTES && left > 0; at += PIECE_BYTES, left -= PIECE_BYTES) {
      writeSync(file, noise(PIECE_BYTES));
    }
    closeSync(file);
  }
}

function changeTree(at: string): void {
  for (const name of readdirSync(join(at, "large"))) {
    if (Number(name) % 5 !== 0) continue;
    const path = join(at, "large", name);
    const bytes = readFileSync(path);
    rmSync(path); // it is a hard link of the other tree's
    const half = bytes.length >> 1;
    writeFileSync(
      path,
      Buffer.concat([bytes.subarray(0, half), Buffer.alloc(100_000, 7), bytes.subarray(half + 5_000)]),
    );
  }
  mkdirSync(join(at, "new"));
  for (let file = 0; file < 2_000; file++) {
    writeFileSync(join(at, "new", `${file}`), `new ${file}`.repeat(300));
  }
}
