/**
 * A chat with 1,000 members who are all asleep. One speaks: everybody in the room is woken and hears
 * it, in order; the other rooms sleep on. Then the server is stopped and started again, and everybody
 * is still there.
 *
 * A member's nickname and room are the connection's attachment, so they sleep in its image: the server
 * keeps nothing about a member but its id.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Connection,
  FileStore,
  type HandlerServer,
  Host,
  pipe,
  ReconnectingLink,
  SleepyHost,
  type TcpConn,
} from "../mod.ts";
import { liveMemory } from "./live_memory.ts";

const MEMBERS = 1_000;
const ROOMS = ["tea", "sea", "snow", "moss", "amber", "slate", "cedar", "north", "quiet", "late"];
const IDLE_MS = 200;

/** What the server knows about a member. */
interface Member {
  nickname: string;
  room: string;
  /** The beginning of a line whose end has not arrived. */
  rest: string;
}

/** Lines come in: "nickname room" first, then what the member says; "room nickname: text" goes out. */
class ChatServer {
  readonly host: SleepyHost;
  readonly #store: FileStore;
  readonly #server: HandlerServer;
  readonly #rooms = new Map<string, Set<string>>();

  private constructor(store: FileStore, link: ReconnectingLink) {
    const [serverLink, clientLink] = pipe({ medium: "ip", queueMax: 100_000 });
    link.attach(clientLink);
    this.#store = store;
    this.host = new SleepyHost({
      interfaces: [{ link: serverLink }],
      addresses: [{ address: "10.0.0.1/24" }],
      store,
      idleMs: IDLE_MS,
    });
    this.#server = this.host.serve({
      port: 6667,
      tcpBacklog: MEMBERS,
      open: (connection) => void (connection.attachment = { nickname: "", room: "", rest: "" }),
      data: (connection, bytes) => this.#heard(connection, bytes),
      close: (connection) =>
        void this.#rooms.get((connection.attachment as Member).room)?.delete(connection.id),
    });
    // Members of before: each tells its room from its own image, and sleeps on.
    for (const id of this.#server.connections()) {
      this.#server.with(id, ({ attachment }) => this.#enter(id, (attachment as Member).room));
    }
  }

  static async start(folder: string, link: ReconnectingLink): Promise<ChatServer> {
    return new ChatServer(await FileStore.open(folder), link);
  }

  /** Bytes of images, and how many there are. */
  get images(): { bytes: number; count: number } {
    return { bytes: this.#store.stats.bytesLive, count: this.#store.stats.recordsLive };
  }

  #heard(connection: Connection, bytes: Uint8Array): void {
    const member = connection.attachment as Member;
    const lines = (member.rest + new TextDecoder().decode(bytes)).split("\n");
    member.rest = lines.pop()!;
    for (const line of lines) {
      if (member.nickname === "") {
        [member.nickname = "", member.room = ""] = line.split(" ");
        this.#enter(connection.id, member.room);
      } else {
        const said = new TextEncoder().encode(`${member.room} ${member.nickname}: ${line}\n`);
        for (const id of this.#rooms.get(member.room)!) this.#server.send(id, said); // wakes who sleeps
      }
    }
  }

  #enter(id: string, room: string): void {
    const ids = this.#rooms.get(room) ?? new Set();
    this.#rooms.set(room, ids.add(id));
  }
}

/** A member's side of its connection. */
class MemberClient {
  readonly nickname: string;
  readonly room: string;
  readonly #conn: TcpConn;
  #rest = "";
  readonly #buffer = new Uint8Array(1_024);

  constructor(nickname: string, room: string, conn: TcpConn) {
    this.nickname = nickname;
    this.room = room;
    this.#conn = conn;
  }

  async say(line: string): Promise<void> {
    await this.#conn.write(new TextEncoder().encode(`${line}\n`));
  }

  /** The next `count` lines. */
  async hear(count: number): Promise<string[]> {
    for (;;) {
      const lines = this.#rest.split("\n");
      if (lines.length > count) {
        this.#rest = lines.slice(count).join("\n");
        return lines.slice(0, count);
      }
      const length = await this.#conn.read(this.#buffer);
      if (length === null) throw new Error(`${this.nickname} was thrown out`);
      this.#rest += new TextDecoder().decode(this.#buffer.subarray(0, length));
    }
  }
}

async function until(what: string, done: () => boolean): Promise<void> {
  for (let ms = 0; !done(); ms += 5) {
    if (ms > 20_000) throw new Error(`Waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function allAsleep(chat: ChatServer): Promise<void> {
  await until("all are asleep", () => chat.host.counts.asleep === MEMBERS);
}

/**
 * Two of a room speak three lines each. Everybody in the room must hear the same six, and nobody else
 * may be woken.
 * @returns How many were woken.
 */
async function speak(chat: ChatServer, members: readonly MemberClient[], room: string): Promise<number> {
  const inRoom = members.filter((member) => member.room === room);
  const woken = new Set<string>();
  const onRestored = ({ id }: { id: string }): void => void woken.add(id);
  chat.host.sleeper.on("restored", onRestored);
  const lines = ["good evening", "is anybody awake?", "I am"];
  for (const line of lines) await Promise.all([inRoom[0]!.say(line), inRoom[1]!.say(line)]);
  const heard = await Promise.all(inRoom.map((member) => member.hear(2 * lines.length)));
  chat.host.sleeper.off("restored", onRestored);
  for (const each of heard) assert.deepEqual(each, heard[0]);
  for (const { nickname } of inRoom.slice(0, 2)) {
    const name = `${room} ${nickname}: `;
    const own = heard[0]!.filter((line) => line.startsWith(name));
    assert.deepEqual(own, lines.map((line) => name + line));
  }
  assert.equal(woken.size, inRoom.length);
  return woken.size;
}

const folder = mkdtempSync(join(tmpdir(), "torpor-chat-"));
try {
  const link = new ReconnectingLink({ medium: "ip" });
  const network = new Host({ interfaces: [{ link }], addresses: [{ address: "10.0.0.2/24" }] });
  let chat = await ChatServer.start(folder, link);

  const members = await Promise.all(Array.from({ length: MEMBERS }, async (_, index) => {
    const conn = await network.connect({ hostname: "10.0.0.1", port: 6667 });
    const member = new MemberClient(`member${index}`, ROOMS[index % ROOMS.length]!, conn);
    await member.say(`${member.nickname} ${member.room}`);
    return member;
  }));
  await allAsleep(chat);
  console.log(`${MEMBERS} members are in ${ROOMS.length} rooms, and all are asleep`);
  console.log(`  images: ${chat.images.count} of ${Math.round(chat.images.bytes / chat.images.count)} B`);
  assert.equal(chat.images.count, MEMBERS);

  const inTea = await speak(chat, members, "tea");
  console.log(
    `Two speak in "tea": ${inTea} are woken and hear 6 lines in the same order, ${MEMBERS - inTea} sleep on`,
  );
  await allAsleep(chat);

  // Only now, when everything has been done once: what remains is memory of connections, not of code.
  for (const room of ROOMS) await speak(chat, members, room);
  const { awake } = chat.host.counts;
  const before = await liveMemory();
  await allAsleep(chat);
  const after = await liveMemory();
  const kilobytes = (bytes: number): string => `${Math.round(bytes / 1e3).toLocaleString("en")} kB`;
  console.log(`Two speak in every room: ${awake} are awake, then they fall asleep again`);
  console.log(
    `  live memory, members' side included: ${kilobytes(before.liveBytes)} before, ` +
      `${kilobytes(after.liveBytes)} after`,
  );

  await chat.host.shutdown();
  chat = await ChatServer.start(folder, link);
  await allAsleep(chat);
  console.log(`The server was stopped and started: ${chat.host.counts.asleep} members are still there`);
  const inMoss = await speak(chat, members, "moss");
  console.log(
    `Two speak in "moss": ${inMoss} are woken and hear 6 lines in the same order, ${
      MEMBERS - inMoss
    } sleep on`,
  );
  await allAsleep(chat);
  await chat.host.shutdown();
  network.close();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
