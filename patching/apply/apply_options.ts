/** How a patch is applied. */
export interface ApplyOptions {
  /** Public keys in base64: by one of them it must be signed. Without keys everything is taken. */
  readonly trusted?: readonly string[];
  /** Says whether the program is well with the patch. False, or an error, rolls it back. */
  readonly health?: () => boolean | Promise<boolean>;
  /** How long to wait until no replaced function runs, in milliseconds; 1,000 when left out. */
  readonly patienceMs?: number;
  /** Is told each step before it is taken. What it throws ends the attempt as an error of that step would. */
  readonly onStep?: (step: ApplyStep, what: string) => void | Promise<void>;
  /** Writes down that it is applied; what it throws rolls back. */
  readonly record?: () => void | Promise<void>;
}

/** The steps of applying a patch, in their order. */
export const APPLY_STEPS: readonly ApplyStep[] = [
  "verify",
  "check",
  "import",
  "compile",
  "quiet",
  "initialize",
  "switch",
  "hook",
  "health",
  "record",
];
/** See `APPLY_STEPS`. */
export type ApplyStep =
  | "verify"
  | "check"
  | "import"
  | "compile"
  | "quiet"
  | "initialize"
  | "switch"
  | "hook"
  | "health"
  | "record";
