/** Why a patch cannot be built, read or applied. */
export type PatchReason =
  | "source" // a module cannot be parsed
  | "unpatchable" // a function that has no slot
  | "kind" // async, generator, arrow or method became another of them
  | "arity" // other parameters
  | "symbol" // a name that is not there, or is another thing
  | "captured" // a variable, or `this`, that is out of reach
  | "module" // no such module is loaded, or several are
  | "base" // another version runs
  | "function" // no such function, or another version of it
  | "applied" // it is applied already
  | "order" // others were applied after it
  | "signature" // not signed by anybody trusted
  | "busy" // another patch is being applied
  | "active" // the function runs, and does not end in time
  | "compile" // the engine refuses the code
  | "import" // a module that the code imports cannot be loaded
  | "initializer" // what it adds throws
  | "hook" // its own hook throws
  | "health" // applied, found ill, rolled back
  | "record"; // applied, could not be written down, rolled back

/** A patch that is refused. Nothing of it is applied. */
export class PatchError extends Error {
  /** What `Error.prototype.name` says. */
  override name = "PatchError";
  /** What is in the way. */
  readonly reason: PatchReason;
  /** The function that it is about, by its name in the module: `Room.prototype.say`. */
  readonly function: string | undefined;

  /** `message` says what was attempted, and what is in the way. */
  constructor(
    reason: PatchReason,
    message: string,
    options: ErrorOptions & { readonly function?: string | undefined } = {},
  ) {
    super(message, options);
    this.reason = reason;
    this.function = options.function;
  }
}

/** What an error says. */
export function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
