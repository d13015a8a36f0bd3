/** Something that can keep a process alive, or not. */
export interface Alive {
  /** It keeps the process alive, as it does by default. */
  ref?(): void;
  /** It does not. */
  unref?(): void;
}

/**
 * Whether a host keeps its process alive. It does as long as it is open, but for one case: something has been opened on it,
 * and all that is open has been told (`unref`) that it is no reason to live.
 */
export class Liveness {
  readonly #parts: () => Iterable<Alive>;
  #held = 0;
  #released = 0;
  #alive = true;

  /** @param parts What waits for something on the host's behalf: its links, its alarm. */
  constructor(parts: () => Iterable<Alive>) {
    this.#parts = parts;
  }

  /** Whether it does. */
  get alive(): boolean {
    return this.#alive;
  }

  /** A listener, a connection, a socket has been opened. */
  open(): Hold {
    this.#held++;
    this.#look();
    return new Hold((held, released) => {
      this.#held += held;
      this.#released += released;
      this.#look();
    });
  }

  #look(): void {
    const alive = this.#held > 0 || this.#released === 0;
    if (alive === this.#alive) return;
    this.#alive = alive;
    for (const part of this.#parts()) {
      if (alive) part.ref?.();
      else part.unref?.();
    }
  }
}

/** One listener, connection or socket, as far as the process's life depends on it. */
export class Hold {
  readonly #count: (held: number, released: number) => void;
  #state: "held" | "released" | "closed" = "held";

  /** @internal */
  constructor(count: (held: number, released: number) => void) {
    this.#count = count;
  }

  /** As `Deno.Conn.ref`. Of what is closed it changes nothing. */
  ref(): void {
    this.#become("held");
  }

  /** As `Deno.Conn.unref`. */
  unref(): void {
    this.#become("released");
  }

  /** It is over. */
  close(): void {
    this.#become("closed");
  }

  #become(state: "held" | "released" | "closed"): void {
    const before = this.#state;
    if (before === "closed" || before === state) return;
    this.#state = state;
    const one = (of: typeof state): number => Number(state === of) - Number(before === of);
    this.#count(one("held"), one("released"));
  }
}
