import type { Service } from "./plan.ts";
import { must } from "./violation.ts";

/** A handshake may fail when the network or the server does. */
const UNBORN = "not yet accepted";

/** What is true of one connection, whoever sleeps, dies or forgets: kept by the world, outside of all machines. */
export class Account {
  readonly id: number;
  readonly service: Service;
  /** Whether its client runs a stack of ours, or the simple one. */
  readonly simple: boolean;
  /** Its name on the server, once it has been accepted. */
  tuple: string | undefined;
  /** Bytes that the client's application has handed to its TCP. */
  sent = 0;
  /** Of these, what the server's application has read. */
  got = 0;
  /** Bytes that the server's application has handed to its TCP. */
  said = 0;
  /** What it is about to hand over: it may die before it knows that its TCP took it. */
  offered = 0;
  /** Of these, what the client's application has read. */
  heard = 0;
  /** Bytes that the server's application said unasked. */
  pushed = 0;
  /** Changes of its attachment that no packet had a part in. */
  notes = 0;
  /** The client's last byte is known to be its last. */
  clientEnded = false;
  /** Its server does not end as soon as it sees the client's end: it may have more to say. */
  lingers: boolean;
  serverSawEnd = false;
  serverEnded = false;
  /** The server's application has been told that all is over. */
  serverClosed = false;
  /** It died just when its disk refused to let go of a connection that was over: that one comes back, and is over again. */
  mayReturn = false;
  clientSawEnd = false;
  /** Why it is no violation when this connection ends before its time; undefined while it may not. */
  mayBreak: string | undefined = UNBORN;
  /** Its server has lost power while it was awake: an old image may come back (decision 4). */
  forgiven = false;
  /** It slept between a read of its server and the note of it in its attachment. */
  unnoted = false;
  /** How it ended before its time. */
  broken: string | undefined;
  /** Both sides have seen the end of the other's stream. */
  over = false;

  constructor(id: number, service: Service, simple: boolean, lingers: boolean) {
    this.id = id;
    this.service = service;
    this.simple = simple;
    this.lingers = lingers;
  }

  /** From here on it may break. The first reason is kept. */
  excuse(why: string): void {
    if (this.mayBreak === undefined || this.mayBreak === UNBORN) this.mayBreak = why;
  }

  /**
   * Its server has died, and this is what the next one knows of a durable connection: less than the dead one had done,
   * perhaps, but nothing less than anybody has seen of that; of one that may break, whatever it is.
   */
  restart(
    known: { named: boolean; got: number; said: number; pushed: number; notes: number; ended: boolean },
  ): void {
    if (this.mayBreak === undefined) this.#judgeRestart(known);
    this.got = known.got;
    this.said = known.said;
    this.pushed = known.pushed;
    this.notes = known.notes;
    this.serverEnded = known.ended;
    this.serverSawEnd = known.ended || this.lingers && this.serverSawEnd; // it need not be told twice
  }

  #judgeRestart(known: { named: boolean; got: number; said: number; ended: boolean }): void {
    const { id, got, said, heard, clientSawEnd } = this;
    // What comes before its number is known is nobody's yet.
    must(
      known.got <= got || !known.named,
      () => `Connection ${id} has got ${known.got}, of ${got} that came`,
    );
    must(known.said <= said, () => `Connection ${id} has said ${known.said}, of ${said}`);
    must(known.said >= heard, () => `Connection ${id} forgets: ${known.said} said, and ${heard} were heard`);
    must(known.ended || !clientSawEnd, () => `Connection ${id} forgets its end, which its client has seen`);
  }

  accepted(): void {
    if (this.mayBreak === UNBORN) this.mayBreak = undefined;
  }

  break(where: string, why: string): void {
    if (where === "server" && this.mayReturn) return;
    must(
      this.mayBreak !== undefined || this.over,
      () => `Connection ${this.id} broke at the ${where}, and nothing had happened to it: ${why}`,
    );
    this.broken ??= `${where}: ${why}`;
  }

  /** Whether all that was sent must still arrive. */
  get whole(): boolean {
    return this.broken === undefined && this.mayBreak === undefined;
  }
}
