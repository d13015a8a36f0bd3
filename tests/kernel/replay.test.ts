import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { feedCapture } from "../../checkpoint/replay/capture.ts";
import { Player } from "../../checkpoint/replay/player.ts";
import { openRecording } from "../../checkpoint/replay/replay_file.ts";
import { ReplayReader } from "../../checkpoint/replay/reader.ts";
import { readCapture } from "../../net/link/pcap_reader.ts";
import { torpor } from "../cli/run.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";
import { NetworkNamespace } from "../support/netns.ts";
import { streamsOf } from "../checkpoint/replay/streams.ts";
import { Capture } from "./capture.ts";
import { KernelServer, sleep, STACK_ADDRESS, STACK_ADDRESS6 } from "./kernel_server.ts";

const NEEDS = ["root", "tun", "ip", "nc", "curl", "ping"] as const;

describe.concurrent("with the kernel", () => {
  for (const runtime of ["node", "deno"] as const) {
    judge(
      `a run over TUN with kernel clients, recorded on ${runtime} through a sleep and kill -9, replays`,
      NEEDS,
      async () => {
        using folder = new TemporaryFolder();
        using server = new KernelServer(runtime, join(folder.path, "store"), 400);
        const recordings = [folder.file("first.replay"), folder.file("second.replay")];
        await server.start(recordings[0]);
        const client = server.netns.start("nc", ["-N", STACK_ADDRESS, "7"]);
        const heard: string[] = [];
        client.stdout!.setEncoding("utf8").on("data", (text: string) => void heard.push(text));
        const said = async (text: string): Promise<void> => {
          client.stdin!.write(text);
          for (let turn = 0; turn < 300 && heard.join("") !== text; turn++) await sleep(50);
          expect(heard.splice(0).join("")).toBe(text);
        };
        await said("hello\n");
        server.netns.run("curl", "-sS", "-o", "/dev/null", `http://${STACK_ADDRESS}/bytes/500000`);
        server.netns.run("curl", "-sS", "-o", "/dev/null", `http://[${STACK_ADDRESS6}]/bytes/300000`);
        server.netns.run("ping", "-c", "2", "-i", "0.2", STACK_ADDRESS);
        await server.until(({ asleep }) => asleep >= 1, "the connection sleeps");
        await said("awake\n");
        await server.until(({ asleep }) => asleep >= 1, "it sleeps again");
        await sleep(2_500); // what was recorded is in the file after a second
        await server.kill();
        await server.start(recordings[1]);
        await said("after the crash\n");
        client.stdin!.end();
        await server.until(({ awake, asleep }) => awake + asleep === 0, "the connection ends");
        await sleep(2_500);
        await server.kill();
        client.kill();
        for (const [index, path] of recordings.entries()) {
          const { reader, close } = openRecording(path);
          const player = new Player(reader);
          while (player.step());
          close();
          expect(player.difference?.message, path).toBe(undefined);
          expect(player.framesOut, path).toBeGreaterThan(index === 0 ? 100 : 1);
        }
        const walk = await torpor(["replay", recordings[0]!, "--print"]);
        expect(walk.code).toBe(0);
        for (const part of ["-> asleep", "-> waking", "ICMP echo request"]) expect(walk.out).toContain(part);
      },
    );
  }

  judge("a capture of the kernel's own server is fed to our stack in its place: it writes the same bytes", [
    ...["root", "ip", "nc", "tcpdump"],
  ], async () => {
    using folder = new TemporaryFolder();
    using netns = new NetworkNamespace();
    // Both ends are the kernel, over loopback: no checksum is filled in, and segments have up to 64 KB.
    const [host, peer] = ["10.9.0.1", "10.9.0.2"];
    for (const address of [host, peer]) netns.run("ip", "addr", "add", `${address}/24`, "dev", "lo");
    const file = folder.file("loopback.pcap");
    const capture = await Capture.start(netns, "lo", file, { bytes: 70_000 });
    const served = "what the kernel says\n".repeat(20_000);
    const listener = netns.start("nc", ["-l", "-N", host, "4000"]);
    listener.stdin!.end(served);
    let heard = "";
    listener.stdout!.setEncoding("utf8").on("data", (text: string) => void (heard += text));
    await until(() => netns.run("ss", "-Htln").includes(":4000"));
    const client = netns.start("nc", ["-N", "-s", peer, host, "4000"]);
    let got = "";
    client.stdout!.setEncoding("utf8").on("data", (text: string) => void (got += text));
    client.stdin!.write("asked\n");
    await until(() => got.length >= served.length);
    // Ours may send in other pieces than the kernel did, and wait for an answer to one where the kernel did not: here are some.
    for (let round = 1; round <= 10; round++) {
      client.stdin!.write("more\n");
      await until(() => heard.split("more\n").length > round);
    }
    client.stdin!.end();
    // Both have closed: who has heard the other's FIN, and has not said its own, is no longer "established" either.
    await until(() => netns.run("ss", "-Htn", "state", "connected", "exclude", "time-wait").trim() === "");
    await capture.stop();

    const fed = feedCapture(readCapture(new Uint8Array(readFileSync(file))), { host: [host] });
    expect(fed).toMatchObject({ connections: 1, unbegun: 0, cut: 0 });
    expect(new TextDecoder().decode(streamsOf(fed, 4000).get(peer)) === served).toBe(true);
    const player = new Player(new ReplayReader(fed.recorder.bytes()));
    while (player.step());
    expect(player.difference?.message).toBe(undefined);
  });
});

async function until(done: () => boolean): Promise<void> {
  for (let turn = 0; turn < 300 && !done(); turn++) await sleep(50);
  expect(done()).toBe(true);
}
