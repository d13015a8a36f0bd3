import { execFile } from "node:child_process";
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, expect, test } from "vitest";
import { offerHandover } from "../../checkpoint/handover/offer.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { EACH, RUN_ON } from "../support/runtimes.ts";
import { torpor } from "./run.ts";

const TORPOR = fileURLToPath(new URL("../../cli/torpor.ts", import.meta.url));
const temporary = new TemporaryFolder();
afterAll(() => temporary[Symbol.dispose]());
let folders = 0;

function newFolder(): string {
  const folder = temporary.file(`store ${++folders}`);
  mkdirSync(folder);
  return folder;
}

test("torpor handover asks the old process, then starts the new one and ends as it does", async () => {
  const folder = newFolder();
  const order: string[] = [];
  const offer = await offerHandover(`${folder}/handover`, () => {
    order.push("stopped");
    return Promise.resolve(12);
  });
  const script = "exit 7";
  const { code, err } = await torpor(["handover", folder, "--", "sh", "-c", script, "--help"]);
  expect({ code, order }).toEqual({ code: 7, order: ["stopped"] });
  expect(err).toContain(`process ${process.pid} has let go of 12 connections`);
  expect(await offer.done).toBe(true);
  const again = await torpor(["handover", folder, "--", "sh", "-c", script]);
  expect(again).toMatchObject({ code: 2, err: expect.stringContaining("nobody offers one there") });
  expect((await torpor(["handover", folder, "--or-start", "--", "sh", "-c", "kill -9 $$"])).code).toBe(
    128 + 9,
  );
});

test("torpor handover without a command; with the socket itself; to a process that is stuck", async () => {
  const folder = newFolder();
  await offerHandover(`${folder}/handover`, () => Promise.resolve(1));
  expect(await torpor(["handover", `${folder}/handover`])).toMatchObject({ code: 0 });
  await offerHandover(`${folder}/handover`, () => new Promise(() => {}));
  const stuck = await torpor(["handover", folder, "--timeout", "100", "--", "true"]);
  expect(stuck).toMatchObject({ code: 1, err: expect.stringContaining("it had been told to stop") });
});

test("torpor handover: wrong use is exit code 2 and says what is wrong", async () => {
  for (
    const [args, message] of [
      [[], "which folder?"],
      [["a", "b"], "one folder"],
      [["a", "--"], "which command"],
      [["a", "--timeout", "soon"], '"soon" is no time'],
      [["a", "--fast"], "--fast"],
    ] as const
  ) {
    const { code, err } = await torpor(["handover", ...args]);
    expect(code, message).toBe(2);
    expect(err).toContain(message);
  }
  expect((await torpor(["handover", "--help"])).out).toContain("Exit codes: ");
  const missing = await torpor(["handover", newFolder(), "--or-start", "--", "/no/such/program"]);
  expect(missing).toMatchObject({ code: 2, err: expect.stringContaining("cannot start") });
});

for (const runtime of EACH) {
  test(`torpor handover on ${runtime}`, async () => {
    const folder = newFolder();
    const offer = await offerHandover(`${folder}/handover`, () => Promise.resolve(2));
    const [program, ...first] = RUN_ON[runtime];
    const args = [...first, TORPOR, "handover", folder, "--", "echo", "here I am"];
    const { stdout, stderr } = await promisify(execFile)(program!, args);
    expect(stdout).toBe("here I am\n");
    expect(stderr).toContain("let go of 2 connections");
    expect(await offer.done).toBe(true);
  }, 60_000);
}
