/** What both examples show: all asleep, one group woken, pings, kill -9, and the same again. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { runtimeName, Worker } from "../survive_kill/worker.ts";
import { Crowd, hear, type Member, say } from "./crowd.ts";
import { readOptions } from "./options.ts";

/** How clients of one protocol talk. */
export interface Talk {
  name: string;
  /** The server's file. */
  server: string;
  hello(index: number, group: number): Uint8Array;
  welcomed(bytes: Uint8Array): boolean;
  speak(group: number, text: string): Uint8Array;
  ping: Uint8Array;
  isPong(bytes: Uint8Array): boolean;
}

/** Who hears each other. */
const GROUP = 100;
const PINGS = 1_000;

export async function show(talk: Talk): Promise<void> {
  const { clients, json } = readOptions(talk.name);
  const tell = (line: string): void => json ? void process.stderr.write(`${line}\n`) : console.log(line);
  const folder = mkdtempSync(join(tmpdir(), `torpor-${talk.name}-`));
  const path = join(folder, "wire.sock");
  const groups = Math.max(1, Math.floor(clients / GROUP));
  const crowd = new Crowd();
  let server: Worker | undefined;
  const start = async (): Promise<Record<string, unknown>> => {
    server = new Worker(talk.name, talk.server, ["--folder", join(folder, "store"), "--unix", path]);
    const ready = await server.ask("ready");
    await crowd.attach(path);
    return ready;
  };
  const group = (index: number): Member[] =>
    crowd.members.filter((member) => member.index % groups === index);
  try {
    await start();
    await crowd.join(clients, (index) => talk.hello(index, index % groups), talk.welcomed);
    await server!.ask("asleep", { count: clients });
    const asleep = await server!.ask("figures");
    const megabytes = (bytes: unknown): string => `${Math.round((bytes as number) / 1e6)} MB`;
    tell(
      `${clients} clients in ${groups} groups, all asleep: the server's process has ${
        megabytes(asleep["rssBytes"])
      }`,
    );
    const speak = async (index: number): Promise<number> => {
      const before = (await server!.ask("figures"))["restores"] as number;
      const members = group(index);
      const text = `it is ${index} o'clock`;
      await say(members[0]!, talk.speak(index, text));
      await Promise.all(members.map((member) => hear(member, (bytes) => ends(bytes, text))));
      for (const member of members) member.bytes = new Uint8Array(0);
      const woken = (await server!.ask("figures"))["restores"] as number - before;
      assert.equal(woken, members.length, "Only they are woken");
      await server!.ask("asleep", { count: clients });
      return woken;
    };
    tell(`One speaks: ${await speak(0)} are woken and hear it, the others sleep on`);
    const pinging = crowd.members.slice(0, PINGS);
    for (const member of pinging) {
      await say(member, talk.ping);
      await hear(member, talk.isPong);
      member.bytes = new Uint8Array(0);
    }
    const { answers } = await server!.ask("figures");
    assert.equal(answers, pinging.length);
    tell(`${answers} pings are answered, and no handler is called`);
    await server!.ask("asleep", { count: clients });
    await server!.kill();
    const { recovered, known, readyMs } = await start();
    assert.deepEqual([recovered, known], [clients, clients]);
    tell(
      `kill -9, and a new process: it knows all ${known} from their images after ${
        Math.round(readyMs as number)
      } ms`,
    );
    const woken = await speak(groups - 1);
    tell(`One speaks: ${woken} are woken and hear it`);
    const after = await server!.ask("figures");
    tell(`The server's process has ${megabytes(after["rssBytes"])}`);
    if (json) console.log(JSON.stringify({ runtime: runtimeName, clients, asleep, after, readyMs }));
  } finally {
    await server?.kill();
    crowd.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

function ends(bytes: Uint8Array, text: string): boolean {
  return new TextDecoder("latin1").decode(bytes).endsWith(text);
}
