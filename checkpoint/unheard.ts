/** Messages remembered, so that what repeats itself is said once. */
const MESSAGES_MAX = 100;

/** Errors that nobody listens for go to the console, each message once. */
export class Unheard {
  readonly #said = new Set<string>();

  tell(error: Error): void {
    if (this.#said.size > MESSAGES_MAX || this.#said.has(error.message)) return;
    this.#said.add(error.message);
    if (this.#said.size <= MESSAGES_MAX) console.error(error);
    else console.error('Torpor has more errors to tell: listen to the sleeper\'s "error" event');
  }
}
