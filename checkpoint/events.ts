import { EventEmitter } from "eventemitter3";

/** Tells whoever listens, by the names of events that `E` has. */
export class Events<E extends object> {
  readonly #emitter = new EventEmitter();

  /** Calls `listener` each time. */
  on<K extends keyof E & string>(event: K, listener: E[K] & ((...args: never[]) => void)): this {
    this.#emitter.on(event, listener as (...args: unknown[]) => void);
    return this;
  }

  /** Calls `listener` the next time only. */
  once<K extends keyof E & string>(event: K, listener: E[K] & ((...args: never[]) => void)): this {
    this.#emitter.once(event, listener as (...args: unknown[]) => void);
    return this;
  }

  /** Does not call `listener` any more. */
  off<K extends keyof E & string>(event: K, listener: E[K] & ((...args: never[]) => void)): this {
    this.#emitter.off(event, listener as (...args: unknown[]) => void);
    return this;
  }

  /** Nobody listens any more: to one of them, or to anything. */
  removeAllListeners(event?: keyof E & string): this {
    this.#emitter.removeAllListeners(event);
    return this;
  }

  /** How many listen. */
  listenerCount<K extends keyof E & string>(event: K): number {
    return this.#emitter.listenerCount(event);
  }

  /** Calls those who listen, in their order. @returns Whether anybody did. */
  emit<K extends keyof E & string>(
    event: K,
    ...args: E[K] extends (...args: infer A) => void ? A : never
  ): boolean {
    return this.#emitter.emit(event, ...args);
  }
}
