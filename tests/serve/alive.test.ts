import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { runtime } from "../../base/runtime.ts";
import type { Link } from "../../net/link/link.ts";
import { listenUnix } from "../../net/link/unix.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { RUN_ON } from "../support/runtimes.ts";

const PROGRAM = fileURLToPath(new URL("./alive_program.ts", import.meta.url));
/** So long a program is looked at that must not end. One that is slow does not end either. */
const LIVES_MS = 250;

/** Each network on this runtime, its own and ours, in the words of Deno and of Node. */
const NETWORKS = [
  "ours",
  ...(runtime === "deno" ? ["Deno"] : []),
  "our net",
  ...(runtime === "node" ? ["net"] : []),
];

/** What has been told `unref`, and whether the program ends of itself then. */
const CASES = { listener: true, again: false, connection: false, connections: true } as const;

for (const network of NETWORKS) {
  describe.concurrent(`what keeps a program alive: ${network}`, () => {
    test.each(Object.entries(CASES))("%s", async (kind, ends) => {
      using folder = new TemporaryFolder();
      const path = folder.file("wire");
      const links: Link[] = [];
      const listener = await listenUnix({
        path,
        medium: "ip",
        onLink: (link) => {
          links.push(link);
          link.open({ receive: () => {}, flush: () => {}, closed: () => {} });
        },
      });
      const [program, ...args] = RUN_ON[runtime];
      const child = spawn(program!, [...args, PROGRAM, network, kind, path], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      const exited = once(child, "exit");
      using _child = { [Symbol.dispose]: () => void child.kill("SIGKILL") }; // should something here fail
      const [said] = await once(child.stdout, "data");
      expect(`${said}`).toBe("waits\n");
      if (ends) {
        expect((await exited)[0]).toBe(0);
      } else {
        await new Promise((resolve) => setTimeout(resolve, LIVES_MS));
        expect(child.exitCode).toBe(null);
        child.kill("SIGKILL");
        await exited;
      }
      links.forEach((link) => link.close());
      await listener.close();
    });
  });
}
