/** Where a command's words go, and where a person's come from. */
export interface Terminal {
  out(text: string): void;
  err(text: string): void;
  /** Resolves when `out` takes more without keeping it in memory. */
  drained?(): Promise<void>;
  /** Whether `out` is read by a person who sees colours. */
  readonly color: boolean;
  /** Whether `err` is a terminal: there a line may be written again and again, as of something under way. */
  readonly live?: boolean;
  /** Whether `out` is a screen, which may be written over. */
  readonly screen?: boolean;
  /** Lines that are typed, or come in otherwise. */
  lines(): AsyncIterable<string>;
}

/** A command of `torpor`. */
export interface Command {
  readonly name: string;
  /** One line. */
  readonly summary: string;
  /** What `--help` prints, with examples and exit codes. */
  readonly help: string;
  /** Those of a group: the next argument says which. */
  readonly commands?: readonly Command[];
  /** Whether what follows `--` is somebody else's command line. */
  readonly passes?: boolean;
  /** @returns The exit code. */
  run(args: string[], terminal: Terminal): Promise<number> | number;
}

/** A command line that is not understood. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** Something that was given and cannot be used: a file that is none, an address. */
export class InputError extends Error {
  override name = "InputError";
}

/** The exit code for what was given wrongly, of every command. */
export const EXIT_BAD_INPUT = 2;
