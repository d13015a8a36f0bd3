import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ReplayError } from "../../checkpoint/replay/event.ts";
import { ReplayReader } from "../../checkpoint/replay/reader.ts";
import { Recorder } from "../../checkpoint/replay/recorder.ts";
import { recordNext } from "./make_stack.ts";
import type { Target } from "./target.ts";

/** A crash as it is attached to a report: what, with which input, found how. */
export interface CrashFile {
  readonly target: string;
  readonly input: Uint8Array<ArrayBuffer>;
  readonly error: string;
  readonly key: string;
  readonly seed: number;
  readonly commit: string;
  readonly runtime: string;
}

/** What names such a recording, in its `about`. */
const WHAT = "crash of a fuzz target";

/**
 * Writes a crash as a recording: the input stands in what it says about itself, and where `target` attacks a stack, what
 * happened to the first one that it made follows, for `torpor replay`. The same input gives the same name.
 * @returns The path.
 */
export async function writeCrash(folder: string, crash: CrashFile, target?: Target): Promise<string> {
  const recorder = new Recorder({ about: { what: WHAT, ...crash }, onError: () => {} });
  if (target !== undefined) {
    recordNext(recorder);
    try {
      await target.run(crash.input);
    } catch {
      // that is what is recorded
    } finally {
      recordNext(undefined);
    }
  }
  mkdirSync(folder, { recursive: true });
  const hash = createHash("sha256").update(crash.input).digest("hex").slice(0, 12);
  const path = join(folder, `${crash.target.replaceAll("/", "-")}-${hash}.replay`);
  writeFileSync(path, recorder.bytes());
  return path;
}

/** @throws {Error} When the file is none of `writeCrash`. */
export function readCrash(path: string): CrashFile {
  try {
    const { what, ...crash } = Object.fromEntries(new ReplayReader(new Uint8Array(readFileSync(path))).about);
    if (what === WHAT) return crash as unknown as CrashFile;
  } catch (error) {
    if (!(error instanceof ReplayError)) throw error;
  }
  throw new Error(`Cannot read "${path}": it is no crash of the fuzzer`);
}
