import { closeSync, existsSync, openSync, readSync, renameSync, writeSync } from "node:fs";
import process from "node:process";
import { runtime } from "../../base/runtime.ts";
import { ReplayReader } from "./reader.ts";
import { Recorder, type RecorderOptions } from "./recorder.ts";

/** How soon what was recorded is in the file, in ms, when nothing more happens. */
const WRITE_MS = 200;

/**
 * Records a host into the file at `path`: give it to the host as its `recorder`. What was recorded is in the file
 * at most a second later, and at once when the process ends by itself; after `kill -9` the file is readable up to there.
 * A file that is there already, of the process before perhaps, is kept as `PATH.old`.
 *
 * The file holds every byte that crossed the host's network, keys and payload included.
 *
 * @throws {Error} The runtime's own, when the file cannot be made.
 * @example
 * ```ts ignore
 * const host = new SleepyHost({ ...options, recorder: recordTo("run.replay") });
 * ```
 */
export function recordTo(path: string, options: Omit<RecorderOptions, "write" | "waiting"> = {}): Recorder {
  if (existsSync(path)) renameSync(path, `${path}.old`);
  const file = openSync(path, "wx", 0o600);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const flush = (): void => {
    timer = undefined;
    recorder.flush();
  };
  const about = {
    runtime,
    version: process.versions[runtime] ?? "",
    platform: `${process.platform} ${process.arch}`,
    ...options.about,
  };
  const recorder: Recorder = new Recorder({
    ...options,
    about,
    write: (bytes) => writeWhole(file, bytes),
    waiting: () => {
      timer ??= setTimeout(flush, WRITE_MS);
      timer.unref?.();
    },
    closed: () => {
      clearTimeout(timer);
      process.off("exit", flush);
      closeSync(file);
      options.closed?.();
    },
  });
  process.on("exit", flush);
  return recorder;
}

function writeWhole(file: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at);
}

/** A recording in a file, to be read from its beginning. `close` lets go of the file. */
export interface OpenRecording {
  /** Reads it from the beginning. */
  readonly reader: ReplayReader;
  /** Closes the file. */
  close(): void;
}

/**
 * Opens the recording at `path`.
 * @throws {ReplayError} When it is none; the runtime's own error when there is no such file.
 */
export function openRecording(path: string): OpenRecording {
  const file = openSync(path, "r");
  const read = (at: number, length: number): Uint8Array => {
    const bytes = new Uint8Array(length);
    let count = 0;
    while (count < length) {
      const more = readSync(file, bytes, count, length - count, at + count);
      if (more === 0) break;
      count += more;
    }
    return bytes.subarray(0, count);
  };
  try {
    return { reader: new ReplayReader({ read }), close: () => closeSync(file) };
  } catch (error) {
    closeSync(file);
    throw error;
  }
}
