import { execFileSync } from "node:child_process";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import tls from "node:tls";
import process from "node:process";
import { expect, onTestFinished, test } from "vitest";
import { answersOf } from "../../checkpoint/control/answers.ts";
import { ControlClient } from "../../checkpoint/control/client.ts";
import type { ControlOffer } from "../../checkpoint/control/offer.ts";
import { Firewall } from "../../net/firewall/firewall.ts";
import { readPcapng } from "../../net/link/pcap.ts";
import { isQuiet } from "../../net/tcp/tcp.ts";
import { connectNode, nodeServer } from "../../net/socket/stack_socket.ts";
import { makeCertificate } from "../serve/certificate.ts";
import { type SleepyPair, sleepyPair } from "../dropin/world.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";
import { torpor } from "./run.ts";

interface World extends SleepyPair {
  readonly folder: string;
  readonly control: ControlOffer;
  file(name: string): string;
}

/** A server that offers control, with an echo on port 7. */
async function world(): Promise<World> {
  const pair = sleepyPair();
  const folder = new TemporaryFolder();
  onTestFinished(() => folder[Symbol.dispose]());
  pair.server.serve({ port: 7, data: (connection, bytes) => void connection.write(bytes) });
  const control = await pair.server.offerControl(folder.file("control"));
  return { ...pair, folder: folder.path, control, file: (name) => folder.file(name) };
}

async function until(holds: () => boolean, what: string): Promise<void> {
  for (let turn = 0; turn < 2_000 && !holds(); turn++) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(holds(), what).toBe(true);
}

/** Nobody owes an ACK, or waits for one: who is put to sleep now sleeps until somebody speaks. */
async function quiet({ server, client }: World): Promise<void> {
  const all = (): boolean =>
    [server, client].every(({ stack }) => [...stack.tcp.tcbs()].every((tcb) => isQuiet(tcb) && !tcb.ackNow));
  await until(all, "all is quiet");
}

async function echoed(world: World): Promise<{ id: string; again(): Promise<void>; close(): void }> {
  const conn = await world.client.connect({ hostname: "10.0.0.1", port: 7 });
  const again = async (): Promise<void> => {
    await conn.write(Uint8Array.of(1, 2, 3));
    expect(await conn.read(new Uint8Array(10))).toBe(3);
    await quiet(world);
  };
  await again();
  return { id: `10.0.0.1:7-10.0.0.2:${conn.localAddr.port}`, again, close: () => conn.close() };
}

test("ls, suspend, inspect and restore: a connection is seen awake, put to sleep, looked at and woken", async () => {
  const here = await world();
  const { id, again } = await echoed(here);
  const other = await echoed(here);
  expect(await torpor(["ls", here.folder, "--count"])).toMatchObject({ code: 0, out: "2\n" });
  const listed = await torpor(["ls", here.folder]);
  expect(listed.out).toContain(`${id.padEnd(44)} awake  established idle`);

  expect(await torpor(["suspend", here.folder, id])).toMatchObject({
    code: 0,
    out: expect.stringMatching(/sleeps in \d+ bytes\n$/),
  });
  expect(here.server.counts).toMatchObject({ awake: 1, asleep: 1 });
  const refused = await torpor(["suspend", here.folder, id]);
  expect(refused).toMatchObject({ code: 1, err: expect.stringContaining("sleeps already") });
  const rows = (await torpor(["ls", here.folder, "--state", "asleep", "--json"])).out;
  expect(rows).toBe(`${JSON.stringify({ id, state: "asleep" })}\n`);

  const asleep = await torpor(["inspect", here.folder, id]);
  expect(asleep.out).toContain(`${id} is asleep, established\n`);
  expect(asleep.out).toContain("every part is whole:");
  expect(here.server.counts.asleep, "it sleeps on").toBe(1);
  const awake = JSON.parse((await torpor(["inspect", here.folder, other.id, "--json"])).out);
  expect(awake).toMatchObject({
    state: "awake",
    tcp: "established",
    fields: { localPort: 7, localAddress: "10.0.0.1", sendQueue: 0 },
    info: { state: 1, bytesReceived: 3 },
  });
  expect(here.server.counts.awake, "and it is as awake as before").toBe(1);
  await other.again();

  const { code, out } = await torpor(["restore", here.folder, id]);
  expect({ code, out }).toEqual({ code: 0, out: expect.stringContaining(`${id} is awake after`) });
  expect(await torpor(["restore", here.folder, id])).toMatchObject({ code: 1 });
  await again();
  await other.again();
  const { wakes } = here.server.sleeper.stats;
  expect(wakes).toEqual({ packet: 0, timer: 0, application: 1 });
  const all = await torpor(["suspend", here.folder, "--all"]);
  expect(all).toMatchObject({ code: 0, out: "2 connections fell asleep\n" });
  await again();
  expect(here.server.sleeper.stats.wakes.packet).toBe(1);
});

test("ls lists more connections than fit in a line, and filters", async () => {
  const here = await world();
  const all = await Promise.all(Array.from({ length: 600 }, () => echoed(here)));
  await here.server.sleeper.suspendAll();
  const { out } = await torpor(["ls", here.folder, "--json"]);
  const ids = out.trim().split("\n").map((line) => (JSON.parse(line) as { id: string }).id);
  expect(ids.sort()).toEqual(all.map(({ id }) => id).sort());
  const watched = await torpor(["ls", here.folder, "--count"], [], { live: true });
  expect(watched).toMatchObject({
    code: 0,
    out: "600\n",
    err: expect.stringMatching(/^\r\d+ connections/),
  });
  expect(watched.err.endsWith("\r\x1b[K"), "and the line goes away").toBe(true);
  expect((await torpor(["ls", here.folder], [], { live: true, screen: true })).err, "the list is on it").toBe(
    "",
  );
  const looked = await torpor(["inspect", here.folder, ids[0]!], [], { live: true });
  expect(looked.err).toContain(`looking at ${ids[0]}`);
  expect((await torpor(["ls", here.folder, "--port", "8", "--count"])).out).toBe("0\n");
  expect((await torpor(["ls", here.folder, "--from", "10.0.0.2", "--count"])).out).toBe("600\n");
  expect((await torpor(["ls", here.folder, "--from", "10.0.0.3", "--count"])).out).toBe("0\n");
});

test("top prints lines where there is no screen, and everything as JSON", async () => {
  const here = await world();
  await echoed(here);
  await here.server.sleeper.suspendAll();
  const { out } = await torpor(["top", here.folder, "--count", "2", "--interval", "50"]);
  expect(out.trim().split("\n")).toHaveLength(2);
  expect(out).toMatch(/awake 0 asleep 1 waking 0 suspends\/s \d+ restores\/s \d+ memory \d+/);
  const status = JSON.parse((await torpor(["top", here.folder, "--count", "1", "--json"])).out);
  expect(status).toMatchObject({ pid: process.pid, connections: { asleep: 1 }, store: { records: 1 } });
  expect(status.interfaces[0]).toMatchObject({ name: "net0" });
});

test("nobody there, wrong words, and a host that ends", async () => {
  const here = await world();
  const { id } = await echoed(here);
  expect(await torpor(["ls", here.file("elsewhere")])).toMatchObject({
    code: 2,
    err: expect.stringContaining("no process offers it there"),
  });
  for (
    const args of [["ls"], ["inspect", here.folder], ["suspend", here.folder], [
      "ls",
      here.folder,
      "--port",
      "0",
    ]]
  ) {
    expect((await torpor(args)).code, args.join(" ")).toBe(2);
  }
  expect(await torpor(["inspect", here.folder, "10.0.0.1:7-10.0.0.9:1"])).toMatchObject({
    code: 1,
    err: expect.stringContaining("No connection"),
  });
  expect(await torpor(["inspect", here.folder, "nonsense"])).toMatchObject({ code: 1 });
  expect(statSync(here.file("control")).mode & 0o777, "its owner's alone").toBe(0o600);
  using client = await ControlClient.connect(here.file("control"));
  here.server.close();
  await expect(client.inspect(id)).rejects.toThrow("has ended");
  await until(
    () => statSync(here.file("control"), { throwIfNoEntry: false }) === undefined,
    "its file is gone",
  );
});

test("what is no request is told so, line by line, and a line without end ends the connection", async () => {
  const here = await world();
  const socket = connect({ path: here.file("control") });
  let said = "";
  socket.setEncoding("utf8").on("data", (text: string) => void (said += text));
  const wrong = [
    ["nonsense", "it is no JSON"],
    ["[]", "it is no object"],
    ['{"do":"__proto__"}', '\\"do\\" must be one of'],
    ['{"do":"inspect"}', '\\"inspect\\" needs \\"id\\"'],
    ['{"do":"ls","port":99999}', '\\"port\\" of \\"ls\\" is 99999'],
    ['{"do":"status","more":1}', '\\"status\\" has no \\"more\\"'],
  ];
  for (const [line] of wrong) socket.write(`${line}\n`);
  const heard = (text: string): Promise<void> => until(() => said.includes(text), text);
  for (const [, answer] of wrong) await heard(answer!);
  socket.write('{"do":"status"}\n');
  await heard('{"ok":true,"status":');
  const ended = new Promise((resolve) => socket.once("close", resolve));
  socket.on("error", () => {});
  socket.write("x".repeat(5_000));
  await ended;
});

/** What tshark reads of a capture, a line of tab-separated fields a frame. */
function tshark(file: string, fields: readonly string[], ...more: readonly string[]): string[] {
  const args = ["-r", file, "-T", "fields", ...fields.flatMap((field) => ["-e", field]), ...more];
  return execFileSync("tshark", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })
    .trimEnd().split("\n");
}

/** Captures what happens during `act`. */
async function captured(here: World, act: () => Promise<void>, keys = false): Promise<string> {
  const file = here.file("run.pcapng");
  const client = await ControlClient.connect(here.file("control"));
  const pieces: Uint8Array[] = [];
  const reading = (async () => {
    for await (const piece of client.capture({ keys })) pieces.push(piece);
  })().catch(() => {}); // it is cut off at the end
  await until(() => pieces.length > 0, "the head of the file has come");
  await act();
  for (let before = -1; before !== pieces.length;) { // until nothing comes any more
    before = pieces.length;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  client.close();
  await reading;
  writeFileSync(file, Buffer.concat(pieces));
  return file;
}

judge(
  "tshark reads in a capture what woke, slept and was dropped, and by which rule",
  ["tshark"],
  async () => {
    const here = await world();
    const rules = [
      {
        protocol: "tcp" as const,
        destinationPort: 9,
        action: "drop" as const,
        comment: "nobody discards here",
      },
    ];
    here.server.stack.firewall = new Firewall({ rules }, ["net0"]);
    const { id, again } = await echoed(here);
    const bare = here.server.stack.output.interfaces[0]!.link;
    const file = await captured(here, async () => {
      await here.server.sleeper.suspendAll();
      await again();
      await expect(here.client.connect({ hostname: "10.0.0.1", port: 81 })).rejects.toThrow("refused");
      await expect(here.client.connect({ hostname: "10.0.0.1", port: 9, signal: AbortSignal.timeout(50) }))
        .rejects
        .toThrow();
    });
    const comments = tshark(file, ["frame.comment"]).filter((comment) => comment !== "");
    expect(comments[0]).toMatch(new RegExp(`^${id} sleeps in \\d+ bytes$`));
    expect(comments).toContain(`wakes ${id}`);
    expect(comments).toContain(`${id} is awake, by packet`);
    expect(comments).toContain("dropped: TcpNoListener");
    expect(comments).toContain("dropped: Firewall by rule 0 nobody discards here");
    const sleeping = tshark(file, ["syslog.msg"], "-Y", "syslog");
    expect(sleeping[0]).toMatch(/sleeps in \d+ bytes$/);
    expect(tshark(file, ["frame.number"], "-Y", "_ws.malformed || tcp.checksum.status == 0")).toEqual([""]);
    const packets = [...readPcapng(new Uint8Array(readFileSync(file)))];
    expect(packets.length, "our own reader reads it, too").toBeGreaterThan(5);
    await until(() => here.server.stack.output.interfaces[0]!.link === bare, "nothing watches any more");
  },
);

const keylogs = process.versions["deno"] === undefined && process.versions["bun"] === undefined;
if (keylogs) {
  judge(
    "tshark reads what is inside TLS, by the keys in the capture, when keys are asked for",
    ["tshark"],
    async () => {
      const here = await world();
      const { key, cert } = makeCertificate(["10.0.0.1"]);
      const secure = tls.createServer(
        { key, cert },
        (socket) => socket.end("HTTP/1.1 200 OK\r\nx-secret: torpor\r\ncontent-length: 0\r\n\r\n"),
      );
      secure.on("keylog", (line: Uint8Array) => here.control.keylog(line));
      nodeServer(here.server.listen({ port: 443 }), secure);
      const talk = (): Promise<void> =>
        new Promise((resolve, reject) => {
          const socket = tls.connect({
            socket: connectNode(here.client, { port: 443, host: "10.0.0.1" }),
            rejectUnauthorized: false,
          }, () => socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n"));
          socket.on("data", () => {}).on("end", () => resolve()).on("error", reject);
        });
      // Twice: a key may come behind the first record that it opens.
      const decrypts = ["-2", "-Y", "http.response"];
      const without = await captured(here, talk);
      expect(tshark(without, ["http.response.line"], ...decrypts)).toEqual([""]);
      const withKeys = await captured(here, talk, true);
      expect(tshark(withKeys, ["http.response.line"], ...decrypts).join("")).toContain("x-secret: torpor");
    },
  );
}

test("what is no answer is said to be none; a host that goes away in the middle of one has gone", async () => {
  const read = async (...pieces: string[]): Promise<unknown[]> => {
    const found: unknown[] = [];
    const socket = (async function* () {
      for (const piece of pieces) yield new TextEncoder().encode(piece);
    })();
    for await (const answer of answersOf(socket)) found.push(answer);
    return found;
  };
  expect(await read('{"ok":', "true}\n{}", '\n{"rows":[]')).toEqual([{ ok: true }, {}]);
  for (const line of ["null", "7", "[]", "torpor 1", ""]) {
    await expect(read('{"ok":true}\n', `${line}\n`), line).rejects.toThrow(
      `Cannot understand the answer "${line}"`,
    );
  }
});
