/**
 * Joins many requests for a slow sync: one runs at a time, and all that is asked for while it runs
 * shares the next. Requests of one turn of the event loop share one, too.
 */
export class GroupCommit {
  #sync: () => Promise<void>;
  #waiting: Group | undefined;
  #pumping: Promise<void> | undefined;

  constructor(sync: () => Promise<void>) {
    this.#sync = sync;
  }

  /** Settles as the first sync does that starts after now. A rejection may be ignored. */
  request(): Promise<void> {
    this.#waiting ??= newGroup();
    this.#pumping ??= Promise.resolve().then(() => this.#pump());
    return this.#waiting.promise;
  }

  /** Resolves when nothing is asked for and nothing runs. */
  async idle(): Promise<void> {
    await this.#pumping;
  }

  async #pump(): Promise<void> {
    while (this.#waiting) {
      const group = this.#waiting;
      this.#waiting = undefined;
      await this.#sync().then(group.resolve, group.reject);
    }
    this.#pumping = undefined;
  }
}

interface Group {
  promise: Promise<void>;
  resolve: () => void;
  reject: (error: unknown) => void;
}

function newGroup(): Group {
  const group: Partial<Group> = {};
  group.promise = new Promise((resolve, reject) => Object.assign(group, { resolve, reject }));
  group.promise.catch(() => {}); // whoever cares has a handler of its own
  return group as Group;
}
