import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { judge } from "../support/judge.ts";
import { NetworkNamespace } from "../support/netns.ts";
import { RUN_ON } from "../support/runtimes.ts";

const PROGRAM = fileURLToPath(new URL("../serve/alive_program.ts", import.meta.url));

judge(
  "a program whose listener over a TUN interface is no reason to live ends by itself, on each runtime; another does not",
  ["root", "tun", "ip"],
  async () => {
    await Promise.all(
      Object.values(RUN_ON).flatMap(([program, ...args]) =>
        (["listener", "again"] as const).map(async (kind) => {
          using netns = new NetworkNamespace();
          netns.run("ip", "tuntap", "add", "tor0", "mode", "tun");
          netns.configure("tor0", "10.0.0.2/24");
          const child = netns.start(program!, [...args, PROGRAM, "ours", kind, "tun"]);
          const exited = once(child, "exit");
          const [said] = await once(child.stdout!, "data");
          expect(`${said}`, program).toBe("waits\n");
          if (kind === "listener") expect((await exited)[0], program).toBe(0);
          else {
            await new Promise((resolve) => setTimeout(resolve, 250));
            expect(child.exitCode, program).toBe(null);
          }
        })
      ),
    );
  },
);
