/** Many clients in one process, over one link: each is a connection and a promise. */
import { connectUnix, Host, ReconnectingLink, type TcpConn } from "../../mod.ts";

/** So many connections have one pair of addresses: ports are few. */
const PER_ADDRESS = 10_000;
/** How many connect at a time. */
const AT_ONCE = 200;

/** One of them. */
export interface Member {
  readonly index: number;
  readonly conn: TcpConn;
  /** What has come and not been taken. */
  bytes: Uint8Array;
}

/** A network with all clients on it, connected to a server's unix socket. */
export class Crowd {
  readonly members: Member[] = [];
  readonly #link = new ReconnectingLink();
  readonly #host: Host;

  constructor() {
    this.#host = new Host({
      interfaces: [{ link: this.#link }],
      addresses: [{ address: "10.0.0.2/16" }],
      routes: [{ destination: "10.1.0.0/16", gateway: "10.0.0.1" }],
    });
  }

  /** The server is there, perhaps again. */
  async attach(path: string): Promise<void> {
    this.#link.attach(await connectUnix({ path }));
  }

  /** Connects `count` clients and has each say `hello`, whose answer has so many bytes at least. */
  async join(
    count: number,
    hello: (index: number) => Uint8Array,
    answered: (bytes: Uint8Array) => boolean,
  ): Promise<void> {
    for (let from = 0; from < count; from += AT_ONCE) {
      await Promise.all(
        Array.from({ length: Math.min(AT_ONCE, count - from) }, async (_, each) => {
          const index = from + each;
          const hostname = `10.1.0.${1 + Math.floor(index / PER_ADDRESS)}`;
          const conn = await this.#host.connect({ hostname, port: PORT });
          const member: Member = { index, conn, bytes: new Uint8Array(0) };
          this.members[index] = member;
          await say(member, hello(index));
          await hear(member, answered);
          member.bytes = new Uint8Array(0);
        }),
      );
    }
  }

  close(): void {
    this.#host.close();
  }
}

/** Where both servers listen. */
export const PORT = 80;

export async function say({ conn }: Member, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

/** Reads until `enough` says so of all that has come. */
export async function hear(member: Member, enough: (bytes: Uint8Array) => boolean): Promise<void> {
  const buffer = new Uint8Array(4_096);
  while (!enough(member.bytes)) {
    const count = await member.conn.read(buffer);
    if (count === null) throw new Error(`Client ${member.index} was thrown out`);
    const more = new Uint8Array(member.bytes.length + count);
    more.set(member.bytes);
    more.set(buffer.subarray(0, count), member.bytes.length);
    member.bytes = more;
  }
}
