import type { TcpListener as ListenEntry } from "../tcp/listeners.ts";
import { checkTcpOptions, type TcpOptions } from "../tcp/options.ts";
import type { Tcb } from "../tcp/tcb.ts";
import { netAddr } from "./address.ts";
import { TcpConnection } from "./conn.ts";
import { Endpoint } from "./endpoint.ts";
import { BadResource, Busy } from "./errors.ts";
import type { Host } from "./host.ts";
import type { Hold } from "./liveness.ts";
import type { Acceptor } from "./owner.ts";
import type { NetAddr, TcpListener } from "./types.ts";

type Accept = { resolve: (endpoint: Endpoint) => void; reject: (error: Error) => void };

/**
 * `Deno.TcpListener` over the stack. Connections that an earlier process suspended come out of
 * `accept` too, when they wake.
 */
export class ConnListener implements TcpListener, Acceptor {
  /** Where it listens. */
  readonly addr: NetAddr;
  readonly #host: Host;
  readonly #entry: ListenEntry;
  readonly #ready: Endpoint[] = [];
  readonly #waiting: Accept[] = [];
  readonly #hold: Hold;
  #closed = false;

  /** @internal */
  constructor(host: Host, entry: ListenEntry) {
    this.#host = host;
    this.#entry = entry;
    this.#hold = host.liveness.open();
    this.addr = netAddr("tcp", entry.address, entry.port, entry.address, host.stack.addresses);
  }

  /**
   * The next connection. One caller waits at a time, as with Deno.
   * @throws {BadResource} Once the listener is closed. {Busy} While somebody else waits.
   */
  async accept(): Promise<TcpConnection> {
    if (this.#waiting.length > 0) throw new Busy("Another accept task is ongoing");
    return new TcpConnection(await this.acceptEndpoint());
  }

  /** @internal As `accept`, but gives the bare endpoint that adapters build on; several may wait. */
  acceptEndpoint(): Promise<Endpoint> {
    if (this.#closed) return Promise.reject(new BadResource("Listener has been closed"));
    const ready = this.#ready.shift();
    if (ready !== undefined) {
      this.#host.stack.tcp.listeners.taken(this.#entry);
      return Promise.resolve(ready);
    }
    return new Promise((resolve, reject) => void this.#waiting.push({ resolve, reject }));
  }

  /** What holds for connections from the next one on; what is left out stays as it was. */
  setOptions(options: TcpOptions): void {
    checkTcpOptions(options);
    const entry = this.#entry;
    this.#host.stack.tcp.listeners.configure(entry, { ...entry.options, ...options }, entry.fastOpenMax);
  }

  /** Takes no more connections; those that were accepted live on. */
  close(): void {
    if (this.#closed) throw new BadResource("Bad resource ID");
    this.#closed = true;
    this.#hold.close();
    this.#host.removeListener(this.#entry);
    this.#rejectWaiting();
    for (const endpoint of this.#ready.splice(0)) endpoint.abort(); // nobody will ever take them
  }

  /** As `close()`. */
  [Symbol.dispose](): void {
    if (!this.#closed) this.close();
  }

  /** Ends when the listener is closed, and closes it when the loop is left, as Deno's does. */
  [Symbol.asyncIterator](): AsyncIterableIterator<TcpConnection> {
    return acceptAll(this);
  }

  /** It keeps the process alive, as it does by default. */
  ref(): void {
    this.#hold.ref();
  }
  /** It is no reason to keep the process alive: that ends when nothing else is. */
  unref(): void {
    this.#hold.unref();
  }

  // Acceptor

  /** @internal */
  accepted(tcb: Tcb): void {
    const endpoint = new Endpoint(this.#host, tcb);
    this.#host.setOwner(tcb, endpoint);
    const accept = this.#waiting.shift();
    if (accept === undefined) {
      this.#ready.push(endpoint);
    } else {
      this.#host.stack.tcp.listeners.taken(this.#entry);
      accept.resolve(endpoint);
    }
  }

  /** @internal */
  restored(tcb: Tcb): void {
    this.#host.stack.tcp.listeners.putBack(this.#entry); // it stands in the queue again
    this.accepted(tcb);
  }

  /** @internal */
  hostClosed(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#hold.close();
    this.#ready.length = 0; // the host has ended them
    this.#rejectWaiting();
  }

  #rejectWaiting(): void {
    for (const { reject } of this.#waiting.splice(0)) reject(new BadResource("Listener has been closed"));
  }
}

/** What Deno's listeners do in `for await`, for whatever is accepted. */
export function acceptAll<T>(listener: Disposable & { accept(): Promise<T> }): AsyncIterableIterator<T> {
  return {
    async next(): Promise<IteratorResult<T>> {
      try {
        return { value: await listener.accept(), done: false };
      } catch (error) {
        if (error instanceof BadResource) return { value: undefined, done: true }; // closed
        throw error;
      }
    },
    return(value?: unknown): Promise<IteratorResult<T>> {
      listener[Symbol.dispose]();
      return Promise.resolve({ value, done: true });
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
