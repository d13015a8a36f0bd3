import { Host, listenUnix, ReconnectingLink, type TcpConn } from "../../mod.ts";
import { NETWORK, serverAddressOf } from "../survive_kill/talk.ts";

/** What is said: more than three words, which the chat's bug cuts. */
const WORDS = ["how", "are", "you", "today"];
/** Between two lines of a connection: much shorter than what lets it sleep. */
const PAUSE_MS = 15;

/** Which code has answered. */
export type Version = "old" | "new";

/** A connection, and what it has said. */
interface Member {
  readonly conn: TcpConn;
  readonly room: string;
  readonly reader: AsyncIterator<string>;
  /** Lines said since the server process began. */
  lines: number;
}

/** Clients of the chat, each in a room of its own, who check each word that comes back. */
export class Crowd {
  readonly #members: Member[] = [];
  #talking: Promise<void>[] = [];
  #over = false;
  /** Answers that were right, by the code that gave them. */
  readonly answers: Record<Version, number> = { old: 0, new: 0 };
  readonly failed: string[] = [];
  /** What the code that answers is from now on known to be; `undefined` while it is being changed. */
  expected: Version | undefined = "old";

  /** Opens `count` connections over a unix socket at `path`, to which the server plugs its end. */
  async open(path: string, count: number): Promise<void> {
    const link = new ReconnectingLink();
    await listenUnix({ path, onLink: (carrier) => link.attach(carrier) });
    const host = new Host({
      interfaces: [{ link }],
      addresses: [{ address: `${NETWORK.clientAddress}/${NETWORK.prefixLength}` }],
      routes: [{ destination: NETWORK.serverSubnet, gateway: NETWORK.serverAddress }],
    });
    const join = async (index: number): Promise<Member> => {
      const conn = await host.connect({ hostname: serverAddressOf(index), port: NETWORK.port });
      conn.setNoDelay();
      return { conn, room: `r${index}`, reader: linesOf(conn), lines: 0 };
    };
    this.#members.push(await join(0)); // which the server's start lets in
    this.#members.push(
      ...await Promise.all(Array.from({ length: count - 1 }, (_, index) => join(index + 1))),
    );
  }

  /** Everybody says a line, and hears the answer. */
  async all(from = 0): Promise<void> {
    await Promise.all(this.#members.slice(from).map((member) => this.#say(member)));
  }

  /** The first `count` talk until told to stop. */
  talk(count: number): void {
    this.#over = false;
    this.#talking = this.#members.slice(0, count).map(async (member) => {
      while (!this.#over) {
        await this.#say(member);
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS * (0.5 + Math.random())));
      }
    });
  }

  /** Resolves when everybody has heard the last answer. */
  async hush(): Promise<void> {
    this.#over = true;
    await Promise.all(this.#talking);
  }

  /** The server process is another one: what it knew of rooms is gone. */
  forget(): void {
    for (const member of this.#members) member.lines = 0;
  }

  async #say(member: Member): Promise<void> {
    const { conn, room, reader } = member;
    const expected = this.expected; // as the line leaves
    member.lines++;
    const said = [...WORDS, `${member.lines}`];
    try {
      await conn.write(new TextEncoder().encode(`${room} ${said.join(" ")}\n`));
      const { value: answer } = await reader.next();
      const right: Record<Version, string> = {
        old: `${room}: ${said.slice(0, 3).join(" ")}`,
        new: `${room} #${member.lines}: ${said.join(" ")}`,
      };
      const version = answer === right.old ? "old" : answer === right.new ? "new" : undefined;
      const late = expected !== undefined && this.expected === expected && version !== expected;
      if (version === undefined || late) this.failed.push(`${room} heard "${answer}"`);
      else this.answers[version]++;
    } catch (error) {
      this.failed.push(`${room}: ${error instanceof Error ? error.message : error}`);
    }
  }
}

async function* linesOf(conn: TcpConn): AsyncGenerator<string, string> {
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(256);
  let rest = "";
  for (;;) {
    const count = await conn.read(buffer);
    if (count === null) throw new Error("the connection has ended");
    const lines = (rest + decoder.decode(buffer.subarray(0, count))).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
}
