import process from "node:process";
import type { WorkOptions } from "../../checkpoint/appliances/disk/progress.ts";
import type { Terminal } from "../command.ts";
import { Progress } from "../progress.ts";
import { bytesText } from "../units.ts";

/** The exit code of work that was interrupted: that of a shell. */
export const EXIT_INTERRUPTED = 130;

/**
 * Runs long work: its progress is shown while a person looks on, and an interrupt ends it cleanly.
 * @returns The exit code.
 */
export async function withWork(
  terminal: Terminal,
  name: string,
  work: (options: WorkOptions, progress: Progress) => Promise<number>,
): Promise<number> {
  const progress = new Progress(terminal);
  const controller = new AbortController();
  const interrupt = (): void => controller.abort(new Error("interrupted"));
  process.once("SIGINT", interrupt);
  process.once("SIGTERM", interrupt);
  try {
    return await work({
      signal: controller.signal,
      onProgress: ({ what, bytes, total }) =>
        progress.show(`${what}: ${bytesText(bytes)}${total === undefined ? "" : ` of ${bytesText(total)}`}`),
    }, progress);
  } catch (error) {
    if (!controller.signal.aborted || error !== controller.signal.reason) throw error;
    progress.end();
    terminal.err(`torpor appliance ${name}: interrupted; run again, it goes on where it can\n`);
    return EXIT_INTERRUPTED;
  } finally {
    progress.end();
    process.off("SIGINT", interrupt);
    process.off("SIGTERM", interrupt);
  }
}

/** What every command says of what it takes. */
export const APPLIANCE_HELP = `\
An appliance is a folder, a tar file (plain, gzip or zstd), an OCI image
layout, or an archive of one as skopeo and docker save write them. PATH:REF is
one image of several, PATH#2 its lowest two layers. Folders need GNU tar; run
as root to see all of them, and to give files their owners.
`;
