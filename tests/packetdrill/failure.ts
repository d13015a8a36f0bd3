/** What a script says and what happened differ. `line` is the script's. */
export class ScriptFailure extends Error {
  override name = "ScriptFailure";
  readonly line: number;
  constructor(line: number, message: string) {
    super(message);
    this.line = line;
  }
}
