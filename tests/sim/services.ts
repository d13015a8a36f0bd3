import type { Prng } from "../../base/random.ts";
import type { TcpConnection } from "../../net/socket/conn.ts";
import type { Connection } from "../../net/socket/connection.ts";
import { BadResource, BrokenPipe } from "../../net/socket/errors.ts";
import type { HandlerServer } from "../../net/socket/handlers.ts";
import type { Host } from "../../net/socket/host.ts";
import { content, firstWrong, ID_BYTES, idOfClient } from "./content.ts";
import type { Account } from "./ledger.ts";
import type { ServerPlan } from "./plan.ts";
import { PORTS, type ServerWorld } from "./server_world.ts";
import { must } from "./violation.ts";

/** What a connection carries through sleep and death: as much as its server needs to go on. */
export interface Memory {
  /** The client's first bytes, until they say whose connection it is. */
  head: number[];
  id: number;
  got: number;
  said: number;
  /** Of what was said, the bytes that nobody had asked for. */
  pushed: number;
  notes: number;
}

/** Nine unanswered probes take longer than all wires are ever cut. */
const KEEP_ALIVE_INTERVAL_MS = 60_000;

/** A connection that has said nothing yet. */
export const NEW: Memory = { head: [], id: 0, got: 0, said: 0, pushed: 0, notes: 0 };

/**
 * What a server serves, on three ports: by handlers and an attachment, the same durably, and in Deno's way. All answer
 * every byte with one of their own. What a connection remembers is compared with its account, which the world keeps.
 */
export class Services {
  readonly #servers: Readonly<Record<"handlers" | "durable", HandlerServer>>;
  readonly #world: ServerWorld;
  readonly #prng: Prng;
  readonly #isDead: () => boolean;
  /** What handlers keep though they are told not to: objects of connections that may be asleep by now. */
  readonly #objects = new Map<number, Connection>();
  /** How half-closed connections in Deno's way that linger go on, by their numbers. */
  readonly #endings = new Map<number, () => void>();

  constructor(
    world: ServerWorld,
    host: Host,
    { keepAliveMs, handlersWake }: Pick<ServerPlan, "keepAliveMs" | "handlersWake">,
    prng: Prng,
    isDead: () => boolean,
  ) {
    this.#world = world;
    this.#prng = prng;
    this.#isDead = isDead;
    const serve = (port: number, durable: boolean): HandlerServer =>
      host.serve({
        port,
        durable,
        ...(durable || handlersWake === undefined ? {} : { wake: handlersWake }),
        hostname: "::",
        open: (connection) => {
          connection.attachment = { ...NEW };
          if (keepAliveMs > 0) connection.setKeepAlive(true, keepAliveMs, KEEP_ALIVE_INTERVAL_MS);
        },
        data: (connection, bytes) => this.#guarded(() => this.#data(connection, bytes)),
        end: (connection) => this.#guarded(() => this.#end(connection)),
        close: (connection, error) => this.#guarded(() => this.#closed(connection, error)),
      });
    this.#servers = { handlers: serve(PORTS.handlers, false), durable: serve(PORTS.durable, true) };
    const listener = host.listen({ port: PORTS.conn, hostname: "::" });
    this.#accept(listener).catch(() => {}); // until the process dies
  }

  #guarded(act: () => void): void {
    if (this.#isDead()) return;
    try {
      act();
    } catch (error) {
      this.#world.fail(error);
    }
  }

  /** The account of a connection, once its first bytes have come; `undefined` before. */
  #take(memory: Memory, bytes: Uint8Array): { memory: Memory; account: Account | undefined } {
    let { id, got } = memory;
    const head = [...memory.head];
    for (let at = 0; head.length < ID_BYTES && at < bytes.length; at++) head.push(bytes[at]!);
    if (id === 0 && head.length === ID_BYTES) id = idOfClient(Uint8Array.from(head));
    const account = id === 0 ? undefined : this.#world.account(id);
    must(id === 0 || account !== undefined, () => `The server read the number ${id}, which no client has`);
    if (account !== undefined && !account.forgiven) {
      must(
        memory.got === account.got || memory.id === 0,
        () => `Connection ${id} went on from byte ${memory.got}, and its server had read ${account.got}`,
      );
      must(
        memory.notes === account.notes || memory.id === 0 || account.mayBreak !== undefined,
        () => `Connection ${id} knows of ${memory.notes} notes, of ${account.notes}`,
      );
      const wrong = firstWrong(id, "client", got, bytes);
      must(wrong < 0, () => `The server of connection ${id} read a wrong byte ${got + wrong}`);
      account.got = got + bytes.length;
    }
    got += bytes.length;
    return { memory: { ...memory, head, id, got }, account };
  }

  #data(connection: Connection, bytes: Uint8Array): void {
    const was = connection.attachment as Memory;
    const { memory, account } = this.#take(was, bytes);
    connection.attachment = memory;
    if (account === undefined) return;
    if (account.forgiven) return this.#refuse(account, connection);
    account.accepted();
    account.tuple = connection.id;
    this.#objects.set(account.id, connection);
    // What came before its number was known is answered now.
    const count = was.id === 0 ? memory.got : bytes.length;
    this.#say(connection, memory, account, count);
  }

  /** It may be from the past. Its flow may have begun later than that: after this reset an old SYN begins another. */
  #refuse(account: Account, connection: { abort(): void }): void {
    const flow = this.#world.judge.flow(account.id);
    if (flow !== undefined) flow.forgiven = true;
    connection.abort();
  }

  #say(connection: Connection, memory: Memory, account: Account, count: number, unasked = 0): void {
    must(
      memory.said === account.said,
      () =>
        `Connection ${account.id} would say byte ${memory.said} next, and its server had said ${account.said}`,
    );
    try {
      connection.write(content(account.id, "server", memory.said, count));
    } catch (error) {
      if (!(error instanceof BrokenPipe)) throw error;
      return account.break("server", error.message); // its end came with its last bytes
    }
    connection.attachment = { ...memory, said: memory.said + count, pushed: memory.pushed + unasked };
    account.said += count;
  }

  /** Bytes that nobody asked for. */
  push(account: Account, count: number): void {
    if (account.tuple === undefined || account.service === "conn" || account.serverEnded) return;
    this.#servers[account.service].with(account.tuple, (connection) =>
      this.#guarded(() => {
        const memory = connection.attachment as Memory;
        if (memory.id !== account.id || account.forgiven || account.serverEnded) return;
        this.#say(connection, memory, account, count, count);
        account.pushed += count;
      }));
  }

  /** Changes an attachment without a word to the network: by an old object while it is awake, else by waking it. */
  note(account: Account): void {
    if (account.tuple === undefined || account.service === "conn" || account.over) return;
    const set = (connection: Connection): void => {
      const memory = connection.attachment as Memory;
      if (memory.id !== account.id) return;
      connection.attachment = { ...memory, notes: memory.notes + 1 };
      account.notes++;
    };
    const known = this.#objects.get(account.id);
    try {
      if (known !== undefined) return set(known);
    } catch (error) {
      must(error instanceof BadResource, () => `A note failed: ${error}`);
    }
    this.#servers[account.service].with(account.tuple, (connection) => this.#guarded(() => set(connection)));
  }

  abort(account: Account): void {
    if (account.tuple === undefined || account.service === "conn") return;
    account.excuse("its server aborts it");
    this.#servers[account.service].with(account.tuple, (connection) => connection.abort());
  }

  #end(connection: Connection): void {
    const memory = connection.attachment as Memory;
    const account = memory.id === 0 ? undefined : this.#world.account(memory.id);
    if (account !== undefined && !account.forgiven) {
      must(
        account.clientEnded && memory.got === account.sent,
        () =>
          `The server of connection ${account.id} saw the end at ${memory.got}; its client has sent ${account.sent}`,
      );
      account.serverSawEnd = true;
      if (account.lingers) return;
      account.serverEnded = true;
    }
    connection.end();
  }

  /** A connection whose client has ended ends here as well, after all. */
  endLingering(account: Account): void {
    if (account.tuple === undefined) return;
    if (account.service === "conn") {
      if (account.serverSawEnd) account.lingers = false;
      return this.#endings.get(account.id)?.();
    }
    this.#servers[account.service].with(account.tuple, (connection) =>
      this.#guarded(() => {
        const memory = connection.attachment as Memory;
        if (memory.id !== account.id || account.forgiven || !account.serverSawEnd) return;
        account.serverEnded = true;
        connection.end();
      }));
  }

  #closed(connection: Connection, error: Error | undefined): void {
    const memory = connection.attachment as Memory | undefined;
    const account = memory === undefined || memory.id === 0 ? undefined : this.#world.account(memory.id);
    if (account === undefined) return;
    if (error === undefined) account.serverClosed = true;
    else account.break("server", error.message);
  }

  async #accept(listener: AsyncIterable<unknown>): Promise<void> {
    for await (const conn of listener) {
      this.#converse(conn as TcpConnection).catch((error) => {
        if (!this.#isDead()) this.#world.fail(error);
      });
    }
  }

  /** The account of a connection that has a number, though its memory does not know it. */
  #accountAt(tuple: string): Account | undefined {
    for (const account of this.#world.accounts()) {
      if (account.tuple === tuple && !account.over && account.broken === undefined) return account;
    }
    return undefined;
  }

  /** A server in Deno's way. Between a read and its attachment it may die: then it knows less than its TCP did. */
  async #converse(conn: TcpConnection): Promise<void> {
    let memory = (conn.attachment as Memory | undefined) ?? { ...NEW };
    let account = memory.id === 0 ? this.#accountAt(conn.id) : this.#world.account(memory.id);
    if (account !== undefined && account.mayBreak !== undefined) return conn.endpoint.abort();
    const buffer = new Uint8Array(this.#prng.pick([100, 1_000, 20_000]));
    try {
      for (;;) {
        while (account !== undefined && memory.said < memory.got) {
          account.offered = memory.got;
          const some = await conn.write(content(account.id, "server", memory.said, memory.got - memory.said));
          if (this.#isDead()) return;
          memory = { ...memory, said: memory.said + some };
          account.said = memory.said;
          this.#remember(conn, memory);
        }
        const count = await conn.read(buffer);
        if (this.#isDead()) return;
        if (count === null) break;
        ({ memory, account } = this.#take(memory, buffer.subarray(0, count)));
        if (account?.forgiven) return this.#refuse(account, conn.endpoint);
        this.#remember(conn, memory);
        account?.accepted();
        if (account !== undefined) account.tuple = conn.id;
      }
      if (account !== undefined) {
        const { id, clientEnded, sent } = account;
        must(
          clientEnded && memory.got === sent,
          () => `The server of connection ${id} saw the end at ${memory.got}; its client has sent ${sent}`,
        );
        account.serverSawEnd = true;
        if (account.lingers) await new Promise<void>((end) => void this.#endings.set(id, end));
        if (this.#isDead()) return;
        account.serverEnded = true;
      }
      await conn.closeWrite();
      conn.close();
    } catch (error) {
      if (this.#isDead()) return;
      if ((error as Error).name === "Violation") throw error;
      account?.break("server", (error as Error).message); // whose connection it was nobody knows yet
    }
  }

  /** An attachment can be set while the connection is awake. Else what its process knows dies with it. */
  #remember(conn: TcpConnection, memory: Memory): void {
    const account = memory.id === 0 ? undefined : this.#world.account(memory.id);
    try {
      conn.attachment = memory;
      if (account !== undefined) account.unnoted = false;
    } catch {
      if (account !== undefined) account.unnoted = true;
    }
  }
}
