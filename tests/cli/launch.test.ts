import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, writeFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { connectUnix, Host } from "../../mod.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { EACH, RUN_ON } from "../support/runtimes.ts";
import { torpor } from "./run.ts";

const CLI = fileURLToPath(new URL("../../cli/torpor.ts", import.meta.url));
const WEB = `export default { fetch: () => new Response("well") };\n`;
const LATE = `export function main(Deno) {
  Deno.listen({ port: 80 });
  setTimeout(() => { throw new Error("later"); }, 50);
}
`;
const REJECTS = LATE.replace(/setTimeout.*/, `(async () => { await null; throw new Error("promised"); })();`);

for (const runtime of EACH) {
  test(`torpor appliance launch on ${runtime}: one stack, two services on port 80, those that fail told, and SIGTERM ends it`, async () => {
    using folder = new TemporaryFolder();
    const services = ["web", "web2", "late", "rejects"].map((name) => ({
      ...{ name, entrypoint: ["node", `/${name.slice(0, 8)}.mjs`], ports: ["80/tcp"] },
    }));
    for (const [name, text] of [["web", WEB], ["web2", WEB], ["late", LATE], ["rejects", REJECTS]] as const) {
      writeFileSync(folder.file(`${name}.mjs`), text);
    }
    writeFileSync(folder.file("services.json"), JSON.stringify(services));
    const path = folder.file("link");
    const options = ["--unix", path, "--store", folder.file("store"), "--address", "10.9.0.10/24", "--json"];
    const [program, ...args] = RUN_ON[runtime];
    const command = [CLI, "appliance", "launch", folder.path, folder.file("services.json"), ...options];
    const child = spawn(program!, [...args, ...command], { stdio: ["ignore", "pipe", "pipe"] });
    let out = "", err = "";
    child.stdout.on("data", (bytes: Uint8Array) => void (out += new TextDecoder().decode(bytes)));
    child.stderr.on("data", (bytes: Uint8Array) => void (err += new TextDecoder().decode(bytes)));
    const closed = once(child, "close");
    try {
      const until = async (count: number, state: string): Promise<void> => {
        while (out.split(`"state":"${state}"`).length <= count && child.exitCode === null) {
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
      };
      await until(4, "started");
      await until(2, "failed");
      expect(existsSync(path), err).toBe(true);
      using host = new Host({
        interfaces: [{ link: await connectUnix({ path }) }],
        addresses: [{ address: "10.9.0.2/24" }],
        onLinkClosed: () => {},
      });
      for (const hostname of ["10.9.0.10", "10.9.0.11"]) {
        using conn = await host.connect({ hostname, port: 80 });
        await conn.write(new TextEncoder().encode("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
        expect(await new Response(conn.readable).text()).toMatch(/well$/);
      }
    } finally {
      process.kill(child.pid!, "SIGTERM"); // child.kill() of Deno says that the signal has ended it, whatever it did
      await closed;
    }
    const [exitCode] = await closed as [number | null];
    expect(exitCode, err).toBe(1); // two have failed
    const events = out.trim().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(events).toContainEqual({
      ...{ service: "web2", state: "started", address: "10.9.0.11", ports: ["80/tcp"] },
    });
    expect(events).toContainEqual({ service: "late", state: "failed", why: "later" });
    expect(events).toContainEqual({ service: "rejects", state: "failed", why: "promised" });
    expect(events.slice(-2)).toEqual([
      { service: "web2", state: "stopped", killed: false },
      { service: "web", state: "stopped", killed: false },
    ]);
  });
}

test("torpor appliance launch says what is wrong with its command line, and with what it is given", async () => {
  using folder = new TemporaryFolder();
  const list = folder.file("list.json");
  writeFileSync(list, "[]");
  const launch = async (...args: string[]): Promise<string> => {
    const { code, err } = await torpor(["appliance", "launch", ...args]);
    expect(code).toBe(2);
    return err;
  };
  expect(await launch(folder.path)).toContain("what says what to start?");
  expect(await launch(folder.path, list)).toContain("names no program");
  expect(await launch(folder.path, list, "--container", "--unix", "x")).toContain(
    "--unix is for services without",
  );
  expect(await launch(folder.path, list, "--state", "x")).toContain(
    "--state is for services with --container",
  );
  writeFileSync(list, `{"a": 1}`);
  expect(await launch(folder.path, list)).toContain("its services are no list");
  writeFileSync(list, `[{"name":"a","cmd":["x"]},{"name":"a","cmd":["x"]}]`);
  expect(await launch(folder.path, list)).toContain('two services are called "a"');
});
