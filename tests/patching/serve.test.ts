import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { runtime } from "../../base/runtime.ts";
import { connectUnix, fetchOver, Host } from "../../mod.ts";
import { torpor } from "../cli/run.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { RUN_ON } from "../support/runtimes.ts";

const CLI = fileURLToPath(new URL("../../cli/torpor.ts", import.meta.url));

const SERVER = `let served = 0;
export default {
  fetch() {
    served++;
    return new Response(greeting());
  },
};
function greeting() {
  return "helo " + served;
}
`;

/** What has been said on standard error when it says `what`. */
async function until(child: ChildProcess, what: RegExp): Promise<void> {
  let said = "";
  for await (const piece of child.stderr!.setEncoding("utf8").iterator({ destroyOnReturn: false })) {
    said += piece as string;
    if (what.test(said)) return;
  }
  throw new Error(`It ended, and has said: ${said}`);
}

test("torpor serve --patchable takes patches that are signed by who is trusted, and has them again after it was started again", async () => {
  using folder = new TemporaryFolder();
  const file = folder.file("server.mjs");
  writeFileSync(file, SERVER);
  writeFileSync(folder.file("fixed.mjs"), SERVER.replace("helo", "hello"));
  const { out: key } = await torpor(["patch", "keys", folder.file("keys")]);
  const patch = folder.file("hello.patch");
  const build = ["patch", "build", file, folder.file("fixed.mjs"), "--out", patch];
  expect(await torpor(build)).toMatchObject({ code: 0 });
  const options = [
    "--store",
    folder.file("store"),
    "--unix",
    folder.file("wire"),
    "--patchable",
    "--trust",
    key.trim(),
  ];
  const start = async (): Promise<{ child: ChildProcess; get: () => Promise<string>; host: Host }> => {
    const [program, ...rest] = [...RUN_ON[runtime], CLI, "serve", file, ...options];
    const child = spawn(program!, rest, {
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, NO_COLOR: "1" },
    });
    await until(child, /serving http/);
    const host = new Host({
      interfaces: [{ link: await connectUnix({ path: folder.file("wire") }) }],
      addresses: [{ address: "10.7.0.2/24" }],
    });
    const fetch = fetchOver(host);
    const get = async (): Promise<string> => await (await fetch("http://10.7.0.1:8000/")).text();
    return { child, get, host };
  };
  const first = await start();
  try {
    expect(await first.get()).toBe("helo 1");
    const refused = await torpor(["patch", "apply", folder.file("store"), patch]);
    expect(refused).toMatchObject({ code: 1, err: expect.stringContaining("it is not signed") });
    await torpor(["patch", "sign", patch, "--key", folder.file("keys")]);
    expect(await torpor(["patch", "apply", folder.file("store"), patch])).toMatchObject({ code: 0, err: "" });
    expect(await first.get()).toBe("hello 2");
  } finally {
    first.host.close();
    first.child.kill("SIGKILL");
    await once(first.child, "exit");
  }
  const second = await start();
  try {
    expect(await second.get()).toBe("hello 1");
    expect(await torpor(["patch", "rollback", folder.file("store")])).toMatchObject({ code: 0, err: "" });
    expect(await second.get()).toBe("helo 2");
  } finally {
    second.host.close();
    second.child.kill("SIGKILL");
    await once(second.child, "exit");
  }
});
