import { execFileSync } from "node:child_process";
import type { Need } from "../support/judge.ts";

/** Debian's python3-cbor2, which only the system's own Python finds. */
const PYTHON = "/usr/bin/python3";

/** Needs for `judge`: none when python3-cbor2 is installed. */
export function cbor2Needs(): Need[] {
  try {
    execFileSync(PYTHON, ["-c", "import cbor2"], { stdio: "ignore" });
    return [];
  } catch {
    return ["python3-cbor2"];
  }
}

/** Runs a Python program with `input` on its standard input; its standard output. */
export function python(program: string, input: Uint8Array): string {
  return execFileSync(PYTHON, ["-c", program], { input, encoding: "utf8", maxBuffer: 64 * 1024 * 1024 });
}
