import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Finding } from "../../cli/doctor/finding.ts";
import { examineFolder } from "../../cli/doctor/folder.ts";
import { examineSelf } from "../../cli/doctor/self.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";
import { NetworkNamespace } from "../support/netns.ts";
import { EACH, RUN_ON } from "../support/runtimes.ts";
import { torpor } from "./run.ts";

const TORPOR = join(import.meta.dirname, "../../cli/torpor.ts");

for (const runtime of EACH) {
  judge(
    `torpor doctor on ${runtime} in a namespace of its own: everything works here`,
    ["root", "tun", "ip"],
    () => {
      using folder = new TemporaryFolder();
      const [program, ...args] = RUN_ON[runtime];
      using netns = new NetworkNamespace();
      const told = JSON.parse(netns.run(program!, ...args, TORPOR, "doctor", folder.path, "--json"));
      const findings = told.findings as Finding[];
      expect(findings.map(({ name }) => name)).toEqual([
        ...["runtime", "permissions", "ffi", "tun", "files", "folder", "self"],
      ]);
      expect(findings.filter(({ verdict }) => verdict === "bad")).toEqual([]);
      expect(findings[0]!.found).toContain(runtime);
      expect(findings[1]).toMatchObject({
        verdict: "good",
        found: expect.stringContaining("root may make interfaces"),
      });
      expect(findings[3]!.found).toContain("offloads on; several queues");
      expect(netns.run("ip", "-o", "link")).not.toContain("torpor"); // nothing is left
    },
  );
}

if (EACH.length > 0) {
  judge("without the right to make interfaces, it says so and what to do, and the rest works", [
    "root",
    "tun",
    "ip",
    "setpriv",
  ], () => {
    using folder = new TemporaryFolder();
    execFileSync("chmod", ["777", folder.path]);
    const [program, ...args] = RUN_ON.node;
    const setpriv = [
      "--reuid",
      "65534",
      "--regid",
      "65534",
      "--clear-groups",
      "--inh-caps",
      "-all",
      "--bounding-set",
      "-all",
    ];
    const command = [...setpriv, program!, ...args, TORPOR, "doctor", folder.path, "--json"];
    using netns = new NetworkNamespace();
    const told = JSON.parse(netns.run("setpriv", ...command));
    const tun = (told.findings as Finding[]).find(({ name }) => name === "tun")!;
    expect(tun).toMatchObject({ verdict: "less", advice: expect.stringContaining("run as root") });
    expect(told.verdict).toBe("less");
    const permissions = (told.findings as Finding[]).find(({ name }) => name === "permissions")!;
    expect(permissions).toMatchObject({
      verdict: "less",
      found: expect.stringContaining("user 65534 may not make interfaces"),
      advice: expect.stringMatching(/mode tun user 65534|without the device/),
    });
    const [deno] = RUN_ON.deno;
    const allowed = ["run", "--no-prompt", "--allow-read", "--allow-env", "--allow-sys", "--allow-write"]; // neither FFI nor network
    const asked = JSON.parse(netns.run(deno!, ...allowed, TORPOR, "doctor", folder.path, "--json"));
    expect((asked.findings as Finding[]).find(({ name }) => name === "permissions")).toMatchObject({
      verdict: "less",
      advice: "deno run --allow-net --allow-ffi",
    });
  });
}

test("a folder that is none is named, with what the system says of it", () => {
  using folder = new TemporaryFolder();
  expect(examineFolder(folder.path).verdict).not.toBe("bad");
  expect(examineFolder(folder.file("nowhere"))).toMatchObject({
    verdict: "bad",
    found: expect.stringContaining("ENOENT"),
    advice: "name a folder that may be written",
  });
});

test("the whole thing works here, in memory", async () => {
  expect(await examineSelf()).toMatchObject({ name: "self", verdict: "good" });
});

test("wrong use is exit code 2 and says what is wrong", async () => {
  expect(await torpor(["doctor", "a", "b"])).toMatchObject({
    code: 2,
    err: expect.stringContaining("one folder"),
  });
  expect(await torpor(["doctor", "--fast"])).toMatchObject({
    code: 2,
    err: expect.stringContaining("--fast"),
  });
  expect((await torpor(["doctor", "--help"])).out).toContain("Exit codes:");
});
