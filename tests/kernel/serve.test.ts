import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect } from "vitest";
import { torpor } from "../cli/run.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";
import { NetworkNamespace } from "../support/netns.ts";
import { RUN_ON } from "../support/runtimes.ts";
import { until } from "../support/sink.ts";

const CLI = fileURLToPath(new URL("../../cli/torpor.ts", import.meta.url));
const MODULE = `export default {
  fetch: async (request) => new Response("you said " + await request.text(), { headers: { "x-path": new URL(request.url).pathname } }),
};
`;
const REQUEST = (body: string): string =>
  `POST /talk HTTP/1.1\r\nhost: torpor\r\ncontent-length: ${body.length}\r\n\r\n${body}`;

/** A program of the namespace and what it says. */
class Heard {
  readonly child: ChildProcess;
  text = "";

  constructor(child: ChildProcess) {
    this.child = child;
    child.stdout!.setEncoding("utf8").on("data", (text: string) => void (this.text += text));
  }

  async until(holds: (text: string) => boolean, what: string): Promise<void> {
    await until(() => holds(this.text), what).catch(() => {});
    expect(holds(this.text), `${what}: ${JSON.stringify(this.text)}`).toBe(true);
  }
}

describe.concurrent("with the kernel's clients", () => {
  for (const runtime of ["node", "deno", "bun"] as const) {
    judge(
      `torpor serve on ${runtime}: a kernel client's HTTP connection sleeps through a deploy, is seen and captured`,
      [
        ...["root", "tun", "ip", "curl", "nc", "tshark"],
      ],
      async () => {
        using folder = new TemporaryFolder();
        using netns = new NetworkNamespace();
        const store = folder.file("connections");
        netns.run("ip", "tuntap", "add", "tor0", "mode", "tun");
        netns.configure("tor0", "10.7.0.2/24");
        writeFileSync(folder.file("server.mjs"), MODULE);
        const start = (...args: string[]): Heard =>
          new Heard(netns.start("sh", ["-c", 'exec "$@" 2>&1', "sh", ...RUN_ON[runtime], CLI, ...args]));
        const ended = async ({ child }: Heard): Promise<unknown> =>
          child.exitCode ?? (await once(child, "exit"))[0];
        const options = ["--store", store, "--idle", "1", "--metrics", "9100"];
        const serve = (): Heard => start("serve", folder.file("server.mjs"), ...options);
        const first = serve();
        await first.until((text) => text.includes("serving http://10.7.0.1:8000/ over tor0"), "it serves");
        expect(netns.run("curl", "-s", "-d", "hello", "http://10.7.0.1:8000/x")).toBe("you said hello");

        const client = new Heard(netns.start("nc", ["10.7.0.1", "8000"]));
        const ask = async (body: string): Promise<void> => {
          client.text = "";
          client.child.stdin!.write(REQUEST(body));
          await client.until((text) => text.includes(`you said ${body}`), "it is answered");
          expect(client.text).toContain("x-path: /talk");
        };
        await ask("one");
        const asleep = async (): Promise<string> => {
          for (let turn = 0; turn < 600; turn++) {
            const { out } = await torpor(["ls", store, "--state", "asleep", "--json"]);
            if (out !== "") return (JSON.parse(out.split("\n")[0]!) as { id: string }).id;
            await new Promise((resolve) => setTimeout(resolve, 50));
          }
          throw new Error("Nobody falls asleep");
        };
        const id = await asleep();
        expect((await torpor(["inspect", store, id])).out).toContain(`${id} is asleep, established`);
        expect(netns.run("curl", "-s", "http://127.0.0.1:9100/metrics")).toContain(
          'torpor_connections{state="asleep"} 1',
        );

        const second = serve(); // a deploy
        await second.until((text) => text.includes("1 connection asleep"), "the second has taken over");
        await first.until((text) => text.includes("another process has taken over"), "the first is over");
        expect(await ended(first)).toBe(0);

        const file = folder.file("wake.pcapng");
        const capturing = start("capture", store, file);
        const captured = (text: string): boolean => existsSync(file) && readFileSync(file).includes(text);
        await until(() => captured("torpor"), "the capture has begun");
        await ask("two");
        await until(() => captured(`${id} is awake, by packet`), "it is in the capture");
        capturing.child.kill("SIGINT");
        expect(await ended(capturing)).toBe(0);
        const fields = ["-T", "fields", "-e", "frame.comment"];
        const comments = await netns.output("tshark", "-r", file, "-Y", "frame.comment", ...fields);
        expect(comments).toContain(`wakes ${id}`);
        expect(comments).toContain(`${id} is awake, by packet`);

        second.child.kill("SIGINT");
        await second.until((text) => text.includes("1 connection asleep\n"), "it ends asleep");
        expect(await ended(second)).toBe(0);
        expect((await torpor(["store", "ls", store])).out).toContain(id);
        client.child.kill();
      },
    );
  }
});
