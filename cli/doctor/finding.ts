/** How something stands: it works, it works less well, or it does not and something needs it. */
export type Verdict = "good" | "less" | "bad";

/** One thing that was looked at. */
export interface Finding {
  /** A word that stays the same: `runtime`, `ffi`, `tun`, ... */
  readonly name: string;
  readonly verdict: Verdict;
  /** What was found. */
  readonly found: string;
  /** What to do about it, where something is to be done. */
  readonly advice?: string;
}

/** Something that can be looked at. What it throws is its verdict, too. */
export type Examination = () => Finding | Promise<Finding>;

/** The worst of several. */
export function worst(findings: readonly Finding[]): Verdict {
  for (const verdict of ["bad", "less"] as const) {
    if (findings.some((each) => each.verdict === verdict)) return verdict;
  }
  return "good";
}

/** What `code` and message an error has, on a line. */
export function reasonOf(error: unknown): string {
  const { message = String(error) } = error as Error;
  return message.split("\n")[0]!;
}
